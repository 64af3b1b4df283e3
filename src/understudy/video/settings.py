"""What the film path needs besides the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from understudy.errors import InvalidInputError


@dataclass(frozen=True)
class VideoSettings:
    """How a film is read, tracked and written. Counts are of frames."""

    audio: Literal["copy", "drop"] = "copy"
    """Sound is copied bit for bit: a voice identifies too, and is not changed."""
    subtitles: Literal["copy", "drop"] = "copy"
    codec: str | None = None
    """An encoder of FFmpeg, such as libx264 or h264_nvenc; where left out, that of the container."""
    crf: float | None = None
    """Constant quality in the encoder's own scale; where left out, the encoder's usual one."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Further options of the encoder."""
    n_threads: int = 2
    """Threads of decoder and encoder, fixed so that results do not depend on the machine."""
    segment_frames: int = 150
    """Frames of a segment: what is lost at most when the run is killed."""
    group_frames: int = 4
    """Frames whose regions share the generator's micro-batches."""
    max_gap: int = 30
    """Longest gap in a track that is closed by interpolation."""
    extend: int = 5
    """Frames by which a track is lengthened at both ends; at its end by ``max_gap + 1`` at most."""
    smooth: float = 2.0
    """Standard deviation of the smoothing of place and size, in frames; 0: none."""
    cut: float = 0.5
    """Histogram difference in [0, 1] above which a scene ends; 1: never."""
    high_confidence: float = 0.6
    """Detections that are matched first."""
    n_samples: int = 3
    """Frames of a track from which its attributes are read and on which its seed is tried."""
    max_refused: float = 0.1
    """A track of which the guard refuses a larger share of frames is filled for its whole length."""
    look_twice: bool = True
    """The residual detector looks for faces to track, too, not only for those that were missed."""

    def __post_init__(self) -> None:
        least = {
            "n_threads": 1,
            "segment_frames": 1,
            "group_frames": 1,
            "max_gap": 0,
            "extend": 0,
            "smooth": 0,
            "n_samples": 1,
        }
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InvalidInputError(f"video.{name} must be {value} or more, got {getattr(self, name)}")
        for name in ("cut", "high_confidence", "max_refused"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidInputError(f"video.{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("audio", "subtitles"):
            if getattr(self, name) not in ("copy", "drop"):
                raise InvalidInputError(f"video.{name} must be copy or drop, got {getattr(self, name)!r}")
