"""The folder of renders: resumed, shared between processes, readable by the training."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.errors import InvalidInputError
from understudy.people.output import (
    HEADS,
    LABELS,
    HeadResult,
    append_rows,
    count_rejected,
    finished_heads,
    png_bytes,
    read_rows,
    share_of,
    write_head,
)
from understudy.train.records import load_records


def result(index: int, n: int = 2) -> HeadResult:
    made = HeadResult(index, rejected=Counter({"too_dark": 1}), seconds=1.5)
    for k in range(n):
        name = f"0000/{index:06d}_{k}.png"
        made.files[name] = png_bytes(np.full((4, 4, 3), index, np.uint8))
        row = {"face_xyxy": [0, 0, 4, 4], "keypoints": [[1, 1]] * 5, "subject": f"0-{index}", "skin_tone": k}
        made.rows.append({"file": name, "index": index, **row})
    return made


def test_a_written_head_is_finished_and_its_pictures_and_rows_are_there(tmp_path: Path) -> None:
    write_head(tmp_path, result(7))
    assert finished_heads(tmp_path) == {7}
    assert np.asarray(Image.open(tmp_path / "0000/000007_1.png")).tolist() == np.full((4, 4, 3), 7).tolist()
    assert [row["skin_tone"] for row in read_rows(tmp_path / LABELS)] == [0, 1]


def test_the_training_reads_the_labels_as_they_are(tmp_path: Path) -> None:
    write_head(tmp_path, result(7))
    records = load_records(tmp_path / LABELS, ("skin_tone", "age_group"))
    assert [r.tags for r in records] == [(0, -1), (1, -1)]
    assert records[0].path.exists()
    assert records[0].subject == "0-7"


def test_a_head_without_a_kept_picture_is_finished_too(tmp_path: Path) -> None:
    write_head(tmp_path, result(3, n=0))
    assert finished_heads(tmp_path) == {3}
    assert read_rows(tmp_path / LABELS) == []


def test_rejections_are_counted_by_rule_over_all_heads(tmp_path: Path) -> None:
    write_head(tmp_path, result(1))
    write_head(tmp_path, result(2, n=1))
    assert count_rejected(tmp_path) == {"kept": 3, "too_dark": 2}


def test_a_line_cut_short_is_left_out_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    (tmp_path / HEADS).write_text('{"index": 1, "pictures": 0, "rejected": {}}\n{"index": 2, "pic')
    assert finished_heads(tmp_path) == {1}
    append_rows(tmp_path / HEADS, [{"index": 3, "pictures": 0, "rejected": {}}])
    assert finished_heads(tmp_path) == {1, 3}


def test_no_partial_file_is_left_beside_the_pictures(tmp_path: Path) -> None:
    write_head(tmp_path, result(1))
    assert sorted(p.name for p in (tmp_path / "0000").iterdir()) == ["000001_0.png", "000001_1.png"]


def test_rows_are_one_json_object_a_line(tmp_path: Path) -> None:
    append_rows(tmp_path / LABELS, [{"a": 1}, {"a": 2}])
    assert [json.loads(line)["a"] for line in (tmp_path / LABELS).read_text().splitlines()] == [1, 2]


def test_the_shares_of_all_processes_are_every_index_once() -> None:
    parts = [list(share_of(range(5, 25), f"{i}/3")) for i in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(5, 25))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("shard", ["3/3", "-1/2", "1", "a/b", "0/0"])
def test_a_shard_that_names_no_share_is_refused_with_its_value(shard: str) -> None:
    with pytest.raises(InvalidInputError, match=shard):
        share_of(range(4), shard)
