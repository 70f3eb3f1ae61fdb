# Runs in the base image: lists what it has, and adds the server's user to its accounts.
# Writes /tritonbuild/{sonames,paths} and /tritonbuild/etc/{passwd,group,shadow}.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
mkdir -p /tritonbuild/etc

# What its loader finds by name; and by path, every shared object and what it has in /etc.
ldconfig
{
    ldconfig -p | sed -n 's/^[[:space:]]*\([^ ]*\) (.*/\1/p'
    IFS=:
    for folder in ${LD_LIBRARY_PATH:-}; do
        [ ! -d "$folder" ] || ls "$folder"
    done
} | sort -u > /tritonbuild/sonames
find / -xdev ! -type d \( -name '*.so*' -o -path '/etc/*' \) | sort > /tritonbuild/paths

# NVIDIA's images have the user triton-server with id 1000, which Ubuntu 24.04 gives to "ubuntu".
holder=$(awk -F: '$3 == 1000 { print $1 }' /etc/passwd)
case $holder in
    '' | ubuntu | triton-server) ;;
    *) echo "tritonbuild: user id 1000 is $holder in the base image, but has to be triton-server" >&2; exit 1 ;;
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
    } > "/tritonbuild/etc/$file"
    chown --reference="/etc/$file" "/tritonbuild/etc/$file"
    chmod --reference="/etc/$file" "/tritonbuild/etc/$file"
done
