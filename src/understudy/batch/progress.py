"""What a run tells while it goes: a progress line with rate and time left where somebody watches, silence where not."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from understudy.batch.ledger import Status
from understudy.batch.sources import printable

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True)
class Event:
    """Inputs that were settled: one that was worked on now, or several that an earlier run had finished."""

    status: Status
    image_id: str = ""
    error: str = ""
    n: int = 1
    outcomes: Counter[str] = field(default_factory=Counter)
    """How many regions were replaced, filled, obscured."""
    resumed: bool = False


class ProgressBar:
    """Shows events on standard error while it is open as a context; call it with each event.

    Parameters
    ----------
    count : callable
        How many inputs there are; it is called in a thread of its own, so that the run need not wait for it.
    enabled : bool, optional
        Left out: where standard error is a terminal.
    """

    def __init__(self, count: Callable[[], int], *, enabled: bool | None = None) -> None:
        self.enabled = sys.stderr.isatty() if enabled is None else enabled
        self._count = count
        self._outcomes: Counter[str] = Counter()
        self._bar: Progress | None = None

    def __enter__(self) -> ProgressBar:
        if self.enabled:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[outcomes]}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("anonymize", total=None, rate="", outcomes="")
            self._bar.start()
            threading.Thread(target=self._find_total, daemon=True).start()
        return self

    def _find_total(self) -> None:
        try:
            total = self._count()
        except Exception:  # noqa: BLE001 - the run itself meets the same error and says so; here only the total is lost
            return
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def __call__(self, event: Event) -> None:
        """Advance by one event; a failure gets a line of its own."""
        if self._bar is None:
            return
        self._outcomes.update({str(event.status): event.n} if event.status is not Status.DONE else {})
        self._outcomes.update(event.outcomes)
        if event.error and not event.resumed and event.status is not Status.SKIPPED:
            self._bar.console.print(
                f"{event.status}: {printable(event.image_id)}: {event.error}", markup=False, highlight=False
            )
        task = self._bar.tasks[self._task]
        self._bar.update(
            self._task,
            advance=event.n,
            rate=f"{task.speed:.1f}/s" if task.speed else "",
            outcomes=", ".join(f"{n} {name}" for name, n in sorted(self._outcomes.items())),
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
