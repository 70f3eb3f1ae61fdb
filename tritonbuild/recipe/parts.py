"""What both runtimes have in common: scripts, the server's files, the environment, how the image ends."""

from __future__ import annotations

import pkgutil
from typing import Final

from tritonbuild.catalog import Component
from tritonbuild.composition import HEADERS, Composition, Selection
from tritonbuild.containerfile import Comment, Copy, Entrypoint, Env, Fragment, Instruction, Label, Script, Stage, Word
from tritonbuild.wellknown import SERVER

ROOT: Final = "0:0"


def script(name: str, *arguments: str) -> Script:
    """Return the instruction that runs a script of ours."""
    text = (pkgutil.get_data("tritonbuild", f"scripts/{name}") or b"").decode()
    return Script(name=name, text=text, arguments=arguments)


def copied(path: str, owner: str) -> Copy:
    """Copy a folder or file of the full image to the same path."""
    return Copy(sources=(path,), target=path, from_stage="full", chown=owner)


def brought(component: Component, composition: Composition, owner: str) -> Copy:
    """Copy a component, out of the full image or the build context, to its place."""
    target = f"{SERVER}/{component.directory}"
    if composition.is_own(component):
        return Copy(sources=(f"{component.directory}/",), target=f"{target}/", chown=owner)
    return copied(target, owner)


def server(selection: Selection, owner: str, *, headers: bool) -> list[Instruction]:
    """Return the instructions that copy entry point, server and components."""
    composition, recipe = selection.composition, selection.recipe
    folders = [copy.source for copy in recipe.core_copies if copy.source.rpartition("/")[2] not in recipe.core_files]
    if not headers:
        folders.remove(HEADERS)
    folders += selection.feature_folders()
    return [
        *(copied(path, ROOT) for path in recipe.entrypoint_files),
        Copy(
            sources=tuple(f"{SERVER}/{name}" for name in recipe.core_files),
            target=f"{SERVER}/",
            from_stage="full",
            chown=owner,
        ),
        *(copied(folder, owner) for folder in folders),
        *(brought(component, composition, owner) for component in composition.components if component.directory),
    ]


def environment(selection: Selection) -> Env:
    """Return the image's environment; values may refer to the base's."""
    return Env(selection.variables(), expand=True)


def pip_calls(composition: Composition) -> list[list[str]]:
    """Return what the user wants of pip, as the words of its calls."""
    files = {str(path): f"/tritonbuild/wheels/{path.name}" for path in composition.wheels}
    words = [files.get(text, text) for text in composition.pip]
    words += [f"--requirement=/tritonbuild/requirements/{n}.txt" for n, _ in enumerate(composition.requirements)]
    return [words] if words else []


def pip(composition: Composition, calls: list[list[str]]) -> list[Instruction]:
    """Return the instructions that install Python packages; none where there is no call."""
    if not calls:
        return []
    words = [word for call in calls for word in ("--", *call)][1:]
    folders = [*(["wheels"] if composition.wheels else []), *(["requirements"] if composition.requirements else [])]
    files = [Copy(sources=(f"{name}/",), target=f"/tritonbuild/{name}/") for name in folders]
    return [*files, script("pip.sh", *words)]


def check(composition: Composition, *before: Instruction) -> Stage:
    """Return the stage that renews the loader's cache and fails where a library is missing."""
    run = script("check.sh", *composition.exempt_libraries)
    return Stage(base="composed", name="check", instructions=(Word("USER", "root"), *before, run))


def last(selection: Selection) -> Stage:
    """Return the stage that is the image."""
    composition, recipe = selection.composition, selection.recipe
    instructions: list[Instruction] = [
        Copy(sources=("/tritonbuild/etc/ld.so.cache",), target="/etc/ld.so.cache", from_stage="check")
    ]
    if composition.models:
        instructions.append(Copy(sources=("models/",), target=f"{composition.models_folder}/", chown=ROOT))
    if composition.environment:
        instructions.append(Env(composition.environment))
    instructions += [
        Label(selection.labels()),
        Word("WORKDIR", recipe.workdir),
        Entrypoint(composition.entrypoint or recipe.entrypoint),
    ]
    if composition.user:
        instructions.append(Word("USER", composition.user))
    else:
        instructions.append(
            Comment(
                "The server runs as root unless told otherwise, as in NVIDIA's images; triton-server (1000) exists."
            )
        )
    if composition.instructions:
        instructions += [Comment("The user's own instructions."), Fragment(composition.instructions)]
    return Stage(base="composed", instructions=tuple(instructions))
