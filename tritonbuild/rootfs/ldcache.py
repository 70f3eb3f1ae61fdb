"""The loader's cache, /etc/ld.so.cache, equal to what ldconfig writes: computed from the files of an image.

The rules are those of glibc's elf/ldconfig.c, elf/cache.c, elf/stringtable.c and sysdeps/generic/dl-cache.h (new
format: 2.32 and later write no other; every loader since 2.2 reads it, and those before 2.33 skip the lines of
glibc-hwcaps).
"""

from __future__ import annotations

import fnmatch
import functools
import posixpath
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import FILE, SYMLINK
from tritonbuild.rootfs.view import View

PATH: Final = "etc/ld.so.cache"
CONFIGURATION: Final = "etc/ld.so.conf"

_FLAGS: Final = {(64, 62): 0x0303, (32, 3): 0x0003, (64, 183): 0x0A03, (32, 40): 0x0903, (64, 21): 0x0503}
"""ELF class and machine -> FLAG_ELF_LIBC6 and the architecture's bits."""

MULTIARCH: Final = {62: "x86_64-linux-gnu", 183: "aarch64-linux-gnu", 21: "powerpc64le-linux-gnu"}
"""ELF machine -> the name of its folder in Debian and Ubuntu."""

HWCAPS: Final = "glibc-hwcaps"
"""The folder of variants for particular processors; each kind of processor has a subfolder."""

_MOST_INCLUDES: Final = 10
_HEAD: Final = struct.Struct("<17s3sIIB3xI3I")
_LINE: Final = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN: Final = 2
_EXTENSION: Final = 1 << 62
"""Set in the last field of a line for a variant; the rest of the field is the number of its kind."""
_EXTENSIONS_MAGIC: Final = 0xEAA42174
_GENERATOR, _KINDS_OF_VARIANTS = 0, 1
_DIRECTIVE: Final = re.compile(r"(include|hwcap)[ \t]+(.*)")
_SEPARATOR: Final = re.compile(r"[\s,:]+")
_DIGITS_OR_ONE: Final = re.compile(rb"[0-9]+|[^0-9]")


@attrs.frozen(kw_only=True)
class Library:
    """A line of the cache; *hwcaps* is the kind of processor that the variant is for, empty for the baseline."""

    name: str
    path: str
    flags: int
    hwcaps: str = ""


def flags(elf: Elf) -> int:
    """Return the flags of a library's line; 0 for an unknown processor."""
    return _FLAGS.get((elf.bits, elf.machine), 0)


def standard_folders(view: View, machine: int) -> tuple[str, ...]:
    """Return the folders that the image's loader searches without configuration, in its order."""
    multiarch = MULTIARCH.get(machine)
    if multiarch and view.resolve(f"usr/lib/{multiarch}") is not None:
        return (f"/lib/{multiarch}", f"/usr/lib/{multiarch}", "/lib", "/usr/lib")
    return ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


def folders(view: View, machine: int, extra: Mapping[str, bytes] | None = None) -> tuple[str, ...]:
    """Return the folders that ldconfig reads, in its order.

    Args:
        view: The files of the image.
        machine: The processor's number in ELF.
        extra: Additional configuration files, by path without leading slash.
    """
    configured = _configured(view, extra or {}, CONFIGURATION, _MOST_INCLUDES, set())
    return tuple(dict.fromkeys([*configured, *standard_folders(view, machine)]))


def _configured(view: View, extra: Mapping[str, bytes], path: str, depth: int, seen: set[str]) -> Iterator[str]:
    """Yield the folders that the configuration file *path* names, in the files it includes too.

    A file in *seen* was read before: only the first time that a folder is named counts.
    """
    if path in seen:
        return
    seen.add(path)
    content = extra.get(path) or view.content(path) or b""
    for raw in content.decode("utf-8", "surrogateescape").split("\n"):
        line = raw.partition("#")[0].strip()
        directive = _DIRECTIVE.match(line)
        if directive is None:
            names = (name.partition("=")[0].rstrip("/") for name in _SEPARATOR.split(line))
            yield from (name for name in names if name.startswith("/"))
        elif directive[1] == "include" and depth:
            for found in _included(view, extra, posixpath.dirname(path), directive[2]):
                yield from _configured(view, extra, found, depth - 1, seen)


def _included(view: View, extra: Mapping[str, bytes], folder: str, patterns: str) -> Iterator[str]:
    """Yield the files that the patterns of an `include` in a file of *folder* match."""
    for pattern in patterns.split():
        yield from _glob(view, extra, pattern if pattern.startswith("/") else f"/{folder}/{pattern}")


def _glob(view: View, extra: Mapping[str, bytes], pattern: str) -> list[str]:
    folder, _, last = pattern.strip("/").rpartition("/")
    real = view.resolve(folder)
    names = {*(view.names(real) if real is not None else ())}
    names |= {posixpath.basename(path) for path in extra if posixpath.dirname(path) == folder}
    shown = (name for name in names if fnmatch.fnmatchcase(name, last) and (last[:1] == "." or name[:1] != "."))
    return [f"{folder}/{name}" for name in sorted(shown)]


def libraries(view: View, machine: int, extra: Mapping[str, bytes] | None = None) -> list[Library]:
    """Return the lines of the cache in the order that the loader expects."""
    found: list[Library] = []
    seen = set()
    for folder in folders(view, machine, extra):
        real = view.resolve(folder)
        if real is None or not view.is_folder(real) or real in seen:
            continue
        seen.add(real)
        for kind in view.names(f"{real}/{HWCAPS}"):
            variants = view.resolve(f"{real}/{HWCAPS}/{kind}")
            if kind[:1] != "." and variants is not None and view.is_folder(variants):
                found += _in_folder(view, f"{folder}/{HWCAPS}/{kind}", variants, kind)
        found += _in_folder(view, folder, real)
    # Sorting is stable: of two libraries with the same name, the one in the earlier folder stays first.
    return _sorted(found)


def _sorted(found: Iterable[Library]) -> list[Library]:
    """Return lines by descending name and flags; the baseline comes after its variants: the loader stops there."""
    by_kind = sorted(found, key=lambda line: (not line.hwcaps, line.hwcaps))
    return sorted(by_kind, key=lambda line: (_order(line.name), line.flags), reverse=True)


@attrs.frozen(kw_only=True)
class _Candidate:
    """A file of a folder that ldconfig considers for the line of *soname*."""

    soname: str
    name: str
    flags: int
    is_link: bool


def _in_folder(view: View, folder: str, real: str, hwcaps: str = "") -> list[Library]:
    """Return the lines for one folder, *folder* as it is configured and *real* as it is resolved."""
    kept: dict[str, _Candidate] = {}
    for name in view.names(real):
        if (found := _candidate(view, real, name)) is None:
            continue
        before = kept.get(found.soname)
        if before is None or _better(found, before):
            kept[found.soname] = found
    lines = []
    for soname, one in kept.items():
        # ldconfig creates a missing link that is named like the soname; this cache names the file instead. Among
        # variants ldconfig creates no link, and names the file.
        linked = not hwcaps and f"{real}/{soname}" in view
        path = f"{folder}/{soname if linked else one.name}"
        lines.append(Library(name=soname, path=path, flags=one.flags, hwcaps=hwcaps))
    return lines


def _candidate(view: View, real: str, name: str) -> _Candidate | None:
    """Return the candidate that *name* in the folder *real* is; None if it is no shared library."""
    if not (name.startswith(("lib", "ld-")) and ".so" in name) or name.endswith((".dpkg-new", ".dpkg-tmp")):
        return None
    path = f"{real}/{name}" if real else name
    target = view.resolve(path)
    if target is None or view.kind(target) != FILE:
        return None
    file = view.elf(target)
    if file is None or not flags(file) or not file.dynamic:
        return None
    soname = file.soname or name
    is_link = view.kind(path) == SYMLINK
    # A link that is neither named like the soname nor the one that a linker takes counts as a file.
    if is_link and name != soname and not (name.endswith(".so") and soname.startswith(name)):
        is_link = False
    return _Candidate(soname=name if is_link else soname, name=name, flags=flags(file), is_link=is_link)


def _better(one: _Candidate, before: _Candidate) -> bool:
    if one.is_link != before.is_link:
        return before.is_link
    return _order(one.name) > _order(before.name)


@functools.cache
def _order(name: str) -> tuple[tuple[int, int], ...]:
    """Return the sort key of the loader (_dl_cache_libcmp): digits by value, after all other characters."""
    parts = _DIGITS_OR_ONE.findall(name.encode("utf-8", "surrogateescape"))
    # A char is signed, and the byte that ends the name takes part in the comparison.
    return (*((1, int(part)) if part.isdigit() else (0, (part[0] ^ 128) - 128) for part in parts), (0, 0))


def render(found: Iterable[Library], *, generator: str = "tritonbuild") -> bytes:
    """Return the content of the cache file.

    Args:
        found: The lines, sorted.
        generator: The name of the program, which ends the file.
    """
    lines = [*found]
    base = _HEAD.size + _LINE.size * len(lines)
    kinds = sorted({line.hwcaps for line in lines if line.hwcaps})
    strings, offsets = _strings({text for line in lines for text in (line.name, line.path)} | {*kinds})
    table = b"".join(
        _LINE.pack(
            line.flags,
            base + offsets[line.name],
            base + offsets[line.path],
            0,
            _EXTENSION | kinds.index(line.hwcaps) if line.hwcaps else 0,
        )
        for line in lines
    )
    start = -(-(base + len(strings)) // 4) * 4
    head = _HEAD.pack(
        b"glibc-ld.so.cache", b"1.1", len(lines), len(strings), _LITTLE_ENDIAN, start if lines else 0, 0, 0, 0
    )
    content = head + table + strings
    variants = b"".join(struct.pack("<I", base + offsets[kind]) for kind in kinds)
    return content + bytes(start - len(content)) + _extensions(start, variants, generator.encode())


def _extensions(start: int, variants: bytes, generator: bytes) -> bytes:
    """Return the extensions at *start*, after the strings: the generator, and the kinds of variants."""
    count = 2 if variants else 1
    contents = start + 8 + 16 * count
    sections = [(_GENERATOR, contents + len(variants), len(generator))]
    sections += [(_KINDS_OF_VARIANTS, contents, len(variants))] if variants else []
    head = struct.pack("<II", _EXTENSIONS_MAGIC, count)
    return head + b"".join(struct.pack("<IIII", tag, 0, at, size) for tag, at, size in sections) + variants + generator


def _strings(texts: Iterable[str]) -> tuple[bytes, dict[str, int]]:
    """Return the strings joined, and the offset of each; a string that ends another one shares its bytes."""
    raw = {text: text.encode("utf-8", "surrogateescape") for text in texts}
    # Sorted by their reversed bytes, descending: of two strings with the same end, the longer comes first.
    order = sorted(raw, key=lambda text: raw[text][::-1], reverse=True)
    out = bytearray()
    offsets: dict[str, int] = {}
    before = b""
    for text in order:
        if before.endswith(raw[text]):
            offsets[text] = len(out) - 1 - len(raw[text])
        else:
            offsets[text] = len(out)
            out += raw[text] + b"\0"
            before = raw[text]
    return bytes(out), offsets
