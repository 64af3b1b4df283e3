"""Find, fetch and check weight files: wheel members, a mirror, the cache, a download; never without a digest."""

from __future__ import annotations

import hashlib
import http.client
import importlib.metadata
import os
import shutil
import tempfile
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from understudy.errors import ConfigError, MissingWeightsError, WeightsDigestError

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) while a file is fetched."""

MIRROR_VARIABLE = "UNDERSTUDY_MODELS"
HUB = "hub"
"""Kind of the registry's entries that are no files but checkpoints of the hub; understudy.hub reads them."""
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin"})


@dataclass(frozen=True)
class Entry:
    """One weight file of the registry."""

    name: str
    task: str
    kind: Literal["onnx", "dlib", "pickle", "safetensors"]
    file: str
    sha256: str
    size: int
    licence: str
    training_data: str
    source: str
    addresses: tuple[str, ...] = ()
    distribution: str | None = None
    """Installed distribution that carries the file; it is never imported."""
    member: str | None = None
    """Path of the file inside that distribution."""
    embedded: str | None = None
    """Path under the package's ``models`` folder."""
    note: str = ""


@dataclass(frozen=True)
class Check:
    """What ``verify`` found for one entry."""

    name: str
    path: Path | None
    status: Literal["ok", "absent", "wrong digest"]
    detail: str = ""


def models_folder() -> Path:
    """Folder of the registry and the embedded models: package data, or the checkout's ``models``."""
    package = Path(__file__).resolve().parent / "models"
    return package if (package / "registry.toml").is_file() else Path(__file__).resolve().parents[2] / "models"


def cache_folder() -> Path:
    """Folder of downloaded weights: ``$XDG_CACHE_HOME/understudy`` or ``~/.cache/understudy``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "understudy"


def read_registry(path: Path) -> dict[str, Entry]:
    """Entries of a registry file by name, in the file's order.

    Raises
    ------
    ConfigError
        The file is absent, is no TOML, or an entry lacks a key.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the weights registry {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the weights registry {path} is no valid TOML: {error}") from error
    return {name: _entry(name, table, path) for name, table in tables.items() if table.get("kind") != HUB}


def _entry(name: str, table: Mapping[str, object], path: Path) -> Entry:
    """Entry of one table of the registry."""
    fields = dict(table)
    wheel = fields.pop("wheel", None)
    if isinstance(wheel, Mapping):
        fields["distribution"], fields["member"] = wheel["distribution"], wheel["member"]
    addresses = fields.pop("addresses", [])
    if not isinstance(addresses, list):
        raise ConfigError(f"[{name}] in {path}: addresses must be a list, got {addresses!r}")
    try:
        return Entry(name=name, addresses=tuple(str(a) for a in addresses), **fields)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(f"[{name}] in {path} is no valid entry: {error}") from error


@lru_cache(maxsize=1)
def _registry() -> dict[str, Entry]:
    return read_registry(models_folder() / "registry.toml")


def entries() -> tuple[Entry, ...]:
    """Every entry of understudy's registry."""
    return tuple(_registry().values())


def entry(name: str) -> Entry:
    """The registry's entry of a name.

    Raises
    ------
    ConfigError
        No such name.
    """
    try:
        return _registry()[name]
    except KeyError:
        raise ConfigError(f"no weights are called {name!r}; the registry has {', '.join(_registry())}") from None


@lru_cache(maxsize=256)
def _digest_of_state(state: tuple[str, int, int]) -> str:
    with open(state[0], "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex; read once as long as its size and time of change stay the same."""
    state = path.stat()
    return _digest_of_state((str(path.resolve()), state.st_size, state.st_mtime_ns))


def _wheel_member(item: Entry) -> Path | None:
    """Path of an entry inside an installed distribution, found in its metadata without importing it."""
    if item.distribution is None or item.member is None:
        return None
    try:
        distribution = importlib.metadata.distribution(item.distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file(item.member)))


def candidates(item: Entry) -> Iterator[Path]:
    """Places where an entry may lie, in the order in which they are tried."""
    if item.embedded is not None:
        yield models_folder() / item.embedded
    member = _wheel_member(item)
    if member is not None:
        yield member
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        yield Path(mirror) / item.file
    yield cache_folder() / item.file


def find(name: str) -> Path:
    """Path of a checked weight file on this machine; nothing is fetched.

    Parameters
    ----------
    name : str
        Name in the registry.

    Raises
    ------
    MissingWeightsError
        The file is nowhere on this machine.
    WeightsDigestError
        Only files with another content were found.
    """
    item = entry(name)
    wrong: list[str] = []
    for path in candidates(item):
        if not path.is_file():
            continue
        digest = file_digest(path)
        if digest == item.sha256:
            return path
        wrong.append(f"{path} has sha256 {digest}")
    if wrong:
        raise WeightsDigestError(
            f"weights '{name}' must have sha256 {item.sha256}, but {'; '.join(wrong)}: "
            f"delete the file and {_way_out(item)}"
        )
    raise MissingWeightsError(f"weights '{name}' are not on this machine: {_way_out(item)}")


def is_here(name: str) -> bool:
    """Whether a checked weight file is on this machine."""
    try:
        find(name)
    except (MissingWeightsError, WeightsDigestError):
        return False
    return True


def _way_out(item: Entry) -> str:
    ways = []
    if item.distribution is not None:
        ways.append(f"install the package {item.distribution} (--no-deps is enough: it carries the file)")
    if item.addresses:
        ways.append(f"run `understudy models pull {item.name}`")
    ways.append(f"set {MIRROR_VARIABLE} to a folder that holds {item.file}")
    return ", or ".join(ways)


def resolve(name_or_path: str | Path) -> Path:
    """Path of weights given by registry name, or by the path of a file that is no pickle (unless registered).

    Raises
    ------
    MissingWeightsError
        The path holds no file, or the registered weights are absent.
    WeightsDigestError
        A pickled file whose digest is not in the registry: unpickling can run any code.
    """
    text = str(name_or_path)
    if text in _registry():
        return find(text)
    path = Path(text)
    if not path.is_file():
        raise MissingWeightsError(
            f"weights {text!r} are neither a file nor a name of the registry ({', '.join(_registry())})"
        )
    refuse_pickle(path)
    return path


def refuse_pickle(path: Path) -> None:
    """Raise WeightsDigestError for a file that looks pickled and whose digest is not in the registry."""
    if not _looks_pickled(path):
        return
    digest = file_digest(path)
    if all(item.sha256 != digest for item in entries() if item.kind == "pickle"):
        raise WeightsDigestError(
            f"{path} is a pickled file (sha256 {digest}) that the registry does not name: reading it could run any "
            "code. Convert it to safetensors or ONNX, or add its digest to models/registry.toml"
        )


def _looks_pickled(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(512)
    zipped = head.startswith(b"PK\x03\x04") and b".pkl" in head
    bare = len(head) > 1 and head[0] == 0x80 and head[1] in range(1, 6)
    return zipped or bare or path.suffix.lower() in _PICKLE_SUFFIXES


def pull(name: str, *, progress: Progress | None = None) -> Path:
    """Path of a checked weight file, fetched into the cache where it is not on this machine yet.

    Parameters
    ----------
    name : str
        Name in the registry.
    progress : callable, optional
        Called with (bytes done, bytes in all).

    Raises
    ------
    MissingWeightsError
        No address is known, or none of them delivered the file.
    WeightsDigestError
        An address delivered another file; nothing is kept of it.
    OSError
        The cache cannot be written.
    """
    try:
        return find(name)
    except (MissingWeightsError, WeightsDigestError):
        item = entry(name)
        if not item.addresses:
            raise
    target = cache_folder() / item.file
    failures: list[str] = []
    for address in item.addresses:
        try:
            return fetch(address, target, sha256=item.sha256, size=item.size, progress=progress)
        except MissingWeightsError as error:
            failures.append(str(error))
    raise MissingWeightsError(
        f"weights '{name}' could not be fetched: {'; '.join(failures)}. Fetch {item.file} elsewhere and "
        f"set {MIRROR_VARIABLE} to its folder"
    )


def fetch(address: str, target: Path, *, sha256: str, size: int, progress: Progress | None = None) -> Path:
    """Fetch one file into a temporary file beside ``target``, check it, and move it there in one step.

    Parameters
    ----------
    address : str
        http or https address.
    target : Path
    sha256 : str
        Expected digest in hex.
    size : int
        Expected size in bytes; more than that is never written.

    Raises
    ------
    MissingWeightsError
        The address did not answer with the whole file.
    WeightsDigestError
        It answered with another file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=target.name, suffix=".part", dir=target.parent)
    part = Path(temporary)
    try:
        with os.fdopen(handle, "wb") as file:
            digest, n_bytes = _stream(address, file.write, size, progress)
            file.flush()
            os.fsync(file.fileno())
        if n_bytes < size:
            raise MissingWeightsError(f"{address} ended after {n_bytes} of {size} bytes")
        if n_bytes > size or digest != sha256:
            raise WeightsDigestError(
                f"{address} delivered another file than expected: sha256 {digest}, {n_bytes} bytes or more, "
                f"expected {sha256}, {size} bytes; nothing of it was kept"
            )
        part.chmod(0o644)
        shutil.move(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _stream(address: str, write: Callable[[bytes], object], size: int, progress: Progress | None) -> tuple[str, int]:
    """Copy an address's answer to ``write``, at most one chunk more than ``size``; digest and bytes copied."""
    if not address.startswith(("https://", "http://")):
        raise ConfigError(f"weights are fetched by http or https only, got {address!r}")
    digest, n_bytes = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 -- checked above
            while n_bytes <= size and (chunk := answer.read(_CHUNK)):
                digest.update(chunk)
                write(chunk)
                n_bytes += len(chunk)
                if progress is not None:
                    progress(min(n_bytes, size), size)
    except urllib.error.HTTPError as error:
        error.close()
        raise MissingWeightsError(f"{address} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise MissingWeightsError(f"{address} could not be read: {reason}") from error
    return digest.hexdigest(), n_bytes


def verify() -> tuple[Check, ...]:
    """Check every entry's file on this machine against the registry."""
    checks = []
    for item in entries():
        try:
            checks.append(Check(item.name, find(item.name), "ok"))
        except MissingWeightsError as error:
            checks.append(Check(item.name, None, "absent", str(error)))
        except WeightsDigestError as error:
            checks.append(Check(item.name, None, "wrong digest", str(error)))
    return tuple(checks)
