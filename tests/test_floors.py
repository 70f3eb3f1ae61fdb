"""The house stands as docs/design.md draws it: a module imports only from floors below it."""

from __future__ import annotations

import ast
import graphlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import tritonbuild

PACKAGE = Path(tritonbuild.__file__).parent

STOREYS = (
    ("masking",),
    ("errors", "wellknown"),
    ("dirs",),
    ("optional_parts", "parameters", "planned", "reference"),
    ("threads", "flags", "atomic", "process", "containerfile", "additions", "build_context", "catalog", "fragment"),
    ("engine", "composition", "modelrepo", "oci"),
    ("layers",),
    ("rootfs",),
    ("recipe", "embedded", "source_check"),
    ("backends",),
    ("build_command", "build_outcome", "scratch"),
    ("run_build", "keywords"),
    ("api",),
    ("__init__",),
    ("testing", "cli"),
    ("__main__",),
)
"""The rooms from the ground up. `oci`, `layers` and `rootfs` share a floor of docs/design.md, one above the other."""

FLOORS = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}

LARGEST_MODULE = 300
"""Lines of a module; data stands in JSON."""

DEFERRED = {"cli.app", "embedded.plan_file", "cli.from_compose", "oci.archives", "cli.models", "modelrepo", "recipe"}
"""What may be imported inside a function: what many command lines do without, or load while an engine is probed, and
the command line itself, which an interrupt may reach while it is loaded."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """Return the room a dotted module name below the package stands in."""
    return module.split(".", 1)[0] or "__init__"


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


NAMES = {dotted(path) for path in MODULES}


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield each import of the package's own modules, as a dotted name below the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name[12:]) for alias in node.names if alias.name.startswith("tritonbuild."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import at line {node.lineno}"
            if node.module == "tritonbuild":
                yield from ((node, alias.name if alias.name in FLOORS else "") for alias in node.names)
            elif (node.module or "").startswith("tritonbuild."):
                module = (node.module or "")[12:]
                yield from (
                    (node, f"{module}.{a.name}" if f"{module}.{a.name}" in NAMES else module) for a in node.names
                )


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_imports_only_from_floors_below(path: Path) -> None:
    module = dotted(path)
    floor = FLOORS[room(module)]
    breaches = [
        f"line {node.lineno}: {module} (floor {floor}) imports {name or '__init__'} (floor {FLOORS[room(name)]})"
        for node, name in imports(ast.parse(path.read_text(encoding="utf-8")))
        if room(name) != room(module) and FLOORS[room(name)] >= floor
    ]
    assert not breaches


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_own_modules_are_imported_at_the_top_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in tree.body}
    inner = [(node.lineno, name) for node, name in imports(tree) if id(node) not in top and name not in DEFERRED]
    assert not inner
    assert "TYPE_CHECKING" not in path.read_text(encoding="utf-8")


PACKAGES = sorted({path.parent for path in MODULES} - {PACKAGE})


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_module_of_a_package_imports_itself_in_a_circle(package: Path) -> None:
    graph = {
        dotted(path): {name for _, name in imports(ast.parse(path.read_text(encoding="utf-8"))) if name != dotted(path)}
        for path in package.glob("*.py")
    }
    own = {module: {name for name in names if name in graph} for module, names in graph.items()}
    graphlib.TopologicalSorter(own).prepare()


def test_every_module_stands_on_a_floor() -> None:
    assert {room(module) for module in NAMES} <= FLOORS.keys()


def test_no_room_holds_more_than_a_fifth_and_no_module_more_than_300_lines() -> None:
    lines = {dotted(path): path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    rooms: Counter[str] = Counter()
    for module, count in lines.items():
        rooms[room(module)] += count
    assert max(rooms.values()) <= sum(rooms.values()) / 5, rooms.most_common(3)
    assert {module: count for module, count in lines.items() if count > LARGEST_MODULE} == {}


def test_a_breach_is_found() -> None:
    tree = ast.parse("def f():\n    from tritonbuild import api\n    import tritonbuild.cli.app\n")
    assert [(node.lineno, name) for node, name in imports(tree)] == [(2, "api"), (3, "cli.app")]


def test_only_process_starts_processes() -> None:
    words = ("subprocess", "os.system", "os.exec", "os.spawn", "os.popen", "pty.spawn")
    users = [
        dotted(path)
        for path in MODULES
        if any(word in path.read_text(encoding="utf-8") for word in words) and dotted(path) != "process"
    ]
    assert users == []


def test_names_of_engines_stand_only_in_their_own_modules() -> None:
    """Generic code knows nothing of one engine: no name of one in a string that is compared or looked up."""
    engines = {"docker", "buildx", "podman", "buildah", "nerdctl", "buildctl", "embedded"}
    breaches = []
    for path in MODULES:
        if path.parent.name == "backends":
            continue
        breaches += [
            f"{dotted(path)}:{node.lineno}: {node.value!r}"
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and node.value in engines
        ]
    assert breaches == []


def test_public_names_are_sorted_and_there() -> None:
    assert tritonbuild.__all__ == sorted(tritonbuild.__all__)
    assert all(hasattr(tritonbuild, name) for name in tritonbuild.__all__)
    assert set(tritonbuild.__all__) <= set(dir(tritonbuild))
    with pytest.raises(AttributeError, match="module 'tritonbuild' has no attribute 'bild'"):
        tritonbuild.bild  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_are_told_the_same_names_of_the_same_modules() -> None:
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    statements = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {alias.name: node.module for node in statements for alias in node.names} == {
        name: f"tritonbuild.{home}" for name, home in vars(tritonbuild)["_HOMES"].items()
    }
    (names,) = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    assert ast.literal_eval(names) == tritonbuild.__all__ == sorted(vars(tritonbuild)["_HOMES"])
