"""The engines' option tables, against golden tokens and against the flags that the engines list."""

import contextlib
import importlib
import json
from pathlib import Path

import pytest
from attrs import frozen

from tritonbuild import flags, masking
from tritonbuild.errors import InvalidInputError

TESTS = Path(__file__).parent.parent
NEWEST = {
    "buildah": ["buildah-1.43.2"],
    "buildctl": ["buildctl-0.32.2"],
    "buildx": ["buildx-0.29.1"],
    "docker": ["docker-20.10.24-buildkit", "docker-28.5.2-legacy"],
    "nerdctl": ["nerdctl-2.3.5"],
    "podman": ["podman-5.8.6"],
}
OLDER = {
    "buildah": "buildah-1.28.2",
    "buildx": "buildx-0.13.1",
    "podman": "podman-4.3.1",
}
ONE_VALUE = {  # the types, as `--help` names them, of flags of which only the last one counts
    "<number><unit>",
    "FINGERPRINT",
    "[username[:password]]",
    "bytes",
    "file",
    "format",
    "image",
    "int",
    "options",
    "path",
    "preset",
    "seconds",
    "strategy",
    "string",
    'string[="always"]',
    "type",
    "uint",
    "variant",
    "version",
}
NEWER = {  # flags of podman 6.1 and buildah 1.45
    "compression_format",
    "compression_level",
    "force_compression",
    "iidfile_raw",
    "metadata_file",
    "mount",
    "save_stages",
    "source_policy_file",
    "stage_labels",
}
UNLISTED = {  # options whose flag no `build --help` lists
    "buildah": {"cni_config_dir", "cni_plugin_path", "pull_always", "pull_never", *NEWER},  # the first four are hidden
    "nerdctl": {  # flags of nerdctl itself
        "address",
        "cgroup_manager",
        "cni_netconfpath",
        "cni_path",
        "data_root",
        "debug",
        "debug_full",
        "host",
        "hosts_dir",
        "insecure_registry",
        "ipfs",  # gone
        "namespace",
        "snapshotter",
        "storage_driver",
    },
    "podman": {"runtime", *NEWER},  # the first is a flag of podman itself
}
TABLES: dict[str, flags.Table] = {
    engine: importlib.import_module(f"tritonbuild.backends.{engine}").OPTIONS for engine in NEWEST
}
GOLDEN = {engine: json.loads((TESTS / f"golden/options/{engine}.json").read_text()) for engine in NEWEST}
ENGINES = pytest.mark.parametrize("engine", NEWEST)


def types(name: str) -> dict[str, str]:
    """The flags in a list of `tests/engine_flags`, with the types of their values."""
    lines = (TESTS / f"engine_flags/{name}.txt").read_text().splitlines()
    return {flag: kind for flag, _, kind in (line.partition("\t") for line in lines) if flag != "--help"}


def listed(name: str) -> set[str]:
    """The flags in a list of `tests/engine_flags`."""
    return set(types(name))


def as_python(value: object, *, sequence: type = tuple) -> object:
    """A golden value: `{"$path": P}` is a path object, and a list a tuple."""
    match value:
        case {"$path": str(place)}:
            return Path(place)
        case dict():
            return {k: as_python(v, sequence=sequence) for k, v in value.items()}
        case list():
            return sequence(as_python(v, sequence=sequence) for v in value)
        case _:
            return value


@frozen(kw_only=True)
class Case:
    engine: str
    option: str
    value: object
    argv: list[str] | None = None
    refused: bool = False


CASES = [
    pytest.param(Case(engine=engine, option=option, **case), id=f"{engine}-{option}-{n}")
    for engine, options in GOLDEN.items()
    for option, cases in options.items()
    for n, case in enumerate(cases)
]


@pytest.mark.parametrize("case", CASES)
def test_option_becomes_exactly_these_tokens_or_is_refused(
    case: Case, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.getbasetemp()
    monkeypatch.chdir(folder)
    for sequence in (tuple, list):
        options = {case.option: as_python(case.value, sequence=sequence)}
        if case.argv is None:
            assert case.refused
            with pytest.raises(InvalidInputError, match=f"option '{case.option}' of engine '{case.engine}' expects "):
                flags.render(TABLES[case.engine], options, engine=case.engine)
        else:
            expected = [token.replace("{cwd}", str(folder)) for token in case.argv]
            assert flags.render(TABLES[case.engine], options, engine=case.engine) == expected


@ENGINES
def test_every_row_has_golden_cases(engine: str) -> None:
    assert set(GOLDEN[engine]) == set(TABLES[engine])


@ENGINES
def test_table_is_sorted(engine: str) -> None:
    assert list(TABLES[engine]) == sorted(TABLES[engine])


@ENGINES
def test_every_listed_flag_has_a_row(engine: str) -> None:
    rows = {kind.spelling(name) for name, kind in TABLES[engine].items()}
    assert set().union(*map(listed, NEWEST[engine])) - rows == set()


@ENGINES
def test_every_row_has_a_listed_flag(engine: str) -> None:
    known = set().union(*map(listed, NEWEST[engine]))
    rows = {name: kind.spelling(name) for name, kind in TABLES[engine].items()}
    unlisted = {name for name, flag in rows.items() if flag not in known and not flag.startswith("--opt=")}
    if engine == "buildctl":
        unlisted.remove("build_context")  # two flags, both listed
    assert unlisted == UNLISTED.get(engine, set())


@pytest.mark.parametrize("engine", [e for e in NEWEST if e != "buildctl"])  # it names no lists
def test_no_flag_that_takes_one_value_is_given_twice(engine: str) -> None:
    known = {flag: kind for name in NEWEST[engine] for flag, kind in types(name).items()}
    tried = 0
    for option, kind in TABLES[engine].items():
        if known.get(kind.spelling(option)) in ONE_VALUE:
            tried += 1
            with contextlib.suppress(InvalidInputError):
                assert len(flags.render(TABLES[engine], {option: ("a", "b")}, engine=engine)) == 1
    assert tried > 5


@pytest.mark.parametrize("engine", OLDER)
def test_flags_that_the_older_engine_lacks_say_since_when(engine: str) -> None:
    added = set().union(*map(listed, NEWEST[engine])) - listed(OLDER[engine])
    rows = {kind.spelling(name) for name, kind in TABLES[engine].items() if kind.since and name not in NEWER}
    assert rows == added


@pytest.mark.parametrize("engine", OLDER)
def test_no_flag_of_the_older_engine_is_newer_than_it(engine: str) -> None:
    name, _, version = OLDER[engine].partition("-")
    known = listed(OLDER[engine])
    options = {option: True for option, kind in TABLES[engine].items() if kind.spelling(option) in known}
    flags.check_versions(TABLES[engine], options, engine=name, version=version)


@ENGINES
def test_every_secret_option_is_masked(engine: str) -> None:
    for name, kind in TABLES[engine].items():
        if kind.secret:
            argv = flags.render(TABLES[engine], {name: "me:hunter2"}, engine=engine)
            assert masking.mask(argv) == [f"{kind.spelling(name)}=***"]


@ENGINES
def test_no_switch_is_mistaken_for_a_credential(engine: str) -> None:
    argv = [kind.spelling(name) for name, kind in TABLES[engine].items() if kind.texts is flags.switch.texts]
    for token in argv:
        assert masking.mask([token, "."]) == [token, "."]
