"""Instructions of the user's own: what they leave in the configuration, as a builder of Containerfiles has it."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.replica import oci
from tests.tiny.bench import Bench
from tritonbuild.backends import embedded
from tritonbuild.composition import Composition
from tritonbuild.embedded import instructions
from tritonbuild.embedded.request import Request
from tritonbuild.errors import InvalidInputError
from tritonbuild.rootfs import accounts

ENV = {"PATH": "/bin", "A": "1"}

ENVIRONMENT = {
    "ENV B=2": {"B": "2"},
    "ENV B=2 C='$A' D=\"$A x\" E=$A": {"B": "2", "C": "$A", "D": "1 x", "E": "1"},
    "ENV B one word after another": {"B": "one word after another"},
    "env B=a\\ b": {"B": "a b"},
    'ENV B="say \\"yes\\" for \\$5"': {"B": 'say "yes" for $5'},
    "ENV B=a=b=c": {"B": "a=b=c"},
    "ENV B=": {"B": ""},
    "ENV B=x \\\n  # in between\n\n  C=y": {"B": "x", "C": "y"},
    "ENV A=2 B=$A\nENV C=$A": {"A": "2", "B": "1", "C": "2"},
    "ENV PATH=/x:$PATH": {"PATH": "/x:/bin"},
    "ENV B=${NONE:-else} C=${A:+:$A}": {"B": "else", "C": ":1"},
}


@pytest.mark.parametrize("text", ENVIRONMENT)
def test_environment(text: str) -> None:
    _, env = instructions.applied(text, Request(full="f", base="b"), ENV)
    assert env == {**ENV, **ENVIRONMENT[text]}


FIELDS: dict[str, dict[str, Any]] = {
    'LABEL "a.b"="c d" e=$A': {"labels": {"a.b": "c d", "e": "1"}},
    "LABEL a b c": {"labels": {"a": "b c"}},
    "USER 1000:1000": {"run_as": "1000:1000"},
    "WORKDIR /x\nWORKDIR y": {"workdir": "/x/y"},
    "WORKDIR ../../../x/./y//": {"workdir": "/x/y"},
    'ENTRYPOINT ["/a", "$A"]': {"entrypoint": ("/a", "$A")},
    "ENTRYPOINT exec $A": {"entrypoint": ("/bin/sh", "-c", "exec $A")},
    'CMD ["x"]': {"cmd": ("x",)},
    "CMD []": {"cmd": ()},
    "EXPOSE 80 90/udp 100-102": {"ports": ("80/tcp", "90/udp", "100/tcp", "101/tcp", "102/tcp")},
    "VOLUME /a /b": {"volumes": ("/a", "/b")},
    'VOLUME ["/a b"]': {"volumes": ("/a b",)},
    "STOPSIGNAL SIGINT": {"stop_signal": "SIGINT"},
}


@pytest.mark.parametrize("text", FIELDS)
def test_fields(text: str) -> None:
    request = Request(full="f", base="b")
    assert instructions.applied(text, request, ENV)[0] == attrs.evolve(request, **FIELDS[text])


WRONG = {
    "RUN true": "so it cannot apply RUN of a fragment",
    "copy a b": "so it cannot apply COPY of a fragment",
    "HEALTHCHECK NONE": "so it cannot apply HEALTHCHECK of a fragment",
    "ENV A=1 B": "ENV A=1 B of the fragment is not NAME=VALUE",
    "ENV A": "ENV A of the fragment is not NAME=VALUE",
    "ENV": "ENV of the fragment has no argument",
    "USER a b": "USER of the fragment takes one word, not 'a b'",
    "EXPOSE 0": "EXPOSE of the fragment has '0'",
    "EXPOSE 90000/tcp": "EXPOSE of the fragment has '90000/tcp'",
    'ENV A="x': "a quotation does not end",
}


@pytest.mark.parametrize("text", WRONG)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match=WRONG[text]):
        instructions.applied(text, Request(full="f", base="b"), ENV)


def test_what_runs_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    fragment = tmp_path / "fragment"
    fragment.write_text("ENV A=1\nRUN true\n")
    with pytest.raises(InvalidInputError, match="cannot apply RUN of a fragment"):
        embedded.document(Composition(backends=["identity"], container_version="24.10", fragment=fragment))


ACCOUNTS = {
    "etc/passwd": b"root:x:0:0::/:/bin/sh\ntriton-server:x:1000:1001::/:/bin/sh\n",
    "etc/group": b"root:x:0:\nvideo:x:44:\n",
}


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("", (0, 0)),
        ("triton-server", (1000, 1001)),
        ("1000", (1000, 1001)),
        ("7", (7, 0)),
        ("7:8", (7, 8)),
        ("triton-server:video", (1000, 44)),
        ("nobody", (0, 0)),
    ],
)
def test_whom_a_working_directory_belongs_to(user: str, found: tuple[int, int]) -> None:
    assert accounts.ids(ACCOUNTS, user) == found


def test_the_configuration(bench: Bench, tmp_path: Path) -> None:
    text = "ENV MODE=other\nLABEL a=b\nUSER 7\nWORKDIR sub\nCMD x\nEXPOSE 1\nVOLUME /v\nSTOPSIGNAL SIGQUIT"
    request = attrs.evolve(bench.request("a"), instructions=text)
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path}")
    assert done.code == 0, done.err
    config = oci.read_json(tmp_path, oci.read_json(tmp_path, done.digest)["config"]["digest"])
    found = config["config"]
    assert "MODE=other" in found["Env"]
    assert found["Labels"]["a"] == "b"
    wanted: dict[str, Any] = {"User": "7", "WorkingDir": "/opt/tritonserver/sub", "Cmd": ["/bin/sh", "-c", "x"]}
    wanted |= {"ExposedPorts": {"1/tcp": {}}, "Volumes": {"/v": {}}, "StopSignal": "SIGQUIT"}
    assert {name: found[name] for name in wanted} == wanted
    assert config["history"][-1]["created_by"] == "tritonbuild: working directory"
    last = oci.read_json(tmp_path, done.digest)["layers"][-1]["digest"]
    with tarfile.open(tmp_path / "blobs" / last.replace(":", "/")) as tar:
        assert [(one.name, one.uid) for one in tar][-1] == ("opt/tritonserver/sub", 7)


def test_a_working_directory_that_the_base_reaches_through_a_link(bench: Bench, tmp_path: Path) -> None:
    request = attrs.evolve(bench.request("a"), instructions="WORKDIR /bin/x/y")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path}")
    assert done.code == 0, done.err
    last = oci.read_json(tmp_path, done.digest)["layers"][-1]["digest"]
    with tarfile.open(tmp_path / "blobs" / last.replace(":", "/")) as tar:
        assert [one.name for one in tar] == ["usr", "usr/bin", "usr/bin/x", "usr/bin/x/y"]
