"""Compose NVIDIA Triton images with exactly the chosen components, on any OCI builder.

import tritonbuild

result = tritonbuild.build(backends=["onnxruntime", "python"], backend="podman", image_tag="my/triton:1")
print(result.image_id)
"""

import importlib
from typing import Any

_HOMES = {
    "BuildFailedError": "errors",
    "BuildResult": "run_build",
    "BuildTimeoutError": "errors",
    "Composition": "composition",
    "Engine": "engine",
    "Health": "engine",
    "InvalidInputError": "errors",
    "Plan": "api",
    "TritonBuildError": "errors",
    "UnhealthyEngineError": "errors",
    "UnknownNameError": "errors",
    "VerificationError": "errors",
    "build": "api",
    "get_backend": "backends",
    "get_containerfile": "api",
    "health": "api",
    "plan": "api",
    "probe": "api",
    "register_backend": "backends",
    "registered": "backends",
    "unregister_backend": "backends",
}
"""Public name -> its module, which is loaded when the name is first used: most commands need few of them.

`__init__.pyi` declares the same for type checkers.
"""
__all__ = [*_HOMES]  # noqa: PLE0604 - ruff cannot see that they are texts


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value = globals()[name] = importlib.import_module("importlib.metadata").version(__name__)
        return value
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
