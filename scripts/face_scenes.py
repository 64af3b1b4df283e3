"""Make scenes with faces at known places, for measuring detectors: portraits pasted on person-free backgrounds.

    python scripts/face_scenes.py --portraits FOLDER --output FOLDER [--n 500] [--seed 0] [--backgrounds FOLDER]

Writes JPEG scenes and ``truth.jsonl``, one line a scene: file, width, height, faces (box, size in px, roll in degrees,
portrait). A fifth of the scenes holds nobody. The size of a face is the square root of its upright box's area,
log-uniform from 14 to 190 px. ``--harsh`` makes faces darker, noisier and more blurred, and the JPEG coarser. A
portrait's box is the mean of the detectors that agree on the clean portrait (``portraits.json`` in the output folder);
a rolled head's box is that of the turned ellipse inside the upright one. Backgrounds are formulas, scikit-image's
pictures without people where it is installed, and the pictures of ``--backgrounds``, which must hold no people.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Detector
from understudy.detect.centerface import CenterFace
from understudy.detect.mtcnn import Mtcnn
from understudy.detect.mtcnn_networks import PARTS
from understudy.detect.overlap import pairwise_iou
from understudy.weights import is_here

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Harm:
    """How far light, blur, noise and compression go."""

    gain: tuple[float, float]
    gamma: tuple[float, float]
    blur_share: float
    blur_px: float
    noise: float
    quality: int


MILD = Harm(gain=(0.7, 1.15), gamma=(0.8, 1.3), blur_share=0.3, blur_px=0.4, noise=4, quality=70)
HARSH = Harm(gain=(0.55, 1.2), gamma=(0.7, 1.5), blur_share=0.4, blur_px=0.6, noise=7, quality=55)
SIZES = ((640, 480), (800, 600), (1024, 768), (1280, 720), (1280, 960), (960, 1280), (1920, 1080))
SIZE_SHARES = (0.2, 0.2, 0.2, 0.15, 0.1, 0.05, 0.1)
SAMPLES = ("brick", "chelsea", "coffee", "color", "clock_motion", "grass", "gravel", "ihc", "moon", "motorcycle_left",
           "motorcycle_right", "page", "retina", "rocket", "text", "hubble_deep_field")  # fmt: skip


@dataclass(frozen=True)
class Portrait:
    """A picture of one face with the box that the detectors agree on."""

    name: str
    pixels: Picture
    xyxy: NDArray[np.float64]


def read(path: Path) -> Picture:
    """A picture as RGB."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SystemExit(f"{path} is no picture")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def truth_detectors() -> list[Detector]:
    """CenterFace, and MTCNN where its weights are installed."""
    detectors: list[Detector] = [CenterFace(threshold=0.5)]
    if all(is_here(name) for name in PARTS):
        detectors.append(Mtcnn())
    return detectors


def agreed_box(pixels: Picture, detectors: list[Detector]) -> list[float] | None:
    """Mean box of the largest face of each detector, or None where they do not agree."""
    boxes = []
    for detector in detectors:
        found = detector(pixels).xyxy
        if len(found) == 0:
            return None
        boxes.append(found[np.argmax((found[:, 2] - found[:, 0]) * (found[:, 3] - found[:, 1]))])
    stack = np.array(boxes, np.float64)
    if pairwise_iou(stack, stack).min() < 0.6:
        return None
    return [round(float(v), 2) for v in stack.mean(axis=0)]


def load_portraits(folder: Path, cache: Path) -> list[Portrait]:
    """Portraits with their boxes; the boxes are looked for once and kept in ``cache``."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    known: dict[str, list[float] | None] = json.loads(cache.read_text()) if cache.is_file() else {}
    detectors = truth_detectors() if any(p.name not in known for p in paths) else []
    for path in paths:
        if path.name not in known:
            known[path.name] = agreed_box(read(path), detectors)
    cache.write_text(json.dumps(known))
    return [Portrait(p.name, read(p), np.array(known[p.name])) for p in paths if known[p.name] is not None]


def smooth_noise(rng: np.random.Generator, width: int, height: int, cell: int) -> NDArray[np.float32]:
    """Smooth noise in [0, 1] with features of about ``cell`` px."""
    small = rng.uniform(0, 1, (max(2, height // cell + 2), max(2, width // cell + 2))).astype(np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32).clip(0, 1)


def formula_background(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A gradient, noise of several scales, blocks, foliage or bricks."""
    ramp = smooth_noise(rng, width, height, max(width, height) // 2)[..., None]
    base = ramp * rng.uniform(0, 255, 3) + (1 - ramp) * rng.uniform(0, 255, 3)
    kind = rng.choice(["gradient", "noise", "blocks", "foliage", "bricks"])
    if kind == "noise":
        for cell in (64, 24, 8, 3):
            layer = np.stack([smooth_noise(rng, width, height, cell) for _ in range(3)], -1)
            base = base + (layer - 0.5) * rng.uniform(10, 90)
    elif kind == "blocks":
        for _ in range(rng.integers(20, 90)):
            x, y = rng.integers(0, width), rng.integers(0, height)
            w, h = rng.integers(8, width // 3), rng.integers(8, height // 3)
            base[y : y + h, x : x + w] = rng.uniform(0, 255, 3)
    elif kind == "foliage":
        canvas = base.clip(0, 255).astype(np.uint8)
        for _ in range(1500):
            centre = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            axes = (int(rng.integers(3, 28)), int(rng.integers(2, 12)))
            colour = (rng.uniform(10, 130), rng.uniform(60, 200), rng.uniform(0, 90))
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
        base = canvas.astype(np.float64)
    elif kind == "bricks":
        high, wide = int(rng.integers(14, 60)), int(rng.integers(40, 140))
        mortar = rng.uniform(120, 220, 3)
        for row, y in enumerate(range(0, height, high)):
            for x in range(-wide * (row % 2) // 2, width, wide):
                base[y : y + high, max(x, 0) : x + wide] *= rng.uniform(0.7, 1.2)
                base[y : y + 2, max(x, 0) : x + wide] = mortar
                base[y : y + high, max(x, 0) : max(x + 2, 0)] = mortar
    return (base + rng.normal(0, rng.uniform(0, 6), base.shape)).clip(0, 255).astype(np.uint8)


def picture_background(rng: np.random.Generator, pictures: list[Path], width: int, height: int) -> Picture:
    """A random window of a picture, enlarged or reduced to the scene's size, mirrored by chance."""
    pixels = read(pictures[int(rng.integers(len(pictures)))])
    zoom = max(width / pixels.shape[1], height / pixels.shape[0]) * float(rng.uniform(1.0, 1.6))
    way = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    big = cv2.resize(pixels, None, fx=zoom, fy=zoom, interpolation=way)
    y = int(rng.integers(0, max(1, big.shape[0] - height + 1)))
    x = int(rng.integers(0, max(1, big.shape[1] - width + 1)))
    window = cv2.resize(big[y : y + height, x : x + width], (width, height))
    return np.ascontiguousarray(window[:, ::-1] if rng.uniform() < 0.5 else window, np.uint8)


def head_mask(rng: np.random.Generator, portrait: Portrait) -> NDArray[np.float32]:
    """Soft mask of the head, of head and shoulders, or of nearly the whole portrait."""
    height, width = portrait.pixels.shape[:2]
    x0, y0, x1, y1 = portrait.xyxy
    cx, cy, tall = (x0 + x1) / 2, (y0 + y1) / 2, y1 - y0
    mask = np.zeros((height, width), np.float32)
    kind = rng.choice(["head", "bust", "square"], p=[0.65, 0.2, 0.15])
    if kind == "square":
        rim = round(0.06 * width)
        mask[rim:-rim, rim:-rim] = 1
    else:
        axes = (round(0.6 * tall), round(0.78 * tall))
        cv2.ellipse(mask, (round(cx), round(cy - 0.08 * tall)), axes, 0, 0, 360, 1.0, -1)
    if kind == "bust":
        corners = [(cx - 0.3 * tall, cy), (cx + 0.3 * tall, cy), (cx + 0.85 * tall, height), (cx - 0.85 * tall, height)]
        cv2.fillPoly(mask, [np.array(corners, np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.03 * tall))
    edge = np.minimum(np.arange(width), np.arange(width)[::-1]).clip(0, 8) / 8
    return np.asarray(mask * edge[None, :] * edge[:, None][:height], np.float32)


def sample_roll(rng: np.random.Generator) -> float:
    """Roll in degrees: 78 % within 30, 18 % from 31 to 90, 4 % beyond."""
    band = rng.choice(3, p=[0.78, 0.18, 0.04])
    low, high = ((0, 30), (31, 90), (91, 180))[band]
    return float(rng.uniform(low, high) * rng.choice([-1, 1]))


def turned_box(xyxy: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Box of the ellipse inside ``xyxy`` after an affine map (2, 3)."""
    centre = matrix[:, :2] @ ((xyxy[:2] + xyxy[2:]) / 2) + matrix[:, 2]
    half = np.sqrt(((matrix[:, :2] * (xyxy[2:] - xyxy[:2]) / 2) ** 2).sum(axis=1))
    return np.concatenate([centre - half, centre + half])


def paste(
    rng: np.random.Generator,
    scene: Picture,
    portrait: Portrait,
    size: float,
    taken: list[NDArray[np.float64]],
    harm: Harm,
) -> dict[str, object] | None:
    """Paste one portrait with the given size of its face into ``scene``; None where no place is free."""
    roll = sample_roll(rng)
    height, width = scene.shape[:2]
    scale = size / math.sqrt(float((portrait.xyxy[2:] - portrait.xyxy[:2]).prod()))
    turn = cv2.getRotationMatrix2D((0, 0), roll, scale)
    patch_box = turned_box(portrait.xyxy + size / scale * np.array([-0.35, -0.4, 0.35, 0.3]), turn)
    extent = patch_box[2:] - patch_box[:2]
    if (extent >= (width, height)).any():
        return None
    for _ in range(40):
        corner = rng.uniform((0, 0), (width - extent[0], height - extent[1]))
        place = np.concatenate([corner, corner + extent])
        shared = [np.minimum(place[2:], t[2:]) - np.maximum(place[:2], t[:2]) for t in taken]
        if all((s <= 0).any() for s in shared):
            break
    else:
        return None
    matrix = turn.copy()
    matrix[:, 2] += corner - patch_box[:2]
    blend(rng, scene, portrait, matrix, harm)
    taken.append(place)
    face = turned_box(portrait.xyxy, matrix)
    return {
        "xyxy": [round(float(v), 2) for v in face],
        "size": round(size, 1),
        "roll": round(roll, 1),
        "portrait": portrait.name,
    }


def blend(
    rng: np.random.Generator, scene: Picture, portrait: Portrait, matrix: NDArray[np.float64], harm: Harm
) -> None:
    """Write the portrait's head into the scene: drawn larger, reduced, with its own light, blur and noise."""
    height, width = scene.shape[:2]
    corners = np.array([[0, 0], [320, 0], [320, 320], [0, 320]]) @ matrix[:, :2].T + matrix[:, 2]
    low = np.floor(corners.min(axis=0)).astype(int).clip(0, (width, height))
    high = np.ceil(corners.max(axis=0)).astype(int).clip(0, (width, height))
    scale = math.hypot(matrix[0, 0], matrix[0, 1])
    over = max(1, min(8, round(1 / scale)))
    drawn = matrix.copy()
    drawn[:, 2] -= low
    drawn *= over
    drawn[:, 2] += (over - 1) / 2
    extent = tuple(int(v) for v in (high - low) * over)
    small = tuple(int(v) for v in high - low)
    pixels = cv2.warpAffine(portrait.pixels, drawn, extent, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(head_mask(rng, portrait), drawn, extent, flags=cv2.INTER_LINEAR)
    pixels = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    mask = cv2.resize(mask, small, interpolation=cv2.INTER_AREA)[..., None]
    pixels = 255 * (pixels / 255) ** rng.uniform(*harm.gamma) * rng.uniform(*harm.gain) * rng.uniform(0.92, 1.08, 3)
    if rng.uniform() < harm.blur_share:
        pixels = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, harm.blur_px * (1 + scale))))
    pixels = pixels + rng.normal(0, rng.uniform(0, harm.noise), pixels.shape)
    window = scene[low[1] : high[1], low[0] : high[0]]
    window[:] = (mask * pixels + (1 - mask) * window).clip(0, 255).astype(np.uint8)


def make_scene(
    rng: np.random.Generator, portraits: list[Portrait], pictures: list[Path], harm: Harm, *, empty: bool
) -> tuple[Picture, list[dict[str, object]]]:
    """A scene and its faces."""
    width, height = SIZES[int(rng.choice(len(SIZES), p=SIZE_SHARES))]
    if pictures and rng.uniform() < 0.5:
        scene = picture_background(rng, pictures, width, height)
    else:
        scene = formula_background(rng, width, height)
    faces: list[dict[str, object]] = []
    taken: list[NDArray[np.float64]] = []
    for _ in range(0 if empty else int(rng.integers(2, 13))):
        size = float(np.exp(rng.uniform(np.log(14), np.log(190))))
        face = paste(rng, scene, portraits[int(rng.integers(len(portraits)))], size, taken, harm)
        if face is not None:
            faces.append(face)
    if rng.uniform() < 0.3:
        scene = (scene + rng.normal(0, rng.uniform(1, harm.noise), scene.shape)).clip(0, 255).astype(np.uint8)
    return scene, faces


def main() -> None:
    """Write the scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--harsh", action="store_true")
    arguments = parser.parse_args()
    harm = HARSH if arguments.harsh else MILD
    arguments.output.mkdir(parents=True, exist_ok=True)
    portraits = load_portraits(arguments.portraits, arguments.output / "portraits.json")
    pictures = sorted(arguments.backgrounds.iterdir()) if arguments.backgrounds else []
    skimage = find_spec("skimage")
    if skimage is not None and skimage.submodule_search_locations:
        folder = Path(skimage.submodule_search_locations[0]) / "data"
        pictures += [p for p in sorted(folder.iterdir()) if p.stem in SAMPLES and p.suffix in (".png", ".jpg")]
    print(f"{len(portraits)} portraits, {len(pictures)} background pictures")
    with (arguments.output / "truth.jsonl").open("w") as truth:
        for number in range(arguments.n):
            rng = np.random.default_rng([arguments.seed, number])
            scene, faces = make_scene(rng, portraits, pictures, harm, empty=number % 5 == 4)
            name = f"{number:04d}.jpg"
            quality = int(rng.integers(harm.quality, 97))
            cv2.imwrite(str(arguments.output / name), scene[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
            line = {"file": name, "width": scene.shape[1], "height": scene.shape[0], "faces": faces}
            truth.write(json.dumps(line) + "\n")
    print(f"{arguments.n} scenes in {arguments.output}")


if __name__ == "__main__":
    main()
