"""Variants of the replica, closer to real images: Python wheels, a virtual environment, odd libraries and names.

`make()` returns them as one OCI layout, from a cache after the first time:

| reference | contents |
|---|---|
| tritonserver:24.10-wheels | full with numba, llvmlite, scipy and OpenCV from the package index |
| tritonserver:24.10-venv | full with a virtual environment first on PATH, which holds a package |
| tritonserver:24.10-acme | full with the backends `opener`, `versioned` and `hostile` |
| tritonserver:24.10-old-min | min with an older library under the soname that `versioned` needs |

All full variants trust the authority in `authority`, in every form that Debian's ca-certificates writes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tests import replica
from tests.replica import images, layers, oci, programs
from tests.replica.compiler import Compiler
from tests.replica.components import BASED_ON_PYTHON_MODEL, HOME, OWNER, SERVER
from tests.replica.cuda import SYSTEM
from tests.replica.errors import ReplicaError
from tests.replica.layers import Layer, Tree, file, on_disk, owned, symlink
from tests.replica.push import push
from tests.services.cache import made
from tests.services.certificates import Certificate, certificate

SOURCES: Final = Path(__file__).parent / "c"
WHEELS: Final = (
    "llvmlite==0.44.0",
    "numba==0.61.2",
    "opencv-python-headless==4.11.0.86",
    "scipy==1.13.1",
)
MODULES: Final = ("cv2", "llvmlite", "numba", "scipy")
"""The top-level modules of the wheels."""

PACKAGES: Final = "usr/local/lib/python3.11/dist-packages"
VENV: Final = "opt/venv-tritonserver"
COMPONENTS: Final = ("hostile", "opener", "versioned")
HOSTILE: Final = (
    " a blank first",
    "#hash",
    "$HOME",
    "%s",
    "*",
    "-rf",
    "[a]?",
    "`id`",
    "a\nnew line",
    "a\ttab",
    "a back\\slash",
    'a "quote"',
    "it's",
    "libacme blank.so.1",
    "umläut",
)
"""Names of files of the backend `hostile`."""

NAMES: Final = {
    "wheels": "tritonserver:24.10-wheels",
    "venv": "tritonserver:24.10-venv",
    "acme": "tritonserver:24.10-acme",
    "old-min": "tritonserver:24.10-old-min",
}
CONFIG: Final = """name: "{name}"
backend: "{name}"
max_batch_size: 0
input [{{ name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] }}]
output [{{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }}]
"""
BUNDLE: Final = "etc/ssl/certs/ca-certificates.crt"
DAYS: Final = 3650
"""Validity of the certificate, longer than any cache lives."""


@attrs.frozen
class Variants:
    """The variants in their folder: an OCI layout, a model repository, a server's certificate."""

    folder: Path

    @property
    def models(self) -> Path:
        """A model repository: a model for each of `COMPONENTS`, and `mine`, which brings its own backend library."""
        return self.folder / "models"

    @property
    def certificate(self) -> Certificate:
        """The certificate of a server on 127.0.0.1, from an authority that the full variants trust."""
        folder = self.folder / "tls"
        return Certificate(
            certificate=folder / "certificate.pem", key=folder / "key.pem", authority=folder / "authority.pem"
        )

    def push(self, registry: str) -> dict[str, str]:
        """Push the variants to *registry* (`localhost:PORT`, plain HTTP); return their references by name."""
        layout = self.folder / "layout"
        index = oci.read_json_file(layout / "index.json")
        digests = {entry["annotations"][oci.REFERENCE]: entry["digest"] for entry in index["manifests"]}
        push(layout, registry, {f"{replica.NAMESPACE}/{reference}": digests[reference] for reference in NAMES.values()})
        return {name: f"{registry}/{replica.NAMESPACE}/{reference}" for name, reference in NAMES.items()}


def make() -> Variants:
    """Return the variants; create them if the cache lacks them, which downloads 150 MB and takes a minute or two."""
    source = replica.make().layout
    texts = [path.read_bytes() for path in (Path(__file__), *sorted(SOURCES.iterdir()))]
    key = hashlib.sha256(b"\0".join((source.name.encode(), *texts))).hexdigest()[:16]
    for old in source.parent.glob("variants-*"):
        if old.name != f"variants-{key}":
            shutil.rmtree(old, ignore_errors=True)
    return Variants(made(source.parent / f"variants-{key}", lambda draft: _make(source, draft)))


def _make(source: Path, draft: Path) -> None:
    authority = certificate(draft / "tls", "IP:127.0.0.1", days=DAYS)
    layout = draft / "layout"
    shutil.copytree(source, layout, copy_function=os.link)
    (layout / "index.json").unlink()
    with tempfile.TemporaryDirectory(dir=draft.parent) as folder:
        work = Path(folder)
        compiler = Compiler(work / "compiled")
        model_repository(compiler, draft / "models")
        full, minimal = images.REFERENCES["full"], images.REFERENCES["min"]
        old = compiler.link(f"old/{LIBRARY}", [str(SOURCES / "library.c"), _script("old")], soname=LIBRARY)
        trusted = trust(authority, bundle_of(source, full))
        extended = [
            extend(source, layout, full, NAMES["wheels"], [trusted, wheels(work / "wheels")]),
            extend(source, layout, full, NAMES["venv"], [trusted, virtual_environment()], path=f"/{VENV}/bin"),
            extend(source, layout, full, NAMES["acme"], [trusted, acme(compiler)]),
            extend(source, layout, minimal, NAMES["old-min"], [{f"{SYSTEM}/{LIBRARY}": on_disk(old)}]),
        ]
    index = {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": extended}
    (layout / "index.json").write_bytes(oci.to_json(index))


LIBRARY: Final = "libacme_versioned.so.1"


def _script(name: str) -> str:
    return f"-Wl,--version-script={SOURCES / name}.map"


def bundle_of(layout: Path, reference: str) -> bytes:
    """Return the bundle of certificates in an image, which one of its layers holds."""
    for layer in oci.read_json(layout, manifest_of(layout, reference)["digest"])["layers"]:
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as tar:
            for member in tar:
                if member.name == BUNDLE and (content := tar.extractfile(member)):
                    return content.read()
    raise ReplicaError(f"{reference} has no /{BUNDLE}")


def manifest_of(layout: Path, reference: str) -> dict[str, Any]:
    """Return the descriptor of an image in a layout."""
    manifests = oci.read_json_file(layout / "index.json")["manifests"]
    (found,) = [one for one in manifests if one["annotations"][oci.REFERENCE] == reference]
    assert isinstance(found, dict)
    return found


def trust(authority: Certificate, bundle: bytes) -> Tree:
    """Return the files that add an authority to a bundle of certificates and to the hashed folder."""
    name = programs.run(["openssl", "x509", "-hash", "-noout", "-in", str(authority.authority)]).strip()
    local = "usr/local/share/ca-certificates/acme.crt"
    return {
        local: file(authority.authority.read_bytes()),
        "etc/ssl/certs/acme.pem": symlink(f"/{local}"),
        f"etc/ssl/certs/{name}.0": symlink("acme.pem"),
        BUNDLE: file(bundle + authority.authority.read_bytes()),
    }


def wheels(folder: Path) -> Tree:
    """Return the packages of the index, unpacked where pip installs them in full."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--only-binary=:all:", "--platform=manylinux2014_x86_64", "--python-version=3.11"]
    programs.run([*command, "--implementation=cp", f"--target={folder}", *WHEELS])
    return from_folder(folder, PACKAGES)


def from_folder(folder: Path, top: str) -> Tree:
    """Return the files of *folder* as a tree at *top*."""
    return {
        f"{top}/{path.relative_to(folder)}": on_disk(path, 0o755 if os.access(path, os.X_OK) else 0o644)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def virtual_environment() -> Tree:
    """Return a virtual environment as the venv module writes it, with a package that only it has."""
    return {
        f"{VENV}/pyvenv.cfg": file(b"home = /usr/bin\ninclude-system-site-packages = true\nversion = 3.11.2\n"),
        f"{VENV}/bin/python": symlink("python3"),
        f"{VENV}/bin/python3": symlink("/usr/bin/python3"),
        f"{VENV}/bin/python3.11": symlink("python3"),
        f"{VENV}/lib/python3.11/site-packages/acme_venv/__init__.py": file(b"FILE = __file__\n"),
        f"{VENV}/lib64": symlink("lib"),
    }


def acme(compiler: Compiler) -> Tree:
    """Return the backends, and the library that `versioned` needs."""
    new = [str(SOURCES / "library.c"), _script("new")]
    library = compiler.link(f"names/{LIBRARY}", new, soname=LIBRARY)
    backends = f"{HOME}/backends"
    tree: Tree = {}
    for name, needed in (("opener", ()), ("versioned", (LIBRARY,))):
        sources = ["backend.c", str(SOURCES / f"{name}.c")]
        built = compiler.link(f"{name}/libtriton_{name}.so", sources, needed=[SERVER, *needed])
        tree[f"{backends}/{name}/libtriton_{name}.so"] = on_disk(built)
    output = "pb_utils.Tensor('OUTPUT0', pb_utils.get_input_tensor_by_name(request, 'INPUT0').as_numpy())"
    tree[f"{backends}/hostile/model.py"] = file(BASED_ON_PYTHON_MODEL.format(name="hostile", output=output).encode())
    for name in HOSTILE:
        content = layers.bytes_of(on_disk(library).content) if ".so" in name else name.encode()
        tree[f"{backends}/hostile/{name}"] = file(content, 0o755)
    tree |= {
        f"{backends}/hostile/dangling": symlink("/opt/acme/nothing"),
        f"{backends}/hostile/outside": symlink("/opt/acme/data"),
    }
    return owned(tree, OWNER, OWNER) | {
        f"{SYSTEM}/{LIBRARY}": on_disk(library),
        "opt/acme/data/words.txt": file(b"data outside of the server's folder\n"),
    }


def model_repository(compiler: Compiler, folder: Path) -> None:
    """Write a model for each backend, and one that brings a backend library of its own."""
    direct = ["acme_direct.c"]
    compiler.link("names/libacme_deep.so.2", ["acme_deep.c"])
    compiler.link("names/libacme_direct.so.1", direct, needed=["libacme_deep.so.2"])
    built = compiler.link("mine/libtriton_mine.so", ["backend.c", "identity.c"], needed=[SERVER, "libacme_direct.so.1"])
    for name in (*COMPONENTS, "mine"):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(CONFIG.format(name=name))
        (folder / name / "1" / ".keep").touch()
    shutil.copy(built, folder / "mine" / built.name)


def extend(
    source: Path, layout: Path, reference: str, name: str, trees: Sequence[Mapping[str, Any]], *, path: str = ""
) -> dict[str, Any]:
    """Write the image *reference* of the layout *source* with more layers; return its descriptor, named *name*.

    Args:
        source: the replica's layout
        layout: the layout to write to, which has the blobs of *source*
        reference: the image in *source*
        name: the reference of the new image
        trees: the contents of the new layers
        path: a folder to put on PATH, right after the server's
    """
    entry = manifest_of(source, reference)
    manifest = oci.read_json(source, entry["digest"])
    config = oci.read_json(source, manifest["config"]["digest"])
    for number, tree in enumerate(trees):
        layer: Layer = layers.write_layer(dict(tree), layout / "blobs" / "sha256", f"COPY {name} {number}")
        config["rootfs"]["diff_ids"].append(layer.diff_id)
        config["history"].append({"created": oci.CREATED, "created_by": layer.created_by})
        manifest["layers"].append({"mediaType": oci.LAYER_TYPE, "digest": layer.digest, "size": layer.size})
    if path:
        server = "PATH=/opt/tritonserver/bin:"
        env = [one.replace(server, f"{server}{path}:") for one in config["config"]["Env"]]
        config["config"]["Env"] = env
    manifest["config"] = oci.put(layout, config, oci.CONFIG_TYPE)
    described = oci.put(layout, manifest, oci.MANIFEST_TYPE)
    return described | {"platform": entry["platform"], "annotations": {oci.REFERENCE: name}}
