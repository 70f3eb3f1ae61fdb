"""The rest of NVIDIA's images besides packages and server: entry points, user, environment, labels."""

from typing import Final

import attrs

from tests.replica.components import OWNER, RELEASE, VERSION
from tests.replica.layers import Tree, bytes_of, directory, file, owned, with_parents

USER: Final = "triton-server"
BUILD_ID: Final = "117960218"
BUILD_REF: Final = "0123456789abcdef0123456789abcdef01234567"
ENTRYPOINT: Final = "/opt/nvidia/nvidia_entrypoint.sh"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HPCX: Final = "/opt/hpcx/ucc/lib/:/opt/hpcx/ucx/lib/:"

SHELL_ENTRYPOINT: Final = b"""#!/bin/bash
# Shows or sources the parts of entrypoint.d in the order of their names, then runs the command.
parts="$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/entrypoint.d"
for part in "$parts"/*; do
  case "$part" in
    *.txt) cat "$part" ;;
    *.sh) source "$part" ;;
  esac
done
echo
if [[ $# -eq 0 ]]; then
  exec /bin/bash
else
  exec "$@"
fi
"""

BASE_PARTS: Final = {
    "10-banner.sh": b'echo; echo "== ${NVIDIA_PRODUCT_NAME} =="\n',
    "15-container-copyright.txt": b"\nStands for the copyright of the container.\n",
    "50-gpu-driver-check.sh": b"""if [[ ! -e /dev/nvidiactl ]]; then
  echo; echo "WARNING: The NVIDIA Driver was not detected.  GPU functionality will not be available."
fi
""",
}
SERVER_PARTS: Final = {
    "10-banner.txt": b"\n== Triton Inference Server ==\n",
    "50-gpu-driver-check2.sh": b'[[ "${NVIDIA_CPU_ONLY:-0}" == 1 ]] && export TRITON_SERVER_CPU_ONLY=1\n',
    "70-shm-check.sh": b"# stands for the check of the size of /dev/shm\n",
    "99-check-run-aip-mode.sh": b'[[ -n "$AIP_MODE" ]] && set -- /opt/tritonserver/bin/tritonserver "$@"\n',
}
CPU_PARTS: Final = {
    "12-banner.sh": b'echo "NVIDIA Release ${NVIDIA_TRITON_SERVER_VERSION} (build ${NVIDIA_BUILD_ID})"\n',
    "50-gpu-driver-check2.sh": b"export TRITON_SERVER_CPU_ONLY=1\n",
}
SERVE: Final = b"""#!/bin/bash
# SageMaker starts this: the server on its port, with the models that it put into the container.
exec /opt/tritonserver/bin/tritonserver --allow-sagemaker=true --allow-http=false --allow-grpc=false \\
  --sagemaker-port="${SAGEMAKER_BIND_TO_PORT:-8080}" --model-repository=/opt/ml/model "$@"
"""

CUDA_ENV: Final = {
    "CUDA_VERSION": "12.6.2.004",
    "CUDA_DRIVER_VERSION": "560.35.03",
    "CUDA_CACHE_DISABLE": "1",
    "_CUDA_COMPAT_PATH": "/usr/local/cuda/compat",
    "ENV": "/etc/shinit_v2",
    "SHELL": "/bin/bash",
    "NVIDIA_REQUIRE_CUDA": "cuda>=9.0",
    "NCCL_VERSION": "2.22.3",
    "CUDNN_VERSION": "9.5.0.50",
    "TRT_VERSION": "10.4.0.26",
    "LIBRARY_PATH": "/usr/local/cuda/lib64/stubs:",
    "PATH": f"/usr/local/nvidia/bin:/usr/local/cuda/bin:{PATH}",
    "LD_LIBRARY_PATH": "/usr/local/cuda/compat/lib:/usr/local/nvidia/lib:/usr/local/nvidia/lib64",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility,video",
    "NVIDIA_PRODUCT_NAME": "CUDA",
}
LABELS: Final = {
    "com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true",
    "com.amazonaws.sagemaker.capabilities.multi-models": "true",
    "com.nvidia.build.id": BUILD_ID,
    "com.nvidia.build.ref": BUILD_REF,
    "com.nvidia.tritonserver.version": VERSION,
}


def entrypoint(parts: dict[str, bytes], *, script: bool) -> Tree:
    """Return *parts* of the entry point, with the script that runs them if the image lacks it."""
    tree = {f"opt/nvidia/entrypoint.d/{name}": file(text, 0o755) for name, text in parts.items()}
    if script:
        tree["opt/nvidia/nvidia_entrypoint.sh"] = file(SHELL_ENTRYPOINT, 0o755)
    return with_parents(tree)


def user(base: Tree) -> Tree:
    """Return the account files of *base* with triton-server added, as useradd writes them."""
    lines = {
        "etc/group": f"{USER}:x:{OWNER}:",
        "etc/gshadow": f"{USER}:!::",
        "etc/passwd": f"{USER}:x:{OWNER}:{OWNER}::/home/{USER}:/bin/bash",
        "etc/shadow": f"{USER}:!:20020:0:99999:7:::",
    }
    tree = {
        path: attrs.evolve(base[path], content=bytes_of(base[path].content) + f"{line}\n".encode())
        for path, line in lines.items()
    }
    return with_parents(tree | owned({f"home/{USER}": directory(0o750)}, OWNER, OWNER))


def sagemaker() -> Tree:
    return with_parents({"usr/bin/serve": file(SERVE, 0o755)})


def server_env(base: dict[str, str], *, gpu: bool) -> dict[str, str]:
    """Return the environment of full on top of that of its *base*."""
    env = base | {
        "TRITON_SERVER_VERSION": VERSION,
        "NVIDIA_TRITON_SERVER_VERSION": RELEASE,
        "PATH": f"/opt/tritonserver/bin:{base['PATH']}",
        "UCX_MEM_EVENTS": "no",
        "TF_ADJUST_HUE_FUSED": "1",
        "TF_ADJUST_SATURATION_FUSED": "1",
        "TF_ENABLE_WINOGRAD_NONFUSED": "1",
        "TF_AUTOTUNE_THRESHOLD": "2",
        "TRITON_SERVER_GPU_ENABLED": "1" if gpu else "0",
        "TRITON_SERVER_USER": USER,
        "DEBIAN_FRONTEND": "noninteractive",
        "TCMALLOC_RELEASE_RATE": "200",
        "NVIDIA_PRODUCT_NAME": "Triton Server",
        "NVIDIA_BUILD_ID": BUILD_ID,
    }
    if gpu:
        env["DCGM_VERSION"] = "3.2.6"
        env["LD_LIBRARY_PATH"] = HPCX + base["LD_LIBRARY_PATH"]
        env["PYTHONPATH"] = "/opt/tritonserver/backends/dali/wheel/dali:"
    else:
        env["LD_LIBRARY_PATH"] = f"/usr/local/cuda/targets/x86_64-linux/lib:/usr/local/cuda/lib64/stubs:{HPCX}"
    return env
