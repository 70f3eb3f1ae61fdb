# Installs Python packages for the interpreter that the server embeds. Arguments: the arguments of a
# pip command; after a "--", those of the next pip command.
set -eu
export LC_ALL=C.UTF-8 PATH="$PATH:/usr/sbin:/sbin" PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore
python=python3
stub=/opt/tritonserver/backends/python/triton_python_backend_stub
if [ -e $stub ]; then
    version=$(ldd $stub | sed -n 's/.*libpython\([0-9.]*\)\.so.*/\1/p' | head -n 1)
    python=python${version:-3}
fi
if ! "$python" -m pip --version > /dev/null 2>&1; then
    echo "tritonbuild: $python has no pip in this image, so that no package can be installed" >&2
    exit 1
fi
# The arguments are passed on standard input, one per line, because a POSIX shell has no nested lists.
printf '%s\n' "$@" | "$python" -I -c 'import subprocess, sys
calls = sys.stdin.read().replace("\n--\n", "\n\n").split("\n\n")
for call in calls:
    words = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--upgrade", *call.split("\n")]
    subprocess.run([word for word in words if word], check=True)'
