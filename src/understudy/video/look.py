"""The first pass: who is found in each frame, where scenes end, and what tracks that makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Detector, Found
from understudy.detect.merge import as_found
from understudy.detect.overlap import box_area, intersection
from understudy.errors import UnreadableImageError
from understudy.types import Detections
from understudy.video.cuts import color_histogram, histogram_difference
from understudy.video.settings import VideoSettings
from understudy.video.smoothing import complete
from understudy.video.source import Film, frames
from understudy.video.tracks import Track, Tracker, rows_of
from understudy.video.workplace import Workplace

SAME_FACE = 0.5
"""A find of the second detector with this share of its box inside one of the first's is the same face."""

Tick = Callable[[int], object]


@dataclass
class Cast:
    """What is known of the whole film after the first pass."""

    n_frames: int
    n_tracks: int = 0
    samples: dict[int, list[int]] = field(default_factory=dict)
    """Tracks to try in a frame."""


def look(
    film: Film, work: Workplace, settings: VideoSettings, detect: Detector, second: Detector | None, tick: Tick
) -> int:
    """Find who is in each frame, segment by segment; what an earlier run found is kept.

    Returns
    -------
    int
        Number of frames.
    """
    size = settings.segment_frames
    rows: list[NDArray[np.void]] = []
    cuts: list[int] = []
    before: NDArray[np.float32] | None = None
    index, skipping = -1, False
    for frame in frames(film, n_threads=settings.n_threads):
        index = frame.index
        segment, place = divmod(index, size)
        known = place == 0 and work.load_detections(segment) is not None
        if place == 0:
            skipping, rows, cuts = known, [], []
        if skipping:
            before = color_histogram(frame.pixels(film.rotation)) if place == size - 1 else before
        else:
            view = frame.pixels(film.rotation)
            histogram = color_histogram(view)
            if before is not None and histogram_difference(before, histogram) > settings.cut:
                cuts.append(index)
            before = histogram
            rows.append(rows_of(find(view, detect, second), index))
            if place == size - 1:
                work.save_detections(segment, np.concatenate(rows), np.array(cuts, np.int64), size)
        tick(index)
    n_frames = index + 1
    if n_frames % size and work.load_detections(index // size) is None:
        work.save_detections(index // size, np.concatenate(rows), np.array(cuts, np.int64), n_frames % size)
    return n_frames


def find(view: NDArray[np.uint8], detect: Detector, second: Detector | None) -> Detections:
    """Who is in a frame: what the detector finds, and what only the second one does."""
    first = detect(view)
    if second is None:
        return first
    ours, theirs = as_found(first), as_found(second(view))
    if len(ours) and len(theirs):
        share = intersection(ours.xyxy, theirs.xyxy) / box_area(theirs.xyxy).clip(1e-9)[None, :]
        theirs = theirs.take(share.max(axis=0) < SAME_FACE)
    return Found.concatenate([ours, theirs]).detections()


def track(film: Film, work: Workplace, settings: VideoSettings, n_frames: int) -> Cast:
    """Join what was found to tracks, and write who is where, a file for each segment.

    Raises
    ------
    UnreadableImageError
        The film has another number of frames than an earlier run counted.
    """
    work.clear_plans()
    cast = Cast(n_frames)
    turned = film.rotation % 180 == 90
    height, width = (film.width, film.height) if turned else (film.height, film.width)
    tracker = Tracker(max_gap=settings.max_gap, high_confidence=settings.high_confidence)

    def settle(ended: list[Track], scene_end: int) -> None:
        for one in ended:
            rows = complete(
                one, scene_end=scene_end, extend=settings.extend, smooth=settings.smooth, height=height, width=width
            )
            work.add_to_plan(rows, settings.segment_frames)
            cast.n_tracks = max(cast.n_tracks, one.track_id + 1)
            for frame in sample_frames(rows, settings.n_samples):
                cast.samples.setdefault(frame, []).append(one.track_id)

    for segment in range(-(-n_frames // settings.segment_frames)):
        kept = work.load_detections(segment)
        first = segment * settings.segment_frames
        if kept is None or kept[2] != min(settings.segment_frames, n_frames - first):
            raise UnreadableImageError(f"{film.path.name}: it was not the same twice; say resume=restart")
        rows, cuts, count = kept
        for frame in range(first, first + count):
            settle(tracker(frame, rows[rows["frame"] == frame], cut=bool((cuts == frame).any())), frame)
    settle(tracker.finish(), n_frames)
    return cast


def sample_frames(rows: NDArray[np.void], n: int) -> list[int]:
    """Frames of a track to look at closely: the clearest detection in each of ``n`` equal parts."""
    seen = rows[rows["observed"]]
    if not len(seen):
        return [int(f) for f in rows["frame"][:1]]
    chosen = []
    for part in np.array_split(np.arange(len(seen)), min(n, len(seen))):
        sides = seen["xyxy"][part, 2:] - seen["xyxy"][part, :2]
        best = part[int(np.argmax(seen["confidence"][part] * np.sqrt(sides.prod(axis=1).clip(1))))]
        chosen.append(int(seen["frame"][best]))
    return chosen
