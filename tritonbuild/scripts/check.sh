# Runs in the composed image: renews the loader's cache, then looks for libraries that are needed and not there.
# Arguments: names of libraries (shell patterns) that may be missing. /tritonbuild/*.list name what was brought.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
ldconfig
mkdir -p /tritonbuild/etc
cp -p /etc/ld.so.cache /tritonbuild/etc/

export LD_LIBRARY_PATH="/opt/tritonserver/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
{
    folders=/opt/tritonserver
    [ ! -e /tritonbuild/clients.list ] || folders="$folders /workspace/install"
    find $folders ! -type d \( -perm /111 -o -name '*.so' -o -name '*.so.*' \)
    for list in /tritonbuild/*.list; do
        [ ! -e $list ] || sed -n -e '/\.so$/p' -e '/\.so\./p' -e '/\/bin\//p' $list
    done
} | sort -u | tr '\n' '\0' | xargs -0 -r grep -l -s -m 1 "^$(printf '\177')ELF" > /tritonbuild/elf || true

# ldd names each file before its libraries when it is given more than one.
tr '\n' '\0' < /tritonbuild/elf | xargs -0 -r ldd /bin/sh 2>&1 > /tritonbuild/ldd || true
awk '
    /^[^[:space:]].*:$/ { file = substr($0, 1, length($0) - 1) }
    / => not found/ { print file, $1 }
    /: version `.*not found/ { sub(/^.*: version `/, ""); sub(/\047.*/, ""); print file, $0 }
' /tritonbuild/ldd | sort -u > /tritonbuild/missing
failed=0
while read -r file name; do
    case $name in
        # The driver's libraries come from the host, with the GPU.
        libcuda.so* | libcudadebugger.so* | libnvidia-* | libnvcuvid.so* | libnvoptix.so*) continue ;;
    esac
    for pattern; do
        case $name in
            $pattern) continue 2 ;;
        esac
    done
    echo "tritonbuild: $file needs $name, which the composed image does not have" >&2
    failed=1
done < /tritonbuild/missing
exit $failed
