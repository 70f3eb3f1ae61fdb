# Runs in the full image after base.sh, for an image on scratch: writes empty lists, since there is no base, and adds to the
# accounts the folders and links that every root file system has, as the full image has them.
set -eu
export LC_ALL=C
accounts=/tritonbuild/accounts
for list in sonames libraries paths; do
    : > /tritonbuild/$list
done
for path in /bin /sbin /lib /lib32 /lib64 /libx32; do
    [ ! -L $path ] || cp -a $path $accounts/
done
for path in /root /tmp /var/tmp /home/triton-server; do
    [ -d $path ] || continue
    mkdir -p "$accounts$(cd -P $path && pwd)"
done
find $accounts -mindepth 1 -depth -type d | while IFS= read -r folder; do
    path=${folder#"$accounts"}
    [ ! -d "$path" ] || {
        chown --reference="$path" "$folder"
        chmod --reference="$path" "$folder"
        touch --reference="$path" "$folder"
    }
done
