"""What a run comes to."""

from __future__ import annotations

import bisect
from collections import Counter
from dataclasses import dataclass, field

from understudy.batch.ledger import Status
from understudy.batch.progress import Event
from understudy.batch.sources import printable

N_FAILURES = 20
"""How many failures a summary names."""

_BAD = (Status.FAILED, Status.QUARANTINED, Status.REFUSED)


@dataclass
class RunSummary:
    """What became of a collection, earlier runs on the same output included."""

    counts: Counter[Status] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Regions that were replaced, filled, obscured."""
    n_resumed: int = 0
    """Inputs that an earlier run had settled."""
    elapsed_s: float = 0.0
    failures: list[tuple[str, Status, str]] = field(default_factory=list)
    """(id, status, reason) of the first ``N_FAILURES`` inputs that failed, were refused or quarantined, by id."""

    @property
    def n_inputs(self) -> int:
        """Inputs that were settled, now or earlier."""
        return sum(self.counts.values())

    @property
    def n_bad(self) -> int:
        """Inputs that failed, were refused or quarantined."""
        return sum(self.counts[status] for status in _BAD)

    @property
    def exit_code(self) -> int:
        """0 where every input finished, 3 where some did not."""
        return 3 if self.n_bad else 0

    @property
    def rate(self) -> float:
        """Inputs a second that were worked on now."""
        return (self.n_inputs - self.n_resumed) / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def add(self, event: Event) -> None:
        """Count one event."""
        self.counts[event.status] += event.n
        self.outcomes.update(event.outcomes)
        self.n_resumed += event.n if event.resumed else 0
        if event.status in _BAD:
            bisect.insort(self.failures, (printable(event.image_id), event.status, event.error))
            del self.failures[N_FAILURES:]


class RunInterruptedError(KeyboardInterrupt):
    """A run that was stopped by SIGINT or SIGTERM, after cleaning up; ``summary`` tells how far it came."""

    def __init__(self, summary: RunSummary) -> None:
        super().__init__(f"stopped after {summary.n_inputs} inputs: start the same command again to go on")
        self.summary = summary
