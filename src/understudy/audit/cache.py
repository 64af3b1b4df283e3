"""What was read from pictures, kept by digest: a second audit of the same data reads no picture again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import OutputError
from understudy.imaging import write_atomic

FORMAT = 2
"""Grows when what is kept changes; entries of another format are read anew."""
Record = Mapping[str, NDArray[np.generic]]
"""Named arrays: boxes, embeddings, readings. Never pixels of a picture."""


class Cache:
    """Records in a folder, one file each; without a folder nothing is kept.

    A key is a SHA-256 of what was read (the picture's digest) and of what read it (settings, weights, version), so that
    an entry is never used for anything else, and the file names name no picture. Embeddings are personal data: the
    folder is for its owner alone (mode 700), holds its own .gitignore, and may be deleted at any time.

    Parameters
    ----------
    folder : Path or None
    reader : mapping
        What reads: plain data with settings, digests of weights and versions.
    """

    def __init__(self, folder: Path | None, reader: Mapping[str, object]) -> None:
        self.folder = folder
        text = json.dumps({"format": FORMAT, **reader}, sort_keys=True, default=str)
        self._reader = hashlib.sha256(text.encode()).hexdigest()
        self.n_hits = 0
        self.n_misses = 0
        if folder is not None:
            _make(folder)

    def key(self, *parts: str) -> str:
        """Key of a record: the reader and what was read, such as one picture's digest or two."""
        return hashlib.sha256("\n".join((self._reader, *parts)).encode()).hexdigest()

    def get(self, key: str) -> dict[str, NDArray[np.generic]] | None:
        """The record of a key, or None; a damaged entry counts as none."""
        if self.folder is None:
            return None
        try:
            with np.load(io.BytesIO(self._path(key).read_bytes()), allow_pickle=False) as stored:
                record = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            self.n_misses += 1
            return None
        self.n_hits += 1
        return record

    def put(self, key: str, record: Record) -> None:
        """Keep a record."""
        if self.folder is None:
            return
        buffer = io.BytesIO()
        np.savez(buffer, **dict(record))  # type: ignore[arg-type]  # its stub takes the keywords for flags
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, buffer.getvalue())

    def _path(self, key: str) -> Path:
        if self.folder is None:
            raise OutputError("there is no cache")
        return self.folder / key[:2] / f"{key}.npz"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"the cache {str(folder)!r} cannot be written: {(error.strerror or str(error)).lower()}; "
            "choose another with cache=DIR, or none with cache=null"
        ) from error
