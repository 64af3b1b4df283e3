"""Anonymise a film of drawn faces slowly enough to be killed: ``python tiny_film.py FILM OUTPUT PAUSE_S``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.unit.video_films import MagentaDetector, job, pipeline


class SlowDetector(MagentaDetector):
    """Counts its calls on standard output."""

    def __init__(self, pause_s: float) -> None:
        super().__init__()
        self.pause_s = pause_s

    def __call__(self, view):  # type: ignore[no-untyped-def]
        time.sleep(self.pause_s)
        return super().__call__(view)


def main() -> int:
    """Run, and say how many frames were looked at and replaced in this run."""
    film, output, pause_s = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    detector = SlowDetector(pause_s)
    replaced = [0]

    def report(stage: str, frame: int) -> None:
        if stage == "replacing":
            time.sleep(pause_s)
            replaced[0] += 1

    work = job(pipeline(detector=detector))
    work.report = report
    result = work(film, output)
    sys.stdout.write(f"{detector.calls} {replaced[0]} {result.status}\n")
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
