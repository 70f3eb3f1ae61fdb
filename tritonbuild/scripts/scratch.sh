# Runs in the full image before base.sh, for an image on scratch: writes empty lists, since there is no base, and puts beside
# the accounts the folders and links that every root file system has. base.sh gives the folders their owners and times.
set -eu
export LC_ALL=C
accounts=/tritonbuild/accounts
mkdir -p $accounts
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
