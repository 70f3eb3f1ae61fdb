"""Python of the distribution and of virtual environments: both implementations bring the same, and it works."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

from tests.corpus.chroot import Build
from tests.corpus.outcome import Outcome, Tree
from tests.corpus.planner import ENVIRONMENT
from tests.integration import compare
from tests.services.certificates import certificate
from tests.tiny.elves import LIBRARIES, Compiler
from tritonbuild.composition.choices import READ_FILES
from tritonbuild.embedded.libraries import OF_THE_BASE, matches

PYTHON = Path("/usr/bin/python3")
LOADER = Path("/lib64/ld-linux-x86-64.so.2")
STUB = "opt/tritonserver/backends/python/triton_python_backend_stub"
SHARED = "usr/lib/python3/dist-packages"
VENV = "opt/venv"
UNUSED = {"__pycache__", "ensurepip", "idlelib", "lib2to3", "test", "tkinter"}
PATH = f"/opt/tritonserver/bin:/{VENV}/bin:{ENVIRONMENT['PATH']}"


def output(*argv: str | Path) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture(scope="session")
def version() -> str:
    if not PYTHON.exists() or not shutil.which("openssl"):
        pytest.skip("this machine has no Python of the distribution, or no openssl")
    return output(PYTHON, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()


@pytest.fixture(scope="session")
def interpreter(version: str) -> Tree:
    """The distribution's interpreter, its standard library, and the libraries that these need."""
    tree: Tree = {f"usr/bin/python{version}": PYTHON.resolve().read_bytes(), "usr/bin/python3": f"python{version}"}
    library = Path(f"/usr/lib/python{version}")
    modules = [path for path in library.rglob("*") if not UNUSED & {*path.parts} and not path.is_symlink()]
    tree |= {str(path).lstrip("/"): path.read_bytes() for path in modules if path.is_file()}
    natives = [path for path in modules if path.suffix == ".so"]
    for found in {*re.findall(r"=> (/\S+) \(0x", output("ldd", PYTHON, *natives))}:
        tree[f"{LIBRARIES}/{Path(found).name}"] = Path(found).read_bytes()
    return tree


def virtual_environment(folder: Path, version: str, *options: str) -> Tree:
    """Return an environment as the venv module writes it, at `VENV`, with a module that only it has."""
    output(PYTHON, "-m", "venv", "--without-pip", *options, folder)
    tree: Tree = {f"{VENV}/lib/python{version}/site-packages/acme_venv.py": b"VALUE = 3\n"}
    for path in folder.rglob("*"):
        name = f"{VENV}/{path.relative_to(folder)}"
        if path.is_symlink():
            tree[name] = str(path.readlink())
        elif path.is_file():
            tree[name] = path.read_bytes()
    return tree


@attrs.frozen(kw_only=True)
class Workshop:
    """A full image with a python backend, as far as it does not differ between the tests, and the stages of a build."""

    build: Build
    compiler: Compiler
    version: str
    base: Tree
    full: Tree

    @property
    def composed(self) -> Path:
        return self.build.folder / "composed"

    def compose(self, added: Tree, path: str, composed_path: str = PATH) -> Outcome:
        """Run the scripts; *path* is the PATH of the full image."""
        arguments = ["backends/python", *(f"file={one}" for one in READ_FILES)]
        env, composed_env = {"PATH": path}, {"PATH": composed_path}
        return self.build.compose(self.base, self.full | added, arguments, full_env=env, composed_env=composed_env)

    def run(self, code: str, *arguments: str) -> str:
        """Return the output of a program for the composed image's Python, or the last line of its error."""
        argv = [shutil.which("chroot") or "", str(self.composed), "python3", "-c", code, *arguments]
        done = subprocess.run(argv, env={"PATH": PATH}, capture_output=True, text=True, check=False, timeout=120)
        return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.fixture
def workshop(build: Build, compiler: Compiler, interpreter: Tree, version: str) -> Workshop:
    compiler(f"libpython{version}.so.1.0")
    base = {path: one for path, one in interpreter.items() if matches(Path(path).name, OF_THE_BASE)}
    base[f"{LIBRARIES}/{LOADER.name}"] = LOADER.read_bytes()
    full: Tree = {
        "opt/tritonserver/bin/tritonserver": compiler("tritonserver"),
        "opt/tritonserver/lib/libtritonserver.so": compiler("libtritonserver.so"),
        STUB: compiler("stub", f"libpython{version}.so.1.0"),
        f"{LIBRARIES}/libpython{version}.so.1.0": (compiler.folder / f"libpython{version}.so.1.0").read_bytes(),
        **{path: content for path, content in interpreter.items() if path not in base},
        f"{SHARED}/acme_shared.py": b"VALUE = 4\n",
    }
    return Workshop(build=build, compiler=compiler, version=version, base=base, full=full)


CASES: dict[str, tuple[tuple[str, ...], bool]] = {
    "with the system's packages": (("--system-site-packages",), True),
    "of its own": ((), False),
    "with copied programs": (("--copies",), False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_virtual_environment_on_the_path(case: str, workshop: Workshop, tmp_path: Path) -> None:
    options, is_open = CASES[case]
    compiler = workshop.compiler
    compiler("libdep.so.1")
    added = {
        **virtual_environment(tmp_path / "venv", workshop.version, *options),
        f"{VENV}/lib/python{workshop.version}/site-packages/native.so": compiler("native.so", "libdep.so.1"),
        f"{LIBRARIES}/libdep.so.1": (compiler.folder / "libdep.so.1").read_bytes(),
    }
    done = workshop.compose(added, PATH)
    assert (done.messages, done.passed) == ((), True)
    assert {*added} <= done.files
    assert (f"{SHARED}/acme_shared.py" in done.files) == is_open
    assert workshop.run("import acme_venv, sys; print(acme_venv.VALUE, sys.prefix)") == f"3 /{VENV}"
    shared = workshop.run("import acme_shared; print(acme_shared.VALUE)")
    assert shared == ("4" if is_open else "ModuleNotFoundError: No module named 'acme_shared'")


def test_an_environment_that_the_composed_path_does_not_select(workshop: Workshop, tmp_path: Path) -> None:
    name = f"python{workshop.version}"
    added = virtual_environment(tmp_path / "venv", workshop.version)
    done = workshop.compose(added, PATH, ENVIRONMENT["PATH"])
    assert not done.passed
    assert done.messages == (
        f"PATH leads to /usr/bin/{name} in the composed image, and to /{VENV}/bin/{name} in the full image\n",
        f"add --env PATH=/{VENV}/bin:{ENVIRONMENT['PATH']}\n",
    )


def test_an_environment_of_python_3_8(workshop: Workshop, tmp_path: Path) -> None:
    """Its program has no minor version in its name; and the folder on the PATH is a link."""
    made = virtual_environment(tmp_path / "venv", workshop.version)
    del made[f"{VENV}/bin/python{workshop.version}"]
    added = {path.replace(VENV, f"{VENV}-1", 1): one for path, one in made.items()} | {VENV: "venv-1"}
    done = workshop.compose(added, PATH)
    assert (done.messages, done.passed) == ((), True)
    assert workshop.run("import acme_venv; print(acme_venv.VALUE)") == "3"


def test_a_tls_request_without_variables(workshop: Workshop, tmp_path: Path) -> None:
    """The authority is in the hashed folder alone, as where the base has a bundle."""
    server = certificate(tmp_path / "tls", "IP:127.0.0.1")
    name = output("openssl", "x509", "-hash", "-noout", "-in", server.authority).strip()
    local = "usr/local/share/ca-certificates/acme.crt"
    added: Tree = {
        local: server.authority.read_bytes(),
        "etc/ssl/certs/acme.pem": f"/{local}",
        f"etc/ssl/certs/{name}.0": "acme.pem",
        "usr/lib/ssl/certs": "/etc/ssl/certs",
        "etc/mime.types": b"application/x-acme acme\n",
    }
    done = workshop.compose(added, ENVIRONMENT["PATH"])
    assert (done.messages, done.passed) == ((), True)
    with compare.tls_server(server) as port:
        assert workshop.run(compare.REQUEST, str(port)) == compare.ANSWER.decode()
        (workshop.composed / local).unlink()
        assert "CERTIFICATE_VERIFY_FAILED" in workshop.run(compare.REQUEST, str(port))
    assert workshop.run("import mimetypes; print(mimetypes.guess_type('a.acme')[0])") == "application/x-acme"
    assert done.files >= {f"usr/bin/python{workshop.version}", "usr/bin/python3", f"{SHARED}/acme_shared.py"}
