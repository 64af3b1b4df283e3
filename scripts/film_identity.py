"""Is a track one understudy, and another track another one? Embeddings within and between tracks of a made film.

    python scripts/film_identity.py PICTURES --output FOLDER [--n 12] [--frames 20]

Each of N pictures (one face each, a person a picture) is panned and zoomed over for some frames, one scene after the
other with a cut between, and the film goes through the main job with its defaults. Then MTCNN looks at every frame of
both films: distances of dlib's embeddings within a scene, between scenes, and to the original of the same frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from film_figures import read, run, write
from generator_faces import MIN_CONFIDENCE, face_at, part
from numpy.typing import NDArray

from understudy.config.build import job_from_overrides
from understudy.embed.dlib_onnx import DlibOnnxEmbedder
from understudy.video.settings import VideoSettings

SIZE = (320, 320)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def scene(picture: NDArray[np.uint8], n: int) -> list[NDArray[np.uint8]]:
    """Frames that pan and zoom over a picture."""
    scale = max(SIZE[0] / picture.shape[1], SIZE[1] / picture.shape[0])
    frames = []
    for k in range(n):
        zoom = scale * (1.05 + 0.05 * np.sin(k / 6))
        shift = np.array(SIZE) / 2 - zoom * np.array(picture.shape[1::-1]) / 2 + [6 * np.sin(k / 5), 5 * np.cos(k / 7)]
        move = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
        frames.append(cv2.warpAffine(picture, move, SIZE, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE))
    return frames


def embeddings(frames: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """dlib's embedding of the face in each frame, (N, 128); not a number where MTCNN finds none."""
    detector, embedder = part("detector", "mtcnn"), DlibOnnxEmbedder()
    rows = []
    for frame in frames:
        found = face_at(detector, frame, None, MIN_CONFIDENCE)
        rows.append(np.full(128, np.nan) if found is None else embedder.embed(frame, found[1], np.ones(5)))
    return np.array(rows)


def said(values: NDArray[np.float64]) -> str:
    """Median, 5th and 95th percentile."""
    low, middle, high = np.nanpercentile(values, [5, 50, 95])
    return f"{middle:.2f} ({low:.2f} to {high:.2f}), n = {int(np.isfinite(values).sum())} pairs"


def main() -> None:
    """Make the film, anonymise it, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--n", type=int, default=12)
    parser.add_argument("--frames", type=int, default=20, help="of each scene")
    args = parser.parse_args()
    paths = sorted(path for path in args.pictures.iterdir() if path.suffix.lower() in SUFFIXES)
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, args.n).round().astype(int)]
    shown = [f for path in chosen for f in scene(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), args.frames)]
    args.output.mkdir(parents=True, exist_ok=True)
    film = args.output / "scenes.mp4"
    write(film, shown, len(shown), SIZE, 10)
    record = run(film, args.output / "result", job_from_overrides([]).pipeline, VideoSettings())
    before, after = embeddings(read(film)), embeddings(read(args.output / "result" / "images" / "scenes.mp4"))
    number = np.repeat(np.arange(args.n), args.frames)
    pairs = np.triu_indices(len(number), 1)
    same = (number[:, None] == number[None])[pairs]
    print(f"{args.n} scenes of {args.frames} frames; tracks {record['n_tracks']}, filled {record['n_tracks_filled']}")
    for name, rows in (("original", before), ("result", after)):
        apart = np.linalg.norm(rows[:, None] - rows[None], axis=-1)[pairs]
        print(f"{name}: within a scene {said(apart[same])}; between scenes {said(apart[~same])}")
    own = np.linalg.norm(after - before, axis=-1)
    print(f"to the original of the same frame: {said(own)}; under 0.6: {int((own < 0.6).sum())}")


if __name__ == "__main__":
    main()
