"""The Ray part of ``bench_collections.py``: memory of all processes, the full generator, and two actors over one."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from understudy.batch.carry import Errand
from understudy.batch.inputs import open_inputs
from understudy.batch.progress import Event
from understudy.batch.ray_settings import RaySettings
from understudy.batch.summary import RunSummary
from understudy.config.build import choose_residual, job_from_overrides
from understudy.config.compose import compose_config
from understudy.config.job import AnonymizeJob, PictureCodec
from understudy.config.locations import portraits
from understudy.config.read import read_anonymize
from understudy.config.runners import open_runner
from understudy.types import Detections, SourceImage

PLAIN = ("detector=centerface", "residual=none", "guard=none", "generator=fill")
FACES = ((180, 60, 268, 180), (140, 50, 360, 330))
"""Places of the faces in the portraits (astronaut, grace_hopper), px, by hand; only the crops depend on them."""
TIMED_PX = 256


def stand_in_job() -> AnonymizeJob:
    """The main job with a detector that finds one face in every marked picture."""
    cv2.setNumThreads(1)
    job = job_from_overrides(PLAIN)
    job.detect = find  # type: ignore[method-assign]
    return job


def find(sources: Sequence[SourceImage]) -> list[Detections]:
    """A face in the middle of every picture whose corner is white."""
    found = []
    for one in sources:
        marked = int(one.view[4, 4].min()) > 200
        boxes = np.array([[40.0, 40, 88, 96]]) if marked else np.empty((0, 4))
        found.append(Detections.faces(boxes, np.full(len(boxes), 0.9)))
    return found


def codec() -> PictureCodec:
    """Decodes and encodes in the workers."""
    cv2.setNumThreads(1)
    return PictureCodec()


def run_plain(source: str, output: str, n_actors: int) -> RunSummary:
    """The stand-in job through Ray, in this process."""
    from understudy.batch.ray_cluster import connected

    settings = RaySettings(min_actors=n_actors, max_actors=n_actors, object_store_mb=256)
    with connected(settings):
        from understudy.batch.ray_run import run_ray
        from understudy.batch.ray_stages import Workers

        return run_ray(Workers(codec, stand_in_job), Errand(open_inputs(source), output, {"bench": 1}), settings)


def run_full(source: str, output: str, runner: Sequence[str], times: list[float] | None = None) -> RunSummary:
    """All parts of the main job with their defaults."""
    given = [f"input={source}", f"output={output}", *runner]
    settings = read_anonymize(compose_config("anonymize", choose_residual(given)))

    def report(event: Event) -> None:
        if times is not None:
            times.extend([time.monotonic()] * event.n)

    with open_runner(settings) as opened:
        facts = opened.facts
        return opened.run(Errand(open_inputs(source), output, facts.fingerprint, report, record=facts.record))


def digests(output: Path) -> str:
    """One digest over names and bytes of everything that was written."""
    whole = hashlib.sha256()
    for path in sorted((output / "images").rglob("*")):
        if path.is_file():
            whole.update(path.relative_to(output).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def make_full(folder: Path, n: int, side: int, every: int) -> None:
    """Pictures of which one in ``every`` shows a face of the package's portraits, moved and zoomed a little."""
    random = np.random.default_rng(1)
    shown = [cv2.imread(str(path)) for path in sorted(portraits(), key=lambda path: path.name)]
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(n):
        ground = random.integers(60, 180, (6, 6, 3), dtype=np.uint8)
        picture = cv2.resize(ground, (side, side), interpolation=cv2.INTER_CUBIC)
        if k % every == 0:
            which = (k // every) % 2
            x0, y0, x1, y1 = FACES[which]
            scale = side * random.uniform(0.4, 0.5) / (y1 - y0)
            shift = side / 2 - scale * np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + random.uniform(-8, 8, 2)
            move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
            picture = cv2.warpAffine(
                shown[which], move, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
            )
        (folder / f"{k:04d}.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())


def speed_up(source: str, folder: Path, rounds: int) -> list[tuple[float, float]]:
    """Pictures a second with one actor and with two, turn by turn on one cluster; the first quarter is not counted."""
    from understudy.batch.ray_cluster import connected

    rates: list[tuple[float, float]] = []
    with connected(RaySettings(min_actors=2, max_actors=2, max_tasks=1)):
        for turn in range(rounds):
            pair = []
            for n_actors in (1, 2) if turn % 2 == 0 else (2, 1):
                times: list[float] = []
                pool = [f"runner.min_actors={n_actors}", f"runner.max_actors={n_actors}"]
                runner = ["runner=ray", *pool, "runner.max_tasks=1"]
                summary = run_full(source, str(folder / f"speed-{turn}-{n_actors}"), runner, times)
                assert summary.outcomes["replaced"] > 0, summary
                quarter = len(times) // 4
                pair.append((n_actors, (len(times) - quarter) / (times[-1] - times[quarter - 1])))
            rates.append((dict(pair)[1], dict(pair)[2]))
            print(f"one actor {rates[-1][0]:.2f}, two {rates[-1][1]:.2f} pictures a second", flush=True)
    return rates


class Peak:
    """The most memory that a process and all below it have held together, MB: proportional set size, sampled."""

    def __init__(self, pid: int) -> None:
        self.mb = 0.0
        self._pid, self._ended = pid, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            self.mb = max(self.mb, sum(map(_pss_mb, _family(self._pid))))

    def end(self) -> float:
        """Stop, and tell."""
        self._ended.set()
        self._thread.join()
        return self.mb


def _family(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def main() -> None:
    """One measurement in this process, told as JSON: PLAIN | FULL | SPEED, source, output, argument."""
    what, source, output, argument = sys.argv[1:5]
    if what == "plain":
        summary = run_plain(source, output, int(argument))
    elif what == "full":
        summary = run_full(source, output, json.loads(argument))
    else:
        print(json.dumps(speed_up(source, Path(output), int(argument))))
        return
    told = {"n": summary.n_inputs, "seconds": summary.elapsed_s, "n_resumed": summary.n_resumed}
    print(json.dumps({**told, **{str(kind): n for kind, n in summary.outcomes.items()}, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
