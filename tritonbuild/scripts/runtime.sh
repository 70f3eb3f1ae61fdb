# Runs in the full image: collects in /tritonbuild/runtime the files that the chosen components need and the base lacks.
# For check.sh, writes their paths to runtime.list, the libraries that this image lacks to runtime.missing and the
# interpreter of the python backend to runtime.python, and copies libraries that the base has in another version to
# runtime.other. In lists of paths, each line is a path, and \001 stands for a line break in it.
# Arguments: folders of components below /opt/tritonserver, or below FOLDER of the sdk image after a first root=FOLDER;
# name=PATTERN for libraries opened by name at run time; file=PATH for a file or folder that is read at run time, and
# small=PATH for one that is left out if it has more than 4 MiB beyond the base; exclude=PATTERN for libraries that are left
# out. /tritonbuild/files.list has the paths of the user's files, if there are any.
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
mkdir -p $out $out.other
newline='
'
mark=$(printf '\001')
tab=$(printf '\t')
: > $out.list
: > $out.missing
: > $out.python
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

# Asks the loader about the ELF files named on standard input. Appends "NAME<tab>PATH" to $work/needed for every library that
# they lead to, "NAME<tab>FILE" to $work/linked for every name of a library that a file leads to, and the same to
# $out.missing if the file does not find it.
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
    sed -n 's/^\t\(.*\) => \(\/.*\) (0x[0-9a-f]*)$/\1\t\2/p' $work/answer | sort -u >> $work/needed
    awk '
        /^[^\t].*:$/ { file = substr($0, 1, length($0) - 1); next }
        /^\t.* => / { name = substr($0, 2); sub(/ => .*/, "", name); print name "\t" file }
    ' $work/answer >> $work/linked
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

# Prints the small Python files among those named on standard input that open libraries.
opening_python() {
    nuls | xargs -0 -r sh -c 'find "$@" -prune -type f -name "*.py" -size -1048577c -print0' find |
        xargs -0 -r grep -l -s -Z -E 'ctypes|dlopen|CDLL' | lines || true
}

# Prints "NAME<tab>FILE" for every name of a library that the files named on standard input hold as a string.
names_in() {
    { nuls | xargs -0 -r grep -a -z -Z -o -H -E '[[:alnum:]_+.%-]*\.so[[:alnum:]_+.%-]*' || true; } | lines | awk '
        NR % 2 { file = $0; next }
        length($0) <= 128 && /^lib[^%]+\.so(\.[0-9]+)*$/ { print $0 "\t" file }
    ' | sort -u
}

# Writes the segments of the 64-bit ELF file $1 to $work/segments: type, flags, offset, address and size, by offset.
segments_of() {
    local table count
    table=$(od -A n -v -t u8 -j 32 -N 8 "$1" | tr -d ' ')
    count=$(od -A n -v -t u2 -j 56 -N 2 "$1" | tr -d ' ')
    od -A n -v -t u8 -w56 -j "$table" -N $((count * 56)) "$1" |
        awk '{ print $1 % 4294967296, int($1 / 4294967296), $2, $3, $5 }' | sort -n -k 3,3 > $work/segments
}

# Prints DT_SONAME and each DT_NEEDED of the file $1, whose segments are in $work/segments.
dynamic_names() {
    local dynamic byte
    dynamic=$(awk '$1 == 2 { print "-j", $3, "-N", $5; exit }' $work/segments)
    [ -n "$dynamic" ] || return 0
    # shellcheck disable=SC2086 - two options
    od -A n -v -t u8 -w16 $dynamic "$1" | awk '
        FILENAME == ARGV[1] { if ($1 == 1) { start[++n] = $4; size[n] = $5; offset[n] = $3 } next }
        $1 == 0 { exit }
        $1 == 5 { strings = $2 }
        $1 == 1 || $1 == 14 { names[++m] = $2 }
        END {
            for (i = 1; i <= n; i++)
                if (start[i] <= strings && strings < start[i] + size[i])
                    for (j = 1; j <= m; j++) printf "%.0f\n", strings - start[i] + offset[i] + names[j] + 1
        }
    ' $work/segments - | while read -r byte; do
        tail -c "+$byte" "$1" | head -c 256 | tr '\000' '\n' | head -n 1
    done
}

# Tells whether the ELF file $1 opens the library $2, of which it holds the name: the name is not its own, nor that of a
# library that it is linked to, and it is where a program has strings. Linkers that keep code apart begin the file with a
# segment that is not executable. If it is followed by the code and then by a segment that can only be read, the strings are
# in that one, and the first one holds tables.
opens() {
    [ "$(od -A n -v -t u1 -j 4 -N 1 "$1" | tr -d ' ')" = 2 ] || return 1
    segments_of "$1"
    ! dynamic_names "$1" | grep -qxF -e "$2" || return 1
    grep -a -z -o -b -E '[[:alnum:]_+.%-]*\.so[[:alnum:]_+.%-]*' "$1" | tr '\000' '\n' | awk -v name="$2" '
        FILENAME == ARGV[2] { if ($1 == 1) { flags[++n] = $2; offset[n] = $3; size[n] = $5 } next }
        $2 == name { found[++m] = $1 }
        END {
            first = 1
            apart = flags[1] % 2 == 0
            for (i = n; apart && i > 1; i--) if (flags[i] % 2) code = i
            for (i = n; code && i > code; i--) if (flags[i] % 4 < 2 && flags[i] % 2 == 0) first = 2
            for (i = first; i <= n; i++) {
                if (apart && flags[i] % 2) continue
                for (j = 1; j <= m; j++) if (offset[i] <= found[j] && found[j] < offset[i] + size[i]) exit 0
            }
            exit 1
        }
    ' FS=' ' $work/segments FS=: -
}

# Tells whether the library $1 that is found at $2 is one that can be brought; sets $folder to the canonical path of its
# folder.
is_portable() {
    local pattern
    case $1 in
        # The C library is the base's, if it has one; the driver's libraries come from the host.
        ld-linux* | libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | libresolv.so.* | libutil.so.*)
            ! grep -qxF -e libc.so.6 $base/sonames || return 1
            ;;
        libcuda.so* | libcudadebugger.so* | libnvidia-* | libnvcuvid.so* | libnvoptix.so*) return 1 ;;
    esac
    while read -r pattern; do
        case $1 in
            $pattern) return 1 ;;
        esac
    done < $work/excluded
    folder_of "$2" || return 1
    case $folder in
        $server | $server/*) return 1 ;;
    esac
}

# Tells whether the base has the library $1, or a file at the path of $2 in $folder.
base_has() { grep -qxF -e "$1" $base/sonames || in_base "$folder/${2##*/}"; }

# Tells whether the library $1 that is found at $2 has to be brought; sets $folder as is_portable does.
is_lacking() { is_portable "$1" "$2" && ! base_has "$1" "$2"; }

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
    find "$server/$argument" -name '*.py' -print0 | lines >> $work/python_files
done > $work/candidates
while IFS= read -r entry; do
    decode "$entry"
    [ -e "$path" ] || continue
    target=$(readlink -f "$path" && echo .)
    target=${target%??}
    case $target/ in
        $server/*) continue ;;
    esac
    # A folder that holds the server is no part of a component.
    case $server/ in
        "${target%/}"/*) continue ;;
    esac
    if [ -d "$target" ]; then
        encode "$target"
        printf '%s\n' "$line" | bring_read
    elif ! in_base "$target"; then
        bring "$target"
    fi
done < $work/candidates

# The user's files, too, are in the composed image.
if [ $image = full ] && [ -e /tritonbuild/files.list ]; then
    nuls < /tritonbuild/files.list | xargs -0 -r sh -c '
        find "$@" -maxdepth 0 \( -perm /111 -o -name "*.so" -o -name "*.so.*" \) -print0
    ' find | lines >> $work/candidates
    grep '\.py$' /tritonbuild/files.list >> $work/python_files || true
    while IFS= read -r entry; do
        decode "$entry"
        folder_of "$path"
        encode "${folder%/}/${path##*/}"
        printf '%s\n' "$line"
    done < /tritonbuild/files.list | sort -u -o $base/paths - $base/paths
fi

# Sets $python to the interpreter of version $1 that PATH selects, and $environment to the folder of the virtual
# environment that it is in, if any. Those of Python 3.8 have no program that is named with the minor version.
find_python() {
    local folder IFS=:
    set -f
    for folder in $PATH; do
        folder=${folder%/}
        environment=
        if [ -f "$folder/pyvenv.cfg" ]; then
            environment=$folder
        elif [ -f "${folder%/*}/pyvenv.cfg" ]; then
            environment=${folder%/*}
        fi
        python=$folder/python$1
        if [ -z "$1" ] || [ -f "$python" ]; then break; fi
        python=$folder/python3
        if [ -n "$environment" ] && [ -d "$environment/lib/python$1" ] && [ -f "$python" ]; then break; fi
        python=
    done
    set +f
    [ -n "$1" ] && [ -n "$python" ]
}

# Prints the program that the virtual environment $1 is based on, for Python of version $2.
base_of() {
    awk -F= '{ key = tolower($1); gsub(/[ \t]/, "", key) }
        key == "home" { sub(/^[^=]*=[ \t]*/, ""); sub(/[ \t\r]+$/, ""); print; exit }' "$1/pyvenv.cfg" |
        while IFS= read -r home; do
            for name in "python$2" python3; do
                if [ -f "$home/$name" ]; then echo "$home/$name" && break; fi
            done
        done
}

# Copies the folder $1 of an interpreter, except for files that serve to link other programs, or to test.
bring_packages() {
    [ -d "$1" ] || return 0
    folder_of "$1/."
    [ ! -d "$out$folder" ] || return 0
    mkdir -p "$out$folder"
    cp -a "$folder/." "$out$folder"
    find "$out$folder" -name '*.[ao]' -type f -exec rm -f {} +
    find "$out$folder" -maxdepth 1 -name test -type d -exec rm -rf {} +
    [ ! -d "$out$folder/numpy" ] || find "$out$folder/numpy" -name tests -type d -prune -exec rm -rf {} +
    find "$out$folder" ! -type d -print0 | lines | sed "s|^$out||" >> $out.list
}

# 2. The interpreter that the python backend embeds, with its standard library and packages, and a virtual environment.
for stub in $(grep '/backends/python/triton_python_backend_stub$' $work/candidates || true); do
    version=$(ldd "$stub" | sed -n 's/.*libpython\([0-9.]*\)\.so.*/\1/p' | head -n 1)
    find_python "$version" || {
        echo "tritonbuild: the python backend needs python$version, which the full image does not have" >&2
        exit 1
    }
    printf '%s\n' "$python" > $out.python
    interpreter=$python
    if [ -n "$environment" ]; then
        interpreter=$(base_of "$environment" "$version")
        if [ -z "$interpreter" ]; then
            echo "tritonbuild: the virtual environment $environment has no python$version to be based on" >&2
            exit 1
        fi
        bring_packages "$environment"
        bring "$environment"
    fi
    # -B: the interpreter writes no bytecode, which would be brought too.
    "$python" -I -B -c 'import site, sysconfig
for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), *site.getsitepackages()): print(path)' |
        sort -u > $work/python
    while read -r folder; do bring_packages "$folder"; done < $work/python
    bring "$python"
    bring "$interpreter"
    if [ "$(readlink -f /usr/bin/python3)" = "$(readlink -f "$interpreter")" ]; then bring /usr/bin/python3; fi
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
# The libraries that dlopen finds by name: those in LD_LIBRARY_PATH before those in the loader's cache.
{
    (
        IFS=':;'
        set -f
        for folder in $LD_LIBRARY_PATH; do
            set +f
            case $folder in
                /*) ;;
                *) continue ;;
            esac
            for path in "$folder"/*.so*; do
                [ ! -f "$path" ] || printf '%s\t%s\n' "${path##*/}" "$path"
            done
        done
    )
    ldconfig -p | sed -n -e '/, hwcap: /d' -e 's/^[[:space:]]*\([^ ]*\) (.*=> \(.*\)$/\1\t\2/p'
} > $work/cache
awk -F '\t' '!($1 in seen) { seen[$1] = 1; print }' $work/cache > $work/found_by_name
: > $work/needed
: > $work/excluded
for argument; do
    case $argument in
        exclude=*) printf '%s\n' "${argument#exclude=}" >> $work/excluded ;;
        name=*)
            pattern=${argument#name=}
            while IFS=$tab read -r name path; do
                case $name in
                    $pattern) printf '%s\t%s\n' "$name" "$path" ;;
                esac
            done < $work/found_by_name >> $work/needed
            ;;
    esac
done
cut -f 2- $work/needed >> $work/candidates

# 4. The libraries that all of this is linked to or names as a string, and the base has neither by name nor at that path; then
# those that the libraries which are brought are linked to or name, and so on.
sort -u $work/candidates | elf_files > $work/elf
cp $work/elf $work/asking
{ cat $work/elf; cat $work/python_files $out.list | opening_python; } > $work/naming
: > $work/linked
: > $work/handled
: > $work/shared
while [ -s $work/asking ] || [ -s $work/naming ]; do
    ask_loader < $work/asking
    # A file's own name, and the names of libraries that it is linked to, are no names of libraries that it opens.
    names_in < $work/naming | awk -F '\t' '
        FILENAME == ARGV[1] { path[$1] = $2; next }
        FILENAME == ARGV[2] { linked[$0] = 1; next }
        $1 in path && !($0 in linked) { print $1 "\t" path[$1] "\t" substr($0, length($1) + 2) }
    ' $work/found_by_name $work/linked - > $work/named
    cut -f 1-2 $work/named | sort -u | while IFS=$tab read -r name path; do
        if is_lacking "$name" "$path"; then printf '%s\n' "$name"; fi
    done > $work/wanted
    while IFS=$tab read -r name found line; do
        grep -qxF -e "$name" $work/wanted || continue
        ! grep -qxF -e "$name$tab$found" $work/needed || continue
        decode "$line"
        case $path in
            *.py) ;;
            *) opens "$path" "$name" || continue ;;
        esac
        printf '%s\t%s\n' "$name" "$found" >> $work/needed
        printf 'tritonbuild: %s names %s, which is brought\n' "$line" "$name" >&2
    done < $work/named
    sort -u $work/needed | comm -23 - $work/handled > $work/new
    sort -u -o $work/handled $work/handled $work/new
    : > $work/brought
    while IFS=$tab read -r name path; do
        is_portable "$name" "$path" || continue
        if base_has "$name" "$path"; then
            printf '%s\n' "$path" >> $work/shared
            continue
        fi
        printf '%s\n' "$path" >> $work/brought
        bring "$path"
        # Found through the loader's configuration or the environment, not by a run path: configure the base's loader.
        case $folder in
            /lib | /usr/lib | /lib/*-linux-gnu | /usr/lib/*-linux-gnu) ;;
            *)
                if grep -qxF -e "$name$tab$path" $work/cache; then printf '%s\n' "$folder" >> $work/folders; fi
                ;;
        esac
    done < $work/new
    sort -u $work/brought | comm -23 - $work/elf | elf_files > $work/asking
    cp $work/asking $work/naming
    sort -u -o $work/elf $work/elf $work/asking
done
if [ -s $work/folders ]; then
    mkdir -p $out/etc/ld.so.conf.d
    sort -u $work/folders > $out/etc/ld.so.conf.d/$conf
fi

# 5. Libraries that the base has in another file, for symbol versions that only this image has. A version with the name of
# the library itself is in each of its files.
identify() {
    tr '\n' '\000' | xargs -0 -r stat -L -c '%s %Y %n' 2> /dev/null > $work/sizes || true
    awk '$1 > 16777216' $work/sizes
    awk '$1 <= 16777216' $work/sizes | sed 's/^[^ ]* [^ ]* //' | tr '\n' '\000' | xargs -0 -r cksum 2> /dev/null || true
}
sort -u $work/shared | identify > $work/files
awk '
    FILENAME == ARGV[1] { same[$0] = 1; next }
    {
        path = name = $0
        sub(/^[^ ]* [^ ]* /, "", path)
        sub(/.*\//, "", name)
        if (!(($1 " " $2 " " name) in same)) print path
    }
' $base/libraries $work/files > $work/other
if [ -s $work/other ]; then
    tr '\n' '\000' < $work/elf | xargs -0 -r ldd -v /bin/sh 2> /dev/null |
        sed -n 's/^\t\t\([^ ]*\) (\(.*\)) => .*/\1 \2/p' | awk '$1 != $2 { print $1 }' | sort -u > $work/versioned
    while IFS= read -r path; do
        if grep -qxF -e "${path##*/}" $work/versioned; then cp -pL "$path" $out.other/; fi
    done < $work/other
fi

# 6. Libraries that the copied libraries need and this image lacks.
sed -n -e '/\.so$/p' -e '/\.so\./p' $out.list | sort -u > $work/brought
comm -23 $work/brought $work/elf | elf_files | ask_loader
sort -u -o $out.missing $out.missing

# 7. Reproducible bytes: folders get the mode and the time that they have in the full image.
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
