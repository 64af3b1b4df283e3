"""A bundle: a folder of ONNX files for one device, and bundle.json, which says what each of them is."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy.errors import ConfigError, MissingWeightsError, OutputError, WeightsDigestError

BUNDLE = "bundle.json"
FORMAT = 1


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle."""

    path: str
    """Under the bundle's folder."""
    role: str
    """generator, detector, embedder, probe; settings for what is no graph."""
    precision: str
    sha256: str
    n_bytes: int
    licence: str
    source_sha256: Mapping[str, str] = field(default_factory=dict)
    """Digests of the weights from which it was made, by name."""
    contract: str = ""
    parity: Mapping[str, Any] | None = None
    """Differences from its reference; None where it is a copy."""
    note: str = ""


@dataclass(frozen=True)
class Bundle:
    """What bundle.json says."""

    folder: Path
    files: tuple[BundleFile, ...]
    understudies: Mapping[str, Any] = field(default_factory=dict)
    """Differences at the end of the generator, in grey levels and dB, by precision."""

    def file(self, role: str, precision: str) -> BundleFile | None:
        """The file of a role in a precision, else in float32; None where the role is not in the bundle."""
        found = {f.precision: f for f in self.files if f.role == role}
        return found.get(precision, found.get("fp32"))


def sha256(data: bytes) -> str:
    """Hexadecimal digest."""
    return hashlib.sha256(data).hexdigest()


def write_bundle(
    folder: Path,
    contents: Mapping[str, bytes],
    files: Sequence[BundleFile],
    understudies: Mapping[str, Any],
    made_with: Mapping[str, Any],
) -> None:
    """Write a bundle in one step: it is there as a whole or not at all.

    Parameters
    ----------
    folder : Path
        Does not exist yet, or is empty.
    contents : mapping
        Bytes of every file by its path under the folder.
    files : sequence of BundleFile
    understudies, made_with : mapping
        Plain data for bundle.json.

    Raises
    ------
    OutputError
        The folder cannot be written, or holds something already.
    """
    row = {
        "format": FORMAT,
        "understudy": __version__,
        "made_with": dict(made_with),
        "understudies": dict(understudies),
        "files": [asdict(file) for file in files],
    }
    require_empty(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
            part = Path(name) / "bundle"
            for path, data in contents.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_bytes(data)
            (part / BUNDLE).write_text(json.dumps(row, indent=2) + "\n", encoding="utf-8")
            if folder.is_dir():
                folder.rmdir()
            shutil.move(part, folder)
    except OSError as error:
        raise _unwritable(folder, error) from error


def require_empty(folder: Path) -> None:
    """Check, before any work is done, that a bundle can be written to a folder.

    Raises
    ------
    OutputError
        It is a file, is not empty, or cannot be made.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"output {str(folder)!r} is there already and not empty: give the name of a new folder")
        base = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=base):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> OutputError:
    why = error.strerror or error
    return OutputError(f"output {str(folder)!r} cannot be written: {why}; choose a folder that may be written")


def read_bundle(folder: Path) -> Bundle:
    """Read bundle.json and check every file's digest.

    Raises
    ------
    MissingWeightsError
        There is no bundle, or a file of it is not there.
    WeightsDigestError
        A file is not the one that was exported.
    """
    path = folder / BUNDLE
    if not path.is_file():
        raise MissingWeightsError(f"{str(folder)!r} is no bundle: it has no {BUNDLE}; `understudy export` makes one")
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        if row["format"] != FORMAT:
            raise ConfigError(f"{path} has format {row['format']!r}, this version reads {FORMAT}")
        files = tuple(BundleFile(**item) for item in row["files"])
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is damaged ({error}): export the bundle anew") from error
    for file in files:
        if not (folder / file.path).resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"{path} names {file.path!r}, which lies outside the bundle")
        if not (folder / file.path).is_file():
            raise MissingWeightsError(f"the bundle {str(folder)!r} lacks {file.path}: copy it whole, or export it anew")
        if sha256((folder / file.path).read_bytes()) != file.sha256:
            raise WeightsDigestError(f"{folder / file.path} is not the file that was exported: export the bundle anew")
    return Bundle(folder, files, row.get("understudies", {}))
