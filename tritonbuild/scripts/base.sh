# Runs in the base image: lists its libraries and files, and adds the server's user to its accounts.
# With the argument accounts, it only does the latter.
# Writes /tritonbuild/{sonames,libraries,paths}, and in /tritonbuild/accounts the account files and the home folder of that
# user. In lists of paths, each line is a path, and \001 stands for a line break in it; the lines of libraries are
# what identify prints, of paths the last name.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
accounts=/tritonbuild/accounts
mkdir -p $accounts/etc

if [ "${1:-}" != accounts ]; then
    # The names that its loader finds, and the paths of all its files.
    ldconfig
    ldconfig -p > /tritonbuild/cache
    (
        set -f
        IFS=:
        for folder in ${LD_LIBRARY_PATH:-}; do
            [ ! -d "$folder" ] || find "$folder/" -mindepth 1 -maxdepth 1
        done
    ) > /tritonbuild/searched
    {
        sed -n 's/^[[:space:]]*\([^ ]*\) (.*/\1/p' /tritonbuild/cache
        sed 's|.*/||' /tritonbuild/searched
    } | sort -u > /tritonbuild/sonames
    # Prints a line for each file named on standard input that begins with two numbers: the checksum of its content and its
    # size, or for a large file its size and time. runtime.sh has it too.
    identify() {
        tr '\n' '\000' | xargs -0 -r stat -L -c '%s %Y %n' 2> /dev/null > /tritonbuild/sizes || true
        awk '$1 > 16777216' /tritonbuild/sizes
        awk '$1 <= 16777216' /tritonbuild/sizes | sed 's/^[^ ]* [^ ]* //' | tr '\n' '\000' | xargs -0 -r cksum 2> /dev/null || true
    }
    sed -n 's/^[[:space:]]*[^ ]* (.*=> //p' /tritonbuild/cache | cat - /tritonbuild/searched | identify |
        sed 's|^\([^ ]* [^ ]* \).*/|\1|' | sort -u > /tritonbuild/libraries
    rm /tritonbuild/cache /tritonbuild/searched /tritonbuild/sizes
    find / -xdev -path /tritonbuild -prune -o ! -type d -print0 | tr '\n\000' '\001\n' | sort > /tritonbuild/paths
fi

# NVIDIA's images have the user triton-server with id 1000, which Ubuntu 24.04 gives to "ubuntu".
holder=$(awk -F: '$3 == 1000 { print $1 }' /etc/passwd)
case $holder in
    '' | ubuntu | triton-server) ;;
    *) echo "tritonbuild: user id 1000 is $holder in the base image, but must be triton-server" >&2; exit 1 ;;
esac
for file in passwd group shadow; do
    [ -e "/etc/$file" ] || continue
    case $file in
        passwd) entry='triton-server:x:1000:1000::/home/triton-server:/bin/bash' ;;
        group) entry='triton-server:x:1000:' ;;
        shadow) entry='triton-server:!:19000:0:99999:7:::' ;;
    esac
    {
        sed -e '/^ubuntu:/d' -e '/^triton-server:/d' -e 's/\([:,]\)ubuntu,/\1/' -e 's/[,]ubuntu$//' -e 's/:ubuntu$/:/' "/etc/$file"
        echo "$entry"
    } > "$accounts/etc/$file"
    chown --reference="/etc/$file" "$accounts/etc/$file"
    chmod --reference="/etc/$file" "$accounts/etc/$file"
done
if [ ! -e /home/triton-server ]; then
    home=$(cd -P /home 2> /dev/null && pwd) || home=/home
    mkdir -p "$accounts$home/triton-server"
    chown 1000:1000 "$accounts$home/triton-server"
    chmod 755 "$accounts$home/triton-server"
fi
# COPY may give the base's folders the mode and the time of these.
find $accounts -mindepth 1 -depth -type d | while IFS= read -r folder; do
    path=${folder#"$accounts"}
    [ ! -d "$path" ] || {
        chown --reference="$path" "$folder"
        chmod --reference="$path" "$folder"
        touch --reference="$path" "$folder"
    }
done
