"""Figures of films: recall by ground truth, flicker against a seed for each frame, memory at two lengths.

    python scripts/film_figures.py flicker --output FOLDER [--n 40]
    python scripts/film_figures.py memory --output FOLDER --n 500

``flicker`` pans and zooms over a portrait of the package and runs the embedded generator twice: with tracks, and with
each frame as a picture of its own (its own seeds, nothing smoothed). Flicker is the mean absolute difference of
luminance between consecutive frames in the face, each brought back by the movement of the scene that the script made,
and so free of the detector's. ``memory`` writes a film of N frames with a face in 5 % of them and prints the peak of
one run over it with the fill generator; run it for two lengths.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.config.build import job_from_overrides
from understudy.types import Detections
from understudy.video.film import FilmJob
from understudy.video.settings import VideoSettings

PORTRAIT = Path(__file__).resolve().parent.parent / "src" / "understudy" / "portraits" / "astronaut.png"
FACE = np.array([180.0, 60.0, 268.0, 180.0])
"""Box of the face in the portrait, px, drawn by hand."""


def movement(k: int) -> NDArray[np.float64]:
    """From the portrait to frame k, (2, 3)."""
    zoom = 0.55 + 0.15 * np.sin(k / 25)
    return np.array([[zoom, 0, -20 * np.sin(k / 17)], [0, zoom, -8.0 + 6 * np.sin(k / 9)]])


def write(path: Path, pictures: list[NDArray[np.uint8]] | None, n: int, size: tuple[int, int], rate: int) -> None:
    """A film of pictures, or of the memory test's drawing."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "veryfast"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        for k in range(n):
            frame = av.VideoFrame.from_ndarray(drawing(k, size) if pictures is None else pictures[k], format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, rate)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))


def drawing(k: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A gradient that drifts; in 1 of 20 stretches of 20 frames, a magenta ellipse."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8) + ((np.arange(size[0]) + k) % 200)[None, :, None].astype(
        np.uint8
    )
    if (k // 20) % 20 == 10:
        cv2.ellipse(pixels, (100 + k % 20, 90), (20, 26), 0, 0, 360, (255, 0, 255), -1)
    return pixels


class Magenta:
    """Finds the drawn ellipse."""

    name, families = "magenta", frozenset({"magenta"})

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        values = view.astype(np.int16)
        ys, xs = np.nonzero((values[..., 0] - values[..., 1] > 90) & (values[..., 2] - values[..., 1] > 90))
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]) if len(xs) else np.zeros((0, 4))
        return Detections.faces(box.astype(np.float32), np.full(len(box), 0.9))


def run(film: Path, output: Path, pipeline: object, settings: VideoSettings) -> dict[str, object]:
    """One film; its record."""
    shutil.rmtree(output, ignore_errors=True)
    job = FilmJob(pipeline, settings, max_pixels=10**7, mark=True, fingerprint={})  # type: ignore[arg-type]
    return vars(job(film, output))


def read(path: Path) -> list[NDArray[np.uint8]]:
    """Frames as RGB."""
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def flicker(pictures: list[NDArray[np.uint8]]) -> tuple[float, float]:
    """Mean and 95th percentile over pairs of frames of the mean absolute difference in the face, grey levels."""
    x0, y0, x1, y1 = FACE.astype(int)
    still = []
    for k, picture in enumerate(pictures):
        back = cv2.invertAffineTransform(movement(k)) - np.array([[0, 0, x0], [0, 0, y0]])
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        still.append(cv2.warpAffine(grey, back, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR).astype(float))
    steps = [np.abs(a - b).mean() for a, b in pairwise(still)]
    return float(np.mean(steps)), float(np.percentile(steps, 95))


def figures_of_flicker(folder: Path, n: int) -> None:
    """Print original, tracked and frame by frame, and the recall by ground truth."""
    portrait = cv2.cvtColor(cv2.imread(str(PORTRAIT)), cv2.COLOR_BGR2RGB)
    size = (240, 176)
    pictures = [cv2.warpAffine(portrait, movement(k), size, flags=cv2.INTER_AREA) for k in range(n)]
    film = folder / "pan.mp4"
    write(film, pictures, n, size, 25)
    job = job_from_overrides(["detector=centerface"])
    record = run(film, folder / "tracked", job.pipeline, VideoSettings())
    lines = [json.loads(line) for line in (folder / "tracked" / "frames.jsonl").read_text().splitlines()]
    covered = 0
    for line in lines:
        x, y = movement(line["frame"]) @ [*(FACE[:2] + FACE[2:]) / 2, 1]
        covered += any(r["xyxy"][0] < x < r["xyxy"][2] and r["xyxy"][1] < y < r["xyxy"][3] for r in line["regions"])
    originals = read(film)
    single = []
    for k, picture in enumerate(originals):
        source = job.decode(cv2.imencode(".png", picture[..., ::-1])[1].tobytes(), f"{k}.png")
        (result,) = job.replace([source], job.detect([source]))
        single.append(result.native)  # type: ignore[union-attr]
    print(json.dumps({key: record[key] for key in ("status", "n_frames", "n_tracks", "n_tracks_filled", "outcomes")}))
    print(f"frames whose face is in a region: {covered} of {len(lines)}")
    for name, shown in (
        ("original", originals),
        ("tracked", read(folder / "tracked" / "images" / "pan.mp4")),
        ("frame by frame", single),
    ):
        mean, high = flicker(shown)
        print(f"flicker, {name}: mean {mean:.2f}, 95th percentile {high:.2f} grey levels (n = {len(shown) - 1} pairs)")


def figures_of_memory(folder: Path, n: int) -> None:
    """Print the peak of one run over N frames of 320 x 180."""
    film = folder / f"long-{n}.mp4"
    if not film.exists():
        write(film, None, n, (320, 180), 10)
        print(f"written: {film}; start again to measure")
        return
    pipeline = job_from_overrides(["detector=centerface", "residual=none", "guard=none", "generator=fill"]).pipeline
    pipeline.detector = Magenta()
    began = time.perf_counter()
    record = run(film, folder / f"out-{n}", pipeline, VideoSettings(look_twice=False))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{n} frames: {record['status']}, {record['n_tracks']} tracks, {record['outcomes']}, "
          f"peak {peak:.0f} MB, {time.perf_counter() - began:.0f} s")  # fmt: skip


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("flicker", "memory"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--n", type=int, default=40)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    (figures_of_flicker if given.what == "flicker" else figures_of_memory)(given.output, given.n)


if __name__ == "__main__":
    main()
