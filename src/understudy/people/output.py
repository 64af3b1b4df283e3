"""A folder of pictures with labels.jsonl beside it: appended to, resumed from, shared by any number of processes."""

from __future__ import annotations

import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.errors import InvalidInputError

LABELS = "labels.jsonl"
HEADS = "heads.jsonl"


@dataclass
class HeadResult:
    """What one head gave: files by name, rows of labels, and rejections by rule."""

    index: int
    files: dict[str, bytes] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A PNG of (H, W), (H, W, 3) or (H, W, 4)."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def npz_bytes(**arrays: NDArray[Any]) -> bytes:
    """A compressed npz."""
    buffer = io.BytesIO()
    save: Any = np.savez_compressed  # numpy 2's annotation takes any name for its own flag
    save(buffer, **arrays)
    return buffer.getvalue()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a .jsonl; a last line that was cut short, as by a full disk, is left out."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append lines in one write, so that several processes may share the file."""
    if not rows:
        return
    text = "".join(json.dumps(row) + "\n" for row in rows)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if path.stat().st_size and not _ends_line(path):
            text = "\n" + text
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def finished_heads(folder: Path) -> set[int]:
    """Indices of heads that are written: counted, or with rows in the labels."""
    done = {int(row["index"]) for row in read_rows(folder / HEADS)}
    return done | {int(row["index"]) for row in read_rows(folder / LABELS)}


def write_head(folder: Path, result: HeadResult) -> None:
    """Files first, then their labels, then the line that says the head is done."""
    for name, content in result.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_bytes(content)
        part.replace(path)
    append_rows(folder / LABELS, result.rows)
    line = {
        "index": result.index,
        "pictures": len(result.rows),
        "rejected": dict(result.rejected),
        "seconds": round(result.seconds, 2),
    }
    append_rows(folder / HEADS, [line])


def count_rejected(folder: Path) -> Counter[str]:
    """Pictures kept and rejected by rule, over all finished heads."""
    total: Counter[str] = Counter()
    for row in read_rows(folder / HEADS):
        total["kept"] += int(row["pictures"])
        total.update({rule: int(n) for rule, n in row["rejected"].items()})
    return total


def share_of(indices: Sequence[int], shard: str) -> Sequence[int]:
    """The part ``i/n`` of the indices: every n-th one, from the i-th, i from 0.

    Raises
    ------
    InvalidInputError
        Where the shard is not of the form i/n with 0 <= i < n.
    """
    try:
        part, n = (int(v) for v in shard.split("/"))
    except ValueError:
        part, n = -1, 0
    if not 0 <= part < n:
        raise InvalidInputError(f"a shard is i/n with 0 <= i < n, as in 0/4; got {shard!r}")
    return indices[part::n]
