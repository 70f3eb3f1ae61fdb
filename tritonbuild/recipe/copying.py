"""The `copy` runtime: stages that copy the runtime of the chosen components out of the full image.

Unless the user adds something, the build needs no network, and its build context is empty. Its stages:

`full`
    the full image.
`trimmed`
    on `full`, if extras are left out: removes their files.
`packages`
    on `full` or `trimmed`, if the user adds Python packages: installs them with pip.
`base-packages`
    on the base, if the user adds packages of its distribution: installs them with apt.
`base-content`
    on the base, or on `base-packages`: lists its libraries and files, adds the server's account to its accounts, and
    makes its home folder.
`runtime`
    on `full`, `trimmed` or `packages`: collects the runtime of the chosen components that the base lacks.
`sdk`, `clients`
    if the user adds clients: the sdk image, and on it the runtime of the clients that the base lacks.
`composed`
    the base, or `base-packages`, with the server, the components (a layer each) and the runtime.
`check`
    on `composed`: renews the loader's cache and fails the build if a library is missing.
last
    `composed` with the loader's cache.
"""

from __future__ import annotations

from tritonbuild.composition import CLIENTS, SMALL_FILES, Selection
from tritonbuild.containerfile import Copy, Stage, Word
from tritonbuild.recipe import parts


def stages(selection: Selection) -> list[Stage]:
    """Return the stages of a build with the `copy` runtime."""
    composition = selection.composition
    above_full = parts.trimmed(composition)
    if calls := parts.pip_calls(composition):
        packages = Stage(
            base=above_full[-1].name if above_full else "full",
            purpose="Install the user's Python packages in the full image.",
            name="packages",
            instructions=(Word("USER", "root"), *parts.pip(composition, calls)),
        )
        above_full.append(packages)
    base = selection.base
    on_base = []
    if composition.apt:
        install = parts.script("packages.sh", *(f"apt={name}" for name in composition.apt))
        purpose = "Install the user's packages in the base."
        on_base = [
            Stage(base=base, purpose=purpose, name="base-packages", instructions=(Word("USER", "root"), install))
        ]
        base = on_base[0].name
    clients = _clients(selection)
    return [
        parts.full(selection),
        *above_full,
        *on_base,
        _base_content(selection, base),
        _runtime(selection, above_full[-1].name if above_full else "full"),
        *clients,
        _composed(selection, base),
        parts.check(
            selection,
            *parts.checked_files(composition, "runtime"),
            Copy(
                sources=tuple(f"/tritonbuild/runtime.{kind}" for kind in ("list", "missing", "python")),
                target="/tritonbuild/",
                from_stage="runtime",
            ),
            Copy(sources=("/tritonbuild/runtime.other/",), target="/tritonbuild/runtime.other/", from_stage="runtime"),
            *(
                Copy(
                    sources=(f"/tritonbuild/runtime.{kind}",),
                    target=f"/tritonbuild/clients.{kind}",
                    from_stage=stage.name,
                )
                for kind in ("list", "missing", "other/")
                for stage in clients[1:]
            ),
        ),
        parts.last(selection),
    ]


def _base_content(selection: Selection, base: str) -> Stage:
    scripts = [parts.script("base.sh")]
    purpose = "List the libraries and files of the base, and add the server's user to its accounts."
    if selection.on_scratch:
        base = "full"
        scripts = [parts.script("scratch.sh"), parts.script("base.sh", "accounts")]
        purpose = (
            "In place of a base: empty lists, the full image's accounts, and folders that every root file system has."
        )
    return Stage(base=base, purpose=purpose, name="base-content", instructions=(Word("USER", "root"), *scripts))


def _clients(selection: Selection) -> list[Stage]:
    """Return the stages for clients; none if the composition has no clients."""
    if not selection.composition.has("clients"):
        return []
    instructions = (
        Word("USER", "root"),
        Copy(sources=("/tritonbuild/",), target="/tritonbuild/base/", from_stage="base-content"),
        parts.script("runtime.sh", f"root={CLIENTS}"),
    )
    return [
        Stage(base=str(selection.sources["sdk"]), purpose="The sdk image, from which the clients come.", name="sdk"),
        Stage(
            base="sdk",
            purpose="Collect the files that the clients need and the base lacks.",
            name="clients",
            instructions=instructions,
        ),
    ]


def _runtime(selection: Selection, base: str) -> Stage:
    composition = selection.composition
    folders = [c.directory for c in composition.components if c.directory]
    opened = [*selection.opened(), *(name for c in composition.components for name in selection.opened_by(c))]
    added = [
        parts.component_copy(component, composition, parts.ROOT)
        for component in composition.components
        if composition.is_user_folder(component)
    ]
    return Stage(
        base=base,
        purpose="Collect the files that the chosen components need and the base lacks.",
        name="runtime",
        instructions=(
            Word("USER", "root"),
            *added,
            *parts.listed_files(composition),
            Copy(sources=("/tritonbuild/",), target="/tritonbuild/base/", from_stage="base-content"),
            parts.script(
                "runtime.sh",
                *folders,
                *(f"name={name}" for name in dict.fromkeys(opened)),
                *(f"file={path}" for path in selection.read_files()),
                *(f"small={path}" for path in SMALL_FILES),
                *(f"exclude={pattern}" for pattern in selection.excluded()),
            ),
        ),
    )


def _composed(selection: Selection, base: str) -> Stage:
    composition = selection.composition
    clients = [
        Copy(sources=(CLIENTS,), target=CLIENTS, from_stage="sdk", chown=parts.ROOT),
        # before the server's runtime, whose version of a shared library takes precedence
        Copy(sources=("/tritonbuild/runtime/",), target="/", from_stage="clients"),
    ]
    return Stage(
        base=base,
        purpose="The base with the server, a layer for each component, and the runtime.",
        name="composed",
        instructions=(
            Copy(sources=("/tritonbuild/accounts/",), target="/", from_stage="base-content"),
            *parts.server(selection, parts.ROOT, headers=composition.has("headers")),
            *(clients if composition.has("clients") else ()),
            Copy(sources=("/tritonbuild/runtime/",), target="/", from_stage="runtime"),
            *parts.files(composition),
            parts.environment(selection),
        ),
    )
