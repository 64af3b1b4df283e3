"""Encode a segment, join segments, and copy what is not picture beside them."""

from __future__ import annotations

import errno
import heapq
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError
from numpy.typing import NDArray

from understudy.errors import ConfigError, GenerationError, OutputError, UnreadableImageError
from understudy.imaging import DIGITAL_SOURCE_TYPE
from understudy.video.settings import VideoSettings
from understudy.video.source import Film, Frame, plain

CODECS = {"mp4": "libx264", "mov": "libx264", "matroska": "libx264", "webm": "libvpx-vp9"}
"""Encoder of a container where none is chosen."""
QUALITY = {
    "libx264": ("crf", 18.0),
    "libx265": ("crf", 20.0),
    "libvpx-vp9": ("crf", 24.0),
    "libvpx": ("crf", 10.0),
    "libaom-av1": ("crf", 24.0),
    "libsvtav1": ("crf", 24.0),
    "h264_nvenc": ("cq", 21.0),
    "hevc_nvenc": ("cq", 23.0),
    "av1_nvenc": ("cq", 26.0),
    "h264_qsv": ("global_quality", 21.0),
    "hevc_qsv": ("global_quality", 23.0),
}
"""What constant quality is called by an encoder, and its value where none is chosen."""
FORMAT = "yuv420p"


def encoder_name(film: Film, settings: VideoSettings) -> str:
    """The encoder that is used."""
    return settings.codec or CODECS[film.container]


def encoder_options(name: str, settings: VideoSettings) -> dict[str, str]:
    """Its options as FFmpeg takes them."""
    key, usual = QUALITY.get(name, ("", 0.0))
    if settings.crf is not None and not key:
        raise ConfigError(f"video.crf: understudy does not know what {name} calls it; set it by video.options")
    value = usual if settings.crf is None else settings.crf
    quality = {key: f"{value:g}"} if key else {}
    return {**quality, **settings.options}


def is_of_disk(error: Exception) -> bool:
    """Whether the disk is why something failed, not the film."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}


def check_encoder(film: Film, settings: VideoSettings) -> None:
    """Open the encoder once for nothing.

    Raises
    ------
    ConfigError
        It is not there, or does not take these settings.
    """
    name = encoder_name(film, settings)
    options = encoder_options(name, settings)
    try:
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height, context.pix_fmt = film.width, film.height, FORMAT
        context.time_base, context.framerate, context.options = film.time_base, film.rate, options
        context.open()
    except (FFmpegError, ValueError) as error:
        raise ConfigError(
            f"video.codec={name} cannot be used here with {options} and frames of {film.width} x {film.height}: "
            f"{plain(error)}"
        ) from error


class SegmentWriter:
    """Encodes frames into one file that a join takes apart again; timestamps stay exactly those of the source.

    Parameters
    ----------
    path : Path
    film : Film
    settings : VideoSettings
    frame : Frame
        The segment's first: its colour description is that of the file.
    """

    def __init__(self, path: Path, film: Film, settings: VideoSettings, frame: Frame | None) -> None:
        name = encoder_name(film, settings)
        self.film = film
        self._file: Any = av.open(str(path), "w", format="nut")
        self._stream: Any
        try:
            self._stream = self._file.add_stream(name, rate=film.rate, options=encoder_options(name, settings))
        except (FFmpegError, ValueError) as error:
            self._file.close()
            raise ConfigError(f"video.codec={name} cannot be used here: {plain(error)}") from error
        self._stream.width, self._stream.height, self._stream.pix_fmt = film.width, film.height, FORMAT
        self._stream.time_base = film.time_base
        context = self._stream.codec_context
        context.time_base, context.max_b_frames, context.thread_count = film.time_base, 0, settings.n_threads
        context.sample_aspect_ratio = film.aspect
        if frame is not None:
            for key in ("colorspace", "color_range", "color_primaries", "color_trc"):
                setattr(context, key, int(getattr(frame.decoded, key)))

    def write(self, frame: Frame, pixels: NDArray[np.uint8]) -> None:
        """Encode one upright frame at its source's time."""
        coded = np.ascontiguousarray(np.rot90(pixels, -self.film.rotation // 90))
        picture = av.VideoFrame.from_ndarray(coded, format="rgb24").reformat(
            format=FORMAT, dst_colorspace=_matrix(frame), dst_color_range=_range(frame)
        )
        for key in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(picture, key, int(getattr(frame.decoded, key)))
        picture.pts, picture.time_base, picture.duration = frame.pts, self.film.time_base, frame.duration
        self._mux(picture)

    def _mux(self, picture: Any) -> None:
        try:
            self._file.mux(self._stream.encode(picture))
        except FFmpegError as error:
            if is_of_disk(error):
                raise OutputError(f"cannot write: {plain(error)}; make room there, then start again") from error
            raise GenerationError(f"{self._stream.codec_context.name} cannot encode: {plain(error)}") from error

    def close(self) -> None:
        """Write what the encoder still holds."""
        self._mux(None)
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file; it is no segment."""
        self._file.close()


_MATRICES = {1: "ITU709", 5: "ITU601", 6: "SMPTE170M", 7: "SMPTE240M"}


def _matrix(frame: Frame) -> str | None:
    return _MATRICES.get(int(frame.decoded.colorspace))


def _range(frame: Frame) -> str:
    return "JPEG" if int(frame.decoded.color_range) == 2 else "MPEG"


def join(film: Film, segments: list[Path], target: Path, settings: VideoSettings, *, mark: bool) -> bool:
    """Write the film: the segments' pictures one after the other, sound and subtitles packet by packet.

    Metadata of the source are dropped, but for the language of a stream.

    Returns
    -------
    bool
        Whether sound was copied.

    Raises
    ------
    UnreadableImageError
        A stream that is to be copied is broken or does not fit the container.
    """
    try:
        with (
            av.open(str(target), "w", format=film.container) as output,
            av.open(str(film.path), metadata_errors="ignore") as source,
        ):
            if mark:
                output.metadata["comment"] = f"Faces were replaced. Digital source type: {DIGITAL_SOURCE_TYPE}"
            with av.open(str(segments[0])) as first:
                video = output.add_stream_from_template(first.streams.video[0])
            video.time_base = film.time_base
            if film.rotation:
                video.set_display_rotation(film.rotation)
            copies = {s.index: _copied(output, s) for s in source.streams if _is_kept(s, settings)}
            parts = [_pictures(segments, video)]
            if copies:
                parts.append(_others(source, copies))
            for _, packet in heapq.merge(*parts, key=lambda timed: timed[0]):
                output.mux_one(packet)
            return any(stream.type == "audio" for stream in copies.values())
    except FFmpegError as error:
        if is_of_disk(error):
            raise OutputError(
                f"cannot write {target.parent}: {plain(error)}; make room there, then start again"
            ) from error
        raise UnreadableImageError(
            f"{film.path.name}: pictures, sound and subtitles cannot be joined: {plain(error)}; "
            "try video.audio=drop or video.subtitles=drop"
        ) from error


def _is_kept(stream: Any, settings: VideoSettings) -> bool:
    wanted = {"audio": settings.audio, "subtitle": settings.subtitles}
    return wanted.get(stream.type, "drop") == "copy"


def _copied(output: Any, stream: Any) -> Any:
    copy = output.add_stream_from_template(stream)
    copy.time_base = stream.time_base
    if stream.metadata.get("language"):
        copy.metadata["language"] = stream.metadata["language"]
    return copy


def _pictures(segments: list[Path], video: Any) -> Iterator[tuple[Fraction, Any]]:
    """Packets of all segments; each lasts until the next begins."""
    held: Any = None
    for path in segments:
        with av.open(str(path)) as part:
            packets: Any = part.demux(part.streams.video[0])
            for packet in packets:
                if packet.size == 0:
                    continue
                if held is not None:
                    held.duration = packet.pts - held.pts
                    yield held.dts * held.time_base, held
                packet.stream = video
                held = packet
    if held is not None:
        yield held.dts * held.time_base, held


def _others(source: Any, copies: dict[int, Any]) -> Iterator[tuple[Fraction, Any]]:
    time = Fraction(0)
    for packet in source.demux([source.streams[i] for i in copies]):
        if packet.size == 0 or packet.dts is None:
            continue
        time = max(time, packet.dts * packet.time_base)
        packet.stream = copies[packet.stream_index]
        yield time, packet
