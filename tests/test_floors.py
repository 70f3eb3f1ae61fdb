"""The house stands as docs/design.md draws it: a module imports only from floors below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tritonbuild

PACKAGE = Path(tritonbuild.__file__).parent

FLOORS = {
    "errors": 0,
    "tokens": 0,
    "flags": 1,
    "process": 1,
    "reference": 1,
    "additions": 1,
    "containerfile": 1,
    "context": 1,
    "catalog": 1,
    "engine": 2,
    "composition": 2,
    "oci": 2,
    "recipe": 3,
    "modelrepo": 3,
    "backends": 3,
    "building": 3,
    "configurations": 3,
    "api": 4,
    "testing": 6,
    "__init__": 5,
    "cli": 6,
    "__main__": 7,
}

DEFERRED = {"cli.app", "cli.models", "modelrepo", "recipe"}
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
