"""The stand-in job on a Ray cluster, with pictures that kill their worker on order.

Run as a program: ``python tests/faults/tiny_ray.py INPUT OUTPUT``; it prints the process ids of its workers' files.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.faults.tiny_job import FINGERPRINT, TinyJob

from understudy.batch.carry import Errand
from understudy.batch.inputs import open_inputs
from understudy.batch.ray_cluster import connected
from understudy.batch.ray_settings import RaySettings
from understudy.types import Detections, SourceImage

SETTINGS = RaySettings(max_actors=1, max_tasks=1, block=4, window=64, object_store_mb=80)


@dataclass
class Deadly(TinyJob):
    """A picture called ``kill-...`` kills whoever looks at it; ``die-once-...`` only the first time."""

    folder: str = ""

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        for source in sources:
            name = source.image_id.rpartition("/")[2]
            mark = Path(self.folder, f".seen-{name}")
            if name.startswith("kill-") or (name.startswith("die-once-") and not mark.exists()):
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().detect(sources)


def main() -> int:
    """Run on a folder, slowly enough to be killed on the way."""
    source, output = sys.argv[1:3]
    with connected(SETTINGS):
        from understudy.batch.ray_run import run_ray
        from understudy.batch.ray_stages import Workers

        job = partial(TinyJob, pause_s=float(os.environ.get("TINY_PAUSE_S", "0.01")))
        summary = run_ray(Workers(TinyJob, job), Errand(open_inputs(source), output, FINGERPRINT), SETTINGS)
    sys.stdout.write(f"{summary.n_inputs} {summary.n_resumed}\n")
    return summary.exit_code


if __name__ == "__main__":
    sys.exit(main())
