"""What the server counts, and its text for Prometheus."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

from understudy import __version__

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OUTCOMES = ("replaced", "filled", "obscured")

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters since the start; safe to use from several threads. No label holds anything that a client chose."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._pictures: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._buckets = [0] * (len(BUCKETS_S) + 1)
        self._seconds = 0.0
        self._n_bytes = 0

    def count_request(self, path: str, status: int) -> None:
        """One answered request; ``path`` is one of the server's own."""
        with self._lock:
            self._requests[path, str(status)] += 1

    def count_picture(self, kind: str, seconds: float, n_bytes: int, outcomes: Mapping[str, int]) -> None:
        """One picture that was worked on: "anonymised", or the kind of its refusal."""
        with self._lock:
            self._pictures[kind] += 1
            self._outcomes.update(outcomes)
            self._buckets[bisect_left(BUCKETS_S, seconds)] += 1
            self._seconds += seconds
            self._n_bytes += n_bytes

    @property
    def mean_seconds(self) -> float:
        """Of the pictures so far; 1 before the first."""
        with self._lock:
            n = sum(self._buckets)
            return self._seconds / n if n else 1.0

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """Everything in the text format of Prometheus, version 0.0.4.

        Parameters
        ----------
        gauges : mapping
            Meaning and value of what is not counted but is, by name without the prefix.
        """
        with self._lock:
            requests: dict[Labels, float] = {
                (("path", p), ("status", s)): float(n) for (p, s), n in sorted(self._requests.items())
            }
            pictures: dict[Labels, float] = {(("result", k),): float(n) for k, n in sorted(self._pictures.items())}
            outcomes: dict[Labels, float] = {(("outcome", k),): float(n) for k, n in sorted(self._outcomes.items())}
            buckets, seconds, n_bytes = list(self._buckets), self._seconds, self._n_bytes
        lines = [
            *_family("build_info", "gauge", "What runs.", {(("version", __version__),): 1.0}),
            *_family("requests_total", "counter", "Requests, by path and status.", requests),
            *_family("pictures_total", "counter", "Pictures that were worked on, by result.", pictures),
            *_family("regions_total", "counter", "Regions of returned pictures, by outcome.", outcomes),
            *_family("picture_bytes_total", "counter", "Bytes of pictures that were worked on.", {(): float(n_bytes)}),
            *_histogram("picture_seconds", "Time of the work on one picture, without waiting.", buckets, seconds),
        ]
        for name, (meaning, value) in gauges.items():
            lines += _family(name, "gauge", meaning, {(): value})
        return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in labels)
    return f"understudy_{name}{{{inside}}} {_number(value)}" if inside else f"understudy_{name} {_number(value)}"


def _family(name: str, kind: str, meaning: str, samples: Mapping[Labels, float]) -> list[str]:
    head = [f"# HELP understudy_{name} {meaning}", f"# TYPE understudy_{name} {kind}"]
    return head + [_sample(name, labels, value) for labels, value in samples.items()]


def _histogram(name: str, meaning: str, counts: list[int], seconds: float) -> list[str]:
    lines = [f"# HELP understudy_{name} {meaning}", f"# TYPE understudy_{name} histogram"]
    n = 0
    for bound, count in zip((*map(_number, BUCKETS_S), "+Inf"), counts, strict=True):
        n += count
        lines.append(_sample(f"{name}_bucket", (("le", bound),), n))
    return [*lines, _sample(f"{name}_sum", (), round(seconds, 6)), _sample(f"{name}_count", (), n)]
