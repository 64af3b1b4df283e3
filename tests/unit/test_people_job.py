"""The main job on whole people, with the real detectors, on a scene of a portrait, a mannequin and a dog."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.people_scenes import Person, crowd, people

from understudy.cli.main import main
from understudy.config.build import build_job, choose_residual, fingerprint, job_from_overrides, weight_digests
from understudy.config.compose import compose_config
from understudy.config.read import read_anonymize
from understudy.config.used import OF_BODIES
from understudy.detect.base import Found
from understudy.detect.boxes import UserBoxes, read_boxes
from understudy.errors import ConfigError, InvalidInputError, UnderstudyError
from understudy.generate.by_kind import ByKind
from understudy.types import AnonymizedImage, Kind, OutcomeKind

FILL = ["target=both", "generator=fill", "body_generator=fill", "attributes=nothing", "people=default"]


def scene(portrait: Path) -> bytes:
    """A person, a mannequin of ovals without a face, and a dog of ovals."""
    picture = np.full((420, 900, 3), (200, 190, 180), np.uint8)
    person = cv2.imread(str(portrait))
    picture[:, :420] = cv2.resize(person, (420, 420), interpolation=cv2.INTER_AREA)
    for centre, axes in [((560, 60), (28, 36)), ((560, 180), (50, 90)), ((540, 330), (18, 80)), ((585, 330), (18, 80))]:
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (120, 150, 200), -1, cv2.LINE_AA)
    for centre, axes in [((750, 300), (80, 35)), ((835, 255), (28, 24)), ((690, 360), (9, 45)), ((805, 360), (9, 45))]:
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (40, 70, 110), -1, cv2.LINE_AA)
    return bytes(cv2.imencode(".png", picture)[1])


@pytest.mark.weights("centerface", "yolox_nano")
def test_a_portrait_beside_a_mannequin_and_a_dog_is_filled_whole_and_everybody_has_an_outcome(
    portrait_paths: tuple[Path, ...],
) -> None:
    job = job_from_overrides(FILL)
    source = job.decode(scene(next(path for path in portrait_paths if "astronaut" in path.name)), "scene.png")
    (found,) = job.detect([source])
    (result,) = job.replace([source], [found])
    assert isinstance(result, AnonymizedImage)
    assert len(result.outcomes) >= len(found) >= 2
    body = next(i for i, kind in enumerate(found.kind) if kind is Kind.BODY and found.face_of(i) is not None)
    x0, y0, x1, y1 = (int(v) for v in found.xyxy[body])
    assert result.replace_mask[y0 + 20 : y1 - 20, x0 + 20 : x1 - 20].all()
    assert (result.native[~result.replace_mask] == source.native[~result.replace_mask]).all()


def company(portraits: tuple[Path, ...]) -> bytes:
    """The scene with somebody before the person, and somebody whom the picture's edge cuts."""
    picture = cv2.imdecode(np.frombuffer(scene(portraits[0]), np.uint8), cv2.IMREAD_COLOR)
    other = cv2.resize(cv2.imread(str(portraits[-1])), (260, 260), interpolation=cv2.INTER_AREA)
    picture[160:420, 250:510] = other
    picture[160:420, 780:900] = other[:, :120]
    return bytes(cv2.imencode(".png", picture)[1])


@pytest.mark.weights("centerface", "yolox_nano")
def test_people_who_overlap_or_are_cut_a_mannequin_and_a_dog_come_out_of_the_embedded_generators_with_outcomes(
    portrait_paths: tuple[Path, ...],
) -> None:
    job = job_from_overrides(["target=both", "people=default", "residual=none", "n_attempts=1", "guard=none"])
    source = job.decode(company(portrait_paths), "company.png")
    (found,) = job.detect([source])
    (result,) = job.replace([source], [found])
    assert isinstance(result, AnonymizedImage)
    assert len(result.outcomes) >= len(found) >= 4
    assert {outcome.region for outcome in result.outcomes} == set(range(len(result.outcomes)))
    tall = [o for o in result.outcomes if o.detected_as is Kind.BODY and o.xyxy[3] - o.xyxy[1] >= 96]
    assert len(tall) >= 2
    assert [outcome.kind for outcome in tall] == [OutcomeKind.REPLACED] * len(tall)
    assert (result.native[~result.replace_mask] == source.native[~result.replace_mask]).all()
    assert (result.native != source.native).any(axis=2)[result.replace_mask].mean() > 0.95


@pytest.mark.slow
@pytest.mark.weights("centerface", "yolox_nano")
def test_a_crowd_of_fifty_with_somebody_of_12_px_has_outcomes_and_most_who_are_not_small_are_replaced() -> None:
    job = job_from_overrides(["target=both", "people=default", "residual=none", "body_residual=none", "guard=none"])
    noise = np.random.default_rng(0).integers(60, 200, (30, 48, 3), dtype=np.uint8)
    street = cv2.resize(noise, (960, 640), interpolation=cv2.INTER_CUBIC)
    source = job.decode(bytes(cv2.imencode(".png", street)[1]), "street.png")
    found = people(*crowd(49, 960, 640), Person(30, 40, 12, face=False))
    (result,) = job.replace([source], [found])
    assert isinstance(result, AnonymizedImage)
    assert len(result.outcomes) == len(found)
    bodies = [outcome for outcome in result.outcomes if outcome.detected_as is Kind.BODY]
    (tiny,) = [o for o in bodies if o.xyxy[3] - o.xyxy[1] < 13]
    assert (len(bodies), tiny.kind) == (50, OutcomeKind.FILLED)
    tall = [outcome.kind for outcome in bodies if outcome.xyxy[3] - outcome.xyxy[1] >= 96]
    assert tall.count(OutcomeKind.REPLACED) >= 0.8 * len(tall)


@pytest.mark.weights("centerface", "yolox_nano")
def test_the_user_s_boxes_are_faces_and_bodies_are_looked_for_all_the_same(portrait_paths: tuple[Path, ...]) -> None:
    job = job_from_overrides(FILL)
    data = scene(next(path for path in portrait_paths if "astronaut" in path.name))
    box = np.array([[850, 10, 890, 60]], np.float32)
    given = Found(box, np.ones(1, np.float32), np.full((1, 5, 2), np.nan, np.float32))
    job.boxes = UserBoxes("boxes.jsonl", "upright", {"scene.png": given})
    (found,) = job.detect([job.decode(data, "scene.png")])
    faces = [found.xyxy[i].tolist() for i, kind in enumerate(found.kind) if kind is Kind.FACE]
    assert faces == box.tolist()
    assert Kind.BODY in found.kind
    job.boxes_mode = "add"
    (found,) = job.detect([job.decode(data, "scene.png")])
    faces = [found.xyxy[i].tolist() for i, kind in enumerate(found.kind) if kind is Kind.FACE]
    assert box[0].tolist() in faces
    assert len(faces) == 2


@pytest.mark.weights("centerface", "yolox_nano")
def test_each_target_has_the_parts_that_it_needs() -> None:
    face, body, both = (
        job_from_overrides([*FILL[1:], f"target={target}"]).pipeline for target in ("face", "body", "both")
    )
    assert (face.body_guard, face.body_residual) == (None, None)
    assert not isinstance(face.generator, ByKind)
    assert isinstance(both.generator, ByKind)
    assert both.residual is not None
    assert body.residual is None
    assert body.detector.families == {"yolox"}
    assert both.detector.families == {"yolox", "centerface"}
    obscured = job_from_overrides(["target=both", "generator=blur", "people=default"]).pipeline
    assert obscured.generator.name == "blur"


@pytest.mark.weights("yolox_nano")
def test_a_second_look_with_the_same_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "body_residual").mkdir()
    (tmp_path / "body_residual" / "same.yaml").write_text(
        "_target_: understudy.residual.ResidualScan\ndetector: {_target_: understudy.detect.yolox.YoloX}\n"
    )
    overrides = ["input=a", "output=b", *FILL, "residual=none", "body_residual=same"]
    settings = read_anonymize(compose_config("anonymize", overrides, str(tmp_path)))
    with pytest.raises(ConfigError, match="people and body_residual both use yolox"):
        build_job(settings)


@pytest.mark.weights("centerface")
def test_settings_of_bodies_do_not_matter_to_a_run_that_replaces_faces() -> None:
    plain, other = (
        read_anonymize(compose_config("anonymize", ["input=a", "output=b", "generator=fill", *more]))
        for more in ([], ["people=mask_rcnn", "body_context=2"])
    )
    job = job_from_overrides(["generator=fill"])
    assert fingerprint(plain, job) == fingerprint(other, job)
    assert not {"target", "body_context", *OF_BODIES} & set(fingerprint(plain, job))


@pytest.mark.weights("yolox_nano")
def test_bodies_alone_need_no_part_that_looks_at_faces_or_draws_them() -> None:
    missing = ["detector.finder.weights=missing", "generator=latent", "generator.model=missing", "residual=mtcnn"]
    overrides = ["input=a", "output=b", *FILL, *missing, "target=body"]
    settings = read_anonymize(compose_config("anonymize", overrides))
    built = build_job(settings)
    assert built.job.pipeline.guard is None
    assert set(weight_digests(settings, built.job)) == {"yolox_nano"}
    assert not {"detector", "residual", "guard", "generator"} & set(fingerprint(settings, built.job))
    with pytest.raises(UnderstudyError, match="missing"):
        build_job(read_anonymize(compose_config("anonymize", [*overrides, "target=both"])))


@pytest.mark.weights("yolox_nano")
def test_a_baseline_that_obscures_does_so_with_bodies_and_their_generator_is_not_needed() -> None:
    overrides = ["input=a", "output=b", *FILL[:1], "generator=blur", "body_generator.model=missing", "target=body"]
    built = build_job(read_anonymize(compose_config("anonymize", overrides)))
    assert built.job.pipeline.generator.name == "blur"


def test_boxes_of_faces_are_refused_where_nobody_looks_at_faces() -> None:
    with pytest.raises(ConfigError, match="boxes are faces, and target=body looks at no faces"):
        read_anonymize(compose_config("anonymize", ["input=a", "output=b", "target=body", "boxes=c.jsonl"]))


@pytest.mark.weights("centerface", "yolox_nano")
def test_detect_lists_people_with_their_bodies_and_faces(
    portrait_paths: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scene.png").write_bytes(scene(next(path for path in portrait_paths if "astronaut" in path.name)))
    lines = {}
    for target in ("face", "body", "both"):
        output = tmp_path / f"{target}.jsonl"
        assert main(["detect", f"input={tmp_path / 'scene.png'}", f"output={output}", f"target={target}"]) == 0
        lines[target] = json.loads(output.read_text())
    both = lines["both"]
    pairs = [p for p in both["people"] if p["body"] is not None and p["face"] is not None]
    assert len(pairs) == 1
    body, face = both["bodies"][pairs[0]["body"]]["xyxy"], both["faces"][pairs[0]["face"]]["xyxy"]
    assert body[0] < face[0] < face[2] < body[2]
    assert len(both["people"]) == len(both["bodies"]) + len(both["faces"]) - 1
    assert "people" not in lines["face"]
    assert lines["face"]["faces"] == both["faces"]
    assert "faces" not in lines["body"]
    assert [p["body"] for p in lines["body"]["people"]] == list(range(len(lines["body"]["bodies"])))
    assert read_boxes(tmp_path / "both.jsonl").detections("scene.png", height=420, width=900) is not None
    with pytest.raises(InvalidInputError, match="target=body` looks for no faces"):
        read_boxes(tmp_path / "body.jsonl")
    assert f"{len(both['people'])} people ({len(both['bodies'])} bodies and" in capsys.readouterr().out


def test_a_second_look_for_bodies_is_taken_by_default_where_bodies_are_targets_and_opencv_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "body_residual=hog_people" in choose_residual(["target=both"])
    assert "body_residual=hog_people" not in choose_residual([])
    assert choose_residual(["target=body", "body_residual=none"]).count("body_residual=hog_people") == 0
    monkeypatch.delattr("cv2.HOGDescriptor")
    assert "body_residual=hog_people" not in choose_residual(["target=both"])


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="target must be one of face, body, both"):
        read_anonymize(compose_config("anonymize", ["input=a", "output=b", "target=dog"]))
