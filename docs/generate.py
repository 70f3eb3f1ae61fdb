"""Write `docs/options.md` from the engines' option tables and `docs/extras.md` from the catalog.

With `--check`, write nothing and fail if a page is stale.

python docs/generate.py [--check]
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parent.parent))  # run as a script, without an installation

from tritonbuild import catalog, flags
from tritonbuild.catalog import Component, Extra

FOLDER: Final = Path(__file__).parent
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

EXTRAS_HEAD: Final = """\
<!-- Written by docs/generate.py from tritonbuild/catalog/components.json: change that. -->

# Extras and GPU architectures

A component can have parts that an image can do without: *extras*. Without brackets an image has all of them. Brackets
choose: the core of the component and the named extras. Quote them, since shells read brackets as a pattern.

    tritonbuild --backend 'onnxruntime[cuda]'
    tritonbuild --backend 'onnxruntime[cuda,tensorrt]' --backend 'tensorrt[core]'
    tritonbuild plan --engine embedded --backend onnxruntime     # shows the size of each extra

- The files of an extra that is not chosen are not copied, and neither are libraries that only these files need or open.
- An extra that another one requires is added, with a note. An extra without files (`cpu`, `core`) stands for the core
  alone.
- A component that is named twice gets the extras of both.
- If a file that stays is linked to a file of an extra that is not chosen, the build fails with a line that names the
  file and the extra. `libtriton_pytorch.so` of NVIDIA's images is linked to torchvision and Torch-TensorRT, so that
  these extras can be left out only of a pytorch backend that was built without them.
- Libraries that another chosen component opens stay: `tensorrt[core]` beside `onnxruntime[tensorrt]` has the builder's
  resources.
- The label `tritonbuild.extras` of the image has the choice.

[catalog.md](catalog.md) tells how to describe the extras of a component of your own.
"""

ARCHITECTURES: Final = """\
## GPU architectures

`--gpu-arch 8.0,9.0` (`gpu_arch=("8.0", "9.0")`) leaves out libraries that exist for one architecture of GPUs, except
for those that run on the named ones: of the same major number, up to the minor number. For 8.9, those of 8.0, 8.6, 8.7
and 8.9 stay. Libraries with code for all architectures (PTX) always stay. Files in the folders of components and of
Python packages stay, and so do those of the base: `min` has TensorRT, `--base slim` has none. The label
`tritonbuild.gpu-arch` of the image has the choice.

Libraries for one architecture: {libraries}. Architectures: {names}.
"""

LIBRARIES: Final = """\
## Single libraries

`--exclude-library 'libcudnn_adv.so*'` (`exclude_libraries=("libcudnn_adv.so*",)`) leaves out libraries that would be
brought from the full image, by shell patterns of their names; repeatable. Files in the folders of components and of
Python packages stay, and so do those of the base. If a file is linked to an excluded library, the build fails, unless
`--exempt-library` lets the library be missing.

`tritonbuild plan --engine embedded` lists the libraries that are brought because a file names them, to open them at run
time, each with such a file: candidates for a pattern.
"""


def extras_page() -> str:
    """Return the text of `docs/extras.md`."""
    components = catalog.components(catalog.newest())
    tables = [extras_section(component) for component in components if component.extras]
    libraries = catalog.gpu_libraries()
    patterns = dict.fromkeys(
        one.replace(f"sm{name.replace('.', '')}", "smNN") for name in libraries for one in libraries[name]
    )
    names = ARCHITECTURES.format(libraries=", ".join(f"`{one}`" for one in patterns), names=", ".join(libraries))
    return "\n".join((EXTRAS_HEAD, *tables, names, LIBRARIES))


def extras_section(component: Component) -> str:
    """Return the table of one component."""
    rows = "\n".join(extra_row(extra) for extra in component.extras)
    head = "| extra | files | libraries that it opens | libraries that go with it | requires |\n|---|---|---|---|---|"
    return f"## {component.name}\n\nIn {catalog.newest()}, for linux/amd64 and GPU.\n\n{head}\n{rows}\n"


def extra_row(extra: Extra) -> str:
    """Return the row of one extra."""
    lists = (extra.files, extra.dlopen, extra.libraries, extra.requires)
    cells = (f"`{extra.name}`", *(" ".join(f"`{text}`" for text in texts) for texts in lists))
    return f"| {' | '.join(cells)} |"


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


PAGES: Final[Mapping[str, Callable[[], str]]] = {"options.md": page, "extras.md": extras_page}


def main() -> int:
    """Write the pages, or with `--check` compare them with the files."""
    stale = 0
    for name, text in PAGES.items():
        path, content = FOLDER / name, text()
        if "--check" not in sys.argv[1:]:
            path.write_text(content, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != content:
            print(f"{name} is stale: run python {Path(__file__).name}", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
