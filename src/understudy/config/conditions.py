"""Conditions as the main job makes them, from pictures of a folder, or drawn: what exported graphs are tried on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from understudy.attributes.policy import AttributePolicy
from understudy.canvas import Canvas
from understudy.detect.base import Detector
from understudy.errors import ConfigError, UnderstudyError
from understudy.imaging import decode
from understudy.pipeline import PipelineSettings
from understudy.types import Attributes, Condition, Crop, SourceImage

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


def conditions_in(
    folder: Path, detector: Detector, policy: AttributePolicy, *, n: int, crop_size: int, min_face_px: float
) -> list[Condition]:
    """A condition for the largest face of each of n pictures, which lie evenly spaced in the folder's order.

    Parameters
    ----------
    folder : Path
    detector, policy
        What finds faces and reads what may travel from them, as in the main job.
    n : int
        How many pictures are looked at; those without a face, or with a small one, give no condition.
    crop_size : int
        Side of a crop, px.
    min_face_px : float
        Least shorter side of a face's box.

    Raises
    ------
    ConfigError
        There is no such folder, or no face in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is no folder of pictures")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(n, len(paths))).round().astype(int))]
    found = [
        condition
        for source in readable(chosen)
        if (condition := condition_of(source, detector, policy, crop_size, min_face_px)) is not None
    ]
    if not found:
        raise ConfigError(f"no face of {min_face_px:.0f} px or more was found in {len(chosen)} pictures of {folder}")
    return found


def readable(paths: Sequence[Path]) -> Iterator[SourceImage]:
    """Pictures that can be decoded, in order."""
    for path in paths:
        try:
            yield decode(path.read_bytes(), path.name)
        except (UnderstudyError, OSError):
            continue


def condition_of(
    source: SourceImage, detector: Detector, policy: AttributePolicy, crop_size: int, min_face_px: float
) -> Condition | None:
    """Condition of the largest face of a picture, all faces erased; None where it is too small."""
    found = detector(source.view)
    sides = (found.xyxy[:, 2:] - found.xyxy[:, :2]).min(axis=1)
    if len(found) == 0 or sides.max() < min_face_px:
        return None
    canvas = Canvas(source)
    subjects = [canvas.add(found, i, Attributes(), None, "primary") for i in range(len(found))]
    best = int(sides.argmax())
    attributes = policy.read(source.view, found.xyxy[best], found.keypoints[best], found.visibility[best])
    canvas.erase(subjects)
    crop = canvas.cut(subjects[best], crop_size, PipelineSettings().context)
    points, shown = subjects[best].points_in(crop.image_from_crop)
    return Condition(crop, points, shown, attributes)


def drawn_conditions(n: int, size: int) -> list[Condition]:
    """Conditions of random coloured squares around an oval mask, with keypoints and bins; the same ones every time."""
    ys, xs = np.mgrid[0:size, 0:size]
    mask = ((xs - size / 2) / (0.3 * size)) ** 2 + ((ys - size / 2) / (0.38 * size)) ** 2 <= 1
    middle = np.array([[0.4, 0.42], [0.6, 0.42], [0.5, 0.54], [0.42, 0.66], [0.58, 0.66]], np.float32) * size
    made = []
    for seed in range(n):
        random = np.random.default_rng(seed)
        coarse = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pixels = np.repeat(np.repeat(coarse, -(-size // 8), 0), -(-size // 8), 1)[:size, :size]
        points = middle + random.normal(0, 0.02 * size, middle.shape).astype(np.float32)
        bins = Attributes(skin_tone=seed % 6, head_pose=seed % 5) if seed % 4 else Attributes()
        crop = Crop(np.ascontiguousarray(pixels), mask, np.eye(2, 3))
        made.append(Condition(crop, points, np.full(5, seed % 3 != 2, np.float32), bins))
    return made
