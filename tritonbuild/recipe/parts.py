"""Instructions and stages that both runtimes share: scripts, the server's files, the environment, the last stages."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Final

from tritonbuild import fragment
from tritonbuild.build_context import PROGRAMS
from tritonbuild.catalog import Component
from tritonbuild.composition import HEADERS, Composition, Selection
from tritonbuild.containerfile import Comment, Copy, Entrypoint, Env, Fragment, Instruction, Label, Script, Stage, Word
from tritonbuild.wellknown import SERVER

ROOT: Final = "0:0"
"""The owner `root`, in numbers: a base need not have account files."""
COMPOSED: Final = "/tritonbuild/root"
"""The folder with the composed image's files, where its libraries are checked from outside."""


def script(name: str, *arguments: str) -> Script:
    """Return the instruction that runs the script *name* of `scripts/`."""
    text = (pkgutil.get_data("tritonbuild", f"scripts/{name}") or b"").decode()
    return Script(name=name, text=text, arguments=arguments)


def full(selection: Selection) -> Stage:
    """Return the stage that is the full image."""
    purpose = "The full image, from which the server and the components come."
    return Stage(base=str(selection.sources["full"]), purpose=purpose, name="full")


def copy_from_full(path: str, owner: str, stage: str = "full") -> Copy:
    """Return the instruction that copies a folder or file of the full image to the same path."""
    return Copy(sources=(path,), target=path, from_stage=stage, chown=owner)


def trimmed(composition: Composition) -> list[Stage]:
    """Return the stage that removes the files of extras that are not chosen from full; none if there are no such."""
    files = [f"{one.directory}={file}" for one in composition.components for file in _left_out(one)]
    if not files:
        return []
    instructions = (Word("USER", "root"), script("trim.sh", *files))
    purpose = "Remove the files of extras that are left out from the full image."
    return [Stage(base="full", purpose=purpose, name="trimmed", instructions=instructions)]


def _left_out(component: Component) -> list[str]:
    return [file for extra in component.left_out for file in extra.files]


def component_copy(component: Component, composition: Composition, owner: str) -> Copy:
    """Return the instruction that copies a component out of the full image or the build context."""
    target = f"{SERVER}/{component.directory}"
    if composition.is_user_folder(component):
        return Copy(sources=(f"{component.directory}/",), target=f"{target}/", chown=owner)
    return copy_from_full(target, owner, "trimmed" if _left_out(component) else "full")


def server(selection: Selection, owner: str, *, headers: bool) -> list[Instruction]:
    """Return the instructions that copy the entry point, the server and the components."""
    composition, recipe = selection.composition, selection.recipe
    folders = [copy.source for copy in recipe.core_copies if copy.source.rpartition("/")[2] not in recipe.core_files]
    if not headers:
        folders.remove(HEADERS)
    folders += selection.feature_folders()
    return [
        *(copy_from_full(path, ROOT) for path in selection.entrypoint_files()),
        Copy(
            sources=tuple(f"{SERVER}/{name}" for name in recipe.core_files),
            target=f"{SERVER}/",
            from_stage="full",
            chown=owner,
        ),
        *(copy_from_full(folder, owner) for folder in folders),
        *(component_copy(component, composition, owner) for component in composition.components if component.directory),
    ]


def environment(selection: Selection) -> Env:
    """Return the instruction for the image's environment; values can refer to the base's."""
    return Env(selection.variables(), expand=True)


def pip_calls(composition: Composition) -> list[list[str]]:
    """Return the arguments of each call of pip for the user's packages."""
    files = {str(path): f"/tritonbuild/wheels/{path.name}" for path in composition.wheels}
    words = [files.get(text, text) for text in composition.pip]
    words += [f"--requirement=/tritonbuild/requirements/{n}.txt" for n, _ in enumerate(composition.requirements)]
    return [words] if words else []


def pip(composition: Composition, calls: list[list[str]]) -> list[Instruction]:
    """Return the instructions that install Python packages with *calls* of pip; none without calls."""
    if not calls:
        return []
    words = [word for call in calls for word in ("--", *call)][1:]
    folders = [*(["wheels"] if composition.wheels else []), *(["requirements"] if composition.requirements else [])]
    files = [Copy(sources=(f"{name}/",), target=f"/tritonbuild/{name}/") for name in folders]
    return [*files, script("pip.sh", *words)]


def files(composition: Composition) -> list[Instruction]:
    """Return the instructions that copy the user's files to their paths."""
    copies: list[Instruction] = []
    for number, (source, path) in enumerate(composition.files.items()):
        slash = "/" if Path(source).is_dir() else ""
        copies.append(Copy(sources=(f"files/{number}{slash}",), target=f"{path}{slash}", chown=ROOT))
    return copies


def listed_files(composition: Composition) -> list[Instruction]:
    """Return the instructions that put the user's files into the full image, and list them for the check.

    Of models, these are the programs.
    """
    paths = [*composition.files.values()]
    copies: list[Instruction] = [Copy(sources=("files/",), target="/tritonbuild/files/")] if paths else []
    if composition.has_programs:
        copies.append(Copy(sources=(f"{PROGRAMS}/",), target=f"/tritonbuild/files/{len(paths)}/"))
        paths.append(composition.models_folder)
    return [*copies, script("files.sh", *paths)] if paths else []


def checked_files(composition: Composition, stage: str) -> list[Instruction]:
    """Return the instructions that copy the list of the user's files from *stage* to the check, and what it lacks."""
    programs = [Copy(sources=(f"{PROGRAMS}/",), target=f"{composition.models_folder}/", chown=ROOT)]
    listed = Copy(sources=("/tritonbuild/files.list",), target="/tritonbuild/files.all", from_stage=stage)
    if not composition.files and not composition.has_programs:
        return []
    return [*(programs if composition.has_programs else ()), listed]


def check(selection: Selection, *before: Instruction) -> Stage:
    """Return the stage that renews the loader's cache and fails the build if a library is missing."""
    base, root = "composed", []
    if selection.on_scratch:
        # The composed image has no programs: those of the full image look at its files.
        base, root = "full", [Copy(sources=("/",), target=f"{COMPOSED}/", from_stage="composed")]
    variables = selection.variables()
    path = variables.get("LD_LIBRARY_PATH", "")
    search = selection.composition.environment.get("PATH", variables["PATH"] if root else "")
    run = script(
        "check.sh",
        *([f"search={search}"] if search else []),
        *([f"root={COMPOSED}", f"path={path}"] if root else []),
        *(f"exempt={pattern}" for pattern in selection.composition.exempt_libraries),
        *(f"absent={one.folder}={one.pattern}={one.part}" for one in selection.absent()),
    )
    purpose = "Renew the loader's cache, and fail the build if a library is missing."
    return Stage(base=base, purpose=purpose, name="check", instructions=(Word("USER", "root"), *root, *before, run))


def last(selection: Selection) -> Stage:
    """Return the last stage, which is the image."""
    composition, recipe = selection.composition, selection.recipe
    instructions: list[Instruction] = [Copy(sources=("/tritonbuild/checked/",), target="/", from_stage="check")]
    if composition.models:
        instructions.append(Copy(sources=("models/",), target=f"{composition.models_folder}/", chown=ROOT))
    if composition.environment:
        instructions.append(Env(composition.environment))
    instructions += [
        Label(selection.labels()),
        Word("WORKDIR", recipe.workdir),
        Entrypoint(selection.entrypoint),
    ]
    if not composition.user:
        remark = "The server runs as root by default, as in NVIDIA's images; triton-server (1000) exists."
        instructions.append(Comment(remark))
    if composition.instructions:
        runs = composition.user or fragment.needs_network(composition.instructions)
        root = [Word("USER", "root")] if runs else []
        instructions += [*root, Comment("The user's instructions."), Fragment(composition.instructions)]
    if composition.user and not fragment.sets_user(composition.instructions):
        instructions.append(Word("USER", selection.user()))
    return Stage(base="composed", purpose="The image.", instructions=tuple(instructions))
