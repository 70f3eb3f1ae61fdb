"""What the tests of the embedded engine share."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests import services
from tests.replica.push import push
from tests.tiny import images as tiny
from tests.tiny.proxy import Proxy, proxy
from tritonbuild.embedded.request import Request


@attrs.frozen(kw_only=True)
class Outcome:
    """A run of the engine that ended."""

    code: int
    out: str
    err: str
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return str(self.facts["containerimage.digest"])


@attrs.frozen(kw_only=True)
class Bench:
    """Small source images, a folder, and the engine."""

    folder: Path
    layout: Path

    @property
    def full(self) -> str:
        return f"oci:{self.layout}:{tiny.FULL}"

    @property
    def base(self) -> str:
        return f"oci:{self.layout}:{tiny.BASE}"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def request(self, *names: str) -> Request:
        return tiny.request(self.full, self.base, *names)

    def argv(self, request: Request, *options: str, cache: Path | None = None) -> list[str]:
        file = self.folder / "request.json"
        file.write_bytes(request.to_json())
        engine = [sys.executable, "-m", "tritonbuild.embedded", f"--file={file}"]
        return [*engine, f"--cache-dir={cache or self.cache}", f"--metadata-file={self.folder / 'facts'}", *options]

    def run(
        self,
        request: Request,
        *options: str,
        cache: Path | None = None,
        env: Mapping[str, str] | None = None,
        **keywords: Any,
    ) -> Outcome:
        """Run the engine to its end."""
        facts = self.folder / "facts"
        facts.unlink(missing_ok=True)
        done = subprocess.run(
            self.argv(request, *options, cache=cache),
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            **keywords,
        )
        assert "Traceback" not in done.stderr, done.stderr
        found = json.loads(facts.read_bytes()) if facts.exists() else {}
        return Outcome(code=done.returncode, out=done.stdout, err=done.stderr, facts=found)


@pytest.fixture(scope="session")
def tiny_layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("tiny") / "layout")


@pytest.fixture
def bench(tmp_path: Path, tiny_layout: Path) -> Bench:
    folder = tmp_path / "bench"
    folder.mkdir()
    return Bench(folder=folder, layout=tiny_layout)


@pytest.fixture(scope="session")
def upstream(tmp_path_factory: pytest.TempPathFactory, tiny_layout: Path) -> Iterator[str]:
    """A real registry with the small images."""
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(services.registry(tmp_path_factory.mktemp("registry") / "root"))
        except services.MissingProgramError as error:
            pytest.skip(str(error))
        digests = tiny.digests(tiny_layout)
        push(tiny_layout, found.host, {f"src/{name}": digest for name, digest in digests.items()})
        yield found.host


@pytest.fixture
def faulty(upstream: str) -> Iterator[Proxy]:
    """The registry, with something in front that can misbehave."""
    with proxy(upstream) as found:
        yield found
