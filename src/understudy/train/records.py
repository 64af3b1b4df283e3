"""Labelled pictures, as a file of JSON lines names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import InvalidInputError


@dataclass(frozen=True)
class Record:
    """One labelled picture."""

    path: Path
    subject: str
    xyxy: NDArray[np.float64]  # (4,) px
    keypoints: NDArray[np.float64]  # (5, 2) px
    tags: tuple[int, ...] = ()
    """What is known of the subject, in a fixed order; -1 = not known."""
    plain: bool = True
    """Whether the face would suit anybody: no beard, glasses or make-up."""
    bins: tuple[int, ...] = ()
    """Categories that the labels tell, beside those that are measured on a crop; -1 = not known."""
    foreground: Path | None = None
    """A grey picture of how much of each pixel is the subject."""


def load_records(labels: Path, tag_keys: Sequence[str] = (), bin_keys: Sequence[str] = ()) -> list[Record]:
    """Read labels.jsonl: ``file`` (relative to it, or absolute), ``face_xyxy``, ``keypoints``, and what else is there.

    ``subject``, ``plain``, the tags and the bins may be left out.
    """
    records = []
    for n, line in enumerate(labels.read_text().splitlines(), 1):
        row = json.loads(line)
        missing = {"file", "face_xyxy", "keypoints"} - set(row)
        if missing:
            raise InvalidInputError(f"{labels}:{n} lacks {sorted(missing)}")
        tags, bins = (tuple(-1 if row.get(k) is None else int(row[k]) for k in keys) for keys in (tag_keys, bin_keys))
        records.append(
            Record(
                path=labels.parent / row["file"],
                subject=str(row.get("subject", row["file"])),
                xyxy=np.asarray(row["face_xyxy"], np.float64),
                keypoints=np.asarray(row["keypoints"], np.float64),
                tags=tags,
                plain=bool(row.get("plain", True)),
                bins=bins,
                foreground=labels.parent / row["foreground"] if row.get("foreground") else None,
            )
        )
    if not records:
        raise InvalidInputError(f"{labels} names no picture")
    return records
