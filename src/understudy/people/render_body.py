"""Render whole dressed people who do not exist, without a background.

usage: python -m understudy.people.render OUTPUT subject=body --figure figure.npz --count 200
What is done already is skipped, so it may be stopped at any time and run again. The same seed gives the same picture.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.skin_tone import ita_bin
from understudy.color import ita_deg
from understudy.people.camera import WORLD_UP, Camera, head_pose_deg
from understudy.people.cycles import Passes, Studio
from understudy.people.develop import LUMINANCE, develop
from understudy.people.dressed import Dressed, build_dressed
from understudy.people.fields import Floats, srgb_from_linear, unit
from understudy.people.figure import FigureModel, load_figure
from understudy.people.light import Mix, Rig, sample_mixes, sample_rig
from understudy.people.output import HeadResult, finished_heads, png_bytes, share_of, write_head
from understudy.people.persona import age_group, dealt, gender_expression, generator, sample_persona
from understudy.people.skin import tone_albedo

CAMERA, RIG, DEVELOP, NOISE, CUT = range(70, 75)
LAMP_DISTANCE_M = 6.0
LAMP_SCALE = 2.0
"""How much larger the lamps of a whole person are than those of a head."""
YAW_STREAM = 40
FRONT_SHARE, SIDE_SHARE = 0.58, 0.24
UPPER_SHARE = 0.6
SEEN_M = (0.03, 0.13)
"""How far behind what shows at its place a keypoint may lie: on the face, and of a joint inside its limb."""
Framing = Literal["full", "upper"]
Facing = Literal["front", "side", "back"]


@dataclass(frozen=True)
class Settings:
    """What a run renders of each person."""

    seed: int = 0
    height_px: int = 256
    width_px: int = 128
    samples: int = 8
    n_views: int = 3


def view_yaw_deg(seed: int, number: int) -> float:
    """Yaw of the trunk's front against the camera, dealt: mostly towards it, a quarter sideways, some from behind."""
    at = 2 * dealt(seed, YAW_STREAM, number) - 1
    edges = np.array([0, FRONT_SHARE, FRONT_SHARE + SIDE_SHARE, 1])
    return float(np.sign(at) * np.interp(abs(at), edges, [0, 50, 125, 180]))


def facing(yaw_deg: float) -> Facing:
    """What of the trunk is seen."""
    return "front" if abs(yaw_deg) <= 50 else ("side" if abs(yaw_deg) <= 125 else "back")


def aim_body(
    dressed: Dressed, yaw_deg: float, framing: Framing, settings: Settings, rng: np.random.Generator
) -> Camera:
    """A camera that sees the whole person, or the upper part of the body with the rest below the frame."""
    points = np.concatenate([mesh.vertices for mesh in dressed.model.meshes])
    top = float(points[:, 2].max()) + 0.03
    joints = dressed.posed.keypoints
    if framing == "upper":
        shoulders, hips = joints[5:7].mean(axis=0), joints[11:13].mean(axis=0)
        bottom = float(shoulders[2] + rng.uniform(0.1, 1.0) * (hips[2] - shoulders[2]))
        points = points[points[:, 2] > bottom]
    else:
        bottom = float(points[:, 2].min())
    yaw, pitch, roll = np.radians([yaw_deg, rng.normal(-4, 6), rng.normal(0, 1.2)])
    backward = np.array([np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = unit(np.cross(WORLD_UP, backward))
    up = np.cross(backward, right)
    axes = np.stack([np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right, backward])
    across = points @ axes[0]
    middle = 0.5 * (across.min() + across.max()) * axes[0]
    center = middle + 0.5 * (top + bottom) * up + (points.mean(axis=0) @ backward) * backward
    rise = points @ axes[1]
    extent = max(float(rise.max()) - (float(rise.min()) if framing == "full" else bottom), 1e-3)
    center = center + (0.5 * (float(rise.max()) + float(rise.max()) - extent) - center @ axes[1]) * axes[1]
    wide = float(across.max() - across.min()) * settings.height_px / settings.width_px
    field_of_view = float(np.radians(rng.uniform(16, 34)))
    side = 1.03 * max(extent, wide)
    if framing == "upper" and wide > extent:  # the cut stays at the frame's lower edge
        center = center + 0.5 * (side - 1.03 * extent) * axes[1]
    distance = side / 2 / np.tan(field_of_view / 2) + 0.15
    return Camera(center + distance * backward, axes, field_of_view, (0.0, 0.0), settings.height_px)


def body_keypoints(dressed: Dressed, camera: Camera, passes: Passes, settings: Settings) -> tuple[Floats, list[bool]]:
    """The 17 COCO keypoints (17, 2) px and which of them are seen."""
    points, depth = camera.project(dressed.posed.keypoints)
    points = points - np.array([(settings.height_px - settings.width_px) / 2, 0])
    seen = []
    for k, ((x, y), far) in enumerate(zip(points, depth, strict=True)):
        if not (0 <= x < settings.width_px and 0 <= y < settings.height_px):
            seen.append(False)
            continue
        shown = float(passes.depth[int(y), int(x)])
        seen.append(bool(far - shown < SEEN_M[0 if k < 5 else 1] and np.isfinite(shown)))
    return points, seen


def body_gain(passes: Passes, foreground: Floats, mix: Mix) -> float:
    """Exposure for the light that falls in, not for what is worn: a white shirt stays white."""
    total = sum((np.asarray(weight) for weight in mix.weights.values()), np.zeros(3)) @ LUMINANCE
    luminance = foreground @ LUMINANCE
    solid = luminance[passes.alpha > 0.9]
    gain = 0.85 * mix.exposure / max(float(total), 1e-3) * np.pi / 2
    limit = 1.15 / max(float(np.percentile(solid, 98)) if len(solid) else 1.0, 1e-4)
    return float(min(gain, limit))


def develop_body(passes: Passes, mix: Mix, rng: np.random.Generator) -> NDArray[np.uint8]:
    """SRGB and alpha, (H, W, 4); colours are those of the person alone up to the rim."""
    foreground = np.asarray(passes.mixed, np.float64)
    alpha = np.asarray(passes.alpha, np.float64)
    gain = body_gain(passes, foreground, mix)
    alone = foreground * gain / np.maximum(alpha, 0.08)[..., None]
    rgb = develop(alone, np.ones_like(alpha), np.zeros_like(alone), np.array(mix.white_balance), rng)
    return np.dstack([rgb, np.asarray(alpha * 255 + 0.5, np.uint8)])


def larger(rig: Rig) -> Rig:
    """The lamps of a whole person: as far apart in angle, larger."""
    return Rig(
        rig.sun, rig.sun_size, rig.key, rig.key_size_m * LAMP_SCALE, rig.fill, rig.fill_size_m * LAMP_SCALE, rig.sky
    )


def tone_bin(melanin: float) -> int:
    """Bin of the skin tone that a persona's albedo has in white light: faces are too small here to measure it."""
    rgb = np.rint(255 * srgb_from_linear(tone_albedo(np.array([melanin])))).astype(np.uint8)
    return int(ita_bin(float(ita_deg(rgb)[0])))


def body_rejection(picture: NDArray[np.uint8], seen: Sequence[bool]) -> str | None:
    """The rule that rejects a picture, or None."""
    solid = picture[..., 3] > 127
    if solid.mean() < 0.08:
        return "too_little"
    if sum(seen[5:13]) < 2:
        return "no_trunk"
    luma = picture[solid][:, :3].mean() / 2.55
    if luma < 5:
        return "too_dark"
    return "too_bright" if luma > 92 else None


def render_person(model: FigureModel, index: int, settings: Settings) -> HeadResult:
    """All pictures of one person."""
    begun = time.monotonic()
    persona = sample_persona(settings.seed, index)
    dressed = build_dressed(model, persona)
    result = HeadResult(index)
    studio = Studio(
        dressed.model,
        settings.height_px,
        settings.samples,
        width_px=settings.width_px,
        lamp_distance_m=LAMP_DISTANCE_M,
        apart=False,
    )
    at = dressed.posed.keypoints[[5, 6, 11, 12]].mean(axis=0)
    try:
        for number in range(settings.n_views):

            def stream(part: int, number: int = number) -> np.random.Generator:
                return generator(settings.seed, part, index, number)

            yaw = view_yaw_deg(settings.seed, index * settings.n_views + number)
            framing: Framing = "upper" if stream(CUT).random() < UPPER_SHARE else "full"
            camera = aim_body(dressed, yaw, framing, settings, stream(CAMERA))
            (mix,) = sample_mixes(settings.seed, index, number, 1)
            rig, noise_seed = larger(sample_rig(stream(RIG))), int(stream(NOISE).integers(2**31))
            passes = studio.render(camera, rig, dressed.posed.head.rotation, noise_seed, at, mix)
            points, seen = body_keypoints(dressed, camera, passes, settings)
            picture = develop_body(passes, mix, stream(DEVELOP))
            rule = body_rejection(picture, seen)
            if rule is not None:
                result.rejected[rule] += 1
                continue
            name = f"{index // 1000:04d}/{index:06d}_{number}.png"
            result.files[name] = png_bytes(picture)
            result.rows.append(
                {
                    **persona.labels(), **mix.labels(),
                    **body_labels(dressed, camera, yaw, framing, points, seen, picture),
                    "file": name, "view": number, "kind": "body", "subject": f"{settings.seed}-{index}",
                    "skin_tone": tone_bin(persona.melanin), "age_group": age_group(persona.age),
                    "perceived_gender_expression": gender_expression(persona.gender),
                }
            )  # fmt: skip
    finally:
        studio.close()
    result.seconds = time.monotonic() - begun
    return result


def body_labels(
    dressed: Dressed, camera: Camera, yaw: float, framing: Framing, points: Floats, seen: Sequence[bool],
    picture: NDArray[np.uint8],
) -> dict[str, Any]:  # fmt: skip
    """Place, keypoints and tags of one picture."""
    rows, columns = np.nonzero(picture[..., 3] > 127)
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    pose = head_pose_deg(dressed.posed.head, camera)
    return {
        "body_xyxy": box,
        "keypoints": [[round(float(v), 2) for v in point] for point in points],
        "keypoints_visible": list(seen),
        "framing": framing,
        "facing": facing(yaw),
        "trunk_yaw_deg": round(yaw, 1),
        "yaw_deg": round(pose[0], 1),
        "stance": dressed.pose.stance,
        "arms": list(dressed.pose.arms),
    }


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--figure", type=Path, default=None, help="figure.npz beside the body's file where left out")
    parser.add_argument("--body", type=Path, default=Path("body.npz"), help="the body model of heads")
    parser.add_argument("--first", type=int, default=0, help="index of the first person")
    parser.add_argument("--count", type=int, default=100, help="number of people")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th person from the i-th, for one of n processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=8, help="per pixel")
    parser.add_argument("--views", type=int, default=3, help="of each person")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Render what the command line asks for."""
    args = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files go
    settings = Settings(seed=args.seed, samples=args.samples, n_views=args.views)
    model = load_figure(args.figure or args.body.with_name("figure.npz"))
    args.output.mkdir(parents=True, exist_ok=True)
    done = finished_heads(args.output)
    for index in share_of(range(args.first, args.first + args.count), args.shard):
        if index in done:
            continue
        result = render_person(model, index, settings)
        write_head(args.output, result)
        sys.stdout.write(f"person {index}: {len(result.rows)} pictures in {result.seconds:.1f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
