"""Render people who do not exist: heads, or with ``subject=body`` whole people.

usage: python -m understudy.people.render OUTPUT [subject=body] --body body.npz --count 1000 [--shard 0/2]
Runs in the render environment. What is done already is skipped, so it may be stopped at any time and run again, and
any number of processes may share the folder.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy import __version__
from understudy.errors import InvalidInputError
from understudy.people import render_body
from understudy.people.backdrop import sample_backdrop
from understudy.people.body import Body, load_body
from understudy.people.camera import aim, gaze_rotation
from understudy.people.cycles import Passes, Studio
from understudy.people.develop import develop, exposure
from understudy.people.head import build_figure
from understudy.people.labels import FaceGeometry, face_geometry, picture_labels, picture_rejection, view_rejection
from understudy.people.landmarks import landmark_vertices
from understudy.people.light import GROUPS, PORTRAIT, Mix, mix_groups, portrait_rig, sample_mixes, sample_rig
from understudy.people.output import (
    HeadResult,
    count_rejected,
    finished_heads,
    npz_bytes,
    png_bytes,
    share_of,
    write_head,
)
from understudy.people.persona import (
    EXPRESSIONS,
    MAX_AGE,
    MAX_YAW_DEG,
    MIN_AGE,
    Expression,
    Persona,
    View,
    bare,
    dealt,
    generator,
    sample_persona,
    sample_view,
    swept_view,
)

CAMERA, RIG, GAZE, DEVELOP, NOISE, AGES = range(30, 36)
BODY = "subject=body"


@dataclass(frozen=True)
class Settings:
    """What a run renders of each head."""

    seed: int = 0
    size_px: int = 192
    samples: int = 12
    n_views: int = 4
    n_mixes: int = 3
    fill: tuple[float, float] = (0.78, 1.06)
    keep_linear: bool = True
    older: float = 0.0
    """Years added to every head's age, with every other draw as it was: one collection at two ages."""
    bare: bool = False
    """Without hair, beard, make-up and what is worn: references for a generator."""
    with_beard: bool = False
    """Where ``bare``: the beard that a head was dealt stays."""
    max_yaw_deg: float = MAX_YAW_DEG
    expression: Expression | None = None
    """Of every head, in place of the one that it was dealt."""
    ages: tuple[float, float] | None = None
    """Years between which every head's age is dealt anew, with every other draw as it was."""
    sweep: bool = False
    """Views from the front to ``max_yaw_deg`` on one side: references are mirrored where they are drawn."""
    portrait_light: bool = False
    """One soft light from above for every view of a head, mixed before rendering: cheaper than groups."""


@functools.cache
def code_version() -> str:
    """Version of the package and a digest of this part's source: pictures of one version and seed are the same."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:10]}"


def linear_arrays(passes: Passes) -> dict[str, NDArray[Any]]:
    """The view without its backdrop: half floats for light, 8 bits for weights."""
    arrays: dict[str, NDArray[Any]] = (
        {group: passes.groups[group].astype(np.float16) for group in GROUPS}
        if passes.mixed is None
        else {"mixed": passes.mixed.astype(np.float16)}
    )
    arrays["alpha"] = (passes.alpha * 255 + 0.5).astype(np.uint8)
    arrays["depth_m"] = passes.depth.astype(np.float16)
    return arrays


def masks_picture(passes: Passes) -> NDArray[np.uint8]:
    """Face, hair and skin as red, green and blue, and what is worn as the fourth channel's complement."""
    planes = np.concatenate([passes.region, 1 - passes.worn[..., None]], axis=-1)
    return np.asarray(planes * 255 + 0.5, np.uint8)


def develop_mix(
    persona: Persona, settings: Settings, passes: Passes, mix: Mix, view: int, number: int
) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """One picture of a view and the labels of its light."""
    rng = generator(settings.seed, DEVELOP, persona.index, view, number)
    foreground = mix_groups(passes.groups, mix) if passes.mixed is None else np.asarray(passes.mixed, np.float64)
    face = passes.region[..., 0] * (1 - passes.worn)
    gain = exposure(foreground, face, persona.melanin, mix.exposure)
    backdrop, kind = sample_backdrop(settings.size_px, rng)
    backdrop = backdrop * rng.uniform(0.45, 1.2) * min(1.0, mix.exposure)
    picture = develop(foreground * gain, passes.alpha, backdrop, np.array(mix.white_balance), rng)
    return picture, {**mix.labels(), "gain": round(gain, 5), "backdrop": kind}


def render_view(
    persona: Persona, settings: Settings, passes: Passes, geometry: FaceGeometry, asked: View, result: HeadResult
) -> None:
    """Judge one view, develop its mixes and add what is kept to ``result``."""
    view = asked.number
    mixes = (
        [PORTRAIT] if passes.mixed is not None else sample_mixes(settings.seed, persona.index, view, settings.n_mixes)
    )
    rule = view_rejection(geometry, passes.region[..., 1], settings.size_px)
    if rule is not None:
        result.rejected[rule] += len(mixes)
        return
    face = passes.region[..., 0] * (1 - passes.worn)
    stem = f"{persona.index // 1000:04d}/{persona.index:06d}_{view}"
    kept = 0
    for number, mix in enumerate(mixes):
        picture, light = develop_mix(persona, settings, passes, mix, view, number)
        rule = picture_rejection(picture, face)
        if rule is not None:
            result.rejected[rule] += 1
            continue
        kept += 1
        name = f"{stem}_{number}.png"
        result.files[name] = png_bytes(picture)
        result.rows.append(
            {
                "file": name,
                "foreground": f"{stem}_alpha.png",
                "masks": f"{stem}_masks.png",
                "linear": f"{stem}_linear.npz" if settings.keep_linear else None,
                "view": view,
                "mix": number,
                "gaze_at_camera": asked.gaze_at_camera,
                **picture_labels(persona, geometry, picture, face),
                **light,
                "code_version": code_version(),
            }
        )
    if kept:
        result.files[f"{stem}_alpha.png"] = png_bytes(np.asarray(passes.alpha * 255 + 0.5, np.uint8))
        result.files[f"{stem}_masks.png"] = png_bytes(masks_picture(passes))
        if settings.keep_linear:
            result.files[f"{stem}_linear.npz"] = npz_bytes(**linear_arrays(passes))


def aged(persona: Persona, years: float) -> Persona:
    """The same head, years older; hair, beard and what is worn stay as they were dealt.

    Nothing is drawn again, but a head that passes 38 or 62 on the way may turn grey, which shifts the draws of its
    brows and lashes: leave such heads out where all else must be the same.

    Raises
    ------
    InvalidInputError
        For an age that the body model does not reach.
    """
    age = persona.age + years
    if years and not MIN_AGE <= age <= MAX_AGE:
        raise InvalidInputError(
            f"head {persona.index} would be {age:.1f} years old; the body model spans {MIN_AGE:g} to {MAX_AGE:g}: "
            "leave it out with --heads, or change --older"
        )
    return replace(persona, age=age)


def variant(persona: Persona, settings: Settings) -> Persona:
    """The head as the settings want it; what they do not name stays as it was dealt."""
    persona = aged(persona, settings.older)
    if settings.ages is not None:
        low, high = settings.ages
        persona = replace(persona, age=low + (high - low) * dealt(settings.seed, AGES, persona.index))
    if settings.expression is not None:
        persona = replace(persona, expression=settings.expression)
    return bare(persona, settings.with_beard) if settings.bare else persona


def render_head(
    body: Body, vertices: NDArray[np.int64], index: int, settings: Settings, views: Sequence[int] = ()
) -> HeadResult:
    """All pictures of one head, or those of some views."""
    begun = time.monotonic()
    persona = variant(sample_persona(settings.seed, index), settings)
    figure = build_figure(body, persona)
    result = HeadResult(index)
    together = settings.portrait_light
    studio = Studio(figure.model, settings.size_px, settings.samples, apart=not together, masks=True)
    try:
        for number in views or range(settings.n_views):
            dealt_view = swept_view if settings.sweep else sample_view
            view = dealt_view(settings.seed, index, number, settings.n_views, settings.max_yaw_deg)

            def stream(part: int, number: int = number) -> np.random.Generator:
                return generator(settings.seed, part, index, number)

            camera = aim(body, figure.head, view, settings.size_px, stream(CAMERA), settings.fill)
            gaze = gaze_rotation(figure.head, camera, view.gaze_at_camera, stream(GAZE))
            noise_seed = int(stream(NOISE).integers(2**31))
            rig = portrait_rig(generator(settings.seed, RIG, index)) if together else sample_rig(stream(RIG))
            passes = studio.render(camera, rig, gaze, noise_seed, mix=PORTRAIT if together else None)
            geometry = face_geometry(figure.head, camera, vertices, passes.depth)
            render_view(persona, settings, passes, geometry, view, result)
    finally:
        studio.close()
    result.seconds = time.monotonic() - begun
    return result


def render_heads(
    folder: Path, body: Body, indices: Sequence[int], settings: Settings, views: Mapping[int, Sequence[int]]
) -> Counter[str]:
    """Render what is not in the folder yet, of some heads some views only; the counts over the whole folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vertices = landmark_vertices(body)
    done = finished_heads(folder)
    for index in indices:
        if index in done:
            continue
        result = render_head(body, vertices, index, settings, views.get(index, ()))
        write_head(folder, result)
        lost = ", ".join(f"{n} {rule}" for rule, n in sorted(result.rejected.items()))
        sys.stdout.write(
            f"head {index}: {len(result.rows)} pictures in {result.seconds:.1f} s; {lost or 'none lost'}\n"
        )
        sys.stdout.flush()
    return count_rejected(folder)


def named_heads(text: str, n_views: int) -> dict[int, list[int]]:
    """Heads and their views from ``3,17:0,17:2``; no views stand for all of them.

    Raises
    ------
    InvalidInputError
        For anything else, or a view that the run does not have.
    """
    found: dict[int, list[int]] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        head, _, view = word.partition(":")
        if not head.isdecimal() or (view and not view.isdecimal()) or (view and int(view) >= n_views):
            raise InvalidInputError(
                f"--heads wants indices, with a view under {n_views} after a colon if you like, as 3,17:0,17:2; "
                f"got {word!r}"
            )
        found.setdefault(int(head), []).extend([int(view)] if view else [])
    return found


def named_ages(text: str | None) -> tuple[float, float] | None:
    """Two ages from ``16-48``.

    Raises
    ------
    InvalidInputError
        For anything else, or ages that the body model does not reach.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split("-")]
    numbers = [float(part) for part in parts if part.replace(".", "", 1).isdecimal()]
    if len(numbers) != 2 or len(parts) != 2 or not MIN_AGE <= numbers[0] <= numbers[1] <= MAX_AGE:
        raise InvalidInputError(f"--ages wants two ages between {MIN_AGE:g} and {MAX_AGE:g}, as 16-48; got {text!r}")
    return numbers[0], numbers[1]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--body", type=Path, default=Path("body.npz"))
    parser.add_argument("--first", type=int, default=0, help="index of the first head")
    parser.add_argument("--count", type=int, default=100, help="number of heads")
    parser.add_argument(
        "--heads", default="", help="in place of --first and --count: indices, as 3,17, or views, as 17:2"
    )
    parser.add_argument("--older", type=float, default=0.0, help="years added to every head, all else the same")
    parser.add_argument("--ages", help="as 16-48: every head's age is dealt anew between these years")
    parser.add_argument("--shard", default="0/1", help="i/n: every n-th head from the i-th, for one of n processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=192, help="pixels on a side")
    parser.add_argument("--samples", type=int, default=12, help="per pixel")
    parser.add_argument("--views", type=int, default=4, help="of each head")
    parser.add_argument("--max-yaw", type=float, default=MAX_YAW_DEG, help="of a view, degrees")
    parser.add_argument("--bare", action="store_true", help="no hair, beard, make-up or glasses: references")
    parser.add_argument("--with-beard", action="store_true", help="with --bare: beards stay, on heads that have one")
    parser.add_argument(
        "--portrait-light", action="store_true", help="one soft light from above, mixed before rendering: fast"
    )
    parser.add_argument("--expression", choices=EXPRESSIONS, help="of every head, in place of the one it was dealt")
    parser.add_argument("--sweep", action="store_true", help="views from the front to --max-yaw, on one side only")
    parser.add_argument(
        "--fill", type=float, nargs=2, default=Settings.fill, metavar=("LOW", "HIGH"), help="head over picture"
    )
    parser.add_argument("--mixes", type=int, default=3, help="lights of each view")
    parser.add_argument("--no-linear", action="store_true", help="leave out the linear foregrounds and depth")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Render what the command line asks for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if BODY in given:
        given.remove(BODY)
        render_body.main(given)
        return
    args = parse_arguments(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary files go
    try:
        heads, ages = named_heads(args.heads, args.views), named_ages(args.ages)
        if not 0 < args.fill[0] <= args.fill[1]:
            raise InvalidInputError(f"--fill wants two shares above 0, the lower first; got {args.fill}")
    except InvalidInputError as error:
        sys.exit(str(error))
    settings = Settings(
        seed=args.seed,
        size_px=args.size,
        samples=args.samples,
        n_views=args.views,
        n_mixes=args.mixes,
        keep_linear=not args.no_linear,
        older=args.older,
        bare=args.bare,
        with_beard=args.with_beard,
        max_yaw_deg=args.max_yaw,
        expression=args.expression,
        ages=ages,
        portrait_light=args.portrait_light,
        sweep=args.sweep,
        fill=tuple(args.fill),
    )
    indices = share_of(list(heads) or range(args.first, args.first + args.count), args.shard)
    counts = render_heads(args.output, load_body(args.body), indices, settings, heads)
    sys.stdout.write("".join(f"{rule}: {n}\n" for rule, n in sorted(counts.items())))


if __name__ == "__main__":
    main()
