#!/bin/sh
# Install the programs that the demo or all tests need, from Debian's packages, or print the command to run.
set -eu

case ${1:-} in
    demo) packages='mmdebstrap gcc libc6-dev docker-registry podman runc' programs='mmdebstrap gcc docker-registry podman runc' ;;
    all)
        packages='mmdebstrap gcc libc6-dev docker-registry podman runc buildah docker.io skopeo containerd iptables busybox-static libarchive-tools'
        programs='mmdebstrap gcc docker-registry podman runc buildah dockerd skopeo containerd iptables busybox bsdtar'
        ;;
    *) echo "usage: $0 demo|all" >&2; exit 2 ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=
for program in $programs; do
    command -v "$program" > /dev/null || missing="$missing $program"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "missing:$missing; install them, on Debian as root with: apt-get install --no-install-recommends $packages" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # words
apt-get install -qq --yes --no-install-recommends $packages > /dev/null
