# Runs in the base image: makes the loader search CUDA's forward compatibility libraries first, if the image has them.
# Without the check, an unset _CUDA_COMPAT_PATH would make this the link /lib, and then remove it.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
folder=${_CUDA_COMPAT_PATH:-}
if [ -z "$folder" ] || [ ! -d "$folder/lib.real" ]; then
    echo 'tritonbuild: the base image has no CUDA compatibility libraries' >&2
    exit 0
fi
if [ -e "$folder/lib" ] && [ ! -L "$folder/lib" ]; then
    echo "tritonbuild: $folder/lib is not a link and is left unchanged" >&2
    exit 0
fi
ln -sfn "$folder/lib.real" "$folder/lib"
echo "$folder/lib" > /etc/ld.so.conf.d/00-cuda-compat.conf
ldconfig
rm -f "$folder/lib"
