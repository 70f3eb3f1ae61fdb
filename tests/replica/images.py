"""The four images, from the bare base to full."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.replica import components, cuda, debian, layers, oci, system, wheel
from tests.replica.compiler import Compiler
from tests.replica.debian import CACHE, Debian
from tests.replica.layers import Layer, Tree, file

REFERENCES: Final = {
    "full": "tritonserver:24.10-py3",
    "min": "tritonserver:24.10-py3-min",
    "cpu-full": "tritonserver:24.10-cpu-only-py3",
    "cpu-min": "base:bookworm",
}
SERVER: Final = "COPY --chown=1000:1000 build/install tritonserver"
WRITERS: Final = 2


def make(folder: Path, layout: Path, downloaded: Path) -> None:
    """Create all images.

    Args:
        folder: an empty folder for temporary files
        layout: a folder that becomes the OCI layout
        downloaded: the wheel with the server
    """
    for name in ("wheel", "compiled", "debian"):
        (folder / name).mkdir()
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    unpacked = wheel.unpack(downloaded, folder / "wheel")
    compiler = Compiler(folder / "compiled")
    cudart = {"": layers.on_disk(unpacked[cuda.CUDART])}
    dcgm = {"": layers.on_disk(unpacked["libdcgm.so.3.2.6"])}
    on_min = cuda.gpu(compiler, cudart)
    on_cpu = cuda.cpu(on_min, cudart)
    libraries = components.libraries(compiler) | cuda.placed(cuda.SYSTEM, "libdcgm.so.3.2.6", "libdcgm.so.3", dcgm)
    server = components.opt_tritonserver(compiler, unpacked)

    with ThreadPoolExecutor(WRITERS) as pool:

        def write(tree: Tree, created_by: str) -> Future[Layer]:
            return pool.submit(layers.write_layer, tree, blobs, created_by)

        written = {
            "server": write(server, SERVER),
            "cpu server": write(components.without_gpu(server), f"{SERVER} # CPU"),
        }
        bootstrapped = debian.bootstrap(
            folder / "debian",
            cuda=write_tar(on_min, folder / "cuda.tar"),
            server=write_tar(libraries, folder / "server.tar"),
            cpu=write_tar(on_cpu, folder / "cpu.tar"),
        )
        trees = upper_layers(bootstrapped, on_min, on_cpu, libraries)
        written |= {name: write(tree, created_by) for name, (created_by, tree) in trees.items()}
        ready = {name: future.result() for name, future in written.items()}
    oci.write_index(layout, configs(ready))


def write_tar(tree: Tree, path: Path) -> Path:
    with path.open("wb") as out:
        layers.write_tar(tree, out)
    return path


def upper_layers(made: Debian, on_min: Tree, on_cpu: Tree, libraries: Tree) -> dict[str, tuple[str, Tree]]:
    """Return the trees of all layers except the server's, by name, each with its history text."""

    def cache(name: str) -> Tree:
        return {CACHE: file(made.caches[name])}

    packages = layers.difference(made.base | on_min, without_cache(made.packages, made.base))
    user = system.user(made.packages)
    return {
        "base": ("mmdebstrap --variant=apt bookworm", made.base),
        "cuda": ("RUN install CUDA 12.6.2, cuDNN, NCCL, TensorRT, HPC-X", on_min | cache("min")),
        "cuda entrypoint": (
            "COPY entrypoint.d/ nvidia_entrypoint.sh /opt/nvidia/",
            system.entrypoint(system.BASE_PARTS, script=True),
        ),
        "packages": ("RUN apt-get install --no-install-recommends", packages),
        "libraries": ("RUN install DCGM and the libraries of the components", libraries | cache("full")),
        "cpu libraries": ("COPY --from=min_container", libraries | on_cpu | cache("cpu-full")),
        "user": ("RUN useradd triton-server", user),
        "serve": ("COPY docker/sagemaker/serve /usr/bin/.", system.sagemaker()),
        "entrypoint": (
            "COPY docker/entrypoint.d/ /opt/nvidia/entrypoint.d/",
            system.entrypoint(system.SERVER_PARTS, script=False),
        ),
        "cpu entrypoint": (
            "COPY docker/cpu_only/ /opt/nvidia/",
            system.entrypoint(system.CPU_PARTS, script=True),
        ),
    }


def without_cache(tree: Tree, base: Tree) -> Tree:
    """Return *tree* with the loader's cache of *base*: the layers above have theirs."""
    return tree | {CACHE: base[CACHE]}


def configs(ready: Mapping[str, Layer]) -> dict[str, oci.ImageConfig]:
    """Return the images by reference, with the layers in *ready*."""
    on_min = ["base", "cuda", "cuda entrypoint"]
    on_full = [*on_min, "packages", "libraries", "user", "server", "entrypoint", "serve"]
    on_cpu = ["base", "packages", "cpu libraries", "user", "cpu server", "entrypoint", "cpu entrypoint", "serve"]
    bare = {"PATH": system.PATH}
    images = {
        "full": oci.ImageConfig(
            layers=[ready[name] for name in on_full],
            env=system.server_env(system.CUDA_ENV, gpu=True),
            labels=system.LABELS,
            entrypoint=[system.ENTRYPOINT],
            working_dir="/opt/tritonserver",
        ),
        "min": oci.ImageConfig(
            layers=[ready[name] for name in on_min],
            env=system.CUDA_ENV,
            entrypoint=[system.ENTRYPOINT],
            working_dir="/workspace",
        ),
        "cpu-full": oci.ImageConfig(
            layers=[ready[name] for name in on_cpu],
            env=system.server_env(bare, gpu=False),
            labels=system.LABELS,
            entrypoint=[system.ENTRYPOINT],
            working_dir="/opt/tritonserver",
        ),
        "cpu-min": oci.ImageConfig(layers=[ready["base"]], env=bare, cmd=["/bin/bash"]),
    }
    return {REFERENCES[name]: image for name, image in images.items()}
