# Runs in the full image: puts the user's files at their paths, so that the loader finds them as it will in the composed
# image. Lists them in /tritonbuild/files.list, each line a path, in which \001 stands for a line break.
# Arguments: for each file or folder /tritonbuild/files/NUMBER, its path.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
number=0
for target; do
    source=/tritonbuild/files/$number
    number=$((number + 1))
    mkdir -p "${target%/*}/"
    if [ -d "$source" ]; then
        mkdir -p "$target"
        cp -a "$source/." "$target/"
    else
        cp -a -T "$source" "$target"
    fi
    find "$source" ! -type d -print0 | tr '\n\000' '\001\n' | while IFS= read -r line; do
        printf '%s\n' "$target${line#"$source"}"
    done
done | sort -u > /tritonbuild/files.list
ldconfig
