"""Packing renders: shards that WebDataset reads, and one table of every label."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from understudy.errors import InvalidInputError
from understudy.people.output import HeadResult, png_bytes, write_head
from understudy.people.pack import main, pack, unique_rows

parquet = pytest.importorskip("pyarrow.parquet")


def folder_of(tmp_path: Path, n_heads: int) -> Path:
    folder = tmp_path / "people"
    for index in range(n_heads):
        stem = f"0000/{index:06d}_0"
        picture = png_bytes(np.full((2, 2, 3), index, np.uint8))
        row = {
            "file": f"{stem}_0.png", "masks": f"{stem}_masks.png", "foreground": f"{stem}_alpha.png",
            "linear": None, "index": index, "age": 20.0 + index,
            "keypoints": [[1.0, 2.0]] * 5, "light": {"key": [1, 1, 1]},
        }  # fmt: skip
        names = (f"{stem}_0.png", f"{stem}_masks.png", f"{stem}_alpha.png")
        write_head(folder, HeadResult(index, dict.fromkeys(names, picture), [row]))
    return folder


def test_the_files_of_a_picture_share_a_key_and_stand_together(tmp_path: Path) -> None:
    pack(folder_of(tmp_path, 3), tmp_path / "out", 2)
    with tarfile.open(tmp_path / "out" / "people-00000.tar") as tar:
        names = tar.getnames()
        label = json.loads(tar.extractfile("000001_0_0.json").read())
    assert names == [f"00000{i}_0_0.{kind}" for i in (0, 1) for kind in ("png", "json", "alpha.png", "masks.png")]
    assert label["age"] == 21.0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "labels.parquet", "people-00000.tar", "people-00001.tar",
    ]  # fmt: skip


def test_the_table_holds_every_label_and_its_shard(tmp_path: Path) -> None:
    pack(folder_of(tmp_path, 3), tmp_path / "out", 2)
    table = parquet.read_table(tmp_path / "out" / "labels.parquet").to_pylist()
    assert [row["age"] for row in table] == [20.0, 21.0, 22.0]
    assert [row["shard"] for row in table] == ["people-00000.tar"] * 2 + ["people-00001.tar"]
    assert table[0]["keypoints"] == [[1.0, 2.0]] * 5
    assert json.loads(table[0]["light"]) == {"key": [1, 1, 1]}


def test_the_same_folder_packs_to_the_same_bytes(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2)
    for name in ("a", "b"):
        pack(folder, tmp_path / name, 5)
    assert (tmp_path / "a" / "people-00000.tar").read_bytes() == (tmp_path / "b" / "people-00000.tar").read_bytes()


def test_of_a_picture_written_twice_the_later_row_counts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    labels = folder / "labels.jsonl"
    row = json.loads(labels.read_text())
    labels.write_text(labels.read_text() + json.dumps({**row, "age": 77.0}) + "\n")
    assert [r["age"] for r in unique_rows(folder)] == [77.0]


def test_an_empty_folder_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="make render"):
        pack(tmp_path, tmp_path / "out", 5)


def test_the_command_says_how_much_was_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(folder_of(tmp_path, 2)), str(tmp_path / "out")])
    assert "1 shards" in capsys.readouterr().out
