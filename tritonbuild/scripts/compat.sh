# Runs in the base image: has the loader look for CUDA's forward compatibility libraries first, where they are there.
# Without the check, an unset _CUDA_COMPAT_PATH would make this the link /lib, and then remove it.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
folder=${_CUDA_COMPAT_PATH:-}
if [ -z "$folder" ] || [ ! -d "$folder/lib.real" ]; then
    echo 'tritonbuild: the base image has no CUDA compatibility libraries' >&2
    exit 0
fi
if [ -e "$folder/lib" ] && [ ! -L "$folder/lib" ]; then
    echo "tritonbuild: $folder/lib is not a link, and stays as it is" >&2
    exit 0
fi
ln -sfn "$folder/lib.real" "$folder/lib"
echo "$folder/lib" > /etc/ld.so.conf.d/00-cuda-compat.conf
ldconfig
rm -f "$folder/lib"
