# Runs in the full image: removes files of components that are left out of the image. Arguments: FOLDER=PATTERN, the
# folder of a component below /opt/tritonserver and a shell pattern of files and folders in it.
set -eu
export LC_ALL=C
server=/opt/tritonserver
time=$(mktemp)
for argument; do
    folder=$server/${argument%%=*}
    pattern=${argument#*=}
    # runtime.sh reports a folder that is missing.
    [ -d "$folder" ] || continue
    folder=$(cd -P "$folder" && pwd)
    # A folder keeps its time, so that the image's bytes do not depend on the time of the build.
    find "$folder" -path "$folder/$pattern" -prune -exec sh -c '
        for path; do
            touch -r "${path%/*}" "$0"
            rm -rf "$path"
            touch -r "$0" "${path%/*}"
        done
    ' "$time" {} +
done
rm -f "$time"
