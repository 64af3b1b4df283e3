"""An audit from folders to figures, on drawn faces whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.unit.audit_stand_ins import draw, stand_ins, write

from understudy.audit.gates import Gate
from understudy.audit.grouping import Grouping, by_group
from understudy.audit.labels import LabelFormat
from understudy.audit.resampling import Plan
from understudy.audit.run import AuditJob, AuditResult, open_collections, run_audit
from understudy.audit.sections import Options, Used
from understudy.audit.sections_attributes import _fitting
from understudy.audit.signing import sign_report
from understudy.audit.table import Status
from understudy.errors import InvalidInputError

N = 24
NAMES = [f"{i:02d}.png" for i in range(N)]


def faces(start: int = 0) -> dict[str, NDArray[np.uint8]]:
    return {name: draw(start + i) for i, name in enumerate(NAMES)}


def audit(
    before: Path, after: Path, null: Path | None = None, *, used: Used | None = None, **settings: object
) -> AuditResult:
    options = Options(plan=Plan(seed=0, n_boot=40, n_permutations=49), groups=("tone",))
    given = {"options": options, "readers": stand_ins(), **settings}
    job = AuditJob(before=str(before), after=str(after), **given)  # type: ignore[arg-type]  # each of its own type
    return run_audit(
        job, used or Used(), open_collections(str(before), str(after), None if null is None else str(null))
    )


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return write(tmp_path / "before", faces())


def value(result: AuditResult, metric: str, attribute: str = "", group: str = "overall") -> float:
    row = result.table.get(metric, attribute, group)
    assert row is not None, (metric, attribute, group)
    return row.value


def test_pictures_that_did_not_change_are_all_recognised_and_all_residual(before: Path, tmp_path: Path) -> None:
    result = audit(before, write(tmp_path / "after", faces()))
    assert value(result, "rank1_rate", "colours") == 1.0
    assert value(result, "residual_share") == 1.0
    assert value(result, "anonymiser_miss_share", "pixels") == 1.0
    assert value(result, "context_changed_share") == 0.0
    assert value(result, "context_identical_share") == 1.0
    assert value(result, "mean_drift", "lightness") == 0.0
    assert value(result, "keypoint_nme") == 0.0
    assert value(result, "average_precision", "drawn") == 1.0


def test_other_faces_in_their_place_are_recognised_by_chance_and_none_is_residual(before: Path, tmp_path: Path) -> None:
    result = audit(before, write(tmp_path / "after", faces(1000)))
    assert value(result, "rank1_rate", "colours") <= 0.2
    assert value(result, "residual_share") == 0.0
    assert value(result, "face_lost_share") == 0.0
    assert value(result, "raw_rank1_rate", "colours") > 0.8


def test_faces_that_were_painted_over_are_lost_and_the_rest_is_still_reported(before: Path, tmp_path: Path) -> None:
    painted = {name: picture.copy() for name, picture in faces().items()}
    for picture in painted.values():
        picture[20:80, 24:72] = 0
    result = audit(before, write(tmp_path / "after", painted))
    assert value(result, "face_lost_share") == 1.0
    assert value(result, "face_not_found_share", "colours") == 1.0
    assert value(result, "rank1_rate", "colours") == 0.0
    row = result.table.get("mean_drift", "lightness")
    assert row is not None
    assert row.status is Status.NOT_MEASURED
    assert row.n_missing == N
    assert any(f"{N} of {N} faces of before have no face" in said for said in result.missing["faces"])


def test_a_planted_change_of_lightness_is_found_with_an_interval_that_covers_it(before: Path, tmp_path: Path) -> None:
    lighter = {}
    for i, (name, picture) in enumerate(faces().items()):
        changed = picture.astype(np.int64)
        changed[20:80, 24:72] = (changed[20:80, 24:72] * 0.5 + 60 + i % 3).astype(np.int64)
        lighter[name] = changed.astype(np.uint8)
    null = write(tmp_path / "null", faces())
    result = audit(before, write(tmp_path / "after", lighter), null)
    row = result.table.get("mean_drift", "lightness")
    assert row is not None
    truth = np.mean(
        [
            a[20:80, 24:72].mean() - b[20:80, 24:72].mean()
            for a, b in zip(lighter.values(), faces().values(), strict=True)
        ]
    )
    assert row.value == pytest.approx(truth, abs=0.01)
    assert row.ci_low <= truth <= row.ci_high
    assert row.null_value == 0.0
    assert row.n == N


def test_figures_by_group_name_each_group_and_withhold_those_of_few_people(before: Path, tmp_path: Path) -> None:
    result = audit(before, write(tmp_path / "after", faces()))
    rows = [row for row in result.table.rows if row.metric == "rank1_rate" and row.group != "overall"]
    assert {row.group for row in rows} == {"tone=dark", "tone=light"}
    assert sum(row.n for row in rows) == N
    assert all((row.status is Status.TOO_FEW) == (row.n < 10) for row in rows)


def test_an_attacker_that_the_guard_used_is_marked_and_cannot_carry_a_gate(before: Path, tmp_path: Path) -> None:
    gate = Gate("privacy", "rank1_rate", limit=0.5, minimum_n=10)
    after = write(tmp_path / "after", faces(1000))
    free = audit(before, after, gates=(gate,))
    marked = audit(before, after, gates=(gate,), used=Used(embedders=frozenset({"colours"})))
    assert free.gates[0].holds
    assert not marked.gates[0].holds
    assert "itself selected" in marked.gates[0].reason
    row = marked.table.get("rank1_rate", "colours")
    assert row is not None
    assert row.status is Status.SELECTED


def test_pictures_without_partner_and_broken_ones_are_counted_and_named(before: Path, tmp_path: Path) -> None:
    pictures = faces()
    del pictures["03.png"]
    after = write(tmp_path / "after", {**pictures, "extra.png": draw(5)})
    (after / "04.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (after / "notes.txt").write_text("no picture")
    result = audit(before, after)
    said = " | ".join(result.missing["pictures"])
    assert "1 pictures of before have no partner in after: 03.png" in said
    assert "1 pictures of after have no partner in before: extra.png" in said
    assert "1 pairs could not be read: 04.png" in said
    assert "1 files of after are no pictures: notes.txt is no picture" in said
    assert result.collections["before"]["n_faces"] == N - 2


def test_pictures_of_another_size_are_compared_where_they_can_be(before: Path, tmp_path: Path) -> None:
    import cv2

    larger = {n: np.asarray(cv2.resize(p, (96, 96)), np.uint8) for n, p in faces().items()}
    larger["00.png"] = np.asarray(cv2.resize(larger["00.png"], (97, 96)), np.uint8)
    result = audit(before, write(tmp_path / "after", larger))
    assert any("1 pictures differ in size" in said for said in result.missing["fidelity"])
    row = result.table.get("context_mean_abs")
    assert row is not None
    assert (row.n, row.n_missing) == (N - 1, 1)


def test_no_face_at_all_ends_with_a_message(tmp_path: Path) -> None:
    blank = {name: np.full((96, 96, 3), 90, np.uint8) for name in NAMES[:3]}
    before, after = write(tmp_path / "before", blank), write(tmp_path / "after", blank)
    with pytest.raises(InvalidInputError, match="no face was found in any of the 3 pictures of before"):
        audit(before, after)


def test_three_people_are_reported_without_intervals_that_mean_nothing(tmp_path: Path) -> None:
    few = {name: draw(i) for i, name in enumerate(NAMES[:3])}
    result = audit(write(tmp_path / "before", few), write(tmp_path / "after", few))
    assert value(result, "rank1_rate", "colours") == 1.0
    row = result.table.get("tar_at_far_1e-3", "colours")
    assert row is not None
    assert row.status is Status.NOT_MEASURED
    head = result.table.get("rank1_rate", "colours+ridge")
    assert head is not None
    assert head.status is Status.TOO_FEW


def test_labels_make_groups_and_people_with_two_pictures_are_the_raw_control(before: Path, tmp_path: Path) -> None:
    lines = ["picture,person,side", *(f"{n},p{i // 2},{'left' if i % 4 < 2 else 'right'}" for i, n in enumerate(NAMES))]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(lines))
    options = Options(plan=Plan(seed=0, n_boot=40, n_permutations=49))
    result = audit(
        before,
        write(tmp_path / "after", faces()),
        labels=labels,
        label_format=LabelFormat(subject="person"),
        options=options,
    )
    assert value(result, "gallery_size", "colours") == N / 2
    assert value(result, "raw_rank1_rate", "colours") < 0.3, "the other picture of a person looks like nobody here"
    assert {row.group for row in result.table.rows if row.attribute == "colours"} >= {"side=left", "side=right"}


def test_labels_that_belong_to_nobody_are_said_and_the_rest_is_reported(before: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("picture,side\nother/1.jpg,left\n")
    result = audit(before, write(tmp_path / "after", faces()), labels=labels)
    assert any("no row of labels belongs to a picture" in said for said in result.missing["labels"])
    assert value(result, "rank1_rate", "colours") == 1.0


def test_the_same_audit_twice_gives_the_same_figures_from_the_cache_and_without(before: Path, tmp_path: Path) -> None:
    after = write(tmp_path / "after", faces(1000))
    first = audit(before, after, cache_folder=tmp_path / "cache")
    second = audit(before, after, cache_folder=tmp_path / "cache", n_workers=3)
    third = audit(before, after)
    assert first.table == second.table == third.table


def test_the_document_is_plain_json_that_holds_no_embedding_and_signs(before: Path, tmp_path: Path) -> None:
    result = audit(before, write(tmp_path / "after", faces(1000)))
    document = sign_report(result.document(config={}, weights={}, software={}))
    again = json.loads(json.dumps(document, allow_nan=False))
    assert again == document
    assert set(document) >= {"format", "verdict", "gates", "table", "plots", "collections", "missing", "how"}
    assert set(document["plots"]) >= {"distributions", "transitions", "roc", "cmc", "groups"}
    counts = document["plots"]["distributions"]["tone"]["before"]
    assert sum(counts) == N
    metrics = {row["metric"] for row in document["table"]}
    assert metrics <= set(document["how"]), metrics - set(document["how"])


def test_a_small_group_keeps_its_count_and_a_large_one_that_nobody_read_has_none() -> None:
    grouping = Grouping("tone", ("dark", "light"), np.array([0, 1, 1, 1]))
    read = np.array([True, True, False, False])
    kept = _fitting(grouping, np.arange(4), read, 2)
    assert kept.index.tolist() == [0, -1, -1, -1]
    assert [(v.name, v.n, v.value) for v in by_group(len, kept, np.arange(4), 2)] == [
        ("dark", 1, None),
        ("light", 0, None),
    ]
