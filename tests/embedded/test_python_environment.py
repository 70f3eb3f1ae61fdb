"""The Python environment of the full image: its entry in PATH, and its errors."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.replica.layers import Tree, file, symlink
from tests.tiny.bench import Bench
from tests.tiny.elves import PACKAGES, Compiler, Sources, base_tree, files, python_tree, sources

VENV = "opt/venv"
SERVER_PATH = "/opt/tritonserver/bin:/usr/bin:/bin"
PATH = f"/opt/tritonserver/bin:/{VENV}/bin:/usr/bin:/bin"


def environment(settings: str = "home = /usr/bin\ninclude-system-site-packages = true\n") -> Tree:
    return {
        f"{VENV}/pyvenv.cfg": file(settings.encode()),
        f"{VENV}/bin/python3": symlink("/usr/bin/python3"),
        f"{VENV}/bin/python3.11": symlink("python3"),
        f"{VENV}/lib/python3.11/site-packages/mine/__init__.py": file(b"VALUE = 3\n"),
        f"{VENV}/lib64": symlink("lib"),
    }


def images(bench: Bench, compiler: Compiler, added: Tree, env: Mapping[str, str]) -> Sources:
    shared = {f"{PACKAGES}/shared.py": file(b"VALUE = 4\n")}
    return sources(bench, base_tree(compiler), {**python_tree(compiler), **shared, **added}, env=env)


VARIABLES: dict[str, tuple[dict[str, str], list[str]]] = {
    "an entry": ({"PATH": PATH}, [f"PATH={PATH}"]),
    "VIRTUAL_ENV": ({"PATH": PATH, "VIRTUAL_ENV": f"/{VENV}"}, [f"PATH={PATH}", f"VIRTUAL_ENV=/{VENV}"]),
    "VIRTUAL_ENV of another": ({"PATH": PATH, "VIRTUAL_ENV": "/opt/other"}, [f"PATH={PATH}"]),
    "after the distribution's": ({"PATH": f"/usr/bin:/{VENV}/bin"}, [f"PATH={SERVER_PATH}"]),
}


@pytest.mark.parametrize("name", VARIABLES)
def test_variables_of_the_environment(name: str, bench: Bench, compiler: Compiler) -> None:
    env, expected = VARIABLES[name]
    made = images(bench, compiler, environment(), env)
    found = made.build(made.request("python"))
    chosen = [one for one in found.config["Env"] if one.startswith(("PATH=", "VIRTUAL_ENV="))]
    assert sorted(chosen) == sorted(expected)
    assert (f"{VENV}/pyvenv.cfg" in found.members) == (PATH in expected[0])
    assert f"{PACKAGES}/shared.py" in found.members


def test_an_environment_without_the_packages_of_the_system(bench: Bench, compiler: Compiler) -> None:
    made = images(bench, compiler, environment("home = /usr/bin\n"), {"PATH": PATH})
    done, plan = made.plan(made.request("python"))
    assert done.code == 0, done.err
    assert {f"/{path}" for path in environment()} <= files(plan)
    assert "/usr/lib/python3.11/os.py" in files(plan)
    assert f"/{PACKAGES}/shared.py" not in files(plan)


def test_an_environment_without_its_base(bench: Bench, compiler: Compiler) -> None:
    made = images(bench, compiler, environment("home = /srv/python/bin\n"), {"PATH": PATH})
    done, _ = made.plan(made.request("python"))
    assert done.code == 1
    message = f"the virtual environment /{VENV} is based on python3.11 in /srv/python/bin, which the full image lacks"
    assert f"error: {message}\n" in done.err


def test_an_environment_that_the_users_path_does_not_select(bench: Bench, compiler: Compiler) -> None:
    made = images(bench, compiler, environment(), {"PATH": PATH})
    done, _ = made.plan(made.request("python", environment={"PATH": SERVER_PATH}))
    assert done.code == 4
    found, expected = "/usr/bin/python3.11", f"/{VENV}/bin/python3.11"
    assert f"error: PATH leads to {found} in the composed image, and to {expected} in the full image\n" in done.err
    assert f"hint: add --env PATH={PATH}\n" in done.err
