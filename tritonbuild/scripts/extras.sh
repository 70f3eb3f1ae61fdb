# Runs in the full image: collects in /tritonbuild/extras the files that not every full image has, at their canonical paths.
# Arguments: file=PATH, library=PATTERN of names that the loader knows.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
out=/tritonbuild/extras
mkdir -p $out
bring() {
    folder=$(cd -P "${1%/*}/" && pwd)
    mkdir -p "$out$folder"
    cp -a "$1" "$out$folder/"
}
for argument; do
    case $argument in
        file=*)
            if [ -e "${argument#file=}" ]; then bring "${argument#file=}"; fi
            ;;
        library=*)
            pattern=${argument#library=}
            ldconfig -p | sed -n 's/^[[:space:]]*\([^ ]*\) (.*=> \(.*\)$/\1 \2/p' | while read -r name path; do
                case $name in
                    $pattern) ;;
                    *) continue ;;
                esac
                bring "$path"
                target=$(readlink -f "$path")
                if [ "$target" != "$path" ]; then bring "$target"; fi
                case $folder in
                    /lib | /usr/lib | /lib/*-linux-gnu | /usr/lib/*-linux-gnu) ;;
                    *)
                        mkdir -p $out/etc/ld.so.conf.d
                        echo "$folder" >> $out/etc/ld.so.conf.d/tritonbuild.conf
                        ;;
                esac
            done
            ;;
    esac
done
