"""The common part of podman and buildah: both build with buildah's code into one storage, and push and save from it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tritonbuild import flags
from tritonbuild.backends import _options
from tritonbuild.backends._options import Output, cannot
from tritonbuild.errors import InvalidInputError
from tritonbuild.masking import csv_items

CAPABILITIES: Final = frozenset(
    {
        "annotation",
        "cache_from",
        "cache_to",
        "load",
        "metadata_file",
        "output type=docker",
        "output type=oci",
        "push",
    }
)
"""The requests that they can serve and some other engines cannot."""

_OPTIONS: Final[flags.Table] = {
    "add_host": flags.hosts,
    "all_platforms": flags.switch,
    "annotation": flags.pairs,
    "arch": flags.scalar,
    "authfile": flags.path,
    "build_arg": flags.pairs,
    "build_context": flags.named,
    "cache_from": flags.repeated,
    "cache_to": flags.repeated,
    "cache_ttl": flags.duration,
    "cap_add": flags.repeated,
    "cap_drop": flags.repeated,
    "cert_dir": flags.path,
    "cgroup_parent": flags.cgroup,
    "cgroupns": flags.scalar,
    "compress": flags.switch,
    "cpp_flag": flags.repeated,
    "cpu_period": flags.integer,
    "cpu_quota": flags.integer,
    "cpu_shares": flags.integer,
    "cpuset_cpus": flags.scalar,
    "cpuset_mems": flags.scalar,
    "creds": flags.credentials,
    "decryption_key": flags.quoted(flags.decryption_keys),
    "device": flags.repeated,
    "disable_compression": flags.switch,
    "disable_content_trust": flags.switch,
    "dns": flags.repeated,
    "dns_option": flags.repeated,
    "dns_search": flags.repeated,
    "env": flags.pairs,
    "file": flags.quoted(flags.path),  # a list to pflag, which splits it at commas
    "force_rm": flags.switch,
    "format": flags.scalar,
    "from": flags.scalar,
    "hooks_dir": flags.paths,
    "http_proxy": flags.switch,
    "identity_label": flags.switch,
    "ignorefile": flags.path,
    "iidfile": flags.path,
    "ipc": flags.scalar,
    "isolation": flags.scalar,
    "jobs": flags.integer,
    "label": flags.pairs,
    "layers": flags.switch,
    "logfile": flags.path,
    "logsplit": flags.switch,
    "manifest": flags.scalar,
    "memory": flags.scalar,
    "memory_swap": flags.scalar,
    "network": flags.scalar,
    "no_cache": flags.switch,
    "no_hosts": flags.switch,
    "omit_history": flags.switch,
    "os": flags.scalar,
    "os_feature": flags.repeated,
    "os_version": flags.scalar,
    "output": flags.plain_fields,  # split at commas without quoting, as cw and secret
    "pid": flags.scalar,
    "platform": flags.repeated,
    "pull": flags.choice("always", "false", "missing", "never", "newer", "true", bare=True),
    "quiet": flags.switch,
    "retry": flags.integer,
    "retry_delay": flags.duration,
    "rm": flags.switch,
    "runtime_flag": flags.pairs,
    "secret": flags.plain_fields,
    "security_opt": flags.repeated,
    "shm_size": flags.scalar,
    "sign_by": flags.scalar,
    "skip_unused_stages": flags.switch,
    "squash": flags.switch,
    "ssh": flags.repeated,
    "stdin": flags.switch,
    "tag": flags.repeated,
    "target": flags.scalar,
    "timestamp": flags.integer,
    "tls_verify": flags.switch,
    "ulimit": flags.limits,
    "unsetenv": flags.repeated,
    "userns": flags.scalar,
    "userns_gid_map": flags.triples,
    "userns_gid_map_group": flags.scalar,
    "userns_uid_map": flags.triples,
    "userns_uid_map_user": flags.scalar,
    "uts": flags.scalar,
    "variant": flags.scalar,
    "volume": flags.triples,
}
"""The rows that both have in common: all but those that came with different versions, or that only one has."""

TEMPORARY: Final = "/var/tmp"  # noqa: S108 - the folder of both if TMPDIR is not set
"""The folder for blobs that are pulled, and for the mounts of `RUN`."""

_ACCOUNT: Final = ("authfile", "cert_dir", "creds", "tls_verify")
"""The options for the connection to a registry; `push` has the same flags."""


def table(rows: flags.Table) -> flags.Table:
    """Return the table of an engine: the common rows, and *rows*."""
    return dict(sorted({**_OPTIONS, **rows}.items()))


GLOBAL_OPTIONS: Final[flags.Table] = {
    "cgroup_manager": flags.choice("cgroupfs", "systemd"),
    "log_level": flags.choice("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"),
    "root": flags.path,
    "runroot": flags.path,
    "storage_driver": flags.scalar,
    "storage_opt": flags.repeated,
}
"""The options of both programs themselves."""


def default_options(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default options of a build without those that exclude one of the user's.

    With `isolation=chroot` these engines accept no network but the host's, and none with `dns`.
    """
    isolation = options.get("isolation") or os.environ.get("BUILDAH_ISOLATION", "")
    excluded = {
        "network": isolation == "chroot" or any(options.get(name) for name in ("dns", "dns_option", "dns_search")),
        "pull": options.get("pull_always") or options.get("pull_never"),
        "platform": any(options.get(name) for name in ("all_platforms", "arch", "os", "variant")),
    }
    return {name: value for name, value in defaults.items() if not excluded.get(name)}


def build_options(options: dict[str, Any], *, engine: str) -> dict[str, Any]:
    """Return the options in the form that the build command takes.

    Raises:
        InvalidInputError: The engine cannot serve one of them.
    """
    destination, given = _options.stored(flags.canonical(options), engine=engine)
    _options.validate(given, "metadata_file", "progress", engine=engine)
    if flags.has_several_platforms(given):
        for output in destination.outputs:
            if output.type != "oci":
                raise cannot(f"output type={output.type} of several platforms", engine=engine)
        given.pop("tag", None)  # each platform's image would get the names; the list of them gets them at the end
    _reword(given, engine=engine)
    if "annotation" in given:  # podman 4.3 and buildah 1.28 omit it if the last layer is cached
        given.setdefault("no_cache", True)
    for name in ("cache_from", "cache_to"):
        if name in given:
            given[name] = tuple(_repository(name, text, engine=engine) for text in _lines(given[name], name, engine))
    if "secret" in given:
        given["secret"] = tuple(_secret(text) for text in _lines(given["secret"], "secret", engine))
    if files := [output for output in destination.outputs if not output.is_archive]:
        given.setdefault("no_cache", True)  # podman 4.3 and buildah 1.28 omit the last layer if it is cached
        if len(files) > 1:
            raise cannot("several outputs of type local or tar", engine=engine)
        given["output"] = {"type": files[0].type, "dest": files[0].dest, **files[0].fields}
    return given


def _reword(given: dict[str, Any], *, engine: str) -> None:
    """Translate the values of `progress`, `pull` and `network` for these engines."""
    match given.pop("progress", None):
        case None | "auto" | "plain" | ("auto" | "plain",):  # the output is always plain
            pass
        case "quiet" | ("quiet",):
            given["quiet"] = True
        case other:
            raise cannot(f"progress={flags.each(other)[0]}", engine=engine)
    if isinstance(given.get("pull"), bool):
        # All versions of both understand these values alike; a bare flag means "if newer" in the older ones.
        given["pull"] = "always" if given["pull"] else "missing"
    if given.get("network") == "default":
        del given["network"]


def account(table: flags.Table, options: dict[str, Any], *, engine: str) -> list[str]:
    """Return the tokens for the connection to a registry."""
    return flags.render(table, {name: options[name] for name in _ACCOUNT if name in options}, engine=engine)


def pushes(
    image: str, *, scratch: Path, tokens: Sequence[str], options: dict[str, Any], engine: str
) -> Iterator[list[str]]:
    """Yield the commands that push an image, if that is requested; they write the manifest's digest."""
    destination, given = _options.stored(flags.canonical(options), engine=engine)
    quiet = ["--quiet"] if given.get("quiet") else []
    for tag in _options.tags(given) if destination.push else ():
        yield ["push", *quiet, *tokens, f"--digestfile={scratch / 'digest'}", image, f"docker://{tag}"]


def archives(options: dict[str, Any], *, engine: str) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    """Return the requested archives, and the names of the image."""
    destination, given = _options.stored(flags.canonical(options), engine=engine)
    return tuple(o for o in destination.outputs if o.is_archive), _options.tags(given)


def check_pull(options: dict[str, Any], *, engine: str, version: str, since: str) -> None:
    """Refuse the pull policy `newer` for a version that lacks it, and would pull missing images only.

    Raises:
        InvalidInputError: The engine is older than *since*.
    """
    found = flags.version_numbers(version)
    if options.get("pull") == "newer" and found and found < flags.version_numbers(since):
        raise InvalidInputError(
            f"pull='newer' of engine {engine!r} needs {engine} {since} or newer, and this is {version}",
            hint="give pull=True, or use another version of the engine",
        )


def _lines(value: object, name: str, engine: str) -> list[str]:
    _options.validate({name: value}, name, engine=engine)
    return [os.fspath(one) if isinstance(one, os.PathLike) else flags.fields.texts(one)[0] for one in flags.each(value)]


def _repository(name: str, text: str, *, engine: str) -> str:
    """Return the repository of a BuildKit cache of type `registry`; a plain name is a repository."""
    if "=" not in text:
        return text
    fields = dict(item.partition("=")[::2] for item in csv_items(text))
    if fields.get("type") != "registry" or set(fields) != {"type", "ref"}:
        raise cannot(f"{name} other than type=registry,ref=REPOSITORY", engine=engine)
    if ":" in fields["ref"].rpartition("/")[2] or "@" in fields["ref"]:  # its tags are cache keys of layers
        raise cannot(f"{name} with a tag", engine=engine)
    return fields["ref"]


def _secret(text: str) -> str:
    """Return a secret in docker's syntax with the fields that all versions know: `source` and `env` are newer."""
    fields = dict(item.partition("=")[::2] for item in csv_items(text))
    if "source" in fields:
        fields["src"] = fields.pop("source")
    if "env" in fields:
        fields.update(type="env", src=fields.pop("env"))
    return ",".join(f"{name}={value}" for name, value in fields.items())
