"""Plug-ins: modules, files and installed packages that register engines when they are loaded.

An installed package announces its module in the entry-point group `tritonbuild.backends`:

    [project.entry-points."tritonbuild.backends"]
    lima = "my_package.lima"
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Final

from tritonbuild.errors import InvalidInputError, TritonBuildError

GROUP: Final = "tritonbuild.backends"


def load(plugin: str) -> None:
    """Load a module by its dotted name, or a file by its path (one that ends in `.py` or has a `/`).

    Raises:
        InvalidInputError: The module or file does not exist.
        TritonBuildError: The plug-in raised an error while it was loaded.
    """
    file = Path(plugin) if plugin.endswith(".py") or "/" in plugin else None
    try:
        if file is None:
            importlib.import_module(plugin)
        else:
            _load_file(file)
    except TritonBuildError:
        raise
    except ModuleNotFoundError as error:
        if file is None and error.name and plugin.startswith(error.name):
            raise InvalidInputError(
                f"plug-in {plugin!r} is not installed", hint="name a module Python can import, or a .py file"
            ) from error
        raise _broken(plugin, error) from error
    except Exception as error:
        raise _broken(plugin, error) from error


def load_installed() -> None:
    """Load every plug-in that an installed package announces, each once.

    Raises:
        TritonBuildError: A plug-in raised an error while it was loaded.
    """
    from importlib import metadata  # noqa: PLC0415 - slow, and needed only for an engine that is not built in

    for entry in metadata.entry_points(group=GROUP):
        if entry.module not in sys.modules:
            load(entry.module)


def _load_file(file: Path) -> None:
    if not file.is_file():
        raise InvalidInputError(f"plug-in {str(file)!r} does not exist", hint="name a .py file, or a module")
    import hashlib  # noqa: PLC0415 - slow, and needed for such files alone

    # A unique name in sys.modules: the file is loaded once, and its classes can find their module.
    name = f"tritonbuild_plugin_{hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"plug-in {str(file)!r} is not a Python file", hint="name a .py file, or a module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _broken(plugin: str, error: Exception) -> TritonBuildError:
    return TritonBuildError(
        f"plug-in {plugin!r} cannot be loaded: {type(error).__name__}: {error}", hint="fix the plug-in, or leave it out"
    )
