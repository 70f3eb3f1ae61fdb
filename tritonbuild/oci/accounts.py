"""The accounts of the base image with the server's added, as scripts/base.sh makes them."""

from __future__ import annotations

import re

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci.request import User
from tritonbuild.oci.view import View


def files(base: View, user: User) -> dict[str, bytes]:
    """Return the new content of the base's account files, by path.

    Raises:
        TritonBuildError: Another account has the id.
    """
    passwd = (base.content("etc/passwd") or b"").decode("utf-8", "surrogateescape")
    holders = [line.split(":")[0] for line in passwd.splitlines() if line.split(":")[2:3] == [str(user.uid)]]
    for holder in holders:
        if holder not in {user.name, *user.removes, "ubuntu"}:
            raise TritonBuildError(
                f"user id {user.uid} is {holder!r} in the base image, but has to be {user.name}",
                hint="use another base image",
            )
    lines = {
        "passwd": f"{user.name}:x:{user.uid}:{user.gid}::/home/{user.name}:/bin/bash",
        "group": f"{user.name}:x:{user.gid}:",
        "shadow": f"{user.name}:!:19000:0:99999:7:::",
    }
    found = {}
    for name, line in lines.items():
        content = base.content(f"etc/{name}")
        if content is not None:
            found[f"etc/{name}"] = _with(content, line, {user.name, "ubuntu", *user.removes})
    return found


def _with(content: bytes, line: str, gone: set[str]) -> bytes:
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
