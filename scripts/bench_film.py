"""A film of real people end to end, judged by a second detector, and its throughput beside the ``deface`` command.

    python scripts/bench_film.py FILM [--frames N] [--start N] [--rounds N] [--folder DIR] [--write]

The film (or N frames of it, encoded again) gets a sound track that is made up, and goes through ``understudy
anonymize`` with its defaults and through ``deface``, turn by turn, on the same cores. Then every frame of the source
and of the result is looked at with MTCNN, which is not the film's primary detector (but its residual one): how many
faces of the source are found again in the result at their place and nearer to the original than the guard's threshold
(dlib's network), and how far faces lie from each other within a track and between tracks. The sound's packets are
compared. ``UNDERSTUDY_BENCH_DEFACE`` names the ``deface`` command; left out, its throughput is not measured.
``--write`` puts the result into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, product
from pathlib import Path
from statistics import median

import av
import numpy as np
from numpy.typing import NDArray

from understudy.config.build import job_from_overrides
from understudy.types import Detections

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
SOUND_RATE = 48_000
Array = NDArray[np.uint8]


def excerpt(film: Path, target: Path, start: int, n: int | None) -> tuple[int, float]:
    """Frames of a film with a made-up sound; how many, and how many a second."""
    with av.open(str(film)) as source, av.open(str(target), "w") as output:
        given = source.streams.video[0]
        rate = given.average_rate or Fraction(25)
        video = output.add_stream("libx264", rate=rate, options={"crf": "14", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = given.width, given.height, "yuv420p"
        sound = output.add_stream("aac", rate=SOUND_RATE)
        count = 0
        for k, frame in enumerate(source.decode(video=0)):
            if k < start:
                continue
            if n is not None and count >= n:
                break
            picture = frame.reformat(format="yuv420p")
            picture.pts, picture.time_base = count, 1 / rate
            output.mux(video.encode(picture))
            count += 1
        output.mux(video.encode(None))
        moments = np.arange(int(count / rate * SOUND_RATE)) / SOUND_RATE
        wave = (0.3 * np.sin(2 * np.pi * (220 + 40 * np.sin(moments)) * moments)).astype(np.float32)
        for k in range(0, len(wave), 1024):
            piece = av.AudioFrame.from_ndarray(wave[None, k : k + 1024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = SOUND_RATE, k, Fraction(1, SOUND_RATE)
            output.mux(sound.encode(piece))
        output.mux(sound.encode(None))
    return count, float(rate)


def sound_digest(film: Path) -> str:
    """SHA-256 over the packets of the sound."""
    whole = hashlib.sha256()
    with av.open(str(film)) as source:
        for packet in source.demux(audio=0):
            whole.update(bytes(packet))
    return whole.hexdigest()


def frames(film: Path) -> Iterator[Array]:
    """Frames as RGB."""
    with av.open(str(film)) as source:
        for frame in source.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def timed(command: Sequence[str | Path]) -> tuple[float, float]:
    """Seconds by the clock and of CPU time that a command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass
class Findings:
    """What the second detector says."""

    n_source: int = 0
    """Its faces in the source,"""
    n_covered: int = 0
    """those whose middle lies in a region of the film's record,"""
    n_judged: int = 0
    """those that lie where it finds a face in the result, both fit to be compared,"""
    distances: list[float] = field(default_factory=list)
    """and how far apart the two are."""
    uncovered_frames: list[int] = field(default_factory=list)
    originals: list[int] = field(default_factory=list)
    """Frames with a face nearer to the original than the threshold."""
    tracks: dict[int, list[NDArray[np.float32]]] = field(default_factory=lambda: defaultdict(list))
    """Embeddings of the result's faces."""


def judge(source: Path, result: Path, record: Path) -> Findings:
    """Look at every frame of both."""
    pipeline = job_from_overrides(["residual=mtcnn", "detector=centerface"]).pipeline
    assert pipeline.guard is not None
    assert pipeline.residual is not None
    assert pipeline.guard.embedder is not None
    look, embedder, limit = pipeline.residual.detector, pipeline.guard.embedder, pipeline.guard.min_distance
    found = Findings()
    for k, (before, after, line) in enumerate(zip(frames(source), frames(result), record.open(), strict=True)):
        regions = json.loads(line)["regions"]
        old, new = look(before), look(after)
        for i in range(len(old)):
            if old.confidence[i] < 0.7:
                continue
            found.n_source += 1
            x, y = middle(old, i)
            covered = any(inside(x, y, region["xyxy"]) for region in regions)
            found.n_covered += covered
            if not covered:
                found.uncovered_frames.append(k)
            there = [j for j in range(len(new)) if inside(x, y, new.xyxy[j])]
            if there and judgeable(embedder, old, i) and judgeable(embedder, new, there[0]):
                one = embedder.embed(before, old.keypoints[i], old.visibility[i])
                two = embedder.embed(after, new.keypoints[there[0]], new.visibility[there[0]])
                distance = float(np.linalg.norm(one - two))
                found.n_judged += 1
                found.distances.append(distance)
                if distance < limit:
                    found.originals.append(k)
        for j in range(len(new)):
            x, y = middle(new, j)
            tracks = [r["track"] for r in regions if r["track"] is not None and inside(x, y, r["xyxy"])]
            if tracks and judgeable(embedder, new, j):
                found.tracks[tracks[0]].append(embedder.embed(after, new.keypoints[j], new.visibility[j]))
    return found


def middle(found: Detections, i: int) -> tuple[float, float]:
    """Of a face's box."""
    x0, y0, x1, y1 = (float(value) for value in found.xyxy[i])
    return (x0 + x1) / 2, (y0 + y1) / 2


def inside(x: float, y: float, xyxy: Sequence[float]) -> bool:
    """Whether a point lies in a box."""
    return bool(xyxy[0] <= x <= xyxy[2] and xyxy[1] <= y <= xyxy[3])


def judgeable(embedder: object, found: Detections, i: int) -> bool:
    """Whether a face can be compared."""
    return bool(embedder.can_judge(found.keypoints[i], found.visibility[i], found.xyxy[i]))  # type: ignore[attr-defined]


def spread(tracks: dict[int, list[NDArray[np.float32]]]) -> tuple[list[float], list[float]]:
    """Distances of faces within tracks, and between tracks; 30 faces of each track at most."""
    kept = {one: faces[:: max(1, len(faces) // 30)][:30] for one, faces in tracks.items() if len(faces) > 1}
    within = [float(np.linalg.norm(a - b)) for faces in kept.values() for a, b in combinations(faces, 2)]
    between = [
        float(np.linalg.norm(a - b)) for p, q in combinations(kept, 2) for a, b in product(kept[p][:10], kept[q][:10])
    ]
    return within, between


def measure(film: Path, folder: Path, start: int, n: int | None, rounds: int) -> str:
    """The section of the page."""
    clip, out = folder / "clip.mp4", folder / "out"
    count, rate = excerpt(film, clip, start, n)
    deface = os.environ.get("UNDERSTUDY_BENCH_DEFACE")
    ours, theirs = [], []
    for turn in range(rounds):
        output = out if turn == 0 else folder / f"out-{turn}"
        ours.append(timed([sys.executable, "-m", "understudy", "anonymize", f"input={clip}", f"output={output}"]))
        print(f"understudy: {ours[-1][0]:.0f} s, {ours[-1][1]:.0f} s CPU", flush=True)
        if deface:
            theirs.append(timed([deface, "--keep-audio", "--output", folder / f"deface-{turn}.mp4", clip]))
            print(f"deface: {theirs[-1][0]:.0f} s, {theirs[-1][1]:.0f} s CPU", flush=True)
    told = json.loads((out / "film.json").read_text())
    found = judge(clip, out / "images" / clip.name, out / "frames.jsonl")
    within, between = spread(found.tracks)
    same_sound = sound_digest(clip) == sound_digest(out / "images" / clip.name)
    rows = [
        (
            f"frames; tracks, of them filled for their whole length | {told['n_frames']}; {told['n_tracks']}, "
            f"{told['n_tracks_filled']} |"
        ),
        f"regions | {', '.join(f'{k} {name}' for name, k in told['outcomes'].items())} |",
        (
            f"faces that MTCNN finds in the source (confidence 0.7 and more), in a region | {found.n_covered} of "
            f"{found.n_source} |"
        ),
        (
            f"frames in which the original's face is found again (distance under the guard's threshold) | "
            f"{len(set(found.originals))} of {count} ({found.n_judged} pairs could be judged) |"
        ),
        f"distance to the original, median (least) | {shown(found.distances)} |",
        f"distance within a track; between tracks: median (least to most) | {reach(within)}; {reach(between)} |",
        f"sound: packets identical | {'yes' if same_sound else 'NO'} |",
        f"CPU seconds a frame (by the clock): understudy | {per_frame(ours, count)} |",
    ]
    if theirs:
        ratios = sorted(one[1] / two[1] for one, two in zip(ours, theirs, strict=True))
        rows.append(f"the same: deface | {per_frame(theirs, count)} |")
        rows.append(
            f"CPU time over deface's, median (least to most) of {rounds} | {median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f}) |"
        )
    load = os.getloadavg()[0]
    intro = (
        f"Made by `python scripts/bench_film.py`: {count} frames of a clip of real people, {rate:.0f} a second, "
        f"encoded again with a made-up sound; defaults throughout. {os.cpu_count()} cores, load average {load:.0f} at "
        "the end."
    )
    return "\n".join([intro, "", "| what | measured |", "|---|---|", *(f"| {row}" for row in rows)])


def shown(values: Sequence[float]) -> str:
    """Median and least."""
    return f"{median(values):.2f} ({min(values):.2f})" if values else "none could be judged"


def reach(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "none"


def per_frame(times: Sequence[tuple[float, float]], n: int) -> str:
    """CPU time, and time by the clock."""
    return f"{median(t[1] for t in times) / n:.3f} ({median(t[0] for t in times) / n:.3f})"


def write(text: str) -> None:
    """Put the section between its marks."""
    begin, end = "<!-- film:begin -->", "<!-- film:end -->"
    page = PAGE.read_text(encoding="utf-8")
    if begin not in page:
        page = f"{page.rstrip()}\n\n## A film of real people\n\n{begin}\n{end}\n"
    before, _, rest = page.partition(begin)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keeps what is made")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="understudy-film-") as name:
        folder = given.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        text = measure(given.film, folder, given.start, given.frames, given.rounds)
    print(text)
    if given.write:
        write(text)


if __name__ == "__main__":
    main()
