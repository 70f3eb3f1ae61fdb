"""Options -> argv: kinds, messages, versions, parsing and masking."""

import csv
import enum
import string
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tritonbuild import flags, masking
from tritonbuild.errors import InvalidInputError, UnknownNameError

TABLE: flags.Table = {
    "build_arg": flags.pairs,
    "creds": flags.credentials,
    "label": evolve(flags.pairs, flag="--opt=label:"),
    "load": flags.switch,
    "network": flags.choice("host", "none"),
    "new": evolve(flags.switch, since="1.10"),
    "old": evolve(flags.switch, until="2.0"),
    "output": flags.fields,
    "platform": flags.repeated,
    "provenance": flags.attestation,
    "pull": flags.choice("always", "never", bare=True),
    "target": flags.scalar,
    "translated": evolve(flags.switch, texts=lambda value: ["off" if t else "on" for t in flags.switch.texts(value)]),
}
PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]))
NAMES = st.text(string.ascii_letters + string.digits + "_-.", min_size=1)


def render(**options: object) -> list[str]:
    return flags.render(TABLE, options, engine="crane")


def refusal(kind: flags.Kind, value: object) -> str:
    with pytest.raises(InvalidInputError) as caught:
        flags.render({"thing": kind}, {"thing": value}, engine="crane")
    return str(caught.value)


# --- rendering


def test_tokens_are_in_the_order_of_the_table() -> None:
    assert render(target="t", load=True, build_arg={"B": 2, "A": 1}) == [
        "--build-arg=A=1",
        "--build-arg=B=2",
        "--load",
        "--target=t",
    ]


def test_none_is_not_given() -> None:
    assert render(target=None, load=None) == []


def test_equal_requests_give_equal_commands() -> None:
    one = render(load=False, output={"type": "local", "dest": "o", "a": "b"})
    assert one == render(output={"a": "b", "dest": "o", "type": "local"}, load=False)
    assert one == ["--load=false", "--output=type=local,a=b,dest=o"]


def test_image_tag_and_tag_are_one_option() -> None:
    table = {"tag": flags.repeated}
    assert flags.render(table, {"image_tag": "a"}, engine="crane") == ["--tag=a"]
    assert flags.render(table, {"image_tag": "a", "tag": ["b"]}, engine="crane") == ["--tag=a", "--tag=b"]
    assert flags.canonical({"image_tag": None, "tag": "b", "load": None}) == {"tag": "b"}


def test_a_file_of_the_same_name_makes_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "final").touch()
    assert render(target="final", platform="final") == ["--platform=final", "--target=final"]


def test_a_path_keeps_its_parents_since_they_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    argv = flags.render({"file": flags.path}, {"file": "./a/../b"}, engine="crane")
    assert argv == [f"--file={tmp_path}/a/../b"]


def test_a_path_that_is_not_utf8_passes() -> None:
    assert flags.render({"file": flags.path}, {"file": "/\udce9"}, engine="crane") == ["--file=/\udce9"]


def test_an_enum_is_its_value() -> None:
    class Stage(str, enum.Enum):
        FINAL = "final"

    assert render(target=Stage.FINAL) == ["--target=final"]


@pytest.mark.parametrize("kind", [flags.path, flags.scalar], ids=["path", "scalar"])
def test_a_surrogate_that_no_argument_can_hold_is_refused(kind: flags.Kind) -> None:
    assert refusal(kind, "/\ud800") == f"option 'thing' of engine 'crane' expects {kind.expects}, not '/\\ud800'"


# --- refusals, whole messages

OF = "option 'thing' of engine 'crane' expects"


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        pytest.param(flags.switch, "yes", f"{OF} True or False, not 'yes'", id="switch-text"),
        pytest.param(flags.switch, 1, f"{OF} True or False, not 1", id="switch-int"),
        pytest.param(flags.integer, "7m", f"{OF} a whole number, not '7m'", id="integer-text"),
        pytest.param(flags.integer, 7.5, f"{OF} a whole number, not 7.5", id="integer-float"),
        pytest.param(flags.scalar, True, f"{OF} text, a whole number or a path object, not True", id="scalar-bool"),
        pytest.param(
            flags.scalar, "", f"{OF} text, a whole number or a path object, not '': it is empty", id="scalar-empty"
        ),
        pytest.param(
            flags.scalar,
            "a\nb",
            f"{OF} text, a whole number or a path object, not 'a\\nb': it has a control character",
            id="scalar-newline",
        ),
        pytest.param(flags.path, b"/x", f"{OF} a path, not b'/x'", id="path-bytes"),
        pytest.param(flags.path, "", f"{OF} a path, not '': it is empty", id="path-empty"),
        pytest.param(flags.choice("a", "b"), "c", f"{OF} one of 'a', 'b', not 'c'", id="choice"),
        pytest.param(flags.choice("a", bare=True), 1, f"{OF} True, False or one of 'a', not 1", id="choice-bare"),
        pytest.param(flags.choice("a"), True, f"{OF} one of 'a', not True", id="choice-not-bare"),
        pytest.param(
            flags.repeated, ("a", None), f"{OF} text or a tuple of texts, not ('a', None)", id="repeated-none"
        ),
        pytest.param(flags.repeated, {"a"}, f"{OF} text or a tuple of texts, not {{'a'}}", id="repeated-set"),
        pytest.param(
            flags.pairs,
            {"A=B": "c"},
            f"{OF} {flags.pairs.expects}, not {{'A=B': 'c'}}: 'A=B' cannot be a key",
            id="pairs-key",
        ),
        pytest.param(flags.pairs, {"A": 1.5}, f"{OF} {flags.pairs.expects}, not {{'A': 1.5}}", id="pairs-float"),
        pytest.param(
            flags.pairs, "=x", f"{OF} {flags.pairs.expects}, not '=x': '=' cannot be a key", id="pairs-no-key"
        ),
        pytest.param(
            flags.pairs,
            {"TOKEN": 1.5, "A": ["x"]},
            f"{OF} {flags.pairs.expects}, not {{'TOKEN': '***', 'A': ['x']}}",
            id="pairs-credential",
        ),
        pytest.param(
            flags.pairs,
            {"TOKEN=hunter2": "x"},
            f"{OF} {flags.pairs.expects}, not {{'TOKEN=***': '***'}}: 'TOKEN=***' cannot be a key",
            id="pairs-credential-in-key",
        ),
        pytest.param(
            flags.named,
            {"a": None},
            f"{OF} {flags.named.expects}, not {{'a': None}}: it has a key without a value",
            id="named-alone",
        ),
        pytest.param(
            flags.hosts, "db", f"{OF} {flags.hosts.expects}, not 'db': it has a key without a value", id="hosts-alone"
        ),
        pytest.param(
            flags.limits,
            ["nofile"],
            f"{OF} {flags.limits.expects}, not ['nofile']: it has a key without a value",
            id="limits-alone",
        ),
        pytest.param(flags.fields, {}, f"{OF} {flags.fields.expects}, not {{}}: it has no fields", id="fields-empty"),
        pytest.param(
            flags.plain_fields,
            {"dest": "a,b"},
            f"{OF} {flags.fields.expects}, not {{'dest': 'a,b'}}: "
            "this engine has no way to quote a comma or a quotation mark",
            id="fields-comma",
        ),
        pytest.param(
            flags.limits,
            {"nofile": (1, 2, 3)},
            f"{OF} {flags.limits.expects}, not {{'nofile': (1, 2, 3)}}: it has 3 parts",
            id="limits-parts",
        ),
        pytest.param(
            flags.triples,
            ("a", "b", "c", "d"),
            f"{OF} {flags.triples.expects}, not ('a', 'b', 'c', 'd'): it has 4 parts",
            id="triples-parts",
        ),
        pytest.param(
            flags.hosts,
            {"h:1": "::1"},
            f"{OF} {flags.hosts.expects}, not {{'h:1': '::1'}}: 'h:1' cannot be a key",
            id="hosts-key",
        ),
        pytest.param(
            flags.credentials,
            ("me:hunter2", "you:hunter3"),
            f"{OF} {flags.credentials.expects}, not a tuple that is not shown: the user has a colon",
            id="credentials-two",
        ),
        pytest.param(
            flags.credentials,
            {"me": "hunter2", "you": "hunter3"},
            f"{OF} {flags.credentials.expects}, not a dict that is not shown: it has 2 parts",
            id="credentials-two-users",
        ),
        pytest.param(
            flags.single(flags.repeated),
            ("a", "b"),
            f"{OF} text or a tuple of texts, only one, not ('a', 'b'): the engine takes only one",
            id="single",
        ),
    ],
)
def test_refusals(kind: flags.Kind, value: object, message: str) -> None:
    assert refusal(kind, value) == message


@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\t", "\x1b", "\x85", "\u2028"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        pytest.param(flags.scalar, "a{}b", id="scalar"),
        pytest.param(flags.path, "a{}b", id="path"),
        pytest.param(flags.repeated, ("x", "a{}b"), id="repeated"),
        pytest.param(flags.pairs, {"A": "a{}b"}, id="pairs"),
        pytest.param(flags.fields, {"a": "a{}b"}, id="fields"),
        pytest.param(flags.credentials, ("me", "a{}b"), id="credentials"),
        pytest.param(flags.quoted(flags.path), "a{}b", id="quoted"),
    ],
)
def test_control_characters_are_refused(kind: flags.Kind, value: object, character: str) -> None:
    def fill(one: object) -> object:
        match one:
            case dict():
                return {k: fill(v) for k, v in one.items()}
            case tuple():
                return tuple(map(fill, one))
            case _:
                return str(one).format(character)

    assert refusal(kind, fill(value)).endswith(": it has a control character")


def test_a_long_value_is_cut_in_the_message() -> None:
    message = refusal(flags.switch, "x" * 500)
    assert message == f"option 'thing' of engine 'crane' expects True or False, not '{'x' * 116}..."


def test_an_unknown_option_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        render(platfrom="x")
    assert str(caught.value) == "unknown option 'platfrom' for engine 'crane'"
    assert caught.value.hint == "did you mean 'platform'?"


def test_an_unknown_option_is_an_error_even_if_it_is_none() -> None:
    with pytest.raises(UnknownNameError, match="unknown option 'quux' for engine 'crane'"):
        render(quux=None)


# --- versions


@pytest.mark.parametrize("version", ["1.10", "v1.10.0", "1.11~rc1", "crane version 2.3.5 (abc)", "", "devel"])
def test_a_version_that_has_the_flag(version: str) -> None:
    flags.check_versions(TABLE, {"new": True, "load": True, "elsewhere": 1}, engine="crane", version=version)


@pytest.mark.parametrize("version", ["1.9", "1.9.10", "v0.12+ds1", "1", "crane version 1.9.99"])
def test_a_version_that_lacks_the_flag(version: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        flags.check_versions(TABLE, {"new": False}, engine="crane", version=version)
    assert str(caught.value) == f"option 'new' of engine 'crane' needs crane 1.10 or newer, and this is {version}"
    assert caught.value.hint == "leave the option out, or use another version of the engine"


def test_a_version_that_no_longer_has_the_flag() -> None:
    flags.check_versions(TABLE, {"old": True}, engine="crane", version="1.99")
    with pytest.raises(InvalidInputError) as caught:
        flags.check_versions(TABLE, {"old": True}, engine="crane", version="2.0.1")
    assert str(caught.value) == "option 'old' of engine 'crane' needs crane older than 2.0, and this is 2.0.1"


def test_an_option_that_is_not_given_needs_no_version() -> None:
    flags.check_versions(TABLE, {"new": None}, engine="crane", version="1.0")


# --- parsing


@pytest.mark.parametrize(
    ("texts", "options"),
    [
        pytest.param([], {}, id="none"),
        pytest.param(["target=a=b,c"], {"target": "a=b,c"}, id="verbatim"),
        pytest.param(["build-arg=A=1", "build_arg=B=2"], {"build_arg": ("A=1", "B=2")}, id="repeated"),
        pytest.param(["platform=a", "platform=b", "platform=c"], {"platform": ("a", "b", "c")}, id="three"),
        pytest.param(["load"], {"load": True}, id="bare-switch"),
        pytest.param(["load=true"], {"load": True}, id="switch-true"),
        pytest.param(["load=false"], {"load": False}, id="switch-false"),
        pytest.param(["load=yes"], {"load": "yes"}, id="switch-other"),
        pytest.param(["translated=true"], {"translated": True}, id="other-switch-true"),
        pytest.param(["translated=false"], {"translated": False}, id="other-switch-false"),
        pytest.param(["target=true"], {"target": "true"}, id="text-true"),
        pytest.param(["pull"], {"pull": True}, id="bare-choice"),
        pytest.param(["pull=never"], {"pull": "never"}, id="choice"),
        pytest.param(["provenance"], {"provenance": True}, id="bare-attestation"),
        pytest.param(["target="], {"target": ""}, id="empty"),
    ],
)
def test_parse(texts: list[str], options: dict[str, object]) -> None:
    assert flags.parse(TABLE, texts, engine="crane") == options


def test_parse_knows_the_other_names() -> None:
    assert flags.parse({"tag": flags.repeated}, ["image-tag=a", "tag=b"], engine="crane") == {"tag": ("a", "b")}


def test_parse_refuses_a_key_that_needs_a_value() -> None:
    with pytest.raises(InvalidInputError) as caught:
        flags.parse(TABLE, ["target"], engine="crane")
    assert str(caught.value) == (
        "option 'target' of engine 'crane' needs a value: text, a whole number or a path object"
    )
    assert caught.value.hint == "write target=VALUE"


def test_parse_refuses_an_unknown_key() -> None:
    with pytest.raises(UnknownNameError, match="unknown option 'no_cash' for engine 'crane'"):
        flags.parse(TABLE, ["no-cash=1"], engine="crane")


@given(st.lists(st.tuples(NAMES, PRINTABLE), min_size=1))
def test_parse_loses_nothing(items: list[tuple[str, str]]) -> None:
    written = [f"{k}={v}" for k, v in items]
    options = flags.parse(TABLE, [f"build-arg={w}" for w in written], engine="crane")
    assert flags.render(TABLE, options, engine="crane") == [f"--build-arg={w}" for w in written]


# --- quoting


@given(st.dictionaries(NAMES, PRINTABLE, min_size=1))
def test_fields_are_read_back_by_a_strict_reader(fields: dict[str, str]) -> None:
    (token,) = render(output=fields)
    (items,) = csv.reader([token.removeprefix("--output=")], strict=True)
    assert dict(item.split("=", 1) for item in items) == fields


@given(st.dictionaries(NAMES, PRINTABLE))
def test_pairs_keep_every_value(pairs: dict[str, str]) -> None:
    argv = render(label=pairs)
    assert {k: v for k, _, v in (t.removeprefix("--opt=label:").partition("=") for t in argv)} == pairs


@given(st.text())
def test_any_text_is_one_token_or_an_error(value: str) -> None:
    refused: list[InvalidInputError] = []
    try:
        assert render(target=value) == [f"--target={value}"]
    except InvalidInputError as error:
        refused.append(error)
    assert all(str(error).isprintable() for error in refused)


# --- masking


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        pytest.param("--creds=me:hunter2", "--creds=***", id="creds"),
        pytest.param("--decryption-key=/k:hunter2", "--decryption-key=***", id="decryption-key"),
        pytest.param("--build-arg=HF_TOKEN=hunter2", "--build-arg=HF_TOKEN=***", id="build-arg"),
        pytest.param("--build-arg=DB_PASSWORD=a,b=c", "--build-arg=DB_PASSWORD=***", id="build-arg-comma"),
        pytest.param("--opt=build-arg:apiKey=hunter2", "--opt=build-arg:apiKey=***", id="opt"),
        pytest.param("--env=AWS_SECRET_ACCESS_KEY=x", "--env=AWS_SECRET_ACCESS_KEY=***", id="env"),
        pytest.param("--label=auth=x", "--label=auth=***", id="label"),
        pytest.param(
            "--cache-to=type=s3,secret_access_key=x,region=eu",
            "--cache-to=type=s3,secret_access_key=***,region=eu",
            id="fields",
        ),
        pytest.param(
            '--cache-to=type=gha,"token=a,b",mode=max', "--cache-to=type=gha,token=***,mode=max", id="quoted-field"
        ),
        pytest.param("--cw=type=SEV,passphrase=x", "--cw=type=SEV,passphrase=***", id="passphrase"),
        pytest.param(
            "--build-context=src=https://me:hunter2@example.com/x.git",
            "--build-context=src=https://***@example.com/x.git",
            id="url",
        ),
        pytest.param("https://ghp_x@example.com/x.git", "https://***@example.com/x.git", id="bare-url"),
        pytest.param(
            "--build-context=a=https://h/x?b=1&token=x&c=2",
            "--build-context=a=https://h/x?b=1&token=***&c=2",
            id="query",
        ),
        pytest.param("PASSWORD=x", "PASSWORD=***", id="no-flag"),
    ],
)
def test_credentials_are_masked(token: str, shown: str) -> None:
    assert masking.mask(["build", token, "."]) == ["build", shown, "."]


@pytest.mark.parametrize(
    "token",
    [
        "--secret=id=hf_token,src=/run/token",
        "--secret=id=x,env=HF_TOKEN",
        "--authfile=/auth.json",
        "--label=org.opencontainers.image.authors=me",
        "--build-arg=TOKENIZER=bert",
        "--build-arg=MONKEY=x",
        '--output=type=image,"name=a,b"',
        "--tag=example.com/x@sha256:abc",
        "--build-context=base=docker-image://alpine@sha256:abc",
        "--build-arg=HF_TOKEN",
        "--add-host=a:10.0.0.1",
        "context",
    ],
)
def test_what_is_no_credential_is_shown(token: str) -> None:
    assert masking.mask([token]) == [token]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://me:a/b@c@h/x and more", "see https://***@h/x and more"),
        ("'me:secret@h/x' is no reference", "'***@h/x' is no reference"),
        ("a,me:secret@h", "a,***@h"),
        ("oci:x@sha256:abc, me@h, a:b", "oci:x@sha256:abc, me@h, a:b"),
        ("https://h/x@sha256:abc?token=t", "https://h/x@sha256:abc?token=***"),
        ("a:b@c:d@e", "***@***@e"),
        ("lines\na:b@c\n", "lines\n***@c\n"),
    ],
)
def test_credentials_in_texts_are_masked(text: str, shown: str) -> None:
    assert masking.mask_text(text) == shown


def test_a_credential_in_the_next_token_is_masked() -> None:
    argv = ["--creds", "me:hunter2", "--build-arg", "TOKEN=x", "--secret", "id=a", "--creds", "--load", "."]
    assert masking.mask(argv) == [
        "--creds",
        "***",
        "--build-arg",
        "TOKEN=***",
        "--secret",
        "id=a",
        "--creds",
        "--load",
        ".",
    ]


@given(st.sampled_from(["HF_TOKEN", "password", "api-key", "client.secret", "registryAuth"]), PRINTABLE)
def test_no_part_of_a_credential_is_left(name: str, value: str) -> None:
    for option, flag in (("build_arg", "--build-arg="), ("label", "--opt=label:")):
        argv = render(**{option: {name: value}})
        assert masking.mask(argv) == [f"{flag}{name}=***"]
    argv = render(output={"type": "x", name: value})
    assert masking.mask(argv) == [f"--output=type=x,{name}=***"]


@given(st.lists(st.text()))
def test_masking_takes_any_tokens(argv: list[str]) -> None:
    masked = masking.mask(argv)
    assert len(masked) == len(argv)
    assert masking.mask(masked) == masked
