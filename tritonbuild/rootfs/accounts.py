"""Account files of the base image with the server's account added, and its home; equal to those of scripts/base.sh."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from tritonbuild.errors import TritonBuildError
from tritonbuild.rootfs.view import View

_ID: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def _names(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class Account:
    """The account that is added to the image; accounts in *removes* are removed, and may have had its user id."""

    name: str = "triton-server"
    uid: int = 1000
    gid: int = 1000
    removes: tuple[str, ...] = attrs.field(default=("ubuntu",), converter=_names)

    @property
    def home(self) -> str:
        """The path of its home folder."""
        return f"/home/{self.name}"


def files(base: View, user: Account) -> dict[str, bytes]:
    """Return the new content of the base's account files, by path.

    Raises:
        TritonBuildError: Another account has the user id.
    """
    passwd = (base.content("etc/passwd") or b"").decode("utf-8", "surrogateescape")
    holders = [line.split(":")[0] for line in passwd.splitlines() if line.split(":")[2:3] == [str(user.uid)]]
    for holder in holders:
        if holder not in {user.name, *user.removes, "ubuntu"}:
            raise TritonBuildError(
                f"user id {user.uid} belongs to {holder!r} in the base image, but must belong to {user.name!r}",
                hint="use another base image",
            )
    lines = {
        "passwd": f"{user.name}:x:{user.uid}:{user.gid}::{user.home}:/bin/bash",
        "group": f"{user.name}:x:{user.gid}:",
        "shadow": f"{user.name}:!:19000:0:99999:7:::",
    }
    found = {}
    for name, line in lines.items():
        content = base.content(f"etc/{name}")
        if content is not None:
            found[f"etc/{name}"] = _with(content, line, {user.name, "ubuntu", *user.removes})
    return found


def ids(content: Mapping[str, bytes], user: str) -> tuple[int, int]:
    """Return the user id and group id of *user*, `NAME_OR_ID[:NAME_OR_ID]`; 0 for a name without an account.

    Args:
        content: The account files, by path.
        user: Empty for root.
    """

    def lines(name: str, last: int) -> list[list[str]]:
        """Return the fields of the lines whose third to *last* fields are numbers; the C library skips the others."""
        text = content.get(f"etc/{name}", b"").decode("utf-8", "surrogateescape")
        found = (line.split(":") for line in text.splitlines())
        return [line for line in found if len(line) > last and all(map(_ID.fullmatch, line[2:last]))]

    name, _, group = user.partition(":")
    account = next((line for line in lines("passwd", 4) if name in {line[0], line[2]}), [])
    uid = name if _ID.fullmatch(name) else (account[2] if account else "0")
    named = next((line[2] for line in lines("group", 3) if group == line[0]), "0")
    gid = (group if _ID.fullmatch(group) else named) if group else (account[3] if account else "0")
    return int(uid), int(gid)


def _with(content: bytes, line: str, gone: set[str]) -> bytes:
    """Return an account file with *line* added and the accounts in *gone* removed, from groups too."""
    kept = []
    for raw in content.decode("utf-8", "surrogateescape").splitlines():
        if raw.split(":", 1)[0] in gone:
            continue
        text = raw
        for name in sorted(gone - {line.split(":", 1)[0]}):
            text = re.sub(rf"([:,]){re.escape(name)},", r"\1", text)
            text = re.sub(rf",{re.escape(name)}$", "", text)
            text = re.sub(rf":{re.escape(name)}$", ":", text)
        kept.append(text)
    return ("\n".join([*kept, line]) + "\n").encode("utf-8", "surrogateescape")
