"""Instructions and stages become text that says the same to every builder."""

from __future__ import annotations

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonbuild.containerfile import (
    Comment,
    Copy,
    Entrypoint,
    Env,
    Instruction,
    Label,
    Run,
    Script,
    Stage,
    Word,
    render,
)
from tritonbuild.errors import InvalidInputError

LINES: list[tuple[str, Instruction, list[str]]] = [
    ("comment", Comment("one\n\ntwo"), ["# one", "#", "# two"]),
    ("copy", Copy(sources=("/a",), target="/b"), ["COPY /a /b"]),
    (
        "copy from a stage",
        Copy(sources=("/a", "/c"), target="/b/", from_stage="full", chown="0:0"),
        ["COPY --from=full --chown=0:0 /a /c /b/"],
    ),
    ("copy with blanks", Copy(sources=("/a b",), target="/c"), ['COPY ["/a b", "/c"]']),
    ("copy with quotes", Copy(sources=("/a'b",), target='/c"d/'), ['COPY ["/a\\\\\'b", "/c\\\\\\"d/"]']),
    ("copy with a dollar", Copy(sources=("/a$b",), target="/c"), ["COPY /a\\$b /c"]),
    ("env", Env({"A": 'x "$Y" \\', "B": ""}), ["ENV \\", '    A="x \\"\\$Y\\" \\\\" \\', '    B=""']),
    ("env that refers", Env({"PATH": "/a:${PATH}"}, expand=True), ["ENV \\", '    PATH="/a:${PATH}"']),
    ("label", Label({"a.b": "c d"}), ["LABEL \\", '    "a.b"="c d"']),
    ("no label", Label({}), []),
    ("run", Run(("a", 'b "c"')), ['RUN ["a", "b \\"c\\""]']),
    (
        "script",
        Script(name="x.sh", text="echo 'a'\n\nexit 0\n", arguments=("b c",)),
        [
            "RUN printf '%s\\n' \\",
            "    'echo '\\''a'\\''' \\",
            "    '' \\",
            "    'exit 0' \\",
            "    > /tmp/x.sh \\",
            "    && /bin/sh /tmp/x.sh 'b c'",
        ],
    ),
    ("workdir", Word("WORKDIR", "/opt"), ["WORKDIR /opt"]),
    ("entrypoint", Entrypoint(("/a", "b")), ['ENTRYPOINT ["/a", "b"]']),
    ("no entrypoint", Entrypoint(()), ["ENTRYPOINT []"]),
]


@pytest.mark.parametrize(("instruction", "lines"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_text_of_an_instruction(instruction: Instruction, lines: list[str]) -> None:
    assert instruction.lines() == lines


@pytest.mark.parametrize(
    "instruction",
    [
        Comment("a\rRUN x"),
        Copy(sources=("/a\nRUN x",), target="/b"),
        Copy(sources=("/a",), target="/b", from_stage="c\nRUN x"),
        Env({"A": "b\nRUN x"}),
        Env({"A\nRUN x": "b"}),
        Env({"A B": "b"}),
        Label({"a\nRUN x": "b"}),
        Label({"a": "b\nRUN x"}),
        Run(("a\nRUN x",)),
        Script(name="x.sh", text="true", arguments=("a\nRUN x",)),
        Word("WORKDIR", "/a\nRUN x"),
        Entrypoint(("a\nRUN x",)),
    ],
    ids=repr,
)
def test_a_line_break_in_a_value_is_refused(instruction: Instruction) -> None:
    with pytest.raises(InvalidInputError):
        instruction.lines()


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=30))
def test_a_literal_value_cannot_leave_its_quotes(value: str) -> None:
    try:
        _, line = Env({"A": value}).lines()
    except InvalidInputError:
        assert not value.isprintable()
        return
    inner = line.removeprefix('    A="').removesuffix('"')
    plain = inner.replace("\\\\", "").replace('\\"', "").replace("\\$", "")
    assert not set(plain) & set('"$\\')


@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), min_size=1, max_size=5))
def test_a_script_reaches_the_shell_byte_for_byte(lines: list[str]) -> None:
    text = "\n".join(lines)
    written = "\n".join(Script(name="x.sh", text=text).lines())
    command = (
        written.removeprefix("RUN ").partition("    > /tmp/x.sh")[0].rstrip().removesuffix("\\").replace("\\\n", "")
    )
    if any(line.endswith("\\") for line in lines):
        return  # ours never do; a continuation would be read into it
    output = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout
    assert output == text.rstrip("\n") + "\n"


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30), min_size=1, max_size=5),
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9), max_size=4),
)
def test_a_script_in_a_heredoc_reaches_the_shell_byte_for_byte(lines: list[str], arguments: list[str]) -> None:
    """BuildKit gives the shell the whole text behind RUN, without the line continuations of its first line."""
    text = "\n".join((*lines, "# the end"))
    if any(argument.endswith("\\") for argument in arguments):
        return  # a continuation would be read into it; ours never do
    head, _, body = "\n".join(Script(name="x", text=text, arguments=tuple(arguments)).heredoc()).partition("\n" + text)
    command = head.removeprefix("RUN ").replace("\\\n", "").replace("cat > /tmp/x", "cat").replace("&& /bin/sh", ";")
    command = command.replace("; /tmp/x", "; printf '%s\\0' --")
    done = subprocess.run(["/bin/sh", "-c", f"{command}\n{text}{body}"], capture_output=True, text=True, check=True)
    script, _, given_arguments = done.stdout.partition("--\0")
    assert script == text + "\n"
    assert given_arguments.split("\0")[:-1] == arguments


def test_a_script_as_a_heredoc() -> None:
    script = Script(name="x.sh", text="echo 'a'\n\nexit 0\n", arguments=("b c", "/d", "*", "$e"))
    assert script.heredoc() == [
        "RUN cat > /tmp/x.sh <<'EOF-7b8e576e' && /bin/sh /tmp/x.sh \\",
        "    'b c' \\",
        "    /d \\",
        "    '*' \\",
        "    '$e'",
        *("echo 'a'", "", "exit 0", "EOF-7b8e576e"),
    ]
    head, *_ = Script(name="y", text="a").heredoc()
    assert re.fullmatch(r"RUN cat > /tmp/y <<'EOF-[0-9a-f]{8}' && /bin/sh /tmp/y", head)
    assert head != Script(name="y", text="b").heredoc()[0]  # for builders that compare only this line with their cache
    with pytest.raises(InvalidInputError):
        Script(name="x.sh", text="true", arguments=("a\nRUN x",)).heredoc()


def test_a_file_is_its_header_and_stages() -> None:
    run = Script(name="x", text="a")
    stages = [
        Stage(base="a:1", purpose="One.", name="full"),
        Stage(base="full", purpose="Two.", instructions=(Word("USER", "root"), run)),
    ]
    head = "# What.\n# Why.\n\n# One.\nFROM a:1 AS full\n\n# Two.\nFROM full\nUSER root\n"
    assert render(["What.", "Why."], stages) == head + "\n".join(run.lines()) + "\n"
    assert render(["What.", "Why."], stages, heredocs=True) == head + "\n".join(run.heredoc()) + "\n"


@pytest.mark.parametrize("name", ["Upper", "a b", "1a", "a\nb"])
def test_a_stage_name_is_checked(name: str) -> None:
    with pytest.raises(InvalidInputError):
        Stage(base="a", purpose="b", name=name).lines(heredocs=False)
