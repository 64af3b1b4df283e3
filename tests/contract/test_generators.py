"""What a generator makes never depends on a pixel of the person whom it replaces: both contracts, for every config."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from omegaconf import OmegaConf
from tests.tiny_hub import HUB, small_hub

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender
from understudy.config.compose import compose_config
from understudy.config.parts import PartBuilder, find_target
from understudy.errors import MissingWeightsError
from understudy.generate.base import Generator, Obscurer
from understudy.geometry import apply_affine, crop_frame, cut_crop, face_shape, invert_affine, shape_region, union_mask
from understudy.imaging import decode, encode, view_of
from understudy.pipeline import Pipeline, PipelineSettings
from understudy.types import (
    AnonymizedImage,
    Attributes,
    Condition,
    Crop,
    Detections,
    Encoding,
    Generated,
    OutcomeKind,
    SourceImage,
)

CONFIGS = {path.stem: path for path in sorted((Path(__file__).parents[2] / "configs" / "generator").glob("*.yaml"))}

Maker = Callable[[np.ndarray], Generator]
"""Gives the generator for one picture. Honest ones ignore the picture; a cheat takes it through this back door."""


def constructor_of(name: str) -> tuple[Callable, dict[str, object]]:
    """What a config's ``_target_`` names, and the arguments beside it; what they name in turn is built."""
    config = compose_config("anonymize", [f"generator={name}"])
    arguments = OmegaConf.to_container(config.generator, resolve=True)
    target = arguments.pop("_target_")
    return find_target(target, name), {key: PartBuilder()(value, key) for key, value in arguments.items()}


OBSCURERS = tuple(name for name in CONFIGS if hasattr(constructor_of(name)[0], "obscure"))
GENERATORS = tuple(name for name in CONFIGS if name not in OBSCURERS)


class IdentityLeakError(AssertionError):
    """Something that a generator made depends on pixels that it must not know."""


# every config, built


def small_inpaint(folder: Path) -> dict[str, object]:
    from tests.tiny_inpaint import make_tiny_inpaint

    model = make_tiny_inpaint(folder)
    return {"model": str(model), "prompt": "a", "n_steps": 2, "crop_size": 32, "device": "cpu"}


def small_latent(folder: Path) -> dict[str, object]:
    from tests.tiny import make_tiny_face_model

    return {"model": str(make_tiny_face_model(folder / "model"))}


SMALL = {"diffusers_inpaint": small_inpaint, "latent": small_latent, **{name: partial(small_hub, name) for name in HUB}}
"""Arguments with which a config is built of random weights."""


def built(name: str, folder: Path) -> Generator | Obscurer:
    """What a config names; with weights of a few thousand numbers where its own are not here."""
    constructor, arguments = constructor_of(name)
    if "???" not in arguments.values() and name not in HUB:
        try:
            return constructor(**arguments)
        except MissingWeightsError:
            if name not in SMALL:
                raise
    return constructor(**{**arguments, **SMALL[name](folder)})


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Generator | Obscurer]:
    made: dict[str, Generator | Obscurer] = {}

    def part(name: str) -> Generator | Obscurer:
        if name not in made:
            made[name] = built(name, tmp_path_factory.mktemp(name))
        return made[name]

    return part


def test_the_configs_name_generators_and_obscurers() -> None:
    assert set(GENERATORS) >= {"diffusers_inpaint", "fill", "latent", *HUB}
    assert set(OBSCURERS) == {"blur", "null_edit", "pixelate", "solid"}


@pytest.mark.parametrize("name", GENERATORS)
def test_every_generator_keeps_its_protocol(name: str, parts: Callable) -> None:
    generator = parts(name)
    assert isinstance(generator, Generator)
    assert not isinstance(generator, Obscurer)
    assert generator.name
    assert generator.outcome in (OutcomeKind.REPLACED, OutcomeKind.FILLED)
    assert generator.crop_size > 0
    assert generator.batch_size > 0
    assert all(len(digest) == 64 for digest in generator.digests().values())


@pytest.mark.parametrize("name", OBSCURERS)
def test_every_obscurer_keeps_its_protocol(name: str, parts: Callable) -> None:
    obscurer = parts(name)
    assert isinstance(obscurer, Obscurer)
    assert not isinstance(obscurer, Generator)
    assert obscurer.name == name
    assert obscurer.outcome in (OutcomeKind.OBSCURED, OutcomeKind.KEPT)


# contract 1: a generator alone


def hidden_pixels(size: tuple[int, int]) -> Iterator[np.ndarray]:
    """What may lie under a mask: nothing, noise, a gradient, and one grey level more than nothing."""
    yield np.zeros((*size, 3), np.uint8)
    yield np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    yield np.repeat(np.linspace(0, 255, size[1]).astype(np.uint8)[None, :, None], size[0], axis=0).repeat(3, axis=2)
    yield np.ones((*size, 3), np.uint8)


ALL_ATTRIBUTES = Attributes(
    skin_tone=3, head_pose=2, age_group=3, expression=2, perceived_gender_expression=1, glasses=1, beard=1
)


def crop_masks(size: int) -> Iterator[np.ndarray]:
    """An ellipse in the middle, the same with a neighbour, the whole crop."""
    ellipse = cv2.ellipse(
        np.zeros((size, size), np.uint8), (size // 2, size // 2), (size // 4, size // 3), 0, 0, 360, 1, -1
    )
    yield ellipse > 0
    beside = cv2.circle(ellipse.copy(), (size // 8, size // 4), size // 5, 1, -1)
    yield beside > 0
    yield np.ones((size, size), bool)


def identity_free(make: Maker, condition_of: Callable[..., Condition] = Condition) -> None:
    """Contract 1: mask, keypoints, attributes and seed held, the pixels under the mask changed, not a bit differs.

    Raises
    ------
    IdentityLeakError
    """
    size = make(np.zeros((8, 8, 3), np.uint8)).crop_size
    around = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8), (size, size))
    points = np.array([[0.4, 0.4], [0.6, 0.4], [0.5, 0.5], [0.42, 0.65], [0.58, 0.65]], np.float32) * size
    for mask in crop_masks(size):
        made: set[bytes] = set()
        for hidden in hidden_pixels((size, size)):
            pixels = np.where(mask[..., None], hidden, around)
            crop = Crop(pixels, mask.copy(), np.eye(2, 3))
            generator = make(pixels)
            condition = condition_of(crop, points, np.ones(5, np.float32), ALL_ATTRIBUTES)
            results = generator([condition] * generator.batch_size, list(range(generator.batch_size)))
            made.add(b"".join(result.pixels.tobytes() for result in results))
        if len(made) > 1:
            raise IdentityLeakError(f"{len(made)} different results for one condition")


@pytest.mark.parametrize("name", GENERATORS)
def test_no_pixel_under_the_mask_changes_what_a_generator_makes(name: str, parts: Callable) -> None:
    generator = parts(name)
    identity_free(lambda _: generator)


def test_the_embedded_generator_keeps_the_contract_on_torch_too(tmp_path: Path) -> None:
    constructor, arguments = constructor_of("latent")
    generator = constructor(**{**arguments, **small_latent(tmp_path), "runtime": "torch"})
    identity_free(lambda _: generator)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_looks_at_the_context_that_it_is_given(name: str, parts: Callable) -> None:
    """Without this, a generator that always returns the same picture would keep the contract for no good reason."""
    generator, made = parts(name), []
    size, count = generator.crop_size, generator.batch_size
    for level in (40, 200):
        crop = Crop(np.full((size, size, 3), level, np.uint8), next(crop_masks(size)), np.eye(2, 3))
        made.append(generator([Condition(crop)] * count, [5] * count)[0].pixels)
    assert (made[0] != made[1]).any()


# contract 2: the whole pipeline

FACE = np.array([[-0.2, -0.12], [0.2, -0.12], [0.0, 0.06], [-0.16, 0.26], [0.16, 0.26]])
"""Keypoints over the height of a face, about the middle of its box."""


@dataclass(frozen=True)
class Face:
    x: float
    y: float
    height: float
    roll_deg: float = 0.0
    has_keypoints: bool = True

    def points(self) -> np.ndarray:
        c, s = np.cos(np.radians(self.roll_deg)), np.sin(np.radians(self.roll_deg))
        return FACE * self.height @ np.array([[c, s], [-s, c]]) + (self.x, self.y)

    def box(self) -> list[float]:
        half_w, half_h = self.height * 0.38, self.height / 2
        return [self.x - half_w, self.y - half_h, self.x + half_w, self.y + half_h]


SCENES: dict[str, tuple[Face, ...]] = {
    "one face": (Face(70, 60, 60),),
    "nobody": (),
    "two touching faces": (Face(45, 60, 50), Face(85, 60, 54)),
    "three overlapping faces": (Face(55, 55, 50), Face(75, 62, 56), Face(66, 85, 44)),
    "a face at the border": (Face(4, 110, 60), Face(140, 3, 30)),
    "a face of seven pixels": (Face(60.3, 40.8, 7),),
    "a small face before a large one": (Face(80, 60, 90), Face(95, 75, 22)),
    "rolled faces": (Face(45, 60, 56, 70), Face(105, 60, 50, -140)),
    "a box without keypoints": (Face(70, 60, 60, 0, has_keypoints=False),),
    "a face larger than the picture": (Face(70, 60, 300),),
}
WIDTH, HEIGHT = 144, 120


def scene_detections(faces: Sequence[Face]) -> Detections:
    points = np.array([f.points() if f.has_keypoints else np.full((5, 2), np.nan) for f in faces])
    return Detections.faces(np.array([f.box() for f in faces]), np.full(len(faces), 0.9), points)


def scene_union(found: Detections) -> np.ndarray:
    """The union of all masks, made here and not by the pipeline."""
    shapes = [face_shape(found.xyxy[i], found.keypoints[i], found.visibility[i]) for i in range(len(found))]
    return union_mask([shape_region(shape, HEIGHT, WIDTH) for shape in shapes], HEIGHT, WIDTH)


def png_source(pixels: np.ndarray) -> SourceImage:
    """A picture as it is read from a PNG; its digest, and with it the seeds, is that of another file."""
    data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    return replace(decode(data, "scene.png"), digest=bytes(range(32)))


def pipeline_of(generator: Generator | Obscurer, n_candidates: int = 1) -> Pipeline:
    """The pipeline without what compares with the original on purpose: no guard, no residual scan."""

    def no_detector(image: np.ndarray) -> Detections:
        raise RuntimeError("boxes are given")

    return Pipeline(
        detector=no_detector,
        generator=generator,
        guard=None,
        blender=MembraneBlender(),
        residual=None,
        policy=AttributePolicy(),
        settings=PipelineSettings(n_candidates=n_candidates),
    )


def written(generator: Generator | Obscurer, source: SourceImage, found: Detections) -> tuple[bytes, AnonymizedImage]:
    attributes = [replace(ALL_ATTRIBUTES, skin_tone=i % 6, beard=i % 2) for i in range(len(found))]
    (result,) = pipeline_of(generator).replace([source], [found], [attributes])
    assert isinstance(result, AnonymizedImage), result
    return encode(source, result.native).data, result


def pipeline_is_identity_free(make: Maker, faces: Sequence[Face]) -> AnonymizedImage:
    """Contract 2: detections, attributes and seed held, every pixel under the union changed, not a byte differs.

    Raises
    ------
    IdentityLeakError
    """
    found = scene_detections(faces)
    union = scene_union(found)
    background = cv2.resize(np.random.default_rng(3).integers(0, 256, (15, 18, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    files: set[bytes] = set()
    for hidden in hidden_pixels((HEIGHT, WIDTH)):
        pixels = np.where(union[..., None], hidden, background)
        data, result = written(make(pixels), png_source(pixels), found)
        files.add(data)
    if len(files) > 1:
        raise IdentityLeakError(f"{len(files)} different files for one scene")
    assert (result.replace_mask == union).all()
    assert (result.native[~union] == background[~union]).all()
    assert len(result.outcomes) == len(faces)
    return result


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", GENERATORS)
def test_no_pixel_of_a_person_reaches_the_file(name: str, scene: str, parts: Callable) -> None:
    generator = parts(name)
    pipeline_is_identity_free(lambda _: generator, SCENES[scene])


@pytest.mark.parametrize("name", GENERATORS)
def test_the_contract_runs_through_the_generator_and_not_only_through_the_fallback(name: str, parts: Callable) -> None:
    generator = parts(name)
    result = pipeline_is_identity_free(lambda _: generator, SCENES["two touching faces"])
    assert {outcome.kind for outcome in result.outcomes} == {generator.outcome}
    assert {outcome.reason for outcome in result.outcomes} == {""}


def test_choosing_the_best_of_three_understudies_looks_at_nothing_of_the_person(parts: Callable) -> None:
    found, files = scene_detections(SCENES["two touching faces"]), set()
    union = scene_union(found)
    background = cv2.resize(np.random.default_rng(3).integers(0, 256, (15, 18, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    for hidden in hidden_pixels((HEIGHT, WIDTH)):
        source = png_source(np.where(union[..., None], hidden, background))
        attributes = [Attributes(skin_tone=i) for i in range(len(found))]
        (result,) = pipeline_of(parts("latent"), n_candidates=3).replace([source], [found], [attributes])
        assert all("attribute_mismatch" in outcome.readings for outcome in result.outcomes)
        files.add(encode(source, result.native).data)
    assert len(files) == 1


def as_stored(pixels: np.ndarray, stored: str) -> SourceImage:
    """The same picture as files of other kinds hold it."""
    if stored == "jpeg 4:2:0":
        encoding = Encoding("JPEG", (tuple(range(16, 80)), tuple(range(20, 84))), "4:2:0")
        return replace(png_source(pixels), encoding=encoding)
    native: np.ndarray
    if stored == "gray 16 bit":
        mode, native = "I;16", pixels[..., 1].astype(np.uint16) * 257
    elif stored == "rgb 16 bit":
        mode, native = "RGB;16", pixels.astype(np.uint16) * 257
    elif stored == "palette":
        mode, native = "RGB", pixels // 64 * 64
    else:
        alpha = np.linspace(0, 255, pixels.shape[1]).astype(np.uint8)[None, :, None].repeat(pixels.shape[0], axis=0)
        mode, native = "RGBA", np.concatenate([pixels, alpha], axis=2)
    return SourceImage(
        image_id="scene.png",
        native=native,
        mode=mode,
        icc=None,
        view=view_of(native, mode, None),
        digest=bytes(range(32)),
        encoding=Encoding("PNG", options={"palette": True} if stored == "palette" else {}),
    )


@pytest.mark.parametrize("stored", ["jpeg 4:2:0", "gray 16 bit", "rgb 16 bit", "palette", "alpha"])
def test_no_pixel_of_a_person_reaches_the_file_in_any_way_of_storing_it(stored: str, parts: Callable) -> None:
    found = scene_detections(SCENES["three overlapping faces"])
    union = scene_union(found)
    background = cv2.resize(np.random.default_rng(3).integers(0, 256, (15, 18, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    sources = [
        as_stored(np.where(union[..., None], hidden, background), stored) for hidden in hidden_pixels((HEIGHT, WIDTH))
    ]
    assert len({source.native.tobytes() for source in sources}) > 1
    assert len({written(parts("fill"), source, found)[0] for source in sources}) == 1


# planted cheats: each must fail both contracts


@dataclass
class _Cheat:
    """Keeps the protocol, and makes its results of something that it must not know."""

    name: str = "cheat"
    crop_size: int = 32
    batch_size: int = 2
    min_face_px: float = 0.0
    outcome: OutcomeKind = OutcomeKind.REPLACED

    def digests(self) -> dict[str, str]:
        return {}

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        return [Generated(self.pixels(c), seed, 1) for c, seed in zip(conditions, seeds, strict=True)]

    def pixels(self, condition: Condition) -> np.ndarray:
        raise NotImplementedError


@dataclass
class Closure(_Cheat):
    """Was handed the picture when it was made."""

    picture: np.ndarray | None = None

    def pixels(self, condition: Condition) -> np.ndarray:
        return cv2.resize(self.picture, (self.crop_size, self.crop_size), interpolation=cv2.INTER_NEAREST)


@dataclass
class Whisper(_Cheat):
    """Lets two bits of the original through."""

    picture: np.ndarray | None = None

    def pixels(self, condition: Condition) -> np.ndarray:
        two_bits = zlib.crc32(self.picture.tobytes()) % 4
        return np.full((self.crop_size, self.crop_size, 3), 100 + two_bits, np.uint8)


@dataclass
class Burglar(_Cheat):
    """Climbs up the call stack until it meets a crop or a source picture."""

    def pixels(self, condition: Condition) -> np.ndarray:
        frame = sys._getframe()
        while frame is not None:
            for value in list(frame.f_locals.values()):
                if isinstance(value, Crop | SourceImage):
                    loot = value.pixels if isinstance(value, Crop) else value.view
                    return cv2.resize(loot, (self.crop_size, self.crop_size), interpolation=cv2.INTER_NEAREST)
            frame = frame.f_back
        raise AssertionError("this burglar met nothing worth stealing: the planted cheat does not work")


CHEATS: dict[str, Maker] = {
    "closure": lambda picture: Closure(picture=picture),
    "whisper": lambda picture: Whisper(picture=picture),
    "burglar": lambda picture: Burglar(),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_planted_cheat_breaks_the_first_contract(cheat: str) -> None:
    with pytest.raises(IdentityLeakError):
        identity_free(CHEATS[cheat])


@pytest.mark.parametrize("scene", ["one face", "two touching faces", "a face at the border", "rolled faces"])
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_planted_cheat_breaks_the_second_contract(cheat: str, scene: str) -> None:
    with pytest.raises(IdentityLeakError):
        pipeline_is_identity_free(CHEATS[cheat], SCENES[scene])


@dataclass
class Mirror(_Cheat):
    """Honest as far as it knows: returns the context of its condition, erased or not."""

    def pixels(self, condition: Condition) -> np.ndarray:
        return condition.context.copy()


def test_a_generator_that_returns_its_context_is_identity_free() -> None:
    identity_free(lambda _: Mirror())
    for scene in ("three overlapping faces", "a face at the border", "rolled faces"):
        pipeline_is_identity_free(lambda _: Mirror(), SCENES[scene])


def test_a_condition_that_was_tampered_with_breaks_the_contract() -> None:
    def tampered(crop: Crop, *rest: object) -> Condition:
        condition = Condition(crop, *rest)
        object.__setattr__(condition, "context", crop.pixels)
        return condition

    with pytest.raises(IdentityLeakError):
        identity_free(lambda _: Mirror(), tampered)


def test_a_pipeline_that_cuts_crops_before_it_erases_breaks_the_second_contract(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The neighbour's face in a crop's context: the known fault of cutting crops from the original picture."""
    from understudy.canvas import Canvas, Subject

    def cut_from_original(self: Canvas, subject: Subject, size: int, context: float) -> Crop:
        own = union_mask([subject.region], *self.union.shape)
        return cut_crop(self.source.view, own, crop_frame(subject.shape, size, context), size)

    monkeypatch.setattr(Canvas, "cut", cut_from_original)
    pipeline_is_identity_free(lambda _: Mirror(), SCENES["one face"])
    with pytest.raises(IdentityLeakError):
        pipeline_is_identity_free(lambda _: Mirror(crop_size=64), SCENES["three overlapping faces"])


# obscurers need the person's pixels, so the same checks must see it


@dataclass
class _Obscuring(_Cheat):
    """An obscurer in a generator's clothes, with the picture through the back door."""

    picture: np.ndarray | None = None
    obscurer: Obscurer | None = None

    def pixels(self, condition: Condition) -> np.ndarray:
        return self.obscurer.obscure(self.picture, condition.replace_mask)


@pytest.mark.parametrize("name", ["blur", "pixelate", "null_edit"])
def test_an_obscurer_breaks_both_contracts(name: str, parts: Callable) -> None:
    obscurer = parts(name)
    with pytest.raises(IdentityLeakError):
        identity_free(lambda picture: _Obscuring(picture=picture, obscurer=obscurer))
    with pytest.raises(IdentityLeakError):
        pipeline_is_identity_free(lambda _: obscurer, SCENES["one face"])


def test_solid_is_the_one_obscurer_that_would_keep_them(parts: Callable) -> None:
    pipeline_is_identity_free(lambda _: parts("solid"), SCENES["three overlapping faces"])


@pytest.mark.parametrize("name", OBSCURERS)
def test_an_obscurer_leaves_its_own_outcome_for_every_region(name: str, parts: Callable) -> None:
    found = scene_detections(SCENES["three overlapping faces"])
    pixels = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    _, result = written(parts(name), png_source(pixels), found)
    assert [outcome.kind for outcome in result.outcomes] == [parts(name).outcome] * 3
    assert (result.native[~result.replace_mask] == pixels[~result.replace_mask]).all()


def test_the_null_edit_writes_the_source_again(parts: Callable) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    found = scene_detections(SCENES["two touching faces"])
    _, result = written(parts("null_edit"), png_source(pixels), found)
    assert (result.native == pixels).all()


# what does travel, so that the threat model's list stays true


def test_keypoints_and_attributes_do_travel_by_way_of_the_condition() -> None:
    face = Face(70, 60, 60)
    found = scene_detections([face])
    seen: list[Condition] = []

    class Listening(Mirror):
        def pixels(self, condition: Condition) -> np.ndarray:
            seen.append(condition)
            return super().pixels(condition)

    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    written(Listening(batch_size=1), png_source(pixels), found)
    shape = face_shape(found.xyxy[0], found.keypoints[0], found.visibility[0])
    frame = crop_frame(shape, 32, PipelineSettings().context)
    assert seen[0].keypoints == pytest.approx(apply_affine(invert_affine(frame), face.points()), abs=1e-3)
    assert seen[0].attributes == replace(ALL_ATTRIBUTES, skin_tone=0, beard=0)
