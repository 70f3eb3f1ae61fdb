"""The loader's cache, /etc/ld.so.cache, as ldconfig would write it: computed from the files of an image.

The rules are those of glibc's elf/ldconfig.c, elf/cache.c and sysdeps/generic/dl-cache.h (new format, 2.32 and later
write only that; every loader since 2.2 reads it).
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from tritonbuild.oci.elf import Elf
from tritonbuild.oci.layerindex import FILE, SYMLINK
from tritonbuild.oci.view import View

PATH: Final = "etc/ld.so.cache"
CONFIGURATION: Final = "etc/ld.so.conf"

_FLAGS: Final = {(64, 62): 0x0303, (32, 3): 0x0003, (64, 183): 0x0A03, (32, 40): 0x0903, (64, 21): 0x0503}
"""ELF class and machine -> FLAG_ELF_LIBC6 and the architecture's bits."""

MULTIARCH: Final = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu", 21: "powerpc64le-linux-gnu"}
"""Machine -> the name of its folder in Debian and Ubuntu."""

_MOST_INCLUDES: Final = 10


@attrs.frozen(kw_only=True)
class Library:
    """A line of the cache."""

    name: str
    path: str
    flags: int


def flags(elf: Elf) -> int:
    """Return the flags of a library's line; 0 for a processor that is not known here."""
    return _FLAGS.get((elf.bits, elf.machine), 0)


def standard_folders(view: View, machine: int) -> tuple[str, ...]:
    """Return the folders that the image's loader searches by itself, in its order: Debian's, or everybody else's."""
    multiarch = MULTIARCH.get(machine)
    if multiarch and view.resolve(f"usr/lib/{multiarch}") is not None:
        return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib", "/usr/lib")
    return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


def folders(view: View, machine: int, extra: Mapping[str, bytes] | None = None) -> tuple[str, ...]:
    """Return the folders that ldconfig looks into, in its order.

    Args:
        view: The files.
        machine: The processor's number in ELF.
        extra: Files that are to be there besides, by path without leading slash.
    """
    configured = [*_configured(view, extra or {}, CONFIGURATION, _MOST_INCLUDES)]
    return tuple(dict.fromkeys([*configured, *standard_folders(view, machine)]))


def _configured(view: View, extra: Mapping[str, bytes], path: str, depth: int) -> Iterator[str]:
    content = extra.get(path) or view.content(path)
    for raw in (content or b"").decode("utf-8", "surrogateescape").split("\n"):
        line = raw.partition("#")[0].strip()
        word, _, rest = line.partition(" ")
        word, _, rest = line.partition("\t") if "\t" in word else (word, "", rest)
        if word == "include":
            for pattern in rest.split() if depth else ():
                absolute = pattern if pattern.startswith("/") else f"/{posixpath.dirname(path)}/{pattern}"
                for found in _glob(view, extra, absolute):
                    yield from _configured(view, extra, found, depth - 1)
        elif word == "hwcap" or not line:
            continue
        else:
            for folder in line.replace(",", " ").replace(":", " ").split():
                name = folder.partition("=")[0].rstrip("/")
                if name.startswith("/"):
                    yield name


def _glob(view: View, extra: Mapping[str, bytes], pattern: str) -> list[str]:
    folder, _, last = pattern.strip("/").rpartition("/")
    real = view.resolve(folder)
    names = {*(view.names(real) if real is not None else ())}
    names |= {posixpath.basename(path) for path in extra if posixpath.dirname(path) == folder}
    shown = (name for name in names if fnmatch.fnmatchcase(name, last) and (last[:1] == "." or name[:1] != "."))
    return [f"{folder}/{name}" for name in sorted(shown)]


def libraries(view: View, machine: int, extra: Mapping[str, bytes] | None = None) -> list[Library]:
    """Return the lines of the cache, sorted as the loader expects them.

    Variants for particular processors (glibc-hwcaps) are left out: the loader then takes the baseline's.
    """
    found: list[Library] = []
    seen = set()
    for folder in folders(view, machine, extra):
        real = view.resolve(folder)
        if real is None or not view.is_folder(real) or real in seen:
            continue
        seen.add(real)
        found += _in_folder(view, folder, real)
    # What stands in an earlier folder stays before what has the same name in a later one: sorting is stable.
    return _sorted(found)


def _sorted(found: Iterable[Library]) -> list[Library]:
    def compare(one: Library, other: Library) -> int:
        return _compare(other.name, one.name) or other.flags - one.flags

    return sorted(found, key=functools.cmp_to_key(compare))


@attrs.frozen(kw_only=True)
class _Found:
    name: str
    flags: int
    is_link: bool


def _in_folder(view: View, folder: str, real: str) -> list[Library]:
    kept: dict[str, _Found] = {}
    for name in view.names(real):
        if not (name.startswith(("lib", "ld-")) and ".so" in name) or name.endswith((".dpkg-new", ".dpkg-tmp")):
            continue
        path = f"{real}/{name}" if real else name
        target = view.resolve(path)
        if target is None or view.kind(target) != FILE:
            continue
        file = view.elf(target)
        if file is None or not flags(file) or not file.dynamic:
            continue
        soname = file.soname or name
        is_link = view.kind(path) == SYMLINK
        # A link that is neither named like the soname nor the one that a linker takes counts as a file.
        if is_link and name != soname and not (name.endswith(".so") and soname.startswith(name)):
            is_link = False
        if is_link:
            soname = name
        before = kept.get(soname)
        if before is None or _better(name, is_link, before):
            kept[soname] = _Found(name=name, flags=flags(file), is_link=is_link)
    lines = []
    for soname, one in kept.items():
        # ldconfig makes the link named like the soname where it lacks; here the file's own name does.
        there = f"{real}/{soname}" in view
        lines.append(Library(name=soname, path=f"{folder}/{soname if there else one.name}", flags=one.flags))
    return lines


def _better(name: str, is_link: bool, before: _Found) -> bool:  # noqa: FBT001
    if is_link != before.is_link:
        return is_link
    return _compare(name, before.name) > 0


def _compare(one: str, other: str) -> int:
    """Compare names as the loader does (_dl_cache_libcmp): digits by value, and after everything else."""
    a, b = one.encode("utf-8", "surrogateescape") + b"\0", other.encode("utf-8", "surrogateescape") + b"\0"
    i = j = 0
    while a[i]:
        if _is_digit(a[i]):
            if not _is_digit(b[j]):
                return 1
            (first, i), (second, j) = _number(a, i), _number(b, j)
            if first != second:
                return first - second
        elif _is_digit(b[j]):
            return -1
        elif a[i] != b[j]:
            return _signed(a[i]) - _signed(b[j])
        else:
            i, j = i + 1, j + 1
    return _signed(a[i]) - _signed(b[j])


def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57  # noqa: PLR2004 - "0" to "9"


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte  # noqa: PLR2004 - char is signed


def _number(text: bytes, place: int) -> tuple[int, int]:
    start = place
    while _is_digit(text[place]):
        place += 1
    return int(text[start:place]), place


def render(found: Iterable[Library]) -> bytes:
    """Return the cache as it stands in a file."""
    lines = [*found]
    head_size, line_size = 48, 24
    strings = bytearray()
    places: dict[str, int] = {}
    base = head_size + line_size * len(lines)

    def place(text: str) -> int:
        if text not in places:
            places[text] = base + len(strings)
            strings.extend(text.encode("utf-8", "surrogateescape") + b"\0")
        return places[text]

    # As ldconfig, a name is found at the end of its path.
    table = bytearray()
    for line in lines:
        path = place(line.path)
        name = (
            path + len(line.path.encode("utf-8", "surrogateescape")) - len(line.name.encode("utf-8", "surrogateescape"))
        )
        if posixpath.basename(line.path) != line.name:
            name = place(line.name)
        table += struct.pack("<iIIIQ", line.flags, name, path, 0, 0)
    head = struct.pack("<17s3sIIB3xII2I", b"glibc-ld.so.cache", b"1.1", len(lines), len(strings), 2, 0, 0, 0, 0)
    return bytes(head + table + strings)
