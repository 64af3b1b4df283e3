"""How a run uses the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from understudy.errors import InvalidInputError


@dataclass(frozen=True)
class RunSettings:
    """How a run uses the machine; nothing here changes what is written."""

    n_workers: int = 2
    n_replacers: int = 1
    micro_batch: int = 8
    """Regions that are replaced together, across pictures."""
    gather_s: float = 0.2
    """How long a batch waits for more while the listing is slow."""
    max_pictures: int = 16
    """Pictures in flight."""
    max_pixels: int = 32_000_000
    """Pixels in flight, some 20 bytes of memory each; a larger picture is worked on alone."""
    max_bytes: int = 512 << 20
    """Bytes of files in flight; a larger file is worked on alone."""
    max_file_bytes: int = 2 << 30
    """Larger files are refused."""
    n_fetchers: int = 8
    """Threads that read ahead where sources are at addresses."""
    snapshot_s: float = 300.0
    """Where the output is at an address, the ledger is copied to it so often."""
    resume: Literal["auto", "restart"] = "auto"
    """Go on with what is there, or remove what an earlier run wrote and begin anew."""

    def __post_init__(self) -> None:
        for name in (
            "n_workers",
            "n_replacers",
            "micro_batch",
            "max_pictures",
            "max_pixels",
            "max_bytes",
            "n_fetchers",
        ):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name} must be 1 or more, got {getattr(self, name)}")
        if self.resume not in ("auto", "restart"):
            raise InvalidInputError(f"resume must be auto or restart, got {self.resume!r}")
