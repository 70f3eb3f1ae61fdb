# Runs in the base image: creates the server's user. Arguments: its name, its ID, users to delete first.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
name=$1 id=$2
shift 2
for other; do
    if id -u "$other" > /dev/null 2>&1; then userdel "$other"; fi
done
if ! id -u "$name" > /dev/null 2>&1; then useradd --user-group --uid "$id" --create-home "$name"; fi
if [ "$(id -u "$name")" != "$id" ] || [ "$(id -g "$name")" != "$id" ]; then
    echo "tritonbuild: $name is user $(id -u "$name") in the base image, but must be $id" >&2
    exit 1
fi
