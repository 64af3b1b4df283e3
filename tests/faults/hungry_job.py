"""The main job with a generator that really runs out of memory: with bright pictures it asks for more than there is.

``python tests/faults/hungry_job.py INPUT OUTPUT local|ray`` anonymises a folder; the address space of whoever generates
is limited (RLIMIT_AS) to 768 MB more than it has. Prints what became of each input as JSON lines.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from understudy.batch.carry import Errand, carry_out
from understudy.batch.inputs import open_inputs
from understudy.batch.progress import Event
from understudy.batch.ray_settings import RaySettings
from understudy.batch.settings import RunSettings
from understudy.batch.threads import ThreadRun
from understudy.config.build import job_from_overrides
from understudy.config.job import AnonymizeJob, PictureCodec
from understudy.generate.base import Generator
from understudy.types import Condition, Detections, Generated, OutcomeKind, SourceImage

PLAIN = ("detector=centerface", "residual=none", "guard=none", "generator=fill", "attributes=nothing")
MORE_BYTES = 768 << 20
HUGE_BYTES = 6 << 30
BRIGHT = 225


@dataclass
class Hungry:
    """A generator that needs 6 GiB for a condition whose surroundings are bright."""

    inner: Generator
    name: str = "hungry"
    crop_size: int = 32
    batch_size: int = 8
    min_face_px: float = 1.0
    outcome: OutcomeKind = OutcomeKind.FILLED

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        """As the inner one, if memory suffices."""
        for condition in conditions:
            if condition.context[~condition.replace_mask].mean() > BRIGHT:
                np.ones(HUGE_BYTES, np.uint8)
        return self.inner(conditions, seeds)

    def digests(self) -> Mapping[str, str]:
        """None."""
        return {}


def find(sources: Sequence[SourceImage]) -> list[Detections]:
    """One face in the middle of each."""
    return [Detections.faces(np.array([[40.0, 40, 88, 96]]), np.array([0.9])) for _ in sources]


def hungry_job() -> AnonymizeJob:
    """The job; from now on this process may have no more than it has, and a little."""
    cv2.setNumThreads(1)
    job = job_from_overrides(PLAIN)
    assert isinstance(job.pipeline.generator, Generator)
    job.pipeline.generator = Hungry(job.pipeline.generator)
    job.detect = find  # type: ignore[method-assign]
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    now = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MORE_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    return job


def save(folder: Path, n: int, bright: Sequence[int] = ()) -> None:
    """Pictures of 128 px, some of them bright."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for k in range(n):
        pixels = random.integers(40, 160, (128, 128, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{k:02d}.png"), np.full_like(pixels, 250) if k in bright else pixels)


def main() -> int:
    """Run it."""
    source, output, runner = sys.argv[1:4]

    def report(event: Event) -> None:
        told = {"image_id": event.image_id, "status": str(event.status), "error": event.error}
        sys.stdout.write(json.dumps(told) + "\n")

    errand = Errand(open_inputs(source), output, {"hungry": 1}, report)
    if runner == "local":
        settings = RunSettings(n_workers=1, micro_batch=8)
        return carry_out(partial(ThreadRun, hungry_job()), errand, settings).exit_code
    from understudy.batch.ray_cluster import connected

    chosen = RaySettings(max_actors=1, max_tasks=1, block=8, object_store_mb=80)
    with connected(chosen):
        from understudy.batch.ray_run import run_ray
        from understudy.batch.ray_stages import Workers

        return run_ray(Workers(PictureCodec, hungry_job), errand, chosen).exit_code


if __name__ == "__main__":
    sys.exit(main())
