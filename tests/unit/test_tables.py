"""The published tables: their columns, what never gets into them, and writing them whole."""

from __future__ import annotations

import builtins
import hashlib
import hmac
import json
import os
from pathlib import Path

import pytest

from understudy.batch import tables
from understudy.batch.ledger import Ledger, Row, Status
from understudy.batch.tables import IMAGE_COLUMNS, REGION_COLUMNS, read_table, write_run_file, write_tables
from understudy.errors import OutputError

DIGEST = hashlib.sha256(b"source").digest()
ROWS = [
    Row(
        'b,\n"x".jpg',
        "/secret/place/b.jpg",
        Status.DONE,
        digest=DIGEST,
        source_bytes=6,
        width=20,
        height=10,
        output="images/b.jpg",
        output_key="images/b.jpg",
        output_digest=hashlib.sha256(b"out").digest(),
        output_bytes=3,
        n_regions=1,
        n_replaced=1,
        seconds=0.25,
        notes=("one", "two"),
        regions=(
            {
                "region": 0,
                "xyxy": [1.0, 2.0, 3.5, 4.0],
                "kind": "face",
                "confidence": 0.9,
                "outcome": "replaced",
                "attempts": 2,
                "reason": "",
                "found_by": "residual",
                "readings": {
                    "identity_distance": 0.75,
                    "identity": "other",
                    "sharpness": 3.0,
                    "seed": 12345678901234567890,
                    "embedding_of_original": "[0.1, 0.2]",
                    "pixels": [1, 2, 3],
                    "long": "x" * 1000,
                },
            },
        ),
    ),
    Row(os.fsdecode(b"\xff.jpg"), "/secret/place/\udcff.jpg", Status.FAILED, error="truncated"),
]


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = Ledger(tmp_path)
    opened.record(ROWS)
    yield opened
    opened.close()


@pytest.fixture
def no_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: object, **more: object) -> object:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)


def test_parquet_holds_one_row_for_each_input_and_each_region(tmp_path: Path, ledger: Ledger) -> None:
    pytest.importorskip("pyarrow")
    assert [path.name for path in write_tables(tmp_path, ledger)] == ["images.parquet", "regions.parquet"]
    images, regions = read_table(tmp_path, "images"), read_table(tmp_path, "regions")
    assert [list(record) for record in images] == [[name for name, _ in IMAGE_COLUMNS]] * 2
    assert [list(record) for record in regions] == [[name for name, _ in REGION_COLUMNS]]
    assert images[0]["image_id"] == 'b,\\n"x".jpg'
    assert images[1]["image_id"] == "\\xff.jpg"
    assert (images[0]["width"], images[0]["n_replaced"], images[0]["notes"]) == (20, 1, "one\ntwo")
    assert (images[1]["status"], images[1]["error"], images[1]["output"]) == ("failed", "truncated", None)
    assert (regions[0]["x1"], regions[0]["attempts"], regions[0]["found_by"]) == (3.5, 2, "residual")
    assert (regions[0]["identity_distance"], regions[0]["face_confidence"]) == (0.75, None)


def test_without_pyarrow_csv_holds_the_same(tmp_path: Path, ledger: Ledger, no_pyarrow: None) -> None:
    assert [path.name for path in write_tables(tmp_path, ledger)] == ["images.csv", "regions.csv"]
    images, regions = read_table(tmp_path, "images"), read_table(tmp_path, "regions")
    assert [record["image_id"] for record in images] == ['b,\\n"x".jpg', "\\xff.jpg"]
    assert list(images[0]) == [name for name, _ in IMAGE_COLUMNS]
    assert (images[0]["notes"], images[1]["output"]) == ("one\ntwo", "")
    assert (regions[0]["x1"], regions[0]["identity"]) == ("3.5", "other")


def test_digests_are_published_only_under_the_run_key(tmp_path: Path, ledger: Ledger, no_pyarrow: None) -> None:
    write_tables(tmp_path, ledger)
    expected = hmac.new(ledger.run_key, DIGEST, "sha256").hexdigest()
    assert read_table(tmp_path, "images")[0]["source_digest"] == expected
    text = (tmp_path / "images.csv").read_text()
    assert DIGEST.hex() not in text
    assert ledger.run_key.hex() not in text
    assert "secret" not in text


def test_only_single_values_that_are_no_seed_and_no_embedding_are_published(
    tmp_path: Path, ledger: Ledger, no_pyarrow: None
) -> None:
    write_tables(tmp_path, ledger)
    readings = json.loads(str(read_table(tmp_path, "regions")[0]["readings"]))
    assert readings == {"identity_distance": 0.75, "sharpness": 3.0, "identity": "other"}


def test_tables_of_the_other_format_do_not_stay_behind(tmp_path: Path, ledger: Ledger) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "images.csv").write_text("old")
    write_tables(tmp_path, ledger)
    assert sorted(path.name for path in tmp_path.glob("*.*") if "ledger" not in path.name) == [
        "images.parquet",
        "regions.parquet",
    ]


def test_more_rows_than_a_page_are_all_written(tmp_path: Path, ledger: Ledger) -> None:
    ledger.record([Row(f"m{k:05d}", "", Status.SKIPPED) for k in range(2500)])
    write_tables(tmp_path, ledger)
    assert len(read_table(tmp_path, "images")) == 2502


def test_an_empty_run_writes_empty_tables(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    write_tables(tmp_path, ledger)
    ledger.close()
    assert read_table(tmp_path, "images") == []


def test_a_table_that_cannot_be_written_leaves_the_one_of_before(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tables(tmp_path, ledger)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.parquet")}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tables.os, "fsync", fail)
    with pytest.raises(OutputError, match="no space left"):
        write_tables(tmp_path, ledger)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.parquet")} == before
    assert list(tmp_path.glob(".*.part")) == []


def test_a_folder_without_tables_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"neither images\.parquet nor images\.csv"):
        read_table(tmp_path, "images")


def test_the_run_file_is_yaml_in_the_given_order(tmp_path: Path) -> None:
    path = write_run_file(tmp_path, {"versions": {"understudy": "0.1"}, "config": {"b": 1, "a": [1, 2]}})
    assert path.read_text() == "versions:\n  understudy: '0.1'\nconfig:\n  b: 1\n  a:\n  - 1\n  - 2\n"
