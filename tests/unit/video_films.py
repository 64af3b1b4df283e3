"""Small films with known content, written for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender
from understudy.generate.fill import FillGenerator
from understudy.pipeline import Pipeline, PipelineSettings
from understudy.types import Detections
from understudy.video.film import FilmJob
from understudy.video.settings import VideoSettings

FACE = (255, 0, 255)
"""Colour of a drawn face: nothing else is magenta."""
BASE = Fraction(1, 12800)


def scene(box: Sequence[float] | None, height: int = 64, width: int = 96, *, shade: int = 60) -> NDArray[np.uint8]:
    """A grey gradient, with a magenta ellipse where a face is."""
    pixels = np.repeat(np.linspace(shade, shade + 60, width)[None, :, None], height, 0).repeat(3, 2).astype(np.uint8)
    if box is not None:
        x0, y0, x1, y1 = box
        ys, xs = np.mgrid[0:height, 0:width] + 0.5
        inside = ((xs - (x0 + x1) / 2) * 2 / (x1 - x0)) ** 2 + ((ys - (y0 + y1) / 2) * 2 / (y1 - y0)) ** 2 <= 1
        pixels[inside] = FACE
    return pixels


def write_film(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
    *,
    pts: Sequence[int] | None = None,
    rotation: int = 0,
    sound: bool = False,
    text: bool = False,
    codec: str = "libx264",
) -> Path:
    """A film of these coded frames, 25 a second unless ``pts`` (in 1/12800 s) says otherwise."""
    with av.open(str(path), "w") as output:
        output.metadata["location"] = "+48.85+002.35/"
        output.metadata["title"] = "private title"
        video = output.add_stream(
            codec, rate=25, options={"crf": "4"} if codec == "libx264" else {"crf": "10", "b": "0"}
        )
        video.height, video.width, video.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        video.time_base = video.codec_context.time_base = BASE
        if rotation:
            video.set_display_rotation(rotation)
        audio = output.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000) if sound else None
        if audio is not None:
            audio.metadata["language"] = "fra"
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (pts[k] if pts else 512 * k), BASE
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            _add_sound(output, audio, len(pictures) / 25)
    return path


def _add_sound(output: av.container.OutputContainer, audio: av.AudioStream, seconds: float) -> None:
    n = int(48000 * seconds) // 960
    for k in range(n):
        wave = np.sin(2 * np.pi * 440 * (np.arange(960) + 960 * k) / 48000).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 960 * k, Fraction(1, 48000)
        output.mux(audio.encode(frame))
    output.mux(audio.encode(None))


def read_film(path: Path) -> tuple[list[NDArray[np.uint8]], list[int], Fraction]:
    """Coded frames, their times and the time base."""
    with av.open(str(path)) as film:
        video = film.streams.video[0]
        frames = list(film.decode(video))
        return [f.to_ndarray(format="rgb24") for f in frames], [int(f.pts) for f in frames], Fraction(video.time_base)


def packets(path: Path, kind: str) -> list[bytes]:
    """Every packet of the first stream of a kind."""
    with av.open(str(path)) as film:
        stream = getattr(film.streams, kind)[0]
        return [bytes(packet) for packet in film.demux(stream) if packet.size]


def is_face(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a frame is (nearly) magenta."""
    values = pixels.astype(int)
    return (values[..., 0] - values[..., 1] > 70) & (values[..., 2] - values[..., 1] > 70)


class MagentaDetector:
    """Finds the box around what is magenta; blind in the calls that it is told."""

    name = "magenta"
    families = frozenset({"magenta"})

    def __init__(self, blind: Sequence[int] = ()) -> None:
        self.blind = frozenset(blind)
        self.calls = 0

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        self.calls += 1
        found = is_face(view)
        if self.calls - 1 in self.blind or not found.any():
            return Detections.faces(np.zeros((0, 4)), np.zeros(0))
        ys, xs = np.nonzero(found)
        box = [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]
        return Detections.faces(np.array(box, np.float32), np.array([0.9]))


def pipeline(**parts: object) -> Pipeline:
    """A pipeline of the fastest parts."""
    given: dict[str, object] = {
        "detector": MagentaDetector(),
        "generator": FillGenerator(),
        "guard": None,
        "blender": MembraneBlender(),
        "residual": None,
        "policy": AttributePolicy(keep=[]),
        "settings": PipelineSettings(),
    }
    return Pipeline(**(given | parts))  # type: ignore[arg-type]


def job(made: Pipeline | None = None, *, mark: bool = True, **settings: object) -> FilmJob:
    """A film job with small segments."""
    chosen = VideoSettings(**({"segment_frames": 8, "n_threads": 1} | settings))  # type: ignore[arg-type]
    return FilmJob(made or pipeline(), chosen, max_pixels=10**6, mark=mark, fingerprint={"config": "a"})
