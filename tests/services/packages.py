"""Docker and its registry from other suites of the distribution, unpacked and never installed.

The mirror is the one in this machine's apt sources. apt's package lists and other files stay in the cache, so that the
machine does not change.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal

from tests.services import cache as caches
from tests.services import programs
from tests.services.errors import MissingProgramError

Suite = Literal["trixie", "sid"]
"""trixie: docker 26.1 with buildx 0.13; sid, in November 2026: docker 28.5 with buildx 0.29."""

REGISTRY: Final = ("docker-registry",)
DOCKER: Final = ("containerd", "docker-buildx", "docker-cli", "docker.io")
KEYRING: Final = "/usr/share/keyrings/debian-archive-keyring.gpg"
TARGETS: Final = ("indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI)", "Created-By: Packages")
TIMEOUT: Final = 600


def _mirror() -> str:
    """Return the address of the Debian mirror that this machine uses.

    Raises:
        MissingProgramError: It uses no mirror.
    """
    for line in programs.run([programs.find("apt-get"), *TARGETS]).splitlines():
        origin, component, address = line.split(" ", 2)
        if (origin, component) == ("Debian", "main") and "security" not in address:
            return address
    program = "a Debian mirror"
    raise MissingProgramError(program, "apt-get indextargets names none; apt-get update")


def _unpack(suite: Suite, names: tuple[str, ...], folder: Path) -> None:
    apt, dpkg = programs.find("apt-get"), programs.find("dpkg")
    state, archives = folder / "apt", folder / "archives"
    (state / "lists" / "partial").mkdir(parents=True)
    archives.mkdir()
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    (state / "status").touch()
    options = {
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
        "APT::Update::Post-Invoke-Success": "",
        "Dir::Cache": state,
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::State::status": state / "status",
    }
    arguments = [f"--option={name}={value}" for name, value in options.items()]
    programs.run([apt, *arguments, "update"], timeout=TIMEOUT)
    programs.run([apt, *arguments, "download", *names], timeout=TIMEOUT, cwd=archives)
    for archive in sorted(archives.iterdir()):
        programs.run([dpkg, "--extract", archive, folder], timeout=TIMEOUT)
    shutil.rmtree(state)
    shutil.rmtree(archives)


def docker(suite: Suite, *, cache: Path | None = None) -> Path:
    """Return the folder with docker of *suite*: ``usr/bin/docker``, ``usr/sbin/dockerd`` and their programs.

    The first call downloads 75 MB and unpacks 300 MB; it takes 15 s. Later ones find them in *cache*.
    """
    folder = (cache or caches.cache_folder()) / f"docker-{suite}"
    return caches.made(folder, lambda draft: _unpack(suite, DOCKER, draft))


def buildx(suite: Suite, *, cache: Path | None = None) -> Path:
    """Return the docker command line's buildx plug-in of *suite*."""
    return docker(suite, cache=cache) / "usr/libexec/docker/cli-plugins/docker-buildx"


def registry(suite: Suite, *, cache: Path | None = None) -> Path:
    """Return the registry of *suite*; trixie's uses the processor's SHA instructions and hashes three times as fast.

    The first call downloads 6 MB.
    """
    folder = (cache or caches.cache_folder()) / f"docker-registry-{suite}"
    return caches.made(folder, lambda draft: _unpack(suite, REGISTRY, draft)) / "usr/bin/docker-registry"
