"""Tar shards and Parquet files with pictures in them: pictures replaced, all else as it was, in order, whole or not."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from tests.faults.tiny_job import FINGERPRINT, TinyJob, expected_bytes, save_picture

from understudy.batch import keeper as keeper_module
from understudy.batch.inputs import open_inputs
from understudy.batch.ledger import Status
from understudy.batch.local import RunSettings, run_local
from understudy.batch.summary import RunSummary
from understudy.batch.tables import read_table
from understudy.errors import OutputError, StateMismatchError


def run(source: Path, output: Path, job: TinyJob | None = None, **more: object) -> RunSummary:
    settings = more.pop("settings", RunSettings(n_workers=2, micro_batch=4, max_pictures=4))
    given = open_inputs(source)
    return run_local(job or TinyJob(), given, output, settings=settings, fingerprint=FINGERPRINT, **more)  # type: ignore[arg-type]


def picture(tmp_path: Path, seed: int) -> bytes:
    return save_picture(tmp_path / f"made-{seed}", seed).read_bytes()


def make_tar(path: Path, members: list[tuple[str, bytes]], form: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for k, (name, data) in enumerate(members):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode, info.uid = len(data), 1_600_000_000 + k, 0o640, 7
            archive.addfile(info, io.BytesIO(data))
    return path


def samples(tmp_path: Path, n: int, first: int = 0) -> list[tuple[str, bytes]]:
    members = []
    for k in range(first, first + n):
        members += [
            (f"{k:06d}.png", picture(tmp_path, k)),
            (f"{k:06d}.cls", str(k).encode()),
            (f"{k:06d}.json", json.dumps({"caption": f"no {k} \u00e9"}).encode()),
        ]
    return members


def contents(path: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as archive:
        return [(info.name, archive.extractfile(info).read()) for info in archive]  # type: ignore[union-attr]


def anonymised(tmp_path: Path, name: str, data: bytes) -> bytes:
    path = tmp_path / "one"
    path.write_bytes(data)
    return expected_bytes(path, name)


def test_a_shard_is_written_again_with_labels_and_order_untouched(tmp_path: Path) -> None:
    members = samples(tmp_path, 7)
    make_tar(tmp_path / "in" / "a" / "000.tar", members)
    make_tar(tmp_path / "in" / "001.tar", samples(tmp_path, 3, 7))
    summary = run(tmp_path / "in", tmp_path / "out")
    assert (summary.exit_code, summary.counts) == (0, {Status.DONE: 10})
    expected = [(name, anonymised(tmp_path, name, data) if name.endswith("png") else data) for name, data in members]
    assert contents(tmp_path / "out/images/a/000.tar") == expected
    rows = read_table(tmp_path / "out", "images")
    assert [row["image_id"] for row in rows][:4] == [
        *(f"001.tar/{k:06d}.png" for k in (7, 8, 9)),
        "a/000.tar/000000.png",
    ]
    assert not (tmp_path / "out" / ".understudy-staging").exists()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_members_that_are_no_pictures_keep_header_and_content_bit_by_bit(tmp_path: Path, form: int) -> None:
    long_name = "/".join(["folder" * 9, "x" * 90, "label.txt"])
    members = [("k.png", picture(tmp_path, 1)), (long_name, b"label" * 300), ("k.txt", b"")]
    source = make_tar(tmp_path / "in" / "s.tar", members, form)
    run(tmp_path / "in", tmp_path / "out")
    raw, again = source.read_bytes(), (tmp_path / "out/images/s.tar").read_bytes()
    with tarfile.open(source) as before, tarfile.open(tmp_path / "out/images/s.tar") as after:
        for one, other in list(zip(before.getmembers(), after.getmembers(), strict=True))[1:]:
            n = one.offset_data - one.offset + one.size
            assert raw[one.offset : one.offset + n] == again[other.offset : other.offset + n]
        first, same = before.getmembers()[0], after.getmembers()[0]
        assert (same.name, same.mtime, same.mode, same.uid) == (first.name, first.mtime, first.mode, first.uid)
    assert len(again) % tarfile.RECORDSIZE == 0


def test_a_picture_that_fails_is_left_out_and_its_labels_stay(tmp_path: Path) -> None:
    members = [
        ("0.png", picture(tmp_path, 0)),
        ("raise-replace.png", picture(tmp_path, 1)),
        ("raise-replace.cls", b"5"),
        ("corrupt.png", b"no picture at all"),
        ("corrupt.cls", b"6"),
        ("film.mp4", b"\0\0\0\x18ftypmp42" + bytes(64)),
    ]
    make_tar(tmp_path / "in" / "s.tar", members)
    summary = run(tmp_path / "in", tmp_path / "out")
    assert summary.exit_code == 3
    assert summary.counts == {Status.DONE: 1, Status.QUARANTINED: 1, Status.FAILED: 1, Status.REFUSED: 1}
    assert [name for name, _ in contents(tmp_path / "out/images/s.tar")] == [
        "0.png",
        "raise-replace.cls",
        "corrupt.cls",
    ]
    again = run(tmp_path / "in", tmp_path / "out")
    assert (again.n_resumed, again.exit_code, len(again.failures)) == (4, 3, 3)


@pytest.mark.parametrize("damage", ["cut", "header", "end"])
def test_a_damaged_shard_is_one_failed_input_and_nothing_is_written_for_it(tmp_path: Path, damage: str) -> None:
    source = make_tar(tmp_path / "in" / "bad.tar", samples(tmp_path, 4))
    make_tar(tmp_path / "in" / "good.tar", samples(tmp_path, 1))
    raw = bytearray(source.read_bytes())
    with tarfile.open(source) as archive:
        third = archive.getmembers()[3]
    if damage == "cut":
        source.write_bytes(raw[: third.offset_data + 10])
    else:
        raw[third.offset + (148 if damage == "header" else 0)] ^= 0x55
        source.write_bytes(raw if damage == "header" else raw[: third.offset] + b"trailing garbage" * 64)
    summary = run(tmp_path / "in", tmp_path / "out")
    assert summary.counts == {Status.DONE: 1, Status.FAILED: 1}
    assert summary.failures[0][0] == "bad.tar"
    assert sorted(path.name for path in (tmp_path / "out/images").iterdir()) == ["good.tar"]


def test_names_that_come_twice_or_lead_elsewhere_stay_in_their_shard(tmp_path: Path) -> None:
    members = [("../../x.png", picture(tmp_path, 0)), ("a.png", picture(tmp_path, 1)), ("a.png", picture(tmp_path, 2))]
    make_tar(tmp_path / "in" / "s.tar", members)
    assert run(tmp_path / "in", tmp_path / "out").counts == {Status.DONE: 3}
    expected = [(name, anonymised(tmp_path, name, data)) for name, data in members]
    assert contents(tmp_path / "out/images/s.tar") == expected
    assert not list(tmp_path.rglob("x.png"))


def test_a_renamed_picture_keeps_its_sample(tmp_path: Path) -> None:
    make_tar(tmp_path / "in" / "s.tar", [("0.gif", picture(tmp_path, 0)), ("0.cls", b"1")])
    run(tmp_path / "in", tmp_path / "out")
    assert [name for name, _ in contents(tmp_path / "out/images/s.tar")] == ["0.gif.png", "0.cls"]


def test_a_stopped_run_goes_on_within_the_shard_and_writes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tar(tmp_path / "in" / "s.tar", samples(tmp_path, 12))
    run(tmp_path / "in", tmp_path / "whole")
    n_seen = 0

    def stop(event: object) -> None:
        nonlocal n_seen
        n_seen += 1
        if n_seen == 5:
            raise OutputError("planted")

    with pytest.raises(OutputError, match="planted"):
        run(tmp_path / "in", tmp_path / "out", report=stop)
    assert not (tmp_path / "out/images/s.tar").exists()
    job = TinyJob()
    summary = run(tmp_path / "in", tmp_path / "out", job)
    assert summary.n_resumed >= 5
    assert sum(key.startswith("replace") for key in job.calls) == 12 - summary.n_resumed
    assert (tmp_path / "out/images/s.tar").read_bytes() == (tmp_path / "whole/images/s.tar").read_bytes()


def test_a_shard_that_cannot_be_put_together_has_not_its_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tar(tmp_path / "in" / "s.tar", samples(tmp_path, 3))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("understudy.batch.tar._write_member", full)
    with pytest.raises(OutputError, match=r"(?i)no space left"):
        run(tmp_path / "in", tmp_path / "out")
    assert not list((tmp_path / "out/images").iterdir())
    monkeypatch.undo()
    assert run(tmp_path / "in", tmp_path / "out").n_resumed == 3
    assert len(contents(tmp_path / "out/images/s.tar")) == 9


def test_a_finished_shard_is_not_opened_again_and_a_changed_one_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tar(tmp_path / "in" / "s.tar", samples(tmp_path, 3))
    run(tmp_path / "in", tmp_path / "out")
    opened = []
    monkeypatch.setattr(keeper_module, "open_container", lambda *a: opened.append(a))
    assert run(tmp_path / "in", tmp_path / "out").n_resumed == 3
    source.touch()
    assert run(tmp_path / "in", tmp_path / "out").n_resumed == 3
    assert opened == []
    monkeypatch.undo()
    make_tar(source, samples(tmp_path, 4))
    with pytest.raises(StateMismatchError, match=r"'s\.tar' changed"):
        run(tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out", settings=RunSettings(resume="restart")).counts == {Status.DONE: 4}
    assert len(contents(tmp_path / "out/images/s.tar")) == 12


def test_what_is_called_a_shard_and_is_none_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.tar").write_bytes(b"not an archive")
    (tmp_path / "in" / "notes.parquet").write_bytes(b"not a table")
    assert run(tmp_path / "in", tmp_path / "out").counts == {Status.SKIPPED: 2}


def make_parquet(path: Path, columns: dict[str, object], **more: object) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    features = {"info": {"features": {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}}}}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(table, path, **more)
    return path


def test_a_datasets_file_keeps_its_schema_metadata_row_groups_and_other_columns(tmp_path: Path) -> None:
    pictures = [picture(tmp_path, k) for k in range(7)]
    images = [{"bytes": data, "path": f"{k}.png"} for k, data in enumerate(pictures)]
    images[2], images[5] = None, {"bytes": b"broken", "path": "5.png"}  # type: ignore[call-overload]
    columns = {"label": list(range(7)), "image": images, "tags": [["a", "b"], [], None, ["c"], [], [], []]}
    make_parquet(tmp_path / "in" / "train.parquet", columns, row_group_size=3, compression="zstd")
    summary = run(tmp_path / "in", tmp_path / "out")
    assert summary.counts == {Status.DONE: 5, Status.FAILED: 1}
    import pyarrow.parquet as pq

    before, after = (pq.ParquetFile(tmp_path / folder / "train.parquet") for folder in ("in", "out/images"))
    assert after.schema_arrow.equals(before.schema_arrow, check_metadata=True)
    assert [after.metadata.row_group(k).num_rows for k in range(3)] == [3, 3, 1]
    assert after.metadata.row_group(0).column(0).compression == "ZSTD"
    found = after.read().to_pydict()
    assert (found["label"], found["tags"]) == (columns["label"], columns["tags"])
    expected: list[object] = [
        {"bytes": anonymised(tmp_path, f"{k}.png", data), "path": f"{k}.png"} for k, data in enumerate(pictures)
    ]
    expected[2] = expected[5] = None
    assert found["image"] == expected


def test_a_column_of_plain_bytes_is_one_of_pictures_where_it_holds_them(tmp_path: Path) -> None:
    data = picture(tmp_path, 1)
    make_parquet(tmp_path / "in" / "p.parquet", {"jpg": [data, b"\0\1\2"], "blob": [b"x", b"y"]})
    assert run(tmp_path / "in", tmp_path / "out").counts == {Status.DONE: 1}
    import pyarrow.parquet as pq

    found = pq.read_table(tmp_path / "out/images/p.parquet").to_pydict()
    assert found == {"jpg": [anonymised(tmp_path, "", data), b"\0\1\2"], "blob": [b"x", b"y"]}


def test_pictures_in_lists_are_not_reached_so_nothing_is_written(tmp_path: Path) -> None:
    cell = {"bytes": picture(tmp_path, 1), "path": "a.png"}
    make_parquet(tmp_path / "in" / "p.parquet", {"images": [[cell, cell]]})
    summary = run(tmp_path / "in", tmp_path / "out")
    assert summary.counts == {Status.FAILED: 1}
    assert "lists or structs" in summary.failures[0][2]
    assert not list((tmp_path / "out/images").iterdir())


def test_an_image_folder_keeps_its_table_and_other_files_are_not_copied(tmp_path: Path) -> None:
    save_picture(tmp_path / "in" / "train" / "a.png", 1)
    table = b"file_name,label\na.png,1\n"
    (tmp_path / "in" / "train" / "metadata.csv").write_bytes(table)
    (tmp_path / "in" / "notes.csv").write_bytes(b"file_name\n")
    (tmp_path / "in" / "metadata.jsonl").write_bytes(b'{"other": 1}\n')
    summary = run(tmp_path / "in", tmp_path / "out")
    assert summary.counts == {Status.DONE: 2, Status.SKIPPED: 2}
    names = sorted(p.relative_to(tmp_path / "out/images").as_posix() for p in (tmp_path / "out").rglob("images/**/*.*"))
    assert names == ["train/a.png", "train/metadata.csv"]
    assert (tmp_path / "out/images/train/metadata.csv").read_bytes() == table
    assert run(tmp_path / "in", tmp_path / "out").n_resumed == 4
