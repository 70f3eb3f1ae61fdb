# Runs in the composed image: renews the loader's cache, then looks for missing libraries. Collects in /tritonbuild/checked
# what the image gets from this: the cache, and libraries in place of the base's.
# Arguments: root=FOLDER if it runs in the full image and FOLDER has the files of the composed image, and path=FOLDERS for the
# LD_LIBRARY_PATH of the latter; search=FOLDERS for its PATH, if that is not the PATH of this script; exempt=PATTERN for
# libraries that may be missing; absent=FOLDER=PATTERN=PART for libraries that are left out with a part of the image, of a
# component's folder or, if FOLDER is empty, of others. /tritonbuild/NAME.list has the paths of the files that were copied
# beside the server, and NAME.missing the libraries that their source image lacks too: a line "LIBRARY<tab>PATH" for each.
# files.all has the paths of the user's files. In all, \001 stands for a line break in a path. NAME.other has libraries of the
# source image that the base has in another version, and runtime.python the path of the interpreter that the PATH of the full
# image selects.
set -eu
search=$PATH
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
checked=/tritonbuild/checked
mkdir -p $checked/etc
root='' library_path=${LD_LIBRARY_PATH:-}
for argument; do
    case $argument in
        root=*) root=${argument#root=} ;;
        path=*) library_path=${argument#path=} ;;
        search=*) search=${argument#search=} ;;
    esac
done
library_path="/opt/tritonserver/lib${library_path:+:$library_path}"
ldconfig ${root:+-r "$root"}

(
    cd "$root/"
    clients=
    [ ! -e /tritonbuild/clients.list ] || clients=workspace/install
    {
        find opt/tritonserver $clients ! -type d \( -perm /111 -o -name '*.so' -o -name '*.so.*' \) -print0 |
            tr '\n\000' '\001\n'
        for list in /tritonbuild/*.list; do
            [ ! -e "$list" ] || sed -n -e '/\.so$/p' -e '/\.so\./p' -e '/\/bin\//p' "$list" | sed 's|^/||'
        done
        [ ! -e /tritonbuild/files.all ] || sed 's|^/||' /tritonbuild/files.all | tr '\n\001' '\000\n' | xargs -0 -r sh -c '
            find "$@" -maxdepth 0 \( -perm /111 -o -name "*.so" -o -name "*.so.*" \) -print0
        ' find | tr '\n\000' '\001\n'
    } | sort -u | tr '\n\001' '\000\n' | xargs -0 -r grep -l -s -Z -m 1 -e "^$(printf '\177')ELF" -- |
        tr '\n\000' '\001\n' | sed 's|^|/|' > /tritonbuild/elf || true
)
cat /tritonbuild/*.missing 2> /dev/null | sort -u > /tritonbuild/excused || true

# Writes to /tritonbuild/missing a line "LIBRARY<tab>-<tab>PATH" for every library that a file does not find, and a line
# "VERSION<tab>LIBRARY<tab>PATH" for every version of a symbol that the found library does not define.
# ldd prints the path of each file before its libraries when it has more than one argument. A path with a line break is
# an only argument, so that its path is not in the output; so is each path in another root.
lacking='
    BEGIN { FS = "\t" }
    /^[^\t].*:$/ { if (!single) file = substr($0, 1, length($0) - 1); next }
    /^\t.* => not found$/ { sub(/ => not found$/, "", $2); print $2 "\t-\t" file }
    /: version `.*not found/ {
        version = library = $0
        sub(/^.*: version `/, "", version)
        sub(/\047.*/, "", version)
        sub(/: version `.*/, "", library)
        sub(/^.*: \//, "/", library)
        print version "\t" library "\t" file
    }
    /: error while loading shared libraries: / {
        sub(/^.*: error while loading shared libraries: /, ""); sub(/: .*/, ""); sub(/^.*\//, ""); print $0 "\t-\t" file
    }
'
alone=$(printf '\001')
[ -z "$root" ] || alone=.
look() {
    {
        grep -v "$alone" /tritonbuild/elf | tr '\n' '\000' |
            LD_LIBRARY_PATH=$library_path xargs -0 -r ldd /bin/sh 2>&1 | awk "$lacking" || true
        grep "$alone" /tritonbuild/elf | while IFS= read -r line; do
            path=$(printf '%s.' "$line" | tr '\001' '\n')
            trace "${path%.}" | awk -v file="$line" -v single=1 "$lacking"
        done
    } | sort -u > /tritonbuild/missing
}

# Tells whether the loader in $root loads the file $1: not one of another processor, or one that is linked statically.
is_loaded() {
    chroot "$root" "$loader" --verify "$1" > /dev/null 2>&1 || [ $? = 2 ]
}

# Prints what ldd prints about the file $1.
trace() {
    if [ -z "$root" ]; then
        LD_LIBRARY_PATH=$library_path ldd "$1" 2>&1 || true
    elif is_loaded "$1"; then
        chroot "$root" "$loader" --library-path "$library_path" --list "$1" 2>&1 || true
    fi
}

loader=/lib64/ld-linux-x86-64.so.2
[ "$(uname -m)" != aarch64 ] || loader=/lib/ld-linux-aarch64.so.1
if [ -n "$root" ] && ! is_loaded /opt/tritonserver/bin/tritonserver; then
    echo "tritonbuild: the loader of the composed image does not run, so that its libraries cannot be checked" >&2
    exit 1
fi

tab=$(printf '\t')
is_excused() { grep -qxF -e "$1$tab$2" /tritonbuild/excused; }

# Tells whether the arguments exempt the name $1.
is_exempt() {
    exempted=$1
    shift
    for argument; do
        pattern=${argument#exempt=}
        [ "$argument" != "$pattern" ] || continue
        case $exempted in
            $pattern) return 0 ;;
        esac
    done
    return 1
}

# Puts libraries of the source image in a folder that the loader searches first, where the base's lack a version. Fails
# if there is none to add.
replace() {
    found=1
    while IFS=$tab read -r version library file; do
        if [ "$library" = - ] || is_excused "$version" "$file" || is_exempt "$version" "$@"; then continue; fi
        name=${library##*/}
        [ ! -e "$newer/$name" ] || continue
        for other in /tritonbuild/*.other/"$name"; do
            [ -e "$other" ] || continue
            mkdir -p "$newer" $checked"$newer" $checked/etc/ld.so.conf.d
            cp -p "$other" "$newer/"
            cp -p "$other" $checked"$newer/"
            echo "$newer" > /etc/ld.so.conf.d/00-tritonbuild.conf
            cp -p /etc/ld.so.conf.d/00-tritonbuild.conf $checked/etc/ld.so.conf.d/
            found=0
        done
    done < /tritonbuild/missing
    return $found
}
newer=$(cd -P /usr/local/lib 2> /dev/null && pwd || echo /usr/local/lib)/tritonbuild
look
while replace "$@"; do
    ldconfig
    look
done
cp -p "$root/etc/ld.so.cache" $checked/etc/
# COPY may give the base's folders the mode and the time of these.
find $checked -mindepth 1 -depth -type d | while IFS= read -r folder; do
    path=$root${folder#"$checked"}
    chown --reference="$path" "$folder"
    chmod --reference="$path" "$folder"
    touch --reference="$path" "$folder"
done

# Prints the first file called $1 in the folder of a component or of Python packages that has the file $2.
in_package() {
    case $2 in
        /opt/tritonserver/backends/*/* | /opt/tritonserver/repoagents/*/* | /opt/tritonserver/caches/*/*)
            rest=${2#/opt/tritonserver/*/*/}
            folder=${2%/"$rest"}
            ;;
        */site-packages/* | */dist-packages/*)
            folder=$(printf '%s\n' "$2" | sed -e 's|^\(.*/site-packages\)/.*|\1|' -e 's|^\(.*/dist-packages\)/.*|\1|')
            ;;
        *) return 0 ;;
    esac
    find "$root$folder" ! -type d -name "$1" | head -n 1 | sed "s|^$root||"
}

# Prints the part of the image with which the library $1, which the file $2 needs, is left out of the file's component; if
# $2 is empty, of other folders. The arguments of the script follow.
left_out() (
    name=$1 file=$2
    shift 2
    for argument; do
        case $argument in
            absent=*) ;;
            *) continue ;;
        esac
        rest=${argument#*=}
        folder=${rest%%=*} rest=${rest#*=}
        pattern=${rest%%=*}
        [ "${file:+1}" = "${folder:+1}" ] || continue
        case $file in
            "${folder:+$folder/}"*) ;;
            *) continue ;;
        esac
        case $name in
            $pattern)
                printf '%s\n' "${rest#*=}"
                return
                ;;
        esac
    done
)

# Prints the path of the program $1 that the PATH of the image selects.
find_program() {
    local folder IFS=:
    set -f
    for folder in $search; do
        if [ -e "$root$folder/$1" ] || [ -L "$root$folder/$1" ]; then
            printf '%s\n' "$folder/$1"
            return 0
        fi
    done
}

say() { printf 'tritonbuild: %s\n' "$1" >&2; }

failed=0 old=0
if [ -s /tritonbuild/runtime.python ]; then
    python=$(cat /tritonbuild/runtime.python)
    found=$(find_program "${python##*/}")
    if [ "$found" != "$python" ]; then
        say "PATH leads to ${found:-no ${python##*/}} in the composed image, and to $python in the full image"
        case $search in
            /opt/tritonserver/bin:*) search=/opt/tritonserver/bin:${python%/*}:${search#*:} ;;
            *) search=${python%/*}:$search ;;
        esac
        say "add --env PATH=$search"
        failed=1
    fi
fi
while IFS=$tab read -r name library file; do
    case $name in
        # The driver's libraries come from the host, with the GPU.
        libcuda.so* | libcudadebugger.so* | libnvidia-* | libnvcuvid.so* | libnvoptix.so*) continue ;;
    esac
    if is_exempt "$name" "$@"; then continue; fi
    part=$(left_out "$name" "$file" "$@")
    if [ -n "$part" ]; then
        say "$file needs $name, which is left out: add $part"
        failed=1
        continue
    fi
    if is_excused "$name" "$file"; then
        say "$file needs $name, which the full image lacks too"
        continue
    fi
    case $library in
        /*) if [ "$name" != "${name#GLIBC_}" ]; then old=1; fi ;;
        -)
            other=$(in_package "$name" "$file")
            if [ -n "$other" ]; then
                say "$file needs $name, which its package has as $other"
                continue
            fi
            ;;
    esac
    part=$(left_out "$name" '' "$@")
    if [ -n "$part" ]; then
        say "$file needs $name, which is left out: add $part"
    elif [ "$library" != - ]; then
        say "$file needs $name, which $library does not define"
    else
        say "$file needs $name, which the composed image does not have"
    fi
    failed=1
done < /tritonbuild/missing
if [ $old = 1 ]; then say 'use a full image whose base is as old as the base image'; fi
exit $failed
