"""Source images as planning reads them, and what of them is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from tritonbuild.embedded.additions import Context
from tritonbuild.embedded.request import Request
from tritonbuild.errors import TritonBuildError
from tritonbuild.rootfs.loader import Loader
from tritonbuild.rootfs.view import View


@attrs.frozen(kw_only=True)
class Source:
    """A source image, as planning reads it."""

    view: View
    env: Mapping[str, str]
    labels: Mapping[str, str]
    created: int

    def loader(self, machine: int, *, folder: str = "") -> Loader:
        """Return the loader of the image; *folder* comes first in its LD_LIBRARY_PATH."""
        return loader_for(self.view, machine, self.env, folder=folder)


def loader_for(
    view: View, machine: int, env: Mapping[str, str], extra: Mapping[str, bytes] | None = None, *, folder: str = ""
) -> Loader:
    """Return the loader for the environment *env*; *folder* comes first in its LD_LIBRARY_PATH."""
    return Loader(view, machine=machine, library_path=f"{folder}:{env.get('LD_LIBRARY_PATH', '')}", extra=extra)


def with_files(view: View, request: Request, context: Context) -> tuple[View, dict[str, list[str]]]:
    """Return *view* with the user's files and programs, and their paths by the titles of their layers."""
    paths: dict[str, list[str]] = {}
    for one in (*request.files, *request.programs):
        layer = context.addition(view, one)
        alone = View([layer])
        paths[one.title] = [path for path in layer.index.paths if not alone.is_folder(path)]
        view = View([*view.layers, layer])
    return view, paths


def existing(view: View, paths: Iterable[str], *, required: bool = True) -> list[tuple[str, str]]:
    """Return those of *paths* that *view* has, without slashes at their ends, each with its canonical path."""
    found = []
    for path in paths:
        real = view.resolve(path)
        if real is not None:
            found.append((path.strip("/"), real))
        elif required:
            raise TritonBuildError(
                f"the full image has no {path}",
                hint="choose components that the full image has, or use another full image",
            )
    return found
