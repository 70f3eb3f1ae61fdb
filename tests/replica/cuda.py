"""The files of the CUDA base: libraries with the names of NVIDIA's image and about a tenth of their size.

The server, Python and Debian of the images are real. Smaller CUDA libraries would make them most of an image, which
they are not in NVIDIA's.
"""

from typing import Final

import attrs

from tests.replica.compiler import Compiler, add_ballast
from tests.replica.layers import Tree, directory, file, on_disk, symlink, with_parents

SYSTEM: Final = "usr/lib/x86_64-linux-gnu"
HOME: Final = "usr/local/cuda-12.6"
LIBRARIES: Final = f"{HOME}/targets/x86_64-linux/lib"
STUBS: Final = f"{LIBRARIES}/stubs"
UCC: Final = "opt/hpcx/ucc/lib"
UCX: Final = "opt/hpcx/ucx/lib"


@attrs.frozen
class Library:
    """A stand-in: the file has the whole version, the link has the soname.

    Attributes:
        folder: the folder of the file
        soname: DT_SONAME
        version: the part of the file's name after the soname; empty if the soname is the file's name
        megabytes: about a tenth of the real one's
        needed: sonames
    """

    folder: str
    soname: str
    version: str
    megabytes: float = 0
    needed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's name."""
        return f"{self.soname}.{self.version}" if self.version else self.soname


CUDA: Final = (
    Library(LIBRARIES, "libcublas.so.12", "6.3.3", 10, ("libcublasLt.so.12",)),
    Library(LIBRARIES, "libcublasLt.so.12", "6.3.3", 50),
    Library(LIBRARIES, "libcufft.so.11", "3.0.4", 27),
    Library(LIBRARIES, "libcupti.so.12", "6.80", 1),
    Library(LIBRARIES, "libcurand.so.10", "3.7.77", 9),
    Library(LIBRARIES, "libcusolver.so.11", "7.1.2", 12, ("libcublas.so.12", "libcusparse.so.12")),
    Library(LIBRARIES, "libcusparse.so.12", "5.4.2", 27, ("libnvJitLink.so.12",)),
    Library(LIBRARIES, "libnppif.so.12", "3.1.54", 9),
    Library(LIBRARIES, "libnppig.so.12", "3.1.54", 4),
    Library(LIBRARIES, "libnvJitLink.so.12", "6.77", 5),
    Library(LIBRARIES, "libnvToolsExt.so.1", "0.0"),
    Library(LIBRARIES, "libnvrtc.so.12", "6.77", 6),
    Library(SYSTEM, "libcudnn.so.9", "5.0", 0.1),
    Library(SYSTEM, "libcudnn_adv.so.9", "5.0", 24, ("libcudnn_ops.so.9",)),
    Library(SYSTEM, "libcudnn_cnn.so.9", "5.0", 0.5, ("libcudnn_ops.so.9",)),
    Library(SYSTEM, "libcudnn_engines_precompiled.so.9", "5.0", 50, ("libcublasLt.so.12",)),
    Library(SYSTEM, "libcudnn_engines_runtime_compiled.so.9", "5.0", 1, ("libnvrtc.so.12",)),
    Library(SYSTEM, "libcudnn_graph.so.9", "5.0", 0.4),
    Library(SYSTEM, "libcudnn_heuristic.so.9", "5.0", 8),
    Library(SYSTEM, "libcudnn_ops.so.9", "5.0", 11, ("libcublas.so.12",)),
    Library(SYSTEM, "libnccl.so.2", "22.3", 20),
    Library(SYSTEM, "libnvinfer.so.10", "4.0", 23, ("libcudart.so.12",)),
    Library(SYSTEM, "libnvinfer_builder_resource.so.10.4.0", "", 150),
    Library(SYSTEM, "libnvinfer_plugin.so.10", "4.0", 4, ("libcublas.so.12", "libnvinfer.so.10")),
    Library(f"{HOME}/compat/lib.real", "libcuda.so.1", "560.35.03"),
    Library(UCC, "libucc.so.1", "0.0", 0, ("libucs.so.0",)),
    Library(UCX, "libucm.so.0", "0.0"),
    Library(UCX, "libucp.so.0", "0.0", 0, ("libuct.so.0", "libucs.so.0")),
    Library(UCX, "libucs.so.0", "0.0", 0, ("libucm.so.0",)),
    Library(UCX, "libuct.so.0", "0.0", 0, ("libucs.so.0",)),
)

STUBBED: Final = (
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcufft.so.11",
    "libcurand.so.10",
    "libcusolver.so.11",
    "libcusparse.so.12",
)
"""Libraries that build.py gives the pytorch of the CPU flavor as stubs, found through LD_LIBRARY_PATH."""

WHOLE: Final = ("libcupti.so.12", "libnvJitLink.so.12", "libnvToolsExt.so.1")
"""Libraries that build.py gives it unabridged; libcudart goes to the system's folder, as this server, built for GPU,
needs it."""

CUDART: Final = "libcudart.so.12.6.77"


def placed(folder: str, name: str, soname: str, library: Tree) -> Tree:
    """Return *library*'s only file as *folder*/*name* with the link that the loader searches for."""
    (entry,) = library.values()
    return {f"{folder}/{soname}": symlink(name), f"{folder}/{name}": entry}


def gpu(compiler: Compiler, cudart: Tree) -> Tree:
    """Return the files that the CUDA base adds to the bare base."""
    tree = placed(LIBRARIES, CUDART, "libcudart.so.12", cudart)
    for library in CUDA:
        path = compiler.link(f"cuda/{library.name}", ["standin.c"], soname=library.soname, needed=library.needed)
        add_ballast(path, library.megabytes)
        tree |= placed(library.folder, library.name, library.soname, {library.name: on_disk(path)})
    for soname in (*STUBBED, "libcuda.so.1"):
        name = soname.rpartition(".")[0]
        stub = compiler.link(f"stubs/{name}", ["standin.c"], soname=soname)
        tree[f"{STUBS}/{name}"] = on_disk(stub)
    tree |= {
        f"{HOME}/lib64": symlink("targets/x86_64-linux/lib"),
        f"{HOME}/version.json": file(b'{"cuda": {"name": "CUDA SDK", "version": "12.6.2"}}\n'),
        "etc/alternatives/cuda": symlink("/usr/local/cuda-12.6"),
        "etc/alternatives/cuda-12": symlink("/usr/local/cuda-12.6"),
        "etc/ld.so.conf.d/000_cuda.conf": file(b"/usr/local/cuda/targets/x86_64-linux/lib\n"),
        "etc/ld.so.conf.d/nvidia.conf": file(b"/usr/local/nvidia/lib\n/usr/local/nvidia/lib64\n"),
        "etc/shinit_v2": file(b"# sourced by shells; NVIDIA's looks here for a driver to be compatible with\n"),
        "usr/local/cuda": symlink("/etc/alternatives/cuda"),
        "usr/local/cuda-12": symlink("/etc/alternatives/cuda-12"),
        "workspace": directory(),
    }
    return with_parents(tree)


def cpu(gpu_tree: Tree, cudart: Tree) -> Tree:
    """Return the CUDA files in full of the CPU flavor: those that build.py copies from the GPU flavor's min."""
    targets, stubs = "usr/local/cuda/targets/x86_64-linux/lib", "usr/local/cuda/lib64/stubs"
    tree = placed(SYSTEM, CUDART, "libcudart.so.12", cudart)
    for soname in STUBBED:
        tree[f"{stubs}/{soname}"] = gpu_tree[f"{STUBS}/{soname.rpartition('.')[0]}"]
    for library in CUDA:
        source = gpu_tree[f"{library.folder}/{library.name}"]
        if library.soname in WHOLE:
            tree[f"{targets}/{library.soname}"] = source
        elif library.folder in (UCC, UCX) or library.soname in ("libcudnn.so.9", "libnccl.so.2"):
            tree[f"{library.folder}/{library.soname}"] = source
    return with_parents(tree)
