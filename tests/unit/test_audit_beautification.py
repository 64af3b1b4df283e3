"""Parts of the beautification index answer to edits of known direction, dose by dose, on drawn faces."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from understudy.audit.aligned import TEMPLATE, align, similarity_to_template
from understudy.audit.beautification import (
    PARTS,
    USUAL_SPREAD,
    WEIGHTS,
    beautification_index,
    measure,
    small_face,
)
from understudy.audit.beautification_table import beautification_findings
from understudy.audit.grouping import group_by
from understudy.audit.resampling import Plan
from understudy.audit.table import AuditTable, Status, adjusted_rows
from understudy.errors import InvalidInputError

SIDE = 320
CENTRE = np.array([160.0, 170.0])
KEYPOINTS = TEMPLATE + 32
SKINS = [(232, 190, 165), (205, 160, 130), (224, 172, 140), (150, 105, 78), (120, 82, 60), (92, 62, 46)]
DOSES = (0.35, 0.7, 1.0)


def ellipse(x: float, y: float, a: float, b: float, edge: float = 1.0) -> np.ndarray:
    """(SIDE, SIDE) 1 inside, 0 outside, soft over about ``edge`` px."""
    ys, xs = np.mgrid[:SIDE, :SIDE] + 0.5
    r = np.sqrt(((xs - x) / a) ** 2 + ((ys - y) / b) ** 2)
    return np.clip((1 - r) * min(a, b) / edge + 0.5, 0, 1)


def noise(rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Noise of one scale, with deviation 1."""
    field = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), sigma)
    return field / field.std()


def draw(seed: int) -> np.ndarray:
    """A face with pores, blotches, lines, a mole, eyes, lips and sloping light, (SIDE, SIDE, 3) uint8."""
    rng = np.random.default_rng(seed)
    image = np.full((SIDE, SIDE, 3), rng.uniform(90, 190, 3))
    skin = np.array(SKINS[seed % len(SKINS)], float)

    def paint(alpha: np.ndarray, colour: np.ndarray | list[float]) -> None:
        image[:] = image * (1 - alpha[..., None]) + alpha[..., None] * np.asarray(colour, float)

    paint(ellipse(160, 150, 104, 130), skin * 0.25)  # hair
    width = rng.uniform(70, 84)
    texture = rng.uniform(2, 5) * noise(rng, 1.0) + rng.uniform(1, 4) * noise(rng, 6)
    redness = rng.uniform(2, 6) * noise(rng, 7)
    face = skin + texture[..., None] + redness[..., None] * [1.0, -0.6, -0.6]
    for y, length in ((90, 40), (100, 36), (106, 30)):
        face -= (rng.uniform(8, 20) * ellipse(160, y, length, 1.8, 2))[..., None]
    for x in (120, 200):
        face -= (rng.uniform(8, 20) * ellipse(x, 160, 16, 1.8, 2))[..., None]
    face -= (60 * ellipse(rng.uniform(105, 125), rng.uniform(175, 190), 4, 4))[..., None]
    paint(ellipse(160, 175, width, 108), face)
    opening = rng.uniform(8, 11)
    for x in (121.6, 198.4):
        y = 134.4 + rng.uniform(-2, 2)
        paint(ellipse(x, y, 18, opening), [225, 222, 220])
        paint(ellipse(x, y, opening * 0.8, opening * 0.8), skin * 0.2)
        paint(ellipse(x, y - 24, 22, 4), skin * 0.35)
    paint(ellipse(160, 192, 12, 4, 3), skin * 0.7)
    paint(ellipse(160, 212, rng.uniform(28, 34), 9), skin * [0.85, 0.55, 0.6])
    slope = rng.uniform(-0.1, 0.1) * (np.arange(SIDE) - 160) / 160
    return np.clip(image * (1 + slope[None, :, None]), 0, 255).astype(np.uint8)


def bare_skin() -> np.ndarray:
    """Where the edits below may touch skin, (SIDE, SIDE, 1)."""
    keep = ellipse(160, 175, 66, 100, 6)
    for x in (121.6, 198.4):
        keep = keep * (1 - ellipse(x, 128, 28, 26, 4))
    return (keep * (1 - ellipse(160, 210, 42, 18, 4)))[..., None]


def blend(image: np.ndarray, other: np.ndarray, alpha: np.ndarray | float) -> np.ndarray:
    return np.clip(np.round(image * (1 - alpha) + other * alpha), 0, 255).astype(np.uint8)


def smooth_skin(image: np.ndarray, dose: float) -> np.ndarray:
    return blend(image, cv2.GaussianBlur(image.astype(float), (0, 0), 3), dose * bare_skin())


def even_skin(image: np.ndarray, dose: float) -> np.ndarray:
    """Takes away what is larger than pores, and leaves the pores."""
    whole = image.astype(float)
    mask = bare_skin()
    middle = np.median(whole[mask[..., 0] > 0.9], axis=0)
    return blend(whole, whole - cv2.GaussianBlur(whole, (0, 0), 2.5) + middle, dose * mask)


def symmetrise(image: np.ndarray, dose: float) -> np.ndarray:
    return blend(image.astype(float), image[:, ::-1].astype(float), dose / 2)


def warp(image: np.ndarray, source: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    ys, xs = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    x, y = source(xs, ys)
    return cv2.remap(
        image, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def slim(image: np.ndarray, dose: float) -> np.ndarray:
    """Pulls the cheeks in, up to 15 %, and leaves eyes and mouth where they are."""

    def source(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = x - 159.5
        ramp = np.clip((np.abs(d) - 45) / 20, 0, 1) * np.clip((y - 150) / 20, 0, 1)
        return 159.5 + d * (1 + 0.18 * dose * ramp), y

    return warp(image, source)


def enlarge_eyes(image: np.ndarray, dose: float) -> np.ndarray:
    def source(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for cx in (121.1, 197.9):
            dx, dy = x - cx, y - 133.9
            near = np.exp(-(((dx**2 + dy**2) / 26**2) ** 2))
            x, y = x - dx * near * 0.2 * dose, y - dy * near * 0.2 * dose
        return x, y

    return warp(image, source)


def redden_lips(image: np.ndarray, dose: float) -> np.ndarray:
    return blend(
        image.astype(float), np.full((1, 3), [190.0, 20, 50]), 0.5 * dose * ellipse(160, 212, 26, 8)[..., None]
    )


def darken_lashes(image: np.ndarray, dose: float) -> np.ndarray:
    alpha = ellipse(121.6, 124, 20, 3) + ellipse(198.4, 124, 20, 3)
    return blend(image.astype(float), np.full((1, 3), 10.0), 0.8 * dose * alpha[..., None])


def brighten(image: np.ndarray, dose: float) -> np.ndarray:
    return blend(image * (1 + 0.2 * dose), image, 0.0)


def sharpen(image: np.ndarray, dose: float) -> np.ndarray:
    whole = image.astype(float)
    return blend(whole + dose * (whole - cv2.GaussianBlur(whole, (0, 0), 1.5)), whole, 0.0)


EDITS: dict[str, tuple[Callable[[np.ndarray, float], np.ndarray], str, set[str]]] = {
    # the edit, the part that must answer, and the parts that may move by more than half a spread with it
    "smooth": (smooth_skin, "skin_smoothness", {"wrinkle_reduction", "skin_evenness"}),
    "even": (even_skin, "skin_evenness", {"wrinkle_reduction", "symmetry", "skin_smoothness"}),
    "symmetrise": (symmetrise, "symmetry", {"skin_smoothness", "skin_evenness", "wrinkle_reduction", "sharpness"}),
    "slim": (slim, "slimness", set()),
    "enlarge eyes": (enlarge_eyes, "eye_size", {"eye_contrast", "averageness", "wrinkle_reduction", "sharpness"}),
    "redden lips": (redden_lips, "lip_contrast", {"averageness"}),
    "darken lashes": (darken_lashes, "eye_contrast", {"eye_size", "sharpness", "averageness"}),
    "brighten": (
        brighten,
        "exposure",
        {"lip_contrast", "eye_contrast", "skin_smoothness"},
    ),  # light skin clips, and its pores with it
    "sharpen": (sharpen, "sharpness", {"skin_smoothness", "wrinkle_reduction", "eye_contrast"}),
}


@pytest.fixture(scope="module")
def portraits() -> list[np.ndarray]:
    return [draw(seed) for seed in range(8)]


@pytest.fixture(scope="module")
def mean_face(portraits: list[np.ndarray]) -> np.ndarray:
    return np.mean([small_face(face) for p in portraits if (face := align(p, KEYPOINTS)) is not None], axis=0)


@pytest.fixture(scope="module")
def originals(portraits: list[np.ndarray], mean_face: np.ndarray) -> list[dict[str, float]]:
    return [measure(align(p, KEYPOINTS), mean_face) for p in portraits]


def drifts(
    edit: Callable[[np.ndarray], np.ndarray],
    portraits: list[np.ndarray],
    originals: list[dict[str, float]],
    mean_face: np.ndarray,
) -> tuple[dict[str, float], float]:
    """Mean standardised drift of each part, and of the index."""
    edited = [measure(align(edit(p), KEYPOINTS), mean_face) for p in portraits]
    result = beautification_index(originals, edited)
    known = {n: c[np.isfinite(c)] for n, c in zip(result.names, result.standardised.T, strict=True)}
    return {n: float(c.mean()) for n, c in known.items() if len(c)}, float(np.nanmean(result.index))


def test_every_part_but_age_is_measured_on_every_drawn_face(originals: list[dict[str, float]]) -> None:
    for values in originals:
        assert set(values) == set(PARTS)
        assert [name for name, value in values.items() if np.isnan(value)] == ["youth"]


@pytest.fixture(scope="module")
def answers(
    portraits: list[np.ndarray], originals: list[dict[str, float]], mean_face: np.ndarray
) -> dict[str, list[tuple[dict[str, float], float]]]:
    """Drift of parts and index for each edit, dose by dose."""
    return {
        name: [drifts(functools.partial(edit, dose=dose), portraits, originals, mean_face) for dose in DOSES]
        for name, (edit, _, _) in EDITS.items()
    }


@pytest.mark.parametrize("name", EDITS)
def test_the_part_grows_with_the_dose_and_the_others_stay(
    name: str, answers: dict[str, list[tuple[dict[str, float], float]]]
) -> None:
    _, part, may_move = EDITS[name]
    answer = [0.0] + [parts[part] for parts, _ in answers[name]]
    assert all(more > less for less, more in itertools.pairwise(answer))
    assert answer[-1] > 0.3
    largest = answers[name][-1][0]
    assert {n: round(v, 2) for n, v in largest.items() if abs(v) > 0.5 and n not in may_move | {part}} == {}


@pytest.mark.parametrize("name", ["smooth", "even", "symmetrise", "slim", "enlarge eyes"])
def test_the_index_grows_with_each_dose_of_each_retouch(
    name: str, answers: dict[str, list[tuple[dict[str, float], float]]]
) -> None:
    index = [0.0] + [index for _, index in answers[name]]
    assert all(more > less for less, more in itertools.pairwise(index))


def test_a_null_edit_hardly_moves_the_index(
    portraits: list[np.ndarray], originals: list[dict[str, float]], mean_face: np.ndarray
) -> None:
    def jpeg(image: np.ndarray) -> np.ndarray:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)

    assert abs(drifts(jpeg, portraits, originals, mean_face)[1]) < 0.1


def test_blurring_the_whole_picture_counts_less_than_smoothing_the_skin_alone(
    portraits: list[np.ndarray], originals: list[dict[str, float]], mean_face: np.ndarray
) -> None:
    parts, whole = drifts(lambda p: cv2.GaussianBlur(p, (0, 0), 2), portraits, originals, mean_face)
    _, skin = drifts(lambda p: smooth_skin(p, 0.7), portraits, originals, mean_face)
    assert parts["skin_smoothness"] > 1
    assert parts["sharpness"] < -1
    assert whole < 0.7 * skin


def turned(image: np.ndarray, degrees: float, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture turned and scaled around its centre on a larger canvas, and where its keypoints are then."""
    side = int(SIDE * scale * 1.4)
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), degrees, scale)
    matrix[:, 2] += side / 2 - SIDE / 2
    pixels = matrix.copy()
    pixels[:, 2] = matrix @ [0.5, 0.5, 1] - 0.5
    return cv2.warpAffine(image, pixels, (side, side), flags=cv2.INTER_CUBIC), KEYPOINTS @ matrix[:, :2].T + matrix[
        :, 2
    ]


def test_where_the_face_lies_and_how_it_is_turned_hardly_matters(
    portraits: list[np.ndarray], originals: list[dict[str, float]], mean_face: np.ndarray
) -> None:
    moved = [measure(align(*turned(p, 17, 1.5)), mean_face) for p in portraits]
    result = beautification_index(originals, moved)
    coarse = [
        result.names.index(n) for n in ("symmetry", "slimness", "eye_size", "lip_contrast", "exposure", "averageness")
    ]
    assert np.abs(np.nanmean(result.standardised[:, coarse], axis=0)).max() < 0.35


def test_a_mirrored_face_is_as_pretty(portraits: list[np.ndarray], originals: list[dict[str, float]]) -> None:
    swap = np.array([[SIDE, 0]]) + (KEYPOINTS * [-1, 1])[[1, 0, 2, 4, 3]]
    mirrored = [measure(align(np.ascontiguousarray(p[:, ::-1]), swap)) for p in portraits]
    result = beautification_index(originals, mirrored)
    assert np.nanmax(np.abs(result.index)) < 0.05


def values(**parts: float) -> dict[str, float]:
    return {**dict.fromkeys(PARTS, float("nan")), **parts}


def test_the_index_by_hand() -> None:
    # spreads 0.5 and 1; drifts of 2 and -1 spreads; weights 3 and 1; levelled off by 3 tanh(z / 3)
    spread = {"symmetry": 0.5, "sharpness": 1.0}
    before, after = values(symmetry=1.0, sharpness=2.0), values(symmetry=2.0, sharpness=1.0)
    result = beautification_index([before], [after], {"symmetry": 3, "sharpness": 1}, spread)
    expected = (3 * 3 * np.tanh(2 / 3) - 3 * np.tanh(1 / 3)) / 4
    assert result.index[0] == pytest.approx(expected)


def test_turning_before_and_after_turns_the_sign(originals: list[dict[str, float]]) -> None:
    spread = dict.fromkeys(PARTS, 0.3)
    there = beautification_index(originals[:4], originals[4:], spread=spread)
    back = beautification_index(originals[4:], originals[:4], spread=spread)
    assert there.index == pytest.approx(-back.index)


def test_a_face_with_too_few_measured_parts_has_no_index() -> None:
    spread = dict.fromkeys(PARTS, 1.0)
    whole = values(**dict.fromkeys(PARTS, 1.0))
    poor = values(exposure=1.0)
    result = beautification_index([whole, whole], [whole, poor], spread=spread)
    assert result.index[0] == 0
    assert np.isnan(result.index[1])


def test_few_faces_have_no_spread_of_their_own_and_take_the_usual_one(originals: list[dict[str, float]]) -> None:
    few = beautification_index(originals[:1], originals[1:2])
    usual = beautification_index(originals[:1], originals[1:2], spread=USUAL_SPREAD)
    assert np.isfinite(few.index).all()
    assert few.index == pytest.approx(usual.index)
    assert set(USUAL_SPREAD) == set(PARTS)


@pytest.mark.parametrize("n", [1, 3])
def test_one_face_at_three_levels_of_retouch_ranks_in_their_order(
    n: int, portraits: list[np.ndarray], originals: list[dict[str, float]]
) -> None:
    def retouched(picture: np.ndarray, dose: float) -> np.ndarray:
        for edit in (smooth_skin, even_skin, symmetrise, enlarge_eyes):
            picture = edit(picture, dose)
        return picture

    levels = [[measure(align(retouched(p, dose), KEYPOINTS)) for p in portraits[:n]] for dose in (0, 0.5, 1)]
    middle = [beautification_index(levels[1], level).index.mean() for level in levels]
    assert middle[0] < -0.05 < middle[1] < 0.05 < middle[2]
    assert middle[1] == 0


def test_without_an_age_estimator_youth_does_not_count(originals: list[dict[str, float]]) -> None:
    assert np.isfinite(beautification_index(originals, originals).index).all()


def test_weights_for_what_is_no_part_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="beauty"):
        beautification_index([], [], {"beauty": 1.0})
    assert set(WEIGHTS) == set(PARTS)


def test_a_picture_without_skin_gives_nan_and_no_crash() -> None:
    black = np.zeros((SIDE, SIDE, 3), np.uint8)
    far_away = KEYPOINTS + 5000
    for face in (align(draw(0), far_away), None):
        assert np.isnan(list(measure(face).values())).all()
    assert align(black, KEYPOINTS) is None or np.isfinite(measure(align(black, KEYPOINTS))["exposure"])


def test_the_alignment_is_the_true_similarity() -> None:
    theta, scale = 0.4, 1.7
    turn = scale * np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    points = (TEMPLATE - [5.0, -9.0]) @ np.linalg.inv(turn).T
    assert similarity_to_template(points) == pytest.approx(np.column_stack([turn, [5.0, -9.0]]))


def test_with_noisy_keypoints_the_alignment_is_that_of_opencv() -> None:
    points = KEYPOINTS * 0.7 + np.random.default_rng(1).normal(0, 2, KEYPOINTS.shape)
    theirs, _ = cv2.estimateAffinePartial2D(points, TEMPLATE, method=cv2.LMEDS, refineIters=50)
    ours = similarity_to_template(points)
    gap = [np.linalg.norm(points @ m[:, :2].T + m[:, 2] - TEMPLATE) for m in (ours, theirs)]
    assert gap[0] <= gap[1] + 1e-6  # least squares over all five is at least as near


def test_keypoints_in_one_place_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="one place"):
        similarity_to_template(np.ones((5, 2)))


def test_every_third_face_smoothed_is_found_in_the_table_net_of_the_null_edit(
    portraits: list[np.ndarray], originals: list[dict[str, float]]
) -> None:
    rng = np.random.default_rng(1)
    copies = 6  # 48 faces: eight drawn ones, each re-read with a little noise
    before = [{k: v + 0.02 * rng.normal() for k, v in o.items()} for _ in range(copies) for o in originals]
    null = [{k: v + 0.02 * rng.normal() for k, v in b.items()} for b in before]
    smoothed = [measure(align(smooth_skin(p, 0.7), KEYPOINTS)) for p in portraits]
    after = [smoothed[i % 8] if i % 3 == 0 else null[i] for i in range(48)]
    plan = Plan(seed=1, n_boot=300, n_permutations=99)
    group = group_by("edited", ["yes" if i % 3 == 0 else "no" for i in range(48)])
    findings = beautification_findings(before, after, np.arange(48), [group], plan, null=null)
    table = AuditTable(adjusted_rows(findings))
    whole = table.get("beautification_drift", "index")
    assert whole is not None
    assert whole.ci_low > 0
    yes, no = (table.get("beautification_drift", "skin_smoothness", f"edited={n}") for n in ("yes", "no"))
    assert yes is not None
    assert no is not None
    assert yes.ci_low > 1
    assert no.value == 0  # after is the null edit there
    age = table.get("beautification_drift", "youth")
    assert age is not None
    assert age.status is Status.NOT_MEASURED
