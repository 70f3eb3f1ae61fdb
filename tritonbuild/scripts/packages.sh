# Runs in the base image: installs packages, and leaves no package lists behind.
# Arguments: apt=PACKAGE of the distribution. With the runtime install also arch=ARCH, the expected architecture;
# nvidia=PACKAGE of NVIDIA's, and for these repository=URL with keyring=PACKAGE or key=NAME, ubuntu=VERSION,
# recommends=yes; loader=PACKAGE for one of them whose folders of libraries the loader's configuration has to list.
set -eu
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
apt='' nvidia='' loader='' repository='' keyring='' key='' ubuntu='' recommends=--no-install-recommends
remedy='give a base of Debian or Ubuntu, or leave out --apt'
for argument; do
    value=${argument#*=}
    case $argument in
        arch=*)
            remedy='compose with --runtime copy'
            if [ "$(uname -m)" != "$value" ]; then
                echo "tritonbuild: the Containerfile is for $value, but the base image is for $(uname -m): give --platform" >&2
                exit 1
            fi
            ;;
        apt=*) apt="$apt $value" ;;
        nvidia=*) nvidia="$nvidia $value" ;;
        loader=*) loader="$loader $value" ;;
        repository=*) repository=$value ;;
        keyring=*) keyring=$value ;;
        key=*) key=$value ;;
        ubuntu=*) ubuntu=$value ;;
        recommends=*) recommends= ;;
    esac
done
system=$(sed -n -e 's/^ID=//p' -e 's/^VERSION_ID=//p' /etc/os-release | tr -d '"' | tr '\n' ' ')
if ! command -v apt-get > /dev/null; then
    echo "tritonbuild: the base image (${system% }) has no apt-get: $remedy" >&2
    exit 1
fi
if [ -n "$nvidia" ] && [ "$system" != "ubuntu $ubuntu " ] && [ "$system" != "$ubuntu ubuntu " ]; then
    echo "tritonbuild: NVIDIA's packages are for ubuntu $ubuntu, but the base image is ${system% }: give --dcgm copy" >&2
    exit 1
fi
apt-get update -qq
apt-get install -y --no-install-recommends $apt
if [ -n "$nvidia" ]; then
    if [ -n "$keyring" ]; then
        curl -fsSL -o /tmp/keyring.deb "$repository/$keyring"
        dpkg -i /tmp/keyring.deb
        rm -f /tmp/keyring.deb
    else
        mkdir -p /etc/apt/keyrings
        curl -fsSL -o /etc/apt/keyrings/nvidia.asc "$repository/$key.pub"
        # The min image may name the repository too, with a key that has been withdrawn.
        rm -f /etc/apt/sources.list.d/cuda*.list
        echo "deb [signed-by=/etc/apt/keyrings/nvidia.asc] $repository /" > /etc/apt/sources.list.d/nvidia.list
    fi
    apt-get update -qq
    apt-get install -y $recommends $nvidia
    for package in $loader; do
        dpkg -L "$package" | sed -n 's|/lib[^/]*\.so[^/]*$||p' | sort -u > "/etc/ld.so.conf.d/$package.conf"
    done
fi
# Removed in the same layer: files that a later layer removes still take space in the image.
apt-get clean
rm -rf /tmp/packages.sh /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log
