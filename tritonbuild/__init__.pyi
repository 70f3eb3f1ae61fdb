from tritonbuild.api import Plan, build, get_containerfile, health, plan, probe
from tritonbuild.backends import get_backend, register_backend, registered, unregister_backend
from tritonbuild.composition import Composition
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import (
    BuildFailedError,
    BuildTimeoutError,
    InvalidInputError,
    TritonBuildError,
    UnhealthyEngineError,
    UnknownNameError,
    VerificationError,
)
from tritonbuild.run_build import BuildResult

__version__: str

__all__ = [
    "BuildFailedError",
    "BuildResult",
    "BuildTimeoutError",
    "Composition",
    "Engine",
    "Health",
    "InvalidInputError",
    "Plan",
    "TritonBuildError",
    "UnhealthyEngineError",
    "UnknownNameError",
    "VerificationError",
    "build",
    "get_backend",
    "get_containerfile",
    "health",
    "plan",
    "probe",
    "register_backend",
    "registered",
    "unregister_backend",
]
