"""nerdctl inside a Lima virtual machine as an engine of tritonbuild.

    TMPDIR=/tmp/lima tritonbuild --plugin lima.py --engine lima --backend python -t me/triton:1

Lima shares /tmp/lima with its machines, writable; the Containerfile, the build context and the file for the
image ID must be in it. LIMA_INSTANCE selects a machine other than "default".
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import tritonbuild

INSTANCE = os.environ.get("LIMA_INSTANCE", "default")
SHARED = Path("/tmp/lima")  # noqa: S108 - the folder that Lima shares by default


def health() -> bool:
    """Check that the machine runs, has a buildkitd, and sees the temporary folder."""
    if shutil.which("limactl") is None:
        raise tritonbuild.UnhealthyEngineError("limactl is not installed", hint="brew install lima")
    if not Path(tempfile.gettempdir()).is_relative_to(SHARED):
        reason = f"the temporary folder {tempfile.gettempdir()} is not shared with the machine"
        raise tritonbuild.UnhealthyEngineError(reason, hint=f"set TMPDIR={SHARED}")
    if limactl("list", "--format={{.Status}}", INSTANCE) != "Running":
        reason = f"the machine {INSTANCE} does not run"
        raise tritonbuild.UnhealthyEngineError(reason, hint=f"limactl start {INSTANCE}")
    if limactl("shell", INSTANCE, "buildctl", "debug", "workers") is None:
        reason = f"no buildkitd answers in the machine {INSTANCE}"
        raise tritonbuild.UnhealthyEngineError(reason, hint=f"limactl shell {INSTANCE} systemctl --user start buildkit")
    return True


def limactl(*words: str) -> str | None:
    """Return the output of limactl; None if it fails or does not answer."""
    try:
        done = subprocess.run(["limactl", *words], capture_output=True, text=True, timeout=10, check=False)  # noqa: S607
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


tritonbuild.register_backend(
    "lima",
    health=health,
    like="nerdctl",
    binary="limactl",
    build_cmd=("shell", INSTANCE, "nerdctl", "build"),
)
