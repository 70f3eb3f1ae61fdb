"""The pages in docs: their links lead to files and headings, and the example of the config file is read."""

from __future__ import annotations

import re
from pathlib import Path

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
