"""How a run uses a Ray cluster. Nothing here needs ray."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from understudy.batch.settings import RunSettings
from understudy.errors import InvalidInputError


@dataclass(frozen=True)
class RaySettings:
    """How a run uses a Ray cluster; nothing here changes what is written."""

    address: str | None = None
    """Of a cluster that is there: ``auto``, or ``HOST:PORT``; None: one of this machine, for this run only."""
    min_actors: int = 1
    """Actors, each of which holds all networks: how many at least,"""
    max_actors: int = 2
    """and how many at most, as the work asks for them."""
    actor_cpus: float = 1.0
    """Logical CPUs of an actor."""
    num_gpus: float = 0.0
    """GPUs of an actor; a fraction lets actors share one."""
    task_cpus: float = 0.5
    """Logical CPUs of a task that reads and decodes, or encodes and writes."""
    max_tasks: int = 2
    """Tasks of each of the two kinds at one time."""
    block: int = 24
    """Pictures that travel together."""
    block_mb: int = 32
    """Larger blocks are split."""
    window: int = 4096
    """Pictures of one pass over the cluster; the next ones are listed meanwhile."""
    gather_s: float = 0.5
    """How long a pass waits for more while the listing is slow."""
    n_retries: int = 1
    """How often Ray tries a block again whose worker died, before its pictures are tried alone."""
    object_store_mb: int = 1024
    """Of a cluster of this machine: shared memory for what travels."""
    max_bytes: int = 256 << 20
    """Bytes of members of containers in flight."""
    max_file_bytes: int = 2 << 30
    """Larger files are refused."""
    n_fetchers: int = 8
    """Threads of a task that read where sources are at addresses."""
    snapshot_s: float = 300.0
    """Where the output is at an address, the ledger is copied to it so often."""
    resume: Literal["auto", "restart"] = "auto"
    """Go on with what is there, or remove what an earlier run wrote and begin anew."""

    def __post_init__(self) -> None:
        zero = {"n_retries", "num_gpus", "gather_s"}
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or isinstance(value, bool):
                continue
            if value < 0 or (value == 0 and field.name not in zero):
                at_least = "0 or more" if field.name in zero else "more than 0"
                raise InvalidInputError(f"{field.name} must be {at_least}, got {value}")
        if self.max_actors < self.min_actors:
            raise InvalidInputError(f"max_actors must be min_actors ({self.min_actors}) or more, got {self.max_actors}")
        if self.task_cpus == self.actor_cpus:
            raise InvalidInputError(
                f"task_cpus and actor_cpus must differ, got {self.task_cpus} for both: "
                "Ray would lay the tasks into the actors"
            )
        if self.address is not None and self.address.startswith("ray://"):
            raise InvalidInputError(
                f"address must be auto or HOST:PORT, got {self.address!r}: start the run on a machine of the cluster"
            )

    def limits(self) -> RunSettings:
        """What the listing and the ledger keep to: two passes' worth of names, no pixels."""
        return RunSettings(
            max_pictures=2 * self.window,
            max_pixels=1 << 62,
            max_bytes=self.max_bytes,
            max_file_bytes=self.max_file_bytes,
            snapshot_s=self.snapshot_s,
            resume=self.resume,
        )
