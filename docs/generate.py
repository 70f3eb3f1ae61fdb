"""Write `docs/options.md` from the engines' option tables, or with `--check` fail where it is stale.

python docs/generate.py [--check]
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, without an installation

from tritonbuild import flags

PAGE: Final = Path(__file__).with_name("options.md")
ENGINES: Final = ("docker", "buildx", "podman", "buildah", "nerdctl", "buildctl")

HEAD: Final = """\
<!-- Written by docs/generate.py from the tables in tritonbuild/backends: change those. -->

# Engine options

The keyword options of `tritonbuild.build(..., backend=ENGINE, **options)`, and the keys of the command line's
`--opt KEY[=VALUE]`. One token per flag, `--flag=value`; `True` is the bare flag, `False` is `--flag=false`, `None` is
not given. Text stays as it is; paths and path objects are made absolute from the current directory. `image_tag` is
another name of `tag`.

*Since* is the engine's version from which on it has the flag; empty means all known versions.
"""


def page() -> str:
    """Return the text of `docs/options.md`."""
    return "\n".join((HEAD, *map(section, ENGINES)))


def section(engine: str) -> str:
    """Return the table of one engine."""
    module = importlib.import_module(f"tritonbuild.backends.{engine}")
    title = (module.__doc__ or "").partition("\n")[0].rstrip(".")
    named = module.ENGINE.global_options
    rows = "\n".join(row(name, kind) for name, kind in module.OPTIONS.items() if name not in named)
    globals_ = "\n".join(row(name, kind) for name, kind in sorted(named.items()))
    head = "| option | accepts | flag | since |\n|---|---|---|---|"
    before = f"Before the command, for the probe, the build, queries, pushes and saves:\n\n{head}\n{globals_}"
    return f"## {engine}\n\n{title}.\n\n{head}\n{rows}\n\n{before}\n"


def row(name: str, kind: flags.Kind) -> str:
    """Return the row of one option."""
    accepts = kind.expects.replace("|", "\\|")
    flag = kind.spelling(name) if kind.flag != "--" else "--local=, --opt=context:"  # buildctl's build_context
    since = f"until {kind.until}" if kind.until else kind.since
    return f"| `{name}` | {accepts} | `{flag}` | {since} |"


def main() -> int:
    """Write the page, or with `--check` compare it with the file."""
    text = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is stale: run python {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
