"""What an audit reads: folders of pictures, and the manifest that understudy leaves beside its own."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError
from understudy.imaging import HEAD_BYTES, PICTURE_SUFFIXES, sniff

IMAGES = "images"
"""Folder of the pictures in an output folder of understudy."""
RUN_FILE = "run.yaml"
REGIONS = "regions"


@dataclass(frozen=True)
class Manifest:
    """What an anonymiser of ours says of its own run; nothing in it is taken as proof of anything."""

    regions: Mapping[str, NDArray[np.float64]]
    """(R, 4) px boxes of what was replaced, by the picture's path in the output."""
    config: Mapping[str, object]
    """The resolved settings of the run."""
    digests: Mapping[str, str]
    """SHA-256 of the manifest's files, by name."""


@dataclass(frozen=True)
class Collection:
    """The pictures of one folder."""

    role: str
    """before, after or null."""
    root: Path
    pictures: tuple[str, ...]
    """Relative POSIX paths, sorted."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Files that are no readable pictures, with the reason."""
    manifest: Manifest | None = None

    def path(self, picture: str) -> Path:
        """Where a picture lies."""
        return self.root / picture


def open_collection(folder: str | os.PathLike[str], role: str) -> Collection:
    """List the pictures of a folder, recursively; an output folder of understudy is read with its manifest.

    Parameters
    ----------
    folder : path
        A plain folder, or the ``output`` of ``understudy anonymize``, whose pictures lie in ``images``.
    role : str
        before, after or null, for messages.

    Raises
    ------
    InvalidInputError
        It is no folder, cannot be read, or holds no picture.
    """
    given = Path(folder)
    if not given.is_dir():
        what = "is a file" if given.exists() else "does not exist"
        raise InvalidInputError(f"{role}={str(folder)!r} {what}: give a folder of pictures")
    if not os.access(given, os.R_OK | os.X_OK):
        raise InvalidInputError(f"{role}={str(folder)!r} cannot be read: permission denied")
    home = given.parent if given.name == IMAGES and _is_output(given.parent) else given
    root = home / IMAGES if _is_output(home) and (home / IMAGES).is_dir() else given
    pictures: list[str] = []
    skipped: dict[str, str] = {}
    for path in _files(root, root):
        name = path.relative_to(root).as_posix()
        reason = _no_picture(path)
        if reason:
            skipped[name] = reason
        else:
            pictures.append(name)
    if not pictures:
        seen = f"{len(skipped)} files, none of which is a picture" if skipped else "no file"
        raise InvalidInputError(f"{role}={str(folder)!r} holds {seen}: give a folder of pictures")
    return Collection(role, root, tuple(sorted(pictures)), skipped, read_manifest(home) if _is_output(home) else None)


def _is_output(folder: Path) -> bool:
    return (folder / RUN_FILE).is_file() and any((folder / f"{REGIONS}{end}").is_file() for end in (".parquet", ".csv"))


def _files(folder: Path, root: Path) -> Iterator[Path]:
    """Files below a folder, by name; hidden ones and links that lead out of the folder are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    real_root = os.path.realpath(root)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if entry.is_symlink() and not os.path.realpath(path).startswith(real_root + os.sep):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files(path, root)
        elif entry.is_file():
            yield path


def _no_picture(path: Path) -> str:
    """Why a file is no picture; empty where it is one. Broken pictures are told later, when they are decoded."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"
    if not head:
        return "is empty"
    if sniff(head) is None and path.suffix.lower() not in PICTURE_SUFFIXES:
        return "is no picture"
    return ""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an output folder of understudy.

    Parameters
    ----------
    folder : Path
        With ``run.yaml`` and ``regions.parquet`` or ``regions.csv``.

    Raises
    ------
    InvalidInputError
        A file of it cannot be read.
    """
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    try:
        record = yaml.safe_load((folder / RUN_FILE).read_text(encoding="utf-8"))
        regions = _records(folder, REGIONS)
        output = {r["image_id"]: r.get("output") for r in _records(folder, IMAGES, missing_ok=True)}
    except (OSError, ValueError, KeyError, yaml.YAMLError) as error:
        raise InvalidInputError(f"the manifest in {str(folder)!r} cannot be read: {error}") from error
    boxes: dict[str, list[list[float]]] = {}
    for region in regions:
        name = str(output.get(region["image_id"]) or f"{IMAGES}/{region['image_id']}").removeprefix(f"{IMAGES}/")
        boxes.setdefault(name, []).append([float(str(region[k])) for k in ("x0", "y0", "x1", "y1")])
    digests = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.suffix in {".yaml", ".parquet"}}
    config = record.get("config", {}) if isinstance(record, Mapping) else {}
    return Manifest({name: np.array(rows, np.float64) for name, rows in boxes.items()}, config, digests)


def _records(folder: Path, name: str, *, missing_ok: bool = False) -> list[dict[str, object]]:
    parquet, plain = folder / f"{name}.parquet", folder / f"{name}.csv"
    if parquet.is_file():
        import pyarrow.parquet as pq

        rows: list[dict[str, object]] = pq.read_table(parquet).to_pylist()
        return rows
    if plain.is_file():
        with plain.open(encoding="utf-8", newline="") as file:
            return [dict(row) for row in csv.DictReader(file)]
    if missing_ok:
        return []
    raise InvalidInputError(f"{str(folder)!r} holds neither {parquet.name} nor {plain.name}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def collection_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 of a collection: of its pictures' names and SHA-256, in the order of the names."""
    text = json.dumps(sorted(digests.items()), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def named_targets(node: object) -> Iterator[str]:
    """Every ``_target_`` in settings, in their order: which classes a run was built from."""
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if isinstance(target, str):
            yield target
        for value in node.values():
            yield from named_targets(value)
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for value in node:
            yield from named_targets(value)
