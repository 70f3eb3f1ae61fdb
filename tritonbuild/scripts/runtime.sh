# Runs in the full image: collects in /tritonbuild/runtime the files that the chosen components need and the base lacks.
# Writes their paths to runtime.list and the libraries that this image lacks to runtime.missing, for check.sh. In lists of
# paths, each line is a path, and \001 stands for a line break in it.
# Arguments: folders of components below /opt/tritonserver, or below FOLDER of the sdk image after a first root=FOLDER;
# name=PATTERN for libraries opened by name at run time; file=PATH for a file or folder that is read at run time, and
# small=PATH for one that is left out if it has more than 4 MiB beyond the base; exclude=PATTERN for libraries that are left
# out.
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
newline='
'
mark=$(printf '\001')
: > $out.list
: > $out.missing
# The server finds its libraries by run paths; clients need the loader's configuration.
[ $image = full ] || echo "$server/lib" > $work/folders

# Turns paths that end with NUL into lines, and back.
lines() { tr '\n\000' '\001\n'; }
nuls() { tr '\n\001' '\000\n'; }

# Sets $path to the path in a line of a list, and $line to the line of a path.
decode() {
    path=$1
    case $path in
        *"$mark"*)
            path=$(printf '%s.' "$path" | tr '\001' '\n')
            path=${path%.}
            ;;
    esac
}
encode() {
    line=$1
    case $line in
        *"$newline"*)
            line=$(printf '%s.' "$line" | tr '\n' '\001')
            line=${line%.}
            ;;
    esac
}

# Sets $folder to the canonical path of the folder that holds $1.
folder_of() {
    folder=$(cd -P "${1%/*}/" && pwd && echo .) || return 1
    folder=${folder%??}
}

# Tells whether the base has the file $1.
in_base() {
    encode "$1"
    grep -qxF -e "$line" $base/paths
}

# Copies $1, a folder with all that it holds, and every link it leads through, each at its canonical path: a base may have
# a link where $1 has a folder.
bring() {
    local path=$1 folder target line
    while :; do
        folder_of "$path" || return 0
        path=${folder%/}/${path##*/}
        if [ -e "$out$path" ] || [ -L "$out$path" ]; then return 0; fi
        mkdir -p "$out$folder"
        cp -a "$path" "$out$path"
        if [ -d "$path" ] && [ ! -L "$path" ]; then
            find "$path" ! -type d -print0 | lines >> $out.list
            return 0
        fi
        encode "$path"
        printf '%s\n' "$line" >> $out.list
        [ -L "$path" ] || return 0
        target=$(readlink "$path" && echo .)
        target=${target%??}
        case $target in
            /*) path=$target ;;
            *) path=$folder/$target ;;
        esac
        [ -e "$path" ] || [ -L "$path" ] || return 0
    done
}

# Brings the files and folders that are named on standard input: of their files and links, and of all that the links lead
# to, those that the base lacks. If $1 is given and the files have more bytes than that, nothing is brought.
bring_read() {
    local most=${1:-} last entry
    cat > $work/ahead
    sort -u $out.list > $work/seen
    while [ -s $work/ahead ]; do
        last=.
        sort -u $work/ahead | while IFS= read -r entry; do
            decode "$entry"
            [ -e "$path" ] || continue
            if [ "${path%/*}" != "$last" ]; then
                folder_of "$path"
                last=${path%/*}
            fi
            path=${folder%/}/${path##*/}
            if [ -L "$path" ] || [ ! -d "$path" ]; then
                printf '%s\000' "$path"
            else
                folder_of "$path/."
                last=.
                find "$folder" ! -type d -print0
            fi
        done | lines | sort -u | comm -23 - $work/seen | comm -23 - $base/paths > $work/new
        if [ -n "$most" ]; then
            size=$(nuls < $work/new | xargs -0 -r stat -c '%s %F' | awk '$2 == "regular" { size += $1 } END { print size + 0 }')
            [ "$size" -le "$most" ] || return 0
            most=
        fi
        (cd / && sed 's|^/||' $work/new | nuls | xargs -0 -r cp -a --parents -t $out --)
        cat $work/new >> $out.list
        sort -u -o $work/seen $work/seen $work/new
        nuls < $work/new | xargs -0 -r sh -c '
            find "$@" -maxdepth 0 -type l \( -lname "/*" -printf "%l\0" -o -printf "%h/%l\0" \)
        ' find | lines > $work/ahead
    done
}

# Prints the ELF files among those named on standard input.
elf_files() {
    nuls | xargs -0 -r grep -l -s -Z -m 1 "^$(printf '\177')ELF" | lines || true
}

# Asks the loader about the ELF files named on standard input: appends "NAME PATH" to $work/needed for every library that
# they lead to, and "NAME<tab>PATH" to $out.missing for every library that a file of that path does not find.
# ldd prints the path of each file before its libraries when it has more than one argument.
ask_loader() {
    cat > $work/asked
    {
        grep -v "$mark" $work/asked | nuls | xargs -0 -r ldd /bin/sh 2>&1 || true
        grep "$mark" $work/asked | while IFS= read -r line; do
            decode "$line"
            printf '%s:\n' "$line"
            ldd "$path" 2>&1 || true
        done
    } > $work/answer
    sed -n 's/^\t\(.*\) => \(\/.*\) (0x[0-9a-f]*)$/\1 \2/p' $work/answer | sort -u >> $work/needed
    awk '
        BEGIN { FS = "\t" }
        /^[^\t].*:$/ { file = substr($0, 1, length($0) - 1); next }
        /^\t.* => not found$/ { sub(/ => not found$/, "", $2); print $2 "\t" file }
        /: version `.*not found/ { sub(/^.*: version `/, ""); sub(/\047.*/, ""); print $0 "\t" file }
        /: error while loading shared libraries: / {
            sub(/^.*: error while loading shared libraries: /, ""); sub(/: .*/, ""); sub(/^.*\//, ""); print $0 "\t" file
        }
    ' $work/answer | sort -u >> $out.missing
}

# 1. The server and the components, which are copied whole: the targets of links that lead out of them.
set -- bin lib "$@"
for argument; do
    case $argument in
        name=* | file=* | small=* | exclude=*) continue ;;
    esac
    if [ ! -d "$server/$argument" ]; then
        echo "tritonbuild: the $image image has no $server/$argument" >&2
        exit 1
    fi
    find "$server/$argument" ! -type d \( -perm /111 -o -name '*.so' -o -name '*.so.*' \) -print0 | lines
done > $work/candidates
while IFS= read -r entry; do
    decode "$entry"
    [ -e "$path" ] || continue
    target=$(readlink -f "$path" && echo .)
    target=${target%??}
    case $target in
        $server/*) ;;
        *) if ! in_base "$target"; then bring "$target"; fi ;;
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
        find "$out$folder" ! -type d -print0 | lines | sed "s|^$out||" >> $out.list
    done < $work/python
    find "$out" -type l -print0 | lines | sed "s|^$out||" | while IFS= read -r entry; do
        decode "$entry"
        link=$path
        [ -f "$link" ] || continue
        target=$(readlink -f "$link" && echo .)
        bring "$link"
        bring "${target%??}"
    done
done

# 3. Files that are read and libraries that are opened at run time, if the full image has them.
for argument; do
    case $argument in
        file=*) echo "${argument#file=}" ;;
    esac
done | bring_read
for argument; do
    case $argument in
        small=*) echo "${argument#small=}" | bring_read 4194304 ;;
    esac
done
sed -n -e '/\.so$/p' -e '/\.so\./p' -e '/\/bin\//p' $out.list >> $work/candidates
(
    ldconfig -p | sed -n 's/^[[:space:]]*\([^ ]*\) (.*=> \(.*\)$/\1 \2/p'
    IFS=:
    set -f
    for folder in $LD_LIBRARY_PATH; do
        set +f
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
    esac
done
cut -d ' ' -f 2- $work/needed >> $work/candidates

# 4. The libraries all of that leads to and the base has neither by name nor at that path.
sort -u $work/candidates | elf_files > $work/elf
ask_loader < $work/elf
sort -u $work/needed | while IFS= read -r entry; do
    name=${entry%% *} path=${entry#* }
    case $name in
        # The C library is the base's; the driver's libraries come from the host.
        ld-linux* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.* | libutil.so.*) continue ;;
        libcuda.so* | libcudadebugger.so* | libnvidia-* | libnvcuvid.so* | libnvoptix.so*) continue ;;
    esac
    for argument; do
        case $argument in
            exclude=*)
                pattern=${argument#exclude=}
                case $name in
                    $pattern) continue 2 ;;
                esac
                ;;
        esac
    done
    folder_of "$path"
    case $folder in
        $server | $server/*) continue ;;
    esac
    if grep -qxF -e "$name" $base/sonames || in_base "$folder/${path##*/}"; then continue; fi
    bring "$path"
    # Found through the loader's configuration or the environment, not by a run path: configure the base's loader.
    case $folder in
        /lib | /usr/lib | /lib/*-linux-gnu | /usr/lib/*-linux-gnu) ;;
        *)
            if grep -qxF -e "$name $path" $work/cache; then printf '%s\n' "$folder" >> $work/folders; fi
            ;;
    esac
done
if [ -s $work/folders ]; then
    mkdir -p $out/etc/ld.so.conf.d
    sort -u $work/folders > $out/etc/ld.so.conf.d/$conf
fi

# 5. Libraries that the copied libraries need and this image lacks.
sed -n -e '/\.so$/p' -e '/\.so\./p' $out.list | sort -u > $work/brought
sort -u $work/elf > $work/known
comm -23 $work/brought $work/known | elf_files | ask_loader
sort -u -o $out.missing $out.missing

# 6. Reproducible bytes: folders get the mode and the time that they have in the full image.
(cd $out && find . -depth -type d -print0) | lines | while IFS= read -r entry; do
    decode "$entry"
    folder=$path
    if [ -d "/$folder" ]; then
        chmod --reference="/$folder" "$out/$folder"
        touch --reference="/$folder" "$out/$folder"
    fi
done
sort -u -o $out.list $out.list
rm -rf $work
