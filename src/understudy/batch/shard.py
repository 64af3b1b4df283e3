"""One part of a collection for one of several independent runs: ``3/16`` for a task of a SLURM array or a CI matrix.

Which part an input belongs to depends on its id only (its first 8 bytes of SHA-256, modulo the number of parts), so
that the parts are disjoint and complete whatever the order, the machine, or what else is in the collection. Ids are
folded in case first: names that a file system may take for one belong to one part. Every run counts the whole
collection as it lists it, so that merging can tell whether all of them saw the same one.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from dataclasses import dataclass

from understudy.errors import ConfigError

SHARDS = "shards"
"""Folder of the ledgers and tables of parts, in the output."""

_FORM = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True)
class Shard:
    """Part ``index`` (from 1) of ``n``."""

    index: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.n:
            raise ConfigError(f"shard must be K/N with K from 1 to N, got {self}")

    def __str__(self) -> str:
        return f"{self.index}/{self.n}"

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.index}-of-{self.n}"

    @property
    def tag(self) -> str:
        """What marks its temporary files."""
        return f"{self.index}of{self.n}-"

    def holds(self, image_id: str) -> bool:
        """Whether an input belongs to this part."""
        return shard_number(image_id, self.n) == self.index - 1


def parse_shard(text: str | None) -> Shard | None:
    """``3/16`` as a part; None for nothing.

    Raises
    ------
    ConfigError
    """
    if text is None or text == "":
        return None
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"shard must be K/N, such as 3/16, got {text!r}")
    return Shard(int(match[1]), int(match[2]))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(os.fsencode(text)).digest()[:8])


def shard_number(image_id: str, n: int) -> int:
    """The part of an input, from 0 to n - 1."""
    return _digest(unicodedata.normalize("NFC", image_id).casefold()) % n


class Census:
    """Counts a collection as it is listed; equal collections give equal counts, in whatever order."""

    def __init__(self) -> None:
        self.n = 0
        self._sum = 0

    def add(self, image_id: str) -> None:
        """One more input, of whatever part."""
        self.n += 1
        self._sum = (self._sum + _digest(image_id)) % (1 << 64)

    def record(self) -> dict[str, object]:
        """What is compared when parts are merged."""
        return {"n_listed": self.n, "ids": f"{self._sum:016x}"}
