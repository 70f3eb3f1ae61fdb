"""Odd registries: each habit ends well for the embedded engine, and docs/registries.md has every client's outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import services
from tests.lab import table
from tests.lab.clients import CLIENTS, GOOD, outcome, version
from tests.lab.habits import ROWS
from tests.tiny import images as tiny

pytestmark = pytest.mark.integration

OTHERS = tuple(client for client in CLIENTS if client != "tritonbuild")


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("odd") / "layout", size=10_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> services.Certificate:
    try:
        return services.certificate(tmp_path_factory.mktemp("odd") / "certificate", "IP:0.0.0.0")
    except services.MissingProgramError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ROWS)
def test_a_habit(name: str, layout: Path, certificate: services.Certificate, tmp_path: Path) -> None:
    found, output = outcome("tritonbuild", ROWS[name], layout, tmp_path, certificate)
    assert found in GOOD, output
    assert table.rows()[name]["tritonbuild"] == found


@pytest.mark.parametrize("client", OTHERS)
@pytest.mark.parametrize("name", ROWS)
def test_a_habit_with_another_client(
    name: str, client: str, layout: Path, certificate: services.Certificate, tmp_path: Path
) -> None:
    """The outcome is the one in the table, which is for one version of each program."""
    try:
        found, output = outcome(client, ROWS[name], layout, tmp_path, certificate)
        is_described = table.versions()[client] == version(client)
    except services.MissingProgramError as error:
        pytest.skip(str(error))
    if is_described:
        assert table.rows()[name][client] == found, output


def test_the_table_has_every_habit_and_nothing_fails_where_others_succeed() -> None:
    rows = table.rows()
    assert list(rows) == list(ROWS)
    assert [name for name, row in rows.items() if row["tritonbuild"] not in GOOD] == []
