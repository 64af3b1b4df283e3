"""A film as a stream of upright frames; what is broken in it is an error, never a guess."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import MissingExtraError, RefusedImageError, UnreadableImageError

try:
    import av
    from av.error import FFmpegError
except ImportError as error:  # pragma: no cover - the extra is installed where tests run
    raise MissingExtraError("films need PyAV: install understudy[video]") from error

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""Kinds of file that are written again as themselves, and FFmpeg's name of each."""


@dataclass(frozen=True)
class Film:
    """What is known of a film before its first frame."""

    path: Path
    container: str
    """FFmpeg's name of the container that is written."""
    digest: bytes
    """SHA-256 of the file, 32 bytes."""
    width: int
    height: int
    """Size as coded, px: before the rotation."""
    rotation: int
    """Degrees counterclockwise by which a player turns the coded frames: 0, 90, 180 or 270."""
    time_base: Fraction
    rate: Fraction
    """Mean frames a second."""
    aspect: Fraction
    """Width over height of a pixel; 1 where the file does not say."""
    notes: tuple[str, ...]
    """What is not carried over."""


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    index: int
    pts: int
    duration: int
    decoded: av.VideoFrame

    def pixels(self, rotation: int) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright."""
        coded = self.decoded.to_ndarray(format="rgb24")
        return np.ascontiguousarray(np.rot90(coded, rotation // 90))


def open_film(path: Path, *, max_pixels: int) -> Film:
    """Read what is known of a film before its first frame.

    Raises
    ------
    RefusedImageError
        A container that is not written, frames that are too large or turned by no quarter, no picture in it.
    UnreadableImageError
        The file is broken.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        raise RefusedImageError(
            f"{path.name}: {path.suffix or 'a bare name'} is not written again, only "
            f"{', '.join(sorted(CONTAINERS))}: convert the film first"
        )
    with _opened(path) as source:
        video = _picture_stream(source, path)
        width, height = video.codec_context.width, video.codec_context.height
        if width * height > max_pixels:
            raise RefusedImageError(f"{path.name}: frames of {width} x {height} are over max_pixels={max_pixels}")
        if video.time_base is None or width < 2 or height < 2:
            raise UnreadableImageError(f"{path.name}: its video stream says neither size nor time base")
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        notes = _left_out(source, video)
        rotation = _rotation(source, video, path)
        aspect = video.sample_aspect_ratio or Fraction(1)
        time_base = video.time_base
    return Film(path, container, _digest(path), width, height, rotation, time_base, rate, aspect, notes)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(str(path), metadata_errors="ignore") as source:
            yield source
    except FFmpegError as error:
        raise UnreadableImageError(f"{path.name}: the film cannot be read: {plain(error)}") from error


def plain(error: Exception) -> str:
    """FFmpeg's or the system's message, without number, path and log."""
    return (getattr(error, "strerror", None) or str(error).split("; last error log")[0]).lower()


def _picture_stream(source: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The first stream that moves: cover pictures are none."""
    for stream in source.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise RefusedImageError(f"{path.name}: there is no video stream in it")


def _left_out(source: av.container.InputContainer, video: av.VideoStream) -> tuple[str, ...]:
    notes = []
    for stream in source.streams:
        if stream.index == video.index or stream.type in {"audio", "subtitle"}:
            continue
        what = "another video stream or cover picture" if stream.type == "video" else f"a {stream.type} stream"
        notes.append(f"{what} was left out: nobody looked at it")
    if any(component.bits > 8 for component in video.format.components):
        notes.append(f"{video.format.name} was written with 8 bits")
    return tuple(dict.fromkeys(notes))


def _rotation(source: av.container.InputContainer, video: av.VideoStream, path: Path) -> int:
    for frame in source.decode(video):
        if frame.rotation % 90:
            raise RefusedImageError(f"{path.name}: it is turned by {frame.rotation} degrees, which is no quarter turn")
        return int(frame.rotation) % 360
    raise UnreadableImageError(f"{path.name}: no frame can be decoded")


def frames(film: Film, *, n_threads: int) -> Iterator[Frame]:
    """Every frame in order of presentation.

    Raises
    ------
    UnreadableImageError
        At the first frame that is broken, out of order or of another size, and at an end that comes too early.
    """
    name, before = film.path.name, None
    with _opened(film.path) as source:
        video = _picture_stream(source, film.path)
        video.codec_context.thread_count = n_threads
        video.codec_context.thread_type = "AUTO"
        video.codec_context.options = {"err_detect": "explode"}
        n_packets = index = 0
        for packet in source.demux(video):
            if packet.is_corrupt:
                raise UnreadableImageError(
                    f"{name}: packet {n_packets} is broken; repair the film, or cut that part out"
                )
            n_packets += packet.size > 0
            for decoded in packet.decode():
                frame = _checked(film, decoded, index, before)
                yield frame
                before, index = frame, index + 1
        if video.frames and n_packets < video.frames:
            raise UnreadableImageError(
                f"{name}: it ends after {n_packets} of {video.frames} frames: the file is cut off; copy it again"
            )
        if not index:
            raise UnreadableImageError(f"{name}: no frame can be decoded")


def _checked(film: Film, decoded: av.VideoFrame, index: int, before: Frame | None) -> Frame:
    where = f"{film.path.name}: frame {index}"
    if decoded.is_corrupt:
        raise UnreadableImageError(f"{where} is broken; repair the film, or cut that part out")
    if (decoded.width, decoded.height) != (film.width, film.height):
        raise RefusedImageError(
            f"{where} has {decoded.width} x {decoded.height} px, those before {film.width} x {film.height}: "
            "films that change their size are not handled"
        )
    pts = decoded.pts
    if pts is None:
        pts = 0 if before is None else before.pts + max(before.duration, 1)
    if before is not None and pts <= before.pts:
        raise UnreadableImageError(f"{where}: its time {pts} is not after {before.pts}, that of the frame before")
    usual = max(1, round(1 / (film.rate * film.time_base)))
    return Frame(index, pts, decoded.duration or usual, decoded)
