# Runs in the full image: collects in /tritonbuild/runtime what the chosen components need and the base lacks.
# Arguments: folders of components below /opt/tritonserver, or below FOLDER of the sdk image after a first root=FOLDER;
# name=PATTERN for libraries opened by name at run time; file=PATH for a file that is read at run time.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
server=/opt/tritonserver
image=full conf=tritonbuild.conf
case ${1:-} in
    root=*)
        server=${1#root=}
        image=sdk conf=tritonbuild-sdk.conf
        shift
        ;;
esac
base=/tritonbuild/base
out=/tritonbuild/runtime
work=$(mktemp -d)
export LD_LIBRARY_PATH="$server/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
mkdir -p $out
: > $out.list
# The server finds its own libraries; of clients the loader has to be told.
[ $image = full ] || echo "$server/lib" > $work/folders

# Copies $1 and every link it leads through, each at its canonical path: a base may have a link where $1 has a folder.
bring() {
    local path=$1 folder target
    while :; do
        folder=$(cd -P "${path%/*}/" && pwd)
        path=${folder%/}/${path##*/}
        if [ -e "$out$path" ] || [ -L "$out$path" ]; then return 0; fi
        mkdir -p "$out$folder"
        cp -a "$path" "$out$path"
        echo "$path" >> $out.list
        [ -L "$path" ] || return 0
        target=$(readlink "$path")
        case $target in
            /*) path=$target ;;
            *) path=$folder/$target ;;
        esac
        [ -e "$path" ] || return 0
    done
}

# Prints the ELF files among those named on standard input.
elf_files() {
    tr '\n' '\0' | xargs -0 -r grep -l -s -m 1 "^$(printf '\177')ELF" || true
}

# Prints "NAME PATH" for every library that the ELF files named on standard input lead to.
libraries() {
    tr '\n' '\0' | xargs -0 -r ldd 2> /dev/null | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | sort -u || true
}

# 1. What is copied as it is.
set -- bin lib "$@"
for argument; do
    case $argument in
        name=* | file=*) continue ;;
    esac
    if [ ! -d "$server/$argument" ]; then
        echo "tritonbuild: the $image image has no $server/$argument" >&2
        exit 1
    fi
    find "$server/$argument" ! -type d \( -perm /111 -o -name '*.so' -o -name '*.so.*' \)
done > $work/candidates
while read -r path; do
    target=$(readlink -f "$path") || continue
    case $target in
        $server/*) ;;
        *) if ! grep -qxF "$target" $base/paths; then bring "$target"; fi ;;
    esac
done < $work/candidates

# 2. The interpreter that the python backend embeds, with its standard library and packages.
for stub in $(grep '/backends/python/triton_python_backend_stub$' $work/candidates || true); do
    version=$(ldd "$stub" | sed -n 's/.*libpython\([0-9.]*\)\.so.*/\1/p' | head -n 1)
    python=$(command -v "python$version") || {
        echo "tritonbuild: the python backend needs python$version, which the full image does not have" >&2
        exit 1
    }
    bring "$python"
    if [ "$(readlink -f /usr/bin/python3)" = "$(readlink -f "$python")" ]; then bring /usr/bin/python3; fi
    "$python" -I -c 'import site, sysconfig
for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()): print(path)' |
        sort -u > $work/python
    while read -r folder; do
        [ -d "$folder" ] || continue
        folder=$(cd -P "$folder" && pwd)
        [ ! -d "$out$folder" ] || continue
        mkdir -p "$out$folder"
        cp -a "$folder/." "$out$folder"
        # Left out: what is for linking other programs, and what is for tests.
        find "$out$folder" -name '*.[ao]' -type f -exec rm -f {} +
        find "$out$folder" -maxdepth 1 -name test -type d -exec rm -rf {} +
        find "$out$folder" ! -type d | sed "s|^$out||" >> $out.list
    done < $work/python
    find "$out" -type l | sed "s|^$out||" | while read -r link; do
        target=$(readlink -f "$link") || continue
        if [ -f "$target" ]; then bring "$link"; bring "$target"; fi
    done
done
sed -n -e '/\.so$/p' -e '/\.so\./p' -e '/\/bin\//p' $out.list >> $work/candidates

# 3. What is opened or read at run time, where the full image has it.
(
    ldconfig -p | sed -n 's/^[[:space:]]*\([^ ]*\) (.*=> \(.*\)$/\1 \2/p'
    IFS=:
    for folder in $LD_LIBRARY_PATH; do
        for path in "$folder"/*.so*; do
            [ ! -f "$path" ] || echo "${path##*/} $path"
        done
    done
) > $work/cache
: > $work/needed
for argument; do
    case $argument in
        name=*)
            pattern=${argument#name=}
            while read -r name path; do
                case $name in
                    $pattern) echo "$name $path" ;;
                esac
            done < $work/cache >> $work/needed
            ;;
        file=*)
            file=${argument#file=}
            if [ -e "$file" ] && ! grep -qxF "$file" $base/paths; then bring "$file"; fi
            ;;
    esac
done
cut -d ' ' -f 2- $work/needed >> $work/candidates

# 4. The libraries all of that leads to and the base has neither by name nor at that path.
sort -u $work/candidates | elf_files > $work/elf
libraries < $work/elf >> $work/needed
sort -u $work/needed | while read -r name path; do
    case $name in
        # The C library is the base's; the driver's libraries come from the host.
        ld-linux* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.* | libutil.so.*) continue ;;
        libcuda.so* | libcudadebugger.so* | libnvidia-* | libnvcuvid.so* | libnvoptix.so*) continue ;;
    esac
    folder=$(cd -P "${path%/*}" && pwd)
    case $folder in
        $server | $server/*) continue ;;
    esac
    if grep -qxF "$name" $base/sonames || grep -qxF "$folder/${path##*/}" $base/paths; then continue; fi
    bring "$path"
    # Found through the loader's configuration or the environment, not by a run path: the base's loader has to be told.
    case $folder in
        /lib | /usr/lib | /lib/*-linux-gnu | /usr/lib/*-linux-gnu) ;;
        *)
            if grep -qxF "$name $path" $work/cache; then echo "$folder" >> $work/folders; fi
            ;;
    esac
done
if [ -s $work/folders ]; then
    mkdir -p $out/etc/ld.so.conf.d
    sort -u $work/folders > $out/etc/ld.so.conf.d/$conf
fi

# 5. The same bytes every time: folders as they are in the full image.
(cd $out && find . -depth -type d) | while read -r folder; do
    if [ -d "/$folder" ]; then
        chmod --reference="/$folder" "$out/$folder"
        touch --reference="/$folder" "$out/$folder"
    fi
done
sort -u -o $out.list $out.list
rm -rf $work
