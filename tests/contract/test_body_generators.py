"""What a generator of bodies makes never depends on a pixel of the person: both contracts, for every config."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.people_scenes import Person, people

from understudy.attributes.policy import AttributePolicy
from understudy.blend import MembraneBlender
from understudy.blend.silhouette import Outline
from understudy.config.compose import compose_config
from understudy.config.parts import PartBuilder
from understudy.config.read import read_anonymize
from understudy.errors import MissingExtraError, MissingWeightsError
from understudy.generate.base import Generator, crop_shape
from understudy.generate.by_kind import ByKind
from understudy.geometry import face_shape, shape_region, union_mask
from understudy.imaging import decode, encode
from understudy.pipeline import Pipeline, PipelineSettings
from understudy.subject import head_shape
from understudy.types import (
    AnonymizedImage,
    Attributes,
    Condition,
    Crop,
    Detections,
    Generated,
    Kind,
    OutcomeKind,
    Silhouette,
    SourceImage,
)

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "configs" / "body_generator").glob("*.yaml"))
HEIGHT, WIDTH = 160, 200
SCENES = {
    "one person": people(Person(60, 150, 120)),
    "a person from behind": people(Person(60, 150, 120, face=False)),
    "a face without a body": people(Person(60, 150, 120), Person(160, 150, 110, body=False)),
    "overlapping people": people(Person(60, 150, 120), Person(80, 156, 130), Person(105, 150, 100, face=False)),
    "a person cut by the border": people(Person(2, 190, 150), Person(196, 100, 110)),
    "a person of 12 px": people(Person(40, 60, 12), Person(120, 150, 110)),
}


class IdentityLeakError(AssertionError):
    """Something that was made depends on pixels that must not be known."""


@pytest.fixture(scope="module")
def parts() -> Callable[[str], Generator]:
    made: dict[str, Generator] = {}

    def part(name: str) -> Generator:
        if name not in made:
            overrides = ["input=a", "output=b", "target=both", f"body_generator={name}"]
            try:
                node = read_anonymize(compose_config("anonymize", overrides)).body_generator
                made[name] = PartBuilder()(node, "body_generator")
            except (MissingWeightsError, MissingExtraError) as error:
                pytest.skip(str(error))
        return made[name]

    return part


def hidden_pixels(height: int, width: int) -> Iterator[np.ndarray]:
    """What may lie under a mask: nothing, noise, one grey level more than nothing."""
    yield np.zeros((height, width, 3), np.uint8)
    yield np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    yield np.ones((height, width, 3), np.uint8)


def standing(height: int, width: int) -> np.ndarray:
    """A rounded box in the middle, as a standing person's region lies in a crop."""
    mask = np.zeros((height, width), bool)
    mask[round(height * 0.1) : round(height * 0.9), round(width * 0.2) : round(width * 0.8)] = True
    return mask


def first_contract(make: Callable[[np.ndarray], Generator]) -> None:
    """Mask, keypoints, attributes and seed held, the pixels under the mask changed, not a bit differs."""
    height, width = crop_shape(make(np.zeros((8, 8, 3), np.uint8)))
    around = cv2.resize(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8), (width, height))
    points, shown = np.zeros((17, 2), np.float32), np.zeros(17, np.float32)
    points[:3], shown[:3] = np.array([[0.5, 0.18], [0.53, 0.16], [0.47, 0.16]]) * (width, height), 1
    mask, made = standing(height, width), set()
    for hidden in hidden_pixels(height, width):
        pixels = np.where(mask[..., None], hidden, around)
        crop = Crop(pixels, mask.copy(), np.eye(2, 3))
        condition = Condition(crop, points, shown, Attributes(skin_tone=3), kind=Kind.BODY)
        generator = make(pixels)
        results = generator([condition] * generator.batch_size, list(range(generator.batch_size)))
        assert results[0].pixels.shape == (height, width, 3)
        made.add(b"".join(result.pixels.tobytes() for result in results))
    if len(made) > 1:
        raise IdentityLeakError(f"{len(made)} different results for one condition")


@dataclass
class Mirror:
    """Returns the context of its condition, erased or not: REPLACED, so that faces follow in it."""

    crop_size: int = 32
    crop_height: int = 64
    name: str = "mirror"
    batch_size: int = 2
    min_face_px: float = 20.0
    outcome: OutcomeKind = OutcomeKind.REPLACED

    def digests(self) -> dict[str, str]:
        return {}

    def __call__(self, conditions: Sequence[Condition], seeds: Sequence[int]) -> list[Generated]:
        return [Generated(self.pixels(c), seed, 1) for c, seed in zip(conditions, seeds, strict=True)]

    def pixels(self, condition: Condition) -> np.ndarray:
        return condition.context.copy()


@dataclass
class Whisper(Mirror):
    """A cheat that was handed the picture, and lets two bits of it through."""

    picture: np.ndarray | None = None

    def pixels(self, condition: Condition) -> np.ndarray:
        return np.full(condition.context.shape, 100 + zlib.crc32(self.picture.tobytes()) % 4, np.uint8)


def face_generator() -> Mirror:
    return Mirror(crop_size=32, crop_height=32, min_face_px=0.0)


def scene_union(found: Detections) -> np.ndarray:
    """The union of all regions, made here and not by the pipeline."""
    regions = []
    for i, kind in enumerate(found.kind):
        if kind is Kind.BODY:
            regions.append(Outline()(found.xyxy[i], found.silhouette(i), HEIGHT, WIDTH))
            face = found.face_of(i)
            if face is not None:
                shape = face_shape(found.xyxy[face], found.keypoints[face, :5], found.visibility[face, :5])
                regions.append(shape_region(head_shape(shape), HEIGHT, WIDTH))
        else:
            shape = face_shape(found.xyxy[i], found.keypoints[i, :5], found.visibility[i, :5])
            regions.append(shape_region(shape, HEIGHT, WIDTH))
    return union_mask(regions, HEIGHT, WIDTH)


def second_contract(make: Callable[[np.ndarray], Generator], found: Detections) -> AnonymizedImage:
    """Detections, attributes and seed held, every pixel under the union changed, not a byte of the file differs."""
    union = scene_union(found)
    around = cv2.resize(np.random.default_rng(3).integers(0, 256, (15, 18, 3), dtype=np.uint8), (WIDTH, HEIGHT))
    files = set()
    for hidden in hidden_pixels(HEIGHT, WIDTH):
        pixels = np.where(union[..., None], hidden, around)
        source = replace(decode(cv2.imencode(".png", pixels[..., ::-1])[1].tobytes(), "a.png"), digest=bytes(range(32)))
        data, result = written(ByKind(face_generator(), make(pixels)), source, found)
        files.add(data)
    if len(files) > 1:
        raise IdentityLeakError(f"{len(files)} different files for one scene")
    return result


def written(generator: Generator, source: SourceImage, found: Detections) -> tuple[bytes, AnonymizedImage]:
    pipeline = Pipeline(
        detector=None,
        generator=generator,
        guard=None,
        blender=MembraneBlender(),
        residual=None,
        policy=AttributePolicy(keep=[]),
        settings=PipelineSettings(),
    )
    (result,) = pipeline.replace([source], [found], [[Attributes(skin_tone=i % 6) for i in range(len(found))]])
    assert isinstance(result, AnonymizedImage), result
    return encode(source, result.native).data, result


@pytest.mark.parametrize("name", NAMES)
def test_every_generator_of_bodies_keeps_its_protocol(name: str, parts: Callable) -> None:
    generator = parts(name)
    assert isinstance(generator, Generator)
    assert generator.outcome in (OutcomeKind.REPLACED, OutcomeKind.FILLED)
    assert min(crop_shape(generator)) > 0
    assert all(len(digest) == 64 for digest in generator.digests().values())


@pytest.mark.parametrize("name", NAMES)
def test_no_pixel_under_the_mask_changes_what_a_generator_of_bodies_makes(name: str, parts: Callable) -> None:
    first_contract(lambda _: parts(name))


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", NAMES)
def test_no_pixel_of_a_person_reaches_the_file(name: str, scene: str, parts: Callable) -> None:
    result = second_contract(lambda _: parts(name), SCENES[scene])
    assert {outcome.kind for outcome in result.outcomes} <= {OutcomeKind.REPLACED, OutcomeKind.FILLED}


@pytest.mark.parametrize("scene", SCENES)
def test_a_generator_that_returns_its_context_keeps_the_contract_with_the_faces_drawn_into_its_bodies(
    scene: str,
) -> None:
    first_contract(lambda _: Mirror())
    result = second_contract(lambda _: Mirror(), SCENES[scene])
    bodies = [outcome for outcome in result.outcomes if outcome.detected_as is Kind.BODY and outcome.xyxy[3] > 100]
    assert {outcome.kind for outcome in bodies} == {OutcomeKind.REPLACED}


def test_masks_of_people_keep_the_contract_too() -> None:
    found = SCENES["overlapping people"]
    masks = []
    for i, kind in enumerate(found.kind):
        x0, y0, x1, y1 = (int(np.clip(v, 0, n)) for v, n in zip(found.xyxy[i], (WIDTH, HEIGHT) * 2, strict=True))
        mask = np.zeros((y1 - y0, x1 - x0), bool)
        mask[:, (x1 - x0) // 4 : -(x1 - x0) // 4] = True
        masks.append(Silhouette((x0, y0, x1, y1), mask) if kind is Kind.BODY else None)
    second_contract(lambda _: Mirror(), replace(found, silhouettes=tuple(masks)))


def test_a_planted_cheat_breaks_both_contracts() -> None:
    with pytest.raises(IdentityLeakError):
        first_contract(lambda picture: Whisper(picture=picture))
    for scene in ("one person", "a person from behind", "a person cut by the border"):
        with pytest.raises(IdentityLeakError):
            second_contract(lambda picture: Whisper(picture=picture), SCENES[scene])
