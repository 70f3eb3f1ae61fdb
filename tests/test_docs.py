"""The pages in docs: their links lead to files and headings, and the example of the config file is read."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tritonbuild.cli import settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_the_example_of_the_config_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "config.toml").write_text(example, encoding="utf-8")
    monkeypatch.setenv(settings.VARIABLE, str(tmp_path / "config.toml"))
    monkeypatch.delenv(settings.ENGINE_VARIABLE, raising=False)
    found = settings.read()
    assert (found.engine, found.registry) == ("podman", "mirror.example/nvidia")
    assert found.plugins == (str(tmp_path / "engines.py"),)
    assert [item.name for item in found.catalog.components("26.09") if item.custom] == ["my_backend"]
    keys = re.findall(r"^\| `(\w+)` \|", page.partition("## Environment")[0], re.MULTILINE)
    assert tuple(sorted(keys)) == tuple(sorted(settings.KEYS))


MANIFESTS = sorted((ROOT / "docs/examples/kubernetes").glob("*.yaml"))
LOAD = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
"""PyYAML comes with the validator, and not everywhere with its types."""


def validated(manifest: Path, version: str) -> subprocess.CompletedProcess[str]:
    words = ("-m", "kubernetes_validate", "--strict", f"--kubernetes-version={version}", str(manifest))
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def validator() -> None:
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("kubernetes-validate is not installed: install the extra test")


@pytest.mark.usefixtures("validator")
@pytest.mark.parametrize("version", ["1.30", "1.34"])
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.stem)
def test_a_manifest_fits_the_schemas_of_kubernetes(manifest: Path, version: str, tmp_path: Path) -> None:
    done = validated(manifest, version)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "wrong.yaml").write_text(manifest.read_text().replace("mountPath", "mountpath", 1))
    assert validated(tmp_path / "wrong.yaml", version).returncode != 0


def job(manifest: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod of a Job, and the container that runs tritonbuild."""
    text = manifest.read_text()
    loaded = subprocess.run([sys.executable, "-c", LOAD], input=text, capture_output=True, text=True, check=True)
    pod = json.loads(loaded.stdout)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


@pytest.mark.usefixtures("validator")
@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest.stem)
def test_the_command_line_of_a_manifest_is_read(manifest: Path, tmp_path: Path) -> None:
    _, container = job(manifest)
    argv = [sys.executable, "-m", "tritonbuild", *container["args"], "--dry-run", "--work-dir", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("validator")
def test_the_job_of_the_embedded_engine_is_restricted() -> None:
    """As the Pod Security Standard `restricted` asks; `tests/embedded/test_pod.py` runs under these conditions."""
    pod, container = job(ROOT / "docs/examples/kubernetes/job-embedded.yaml")
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["seccompProfile"]) == (
        True,
        {"type": "RuntimeDefault"},
    )
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"emptyDir", "secret"} == {next(key for key in volume if key != "name") for volume in pod["volumes"]}
