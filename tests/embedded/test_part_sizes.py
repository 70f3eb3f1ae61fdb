"""The plan lists optional parts, each with the bytes that it adds to the image."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from tests.replica.layers import file
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tests.tiny.elves import LIBRARIES, Compiler, Sources, base_tree, files, sources
from tritonbuild.optional_parts import OptionalPart

FOLDER = "/opt/tritonserver/backends/a"
COMPONENT = f"{tiny.SERVER_FOLDER}/backends/a"
BUILDERS = tuple(f"libnvinfer_builder_resource_sm{number}.so.10" for number in (75, 80))
DATA = 3000
BIG = OptionalPart(name="backend a[big]", folder=FOLDER, files=("libbig.so", "data"))
NEEDED = OptionalPart(name="backend a[needed]", folder=FOLDER, files=("libneeded.so",))
NOTHING = OptionalPart(
    name="backend a[nothing]", folder=FOLDER, files=("libnothing.so",), libraries=("libnothing.so*",)
)
ARCHITECTURES = tuple(
    OptionalPart(name=f"gpu-arch {number}", libraries=(f"libnvinfer_builder_resource_sm{number}.so.*",))
    for number in ("75", "80", "90")
)


@pytest.fixture
def images(bench: Bench, compiler: Compiler) -> Sources:
    """A component with two parts, one of which it is linked to; and TensorRT, which opens a library by name."""
    tree = {f"{LIBRARIES}/{name}": file(compiler(name)) for name in (*BUILDERS, "libdeep.so.1", "libshared.so.1")}
    code = "".join(f'const char *name{number} = "{name}";\n' for number, name in enumerate(BUILDERS))
    nvinfer = compiler("libnvinfer.so.10", code=code)
    compiler("libneeded.so")
    main = compiler(
        "libtriton_a.so", "libneeded.so", "libshared.so.1", "libnvinfer.so.10", words=["-Wl,-rpath,$ORIGIN"]
    )
    full = {
        **tree,
        f"{LIBRARIES}/libnvinfer.so.10": file(nvinfer),
        f"{COMPONENT}/libtriton_a.so": file(main),
        f"{COMPONENT}/libneeded.so": file((compiler.folder / "libneeded.so").read_bytes()),
        f"{COMPONENT}/libbig.so": file(compiler("libbig.so", "libdeep.so.1", "libshared.so.1")),
        f"{COMPONENT}/data/model": file(b"x" * DATA),
    }
    return sources(bench, base_tree(compiler), full)


def planned(images: Sources, *parts: OptionalPart) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Return the bytes of the files in a plan by path, and its parts."""
    done, plan = images.plan(images.request("a", parts=parts))
    assert done.code == 0, done.err
    return {one["path"]: one["size"] for layer in plan["layers"] for one in layer["files"]}, plan["parts"]


def test_the_size_has_all_that_only_the_part_needs(images: Sources) -> None:
    found, parts = planned(images, BIG, NOTHING)
    own = sum(found[path] for path in (f"{FOLDER}/libbig.so", f"{FOLDER}/data/model", f"/{LIBRARIES}/libdeep.so.1"))
    assert own > DATA
    difference = own + cache_difference(images)
    assert parts == [{"name": "backend a[big]", "kept": True, "size": difference, "reason": ""}]
    without, parts = planned(images, attrs.evolve(BIG, kept=False), NOTHING)
    assert parts == [{"name": "backend a[big]", "kept": False, "size": difference, "reason": ""}]
    assert sum(found.values()) - sum(without.values()) == difference


def cache_difference(images: Sources) -> int:
    """Return the bytes by which the loader's cache grows with the part's library."""
    sizes = [planned(images, attrs.evolve(BIG, kept=kept))[0]["/etc/ld.so.cache"] for kept in (True, False)]
    return sizes[0] - sizes[1]


def test_a_part_that_a_file_needs_has_no_size(images: Sources) -> None:
    _, parts = planned(images, NEEDED)
    reason = f"{FOLDER}/libtriton_a.so needs libneeded.so"
    assert parts == [{"name": "backend a[needed]", "kept": True, "size": None, "reason": reason}]


def test_libraries_for_architectures_of_gpus(images: Sources) -> None:
    found, parts = planned(images, *ARCHITECTURES)
    assert {f"/{LIBRARIES}/{name}" for name in BUILDERS} <= found.keys()
    assert [(part["name"], part["kept"], part["size"] > 0) for part in parts] == [
        ("gpu-arch 75", True, True),
        ("gpu-arch 80", True, True),
    ]
    without, parts = planned(images, attrs.evolve(ARCHITECTURES[0], kept=False), *ARCHITECTURES[1:])
    assert f"/{LIBRARIES}/{BUILDERS[0]}" not in without
    assert f"/{LIBRARIES}/{BUILDERS[1]}" in without
    assert sum(found.values()) - sum(without.values()) == parts[0]["size"]


def test_an_image_without_a_part(images: Sources) -> None:
    """The component's layer is written anew, and has the files of the plan."""
    assert f"{COMPONENT}/libbig.so" in images.build(images.request("a", parts=[BIG])).members
    request = images.request("a", parts=[attrs.evolve(BIG, kept=False)])
    image = images.build(request)
    assert f"{COMPONENT}/libbig.so" not in image.members
    _, plan = images.plan(request)
    assert {f"/{name}" for name in image.members} == files(plan)
    assert image.contents[f"{COMPONENT}/libtriton_a.so"][:4] == b"\x7fELF"
    again = images.build(request, "--no-cache")
    assert again.contents == image.contents


def test_libraries_that_a_part_opens_count(images: Sources) -> None:
    part = OptionalPart(name="backend a[opener]", folder=FOLDER, files=("libgone.so",), opened=("libdeep.so.*",))
    found, parts = planned(images, attrs.evolve(BIG, kept=False), part)
    opener = parts[1]
    assert opener["kept"]
    assert opener["size"] >= found[f"/{LIBRARIES}/libdeep.so.1"]


def test_the_bill_of_materials_names_the_extras(images: Sources) -> None:
    request = images.request("a")
    titled = [attrs.evolve(component, title="backend a[big,needed]") for component in request.components]
    images.build(attrs.evolve(request, components=titled), "--sbom")
    blobs = (path.read_bytes() for path in images.layout.with_name("out").glob("blobs/sha256/*"))
    (found,) = [json.loads(content) for content in blobs if b'"bomFormat"' in content]
    assert "pkg:generic/nvidia/backend-a?extras=big%2Cneeded" in [one["purl"] for one in found["components"]]
