"""The tree /opt/tritonserver: the server and its components, real ones and stand-ins, and their libraries."""

import gzip
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.replica.compiler import SOURCES, Compiler, add_ballast
from tests.replica.cuda import SYSTEM
from tests.replica.layers import Tree, file, on_disk, owned, symlink, with_parents

VERSION: Final = "2.51.0"
RELEASE: Final = "24.10"
HOME: Final = "opt/tritonserver"
OWNER: Final = 1000
"""uid and gid of triton-server, which owned the files until release 26.06."""

BASED_ON_PYTHON: Final = {
    "acme_scale": "pb_utils.Tensor('OUTPUT0', pb_utils.get_input_tensor_by_name(request, 'INPUT0').as_numpy() * 3)",
    "acme_reverse": "pb_utils.Tensor('OUTPUT0', pb_utils.get_input_tensor_by_name(request, 'INPUT0').as_numpy()[::-1])",
}
GPU_ONLY: Final = ("dali", "tensorrt")


@attrs.frozen
class Acme:
    """A library that the real components in C need, in a folder of its own."""

    soname: str
    version: str
    source: str
    needed: tuple[str, ...] = ()
    folder: str = SYSTEM


ACME: Final = (
    Acme("libacme_confd.so.1", "0.2", "acme_confd.c", folder="opt/acme/lib"),
    Acme("libacme_deep.so.2", "1.0", "acme_deep.c"),
    Acme("libacme_direct.so.1", "4.0", "acme_direct.c", ("libacme_deep.so.2",)),
    Acme("libacme_plugin.so.1", "2.0", "acme_plugin.c"),
    Acme("libacme_sum.so.3", "0.1", "acme_sum.c"),
)


@attrs.frozen
class Standin:
    """A shared object of a large component.

    Attributes:
        path: below /opt/tritonserver
        megabytes: about a fortieth of the real one's
        needed: sonames, all found in full
        soname: set if it differs from the file's name; links of that name and of the plain name are added
    """

    path: str
    megabytes: float
    needed: tuple[str, ...] = ()
    soname: str = ""


SERVER: Final = "libtritonserver.so"
STANDINS: Final = (
    Standin("backends/dali/libtriton_dali.so", 0.1, (SERVER, "libcudart.so.12")),
    Standin("backends/dali/wheel/dali/libdali.so", 10, ("libdali_core.so", "libdali_kernels.so", "libnvjpeg.so.12")),
    Standin("backends/dali/wheel/dali/libdali_core.so", 1),
    Standin("backends/dali/wheel/dali/libdali_kernels.so", 6, ("libdali_core.so", "libcufft.so.11")),
    Standin("backends/dali/wheel/dali/libnvjpeg.so.12", 1),
    Standin("backends/fil/libtriton_fil.so", 20, (SERVER, "libcublas.so.12", "libcusolver.so.11", "libgomp.so.1")),
    Standin("backends/onnxruntime/libonnxruntime.so.1.19.2", 7, soname="libonnxruntime.so.1"),
    Standin(
        "backends/onnxruntime/libonnxruntime_providers_cuda.so",
        14,
        ("libcublas.so.12", "libcudnn.so.9", "libcufft.so.11", "libcurand.so.10"),
    ),
    Standin("backends/onnxruntime/libonnxruntime_providers_openvino.so", 0.5, ("libopenvino.so.2440",)),
    Standin("backends/onnxruntime/libonnxruntime_providers_shared.so", 0),
    Standin("backends/onnxruntime/libopenvino.so.2024.4.0", 3, ("libtbb.so.12",), "libopenvino.so.2440"),
    Standin("backends/onnxruntime/libtbb.so.12", 0.2),
    Standin(
        "backends/onnxruntime/libtriton_onnxruntime.so",
        0.1,
        (SERVER, "libonnxruntime.so.1", "libcudart.so.12", "libgomp.so.1"),
    ),
    Standin("backends/openvino/libopenvino.so.2024.4.0", 4, ("libtbb.so.12",), "libopenvino.so.2440"),
    Standin("backends/openvino/libopenvino_intel_cpu_plugin.so", 7.5, ("libopenvino.so.2440",)),
    Standin("backends/openvino/libtbb.so.12", 0.2),
    Standin("backends/openvino/libtriton_openvino.so", 0.1, (SERVER, "libopenvino.so.2440")),
    Standin("backends/pytorch/libc10.so", 0.5, ("libnuma.so.1",)),
    Standin("backends/pytorch/libc10_cuda.so", 0.5, ("libc10.so", "libcudart.so.12")),
    Standin("backends/pytorch/libcaffe2_nvrtc.so", 0, ("libcuda.so.1",)),
    Standin("backends/pytorch/libtorch.so", 0, ("libtorch_cpu.so", "libtorch_cuda.so")),
    Standin("backends/pytorch/libtorch_cpu.so", 24, ("libc10.so", "libgomp.so.1", "libcupti.so.12")),
    Standin(
        "backends/pytorch/libtorch_cuda.so",
        34,
        (
            *("libc10_cuda.so", "libtorch_cpu.so", "libcublas.so.12", "libcudnn.so.9", "libcufft.so.11"),
            *("libcusolver.so.11", "libcusparse.so.12", "libnccl.so.2", "libnvToolsExt.so.1", "libucc.so.1"),
        ),
    ),
    Standin("backends/pytorch/libtorchvision.so", 0.5, ("libtorch.so", "libc10.so")),
    Standin("backends/pytorch/libtriton_pytorch.so", 0.5, (SERVER, "libtorch.so", "libtorchvision.so")),
    Standin("backends/tensorrt/libtriton_tensorrt.so", 1, (SERVER, "libnvinfer.so.10", "libcudart.so.12")),
    Standin("caches/redis/libtritoncache_redis.so", 0.3, (SERVER, "libssl.so.3")),
)
RUN_PATHS: Final = {"backends/dali/libtriton_dali.so": "$ORIGIN/wheel/dali"}

BASED_ON_PYTHON_MODEL: Final = '''"""The backend {name}: its models have no code of their own."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [pb_utils.InferenceResponse([{output}]) for request in requests]
'''


def libraries(compiler: Compiler) -> Tree:
    """Return the acme libraries, which only full has; call this before *real*, which links them."""
    tree: Tree = {"etc/ld.so.conf.d/acme.conf": file(b"/opt/acme/lib\n")}
    for acme in ACME:
        # linked among the compiler's names, so that later links find its functions
        path = compiler.link(f"names/{acme.soname}", [acme.source], soname=acme.soname, needed=acme.needed)
        name = f"{acme.soname}.{acme.version}"
        tree |= {f"{acme.folder}/{name}": on_disk(path), f"{acme.folder}/{acme.soname}": symlink(name)}
    return with_parents(tree)


def real(compiler: Compiler, wheel: Mapping[str, Path]) -> Tree:
    """Return the server and the working components."""
    tree: Tree = {
        "bin/tritonserver": on_disk(wheel["tritonserver"], 0o755),
        "lib/libtritonserver.so": on_disk(wheel["libtritonserver.so"]),
        "backends/python/libtriton_python.so": on_disk(wheel["libtriton_python.so"]),
        "backends/python/triton_python_backend_stub": on_disk(wheel["triton_python_backend_stub"], 0o755),
        "backends/python/triton_python_backend_utils.py": on_disk(wheel["triton_python_backend_utils.py"]),
        "caches/local/libtritoncache_local.so": on_disk(wheel["libtritoncache_local.so"]),
    }
    for name, output in BASED_ON_PYTHON.items():
        tree[f"backends/{name}/model.py"] = file(BASED_ON_PYTHON_MODEL.format(name=name, output=output).encode())
    for name, needed in {"identity": ["libacme_direct.so.1"], "square": ["libacme_confd.so.1"], "repeat": []}.items():
        path = f"backends/{name}/libtriton_{name}.so"
        tree[path] = on_disk(compiler.link(path, ["backend.c", f"{name}.c"], needed=[SERVER, *needed]))
    path = "repoagents/checksum/libtritonrepoagent_checksum.so"
    tree[path] = on_disk(compiler.link(path, ["checksum.c"], needed=[SERVER, "libacme_sum.so.3"]))
    return tree


def standins(compiler: Compiler) -> Tree:
    """Return the stand-ins: components with the name, dependencies and size of the real ones."""
    tree: Tree = {
        "backends/dali/dali_backend.py": file(b'"""Stands for the code of the DALI backend."""\n'),
        "backends/dali/wheel/dali/__init__.py": file(b'"""Stands for nvidia.dali."""\n'),
    }
    for standin in STANDINS:
        run_path = RUN_PATHS.get(standin.path, "$ORIGIN")
        path = compiler.link(
            standin.path, ["standin.c"], soname=standin.soname, needed=standin.needed, run_path=run_path
        )
        add_ballast(path, standin.megabytes)
        tree[standin.path] = on_disk(path)
        if standin.soname:
            folder = standin.path.rpartition("/")[0]
            plain = f"{standin.soname.partition('.so')[0]}.so"
            tree |= {f"{folder}/{standin.soname}": symlink(path.name), f"{folder}/{plain}": symlink(standin.soname)}
    return tree


def documents(wheel: Mapping[str, Path]) -> Tree:
    """Return the files beside the components."""
    headers = {f"include/triton/core/{path.name}": on_disk(path) for path in sorted(SOURCES.glob("triton*.h"))}
    return headers | {
        "LICENSE": on_disk(wheel["LICENSE"]),
        "NVIDIA_Deep_Learning_Container_License.pdf": file(PDF),
        "TRITON_VERSION": file(f"{VERSION}\n".encode()),
        f"python/tritonserver-{VERSION}-py3-none-any.whl": file(empty_wheel()),
        "third-party-src/README": file(b"Stands for the sources of what the server is made with.\n"),
        "third-party-src/src.tar.gz": file(gzip.compress(bytes(10240), mtime=0)),
    }


def opt_tritonserver(compiler: Compiler, wheel: Mapping[str, Path]) -> Tree:
    """Return all of /opt/tritonserver, owned by its user."""
    tree = with_parents(real(compiler, wheel) | standins(compiler) | documents(wheel))
    rooted = {f"{HOME}/{path}": entry for path, entry in tree.items()}
    whole = with_parents(rooted)
    return {"opt": whole.pop("opt"), **owned(whole, OWNER, OWNER)}


def without_gpu(tree: Tree) -> Tree:
    """Leave out of /opt/tritonserver the backends that the CPU flavour lacks."""
    folders = tuple(f"{HOME}/backends/{name}" for name in GPU_ONLY)
    return {path: entry for path, entry in tree.items() if not f"{path}/".startswith(tuple(f"{f}/" for f in folders))}


def empty_wheel() -> bytes:
    """Return an empty wheel with the name of the server's Python interface."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        metadata = zipfile.ZipInfo(f"tritonserver-{VERSION}.dist-info/METADATA", (2024, 10, 24, 0, 0, 0))
        archive.writestr(metadata, f"Metadata-Version: 2.1\nName: tritonserver\nVersion: {VERSION}\n")
    return out.getvalue()


PDF: Final = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 100]>>endobj
trailer<</Root 1 0 R>>
%%EOF
"""
