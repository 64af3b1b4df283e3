"""Figures of a running job as a Prometheus text file, for node_exporter's textfile collector and its like.

The file holds numbers only: no name, no path, nothing of a picture.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from understudy.batch.progress import Event
from understudy.batch.rows import Status
from understudy.errors import OutputError
from understudy.imaging.files import write_atomic

PREFIX = "understudy"
EVERY_S = 5.0
OUTCOMES = ("replaced", "filled", "obscured")
_GAUGES: Mapping[str, str] = {
    "pictures_in_flight": "Pictures between being let in and being committed.",
    "pixels_in_flight": "Their pixels.",
    "bytes_in_flight": "Bytes of their files.",
    "queue_fetch": "Pictures that wait to be read from an address.",
    "queue_prepare": "Pictures that wait to be decoded and searched.",
    "queue_replace": "Pictures that wait for the generator.",
    "queue_finish": "Pictures that wait to be encoded and written.",
    "queue_commit": "Pictures that wait for the ledger.",
}


class Metrics:
    """Counts events and writes the file now and then.

    Parameters
    ----------
    path : Path
        Written whole or not at all; where it cannot be written, the run goes on without it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inputs: Counter[Status] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._n_resumed = 0
        self._gauges: dict[str, float] = {}
        self._recent: list[tuple[float, int]] = []
        self._n_new = 0
        self._written = -EVERY_S
        self._running = 1

    def count(self, event: Event) -> None:
        """One event."""
        self._inputs[event.status] += event.n
        self._outcomes.update(event.outcomes)
        if event.resumed:
            self._n_resumed += event.n
        else:
            self._n_new += event.n

    def watch(self, gauges: Mapping[str, float]) -> None:
        """What is in flight now; writes the file where it is time to."""
        now = time.monotonic()
        self._gauges = dict(gauges)
        self._recent.append((now, self._n_new))
        while now - self._recent[0][0] > 60:
            self._recent.pop(0)
        if now - self._written >= EVERY_S:
            self._written = now
            self.write()

    def end(self) -> None:
        """Write it a last time."""
        self._running = 0
        self.write()

    def write(self) -> None:
        """Write the file now."""
        with suppress(OutputError, OSError):
            write_atomic(self.path, self.text().encode())

    @property
    def _per_second(self) -> float:
        """Inputs a second in the last minute."""
        if len(self._recent) < 2:
            return 0.0
        (then, n_then), (now, n_now) = self._recent[0], self._recent[-1]
        return (n_now - n_then) / (now - then) if now > then else 0.0

    def text(self) -> str:
        """The file's content."""
        lines = [*_head("inputs_total", "counter", "Inputs that were settled, by status, earlier runs included.")]
        lines += [f'{PREFIX}_inputs_total{{status="{status}"}} {self._inputs[status]}' for status in Status]
        lines += _head("regions_total", "counter", "Regions by outcome, earlier runs included.")
        lines += [f'{PREFIX}_regions_total{{outcome="{name}"}} {self._outcomes[name]}' for name in OUTCOMES]
        lines += _head("inputs_resumed_total", "counter", "Inputs that an earlier run had settled.")
        lines.append(f"{PREFIX}_inputs_resumed_total {self._n_resumed}")
        lines += _head("inputs_per_second", "gauge", "Inputs settled a second, over the last minute.")
        lines.append(f"{PREFIX}_inputs_per_second {self._per_second:.3f}")
        for name, what in _GAUGES.items():
            lines += _head(name, "gauge", what)
            lines.append(f"{PREFIX}_{name} {self._gauges.get(name, 0.0):.0f}")
        lines += _head("running", "gauge", "1 while the run is under way.")
        lines.append(f"{PREFIX}_running {self._running}")
        lines += _head("updated_seconds", "gauge", "When this file was written, Unix time.")
        lines.append(f"{PREFIX}_updated_seconds {time.time():.0f}")
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {PREFIX}_{name} {what}", f"# TYPE {PREFIX}_{name} {kind}"]
