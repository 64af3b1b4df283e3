"""Parts of a collection: disjoint, complete, and joined only where they belong together."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from tests.faults.tiny_job import FINGERPRINT, TinyJob, save_picture

from understudy.batch.inputs import open_inputs
from understudy.batch.ledger import Status
from understudy.batch.local import RunSettings, run_local
from understudy.batch.shard import Census, Shard, parse_shard, shard_number
from understudy.batch.summary import RunSummary
from understudy.batch.tables import read_table
from understudy.cli import main as cli
from understudy.cli.merge import merge
from understudy.errors import ConfigError, OutputError, StateMismatchError

RECORD = {"config": {"seed": 0, "shard": "as given"}, "weights": {"tiny": "00ff"}}


def collection(root: Path, n: int = 12) -> Path:
    for k in range(n):
        save_picture(root / f"d{k % 3}" / f"{k}.png", k)
    (root / "notes.txt").write_text("no picture")
    return root


def run(source: Path, output: Path, shard: str | None, **more: object) -> RunSummary:
    given = {"fingerprint": FINGERPRINT, "record": RECORD, **more}
    settings = RunSettings(n_workers=1)
    return run_local(TinyJob(), open_inputs(source), output, settings=settings, shard=parse_shard(shard), **given)  # type: ignore[arg-type]


def files(output: Path) -> dict[str, bytes]:
    return {p.relative_to(output).as_posix(): p.read_bytes() for p in (output / "images").rglob("*") if p.is_file()}


def without_keys(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Digests have another key in each run, and the time is its own."""
    return [{k: v for k, v in row.items() if "digest" not in k and k != "seconds"} for row in rows]


def test_the_part_of_an_input_follows_from_its_id_alone() -> None:
    """Computed by hand: the first 8 bytes of the SHA-256 of 'a.jpg', modulo 16."""
    import hashlib

    assert shard_number("a.jpg", 16) == int(hashlib.sha256(b"a.jpg").hexdigest()[:16], 16) % 16
    assert shard_number("A.JPG", 16) == shard_number("a.jpg", 16), "what a file system may fold belongs together"


@pytest.mark.parametrize("n", [1, 2, 7, 16])
def test_parts_are_disjoint_complete_and_about_equal(n: int) -> None:
    ids = [f"d{k % 10}/{k}.jpg" for k in range(4000)]
    parts = [[i for i in ids if Shard(k, n).holds(i)] for k in range(1, n + 1)]
    assert sorted(i for part in parts for i in part) == sorted(ids)
    assert max(map(len, parts)) < 1.3 * 4000 / n


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_part_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="shard must be K/N"):
        parse_shard(text)


def test_the_census_does_not_depend_on_the_order_and_tells_collections_apart() -> None:
    def census(*ids: str) -> dict[str, object]:
        counted = Census()
        for image_id in ids:
            counted.add(image_id)
        return counted.record()

    assert census("a", "b", "c") == census("c", "a", "b")
    assert census("a", "b") != census("a", "c")
    assert census("a", "b") != census("a")


def test_parts_in_one_output_make_what_one_run_makes(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    run(source, tmp_path / "whole", None)
    for k in (3, 1, 2):
        run(source, tmp_path / "out", f"{k}/3")
    assert files(tmp_path / "out") == files(tmp_path / "whole")
    merge([str(tmp_path / "out")], str(tmp_path / "out"))
    for name in ("images", "regions"):
        joined, whole = (without_keys(read_table(tmp_path / folder, name)) for folder in ("out", "whole"))  # type: ignore[arg-type]
        assert joined == whole
    record = yaml.safe_load((tmp_path / "out/run.yaml").read_text())
    assert record["weights"] == RECORD["weights"]
    assert [part["shard"] for part in record["merged"]] == ["1/3", "2/3", "3/3"]
    assert sum(part["n_inputs"] for part in record["merged"]) == 13
    assert run(source, tmp_path / "out", None).n_resumed == 13
    with pytest.raises(OutputError, match="parts that were merged"):
        run(source, tmp_path / "out", "1/3")


def test_equal_files_of_different_parts_have_equal_digests_after_the_merge(tmp_path: Path) -> None:
    for k in range(8):
        save_picture(tmp_path / "in" / f"{k}.png", 5)
    for k in (1, 2):
        run(tmp_path / "in", tmp_path / "out", f"{k}/2")
    merge([str(tmp_path / "out")], str(tmp_path / "out"))
    assert len({row["source_digest"] for row in read_table(tmp_path / "out", "images")}) == 1


def test_parts_with_outputs_of_their_own_are_joined_into_another(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    for k in (1, 2):
        run(source, tmp_path / f"out-{k}", f"{k}/2")
    merge([str(tmp_path / f"out-{k}") for k in (1, 2)], str(tmp_path / "joined"))
    rows = read_table(tmp_path / "joined", "images")
    assert len(rows) == 13
    for row in rows:
        if row["output"]:
            assert (tmp_path / "joined" / str(row["output"])).is_file()


def refused(tmp_path: Path, *outputs: str) -> str:
    with pytest.raises(StateMismatchError) as caught:
        merge([str(tmp_path / name) for name in outputs], str(tmp_path / "joined"))
    assert not (tmp_path / "joined" / "ledger.db").exists()
    return str(caught.value)


def test_missing_and_repeated_parts_are_named(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    for k in (1, 4):
        run(source, tmp_path / f"out-{k}", f"{k}/4")
    assert "2 of 4 parts are missing: 2/4, 3/4" in refused(tmp_path, "out-1", "out-4")
    shutil.copytree(tmp_path / "out-1", tmp_path / "copy")
    assert "part 1/4 is given twice" in refused(tmp_path, "out-1", "copy")


def test_parts_of_other_settings_are_refused_and_the_setting_is_named(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    run(source, tmp_path / "out-1", "1/2")
    run(source, tmp_path / "out-2", "2/2", fingerprint={**FINGERPRINT, "weights": {"tiny": "beef"}})
    assert 'weights.tiny was "00ff", is "beef"' in refused(tmp_path, "out-1", "out-2")


def test_parts_of_another_division_or_another_collection_are_refused(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    run(source, tmp_path / "out-1", "1/2")
    run(source, tmp_path / "out-3", "2/3")
    assert "same number behind the slash" in refused(tmp_path, "out-1", "out-3")
    save_picture(source / "new.png", 99)
    run(source, tmp_path / "out-2", "2/2")
    assert "part 1/2 listed 7 inputs, part 2/2 listed 8" in refused(tmp_path, "out-1", "out-2")


def test_a_part_that_has_not_ended_and_a_whole_run_are_refused(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    run(source, tmp_path / "whole", None)

    def stop(_: object) -> None:
        raise OutputError("planted")

    with pytest.raises(OutputError, match="planted"):
        run(source, tmp_path / "out-1", "1/1", report=stop)
    assert "has not ended" in refused(tmp_path, "out-1")
    assert "is a whole run" in refused(tmp_path, "whole")


def test_two_parts_run_at_the_same_place_without_meeting_and_the_same_part_twice_is_refused(tmp_path: Path) -> None:
    from understudy.batch.lock import locked

    source = collection(tmp_path / "in", 6)
    (tmp_path / "out/shards/1-of-2").mkdir(parents=True)
    with locked(tmp_path / "out/shards/1-of-2"), pytest.raises(OutputError, match="not written by understudy"):
        run(source, tmp_path / "out", "1/2")
    shutil.rmtree(tmp_path / "out")
    run(source, tmp_path / "out", "2/2")
    (tmp_path / "out/shards/1-of-2").mkdir()
    with locked(tmp_path / "out/shards/1-of-2"):
        with pytest.raises(OutputError, match="in use"):
            run(source, tmp_path / "out", "1/2")
        assert run(source, tmp_path / "out", "2/2").counts[Status.DONE] > 0
    with pytest.raises(OutputError, match="written in parts"):
        run(source, tmp_path / "out", None)


def test_a_killed_part_removes_its_own_temporary_files_only(tmp_path: Path) -> None:
    from understudy.batch.ledger import Ledger

    source = collection(tmp_path / "in", 6)
    run(source, tmp_path / "out", "1/2")
    with_mine = Ledger(tmp_path / "out/shards/1-of-2")
    with_mine.mark(clean=False)
    with_mine.close()
    images = tmp_path / "out/images"
    for name in (".understudy-1of2-00ff.part", ".understudy-2of2-00ff.part"):
        (images / name).write_bytes(b"half")
    run(source, tmp_path / "out", "1/2")
    assert [path.name for path in images.iterdir() if path.is_file()] == [".understudy-2of2-00ff.part"]


def test_the_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = collection(tmp_path / "in", 6)
    run(source, tmp_path / "out", "1/2")
    assert cli.main(["merge", str(tmp_path / "out")]) == 1
    assert "1 of 2 parts are missing: 2/2" in capsys.readouterr().err
    run(source, tmp_path / "out", "2/2")
    assert cli.main(["status", f"output={tmp_path / 'out'}"]) == 0
    said = capsys.readouterr().out
    assert "7 inputs settled: 6 done, 1 skipped" in said
    assert "part 1/2: the run has ended" in said
    assert cli.main(["merge", str(tmp_path / "out")]) == 0
    assert "7 inputs of 2 parts are joined" in capsys.readouterr().out
    assert cli.main(["merge", str(tmp_path / "out")]) == 1
    assert "merged before" in capsys.readouterr().err


def test_a_ledger_in_a_state_folder_is_copied_to_the_output_and_fetched_from_there(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    run(source, tmp_path / "out", "1/1", state=tmp_path / "node-1")
    assert (tmp_path / "out/shards/1-of-1/images.parquet").is_file()
    assert run(source, tmp_path / "out", "1/1", state=tmp_path / "node-2").n_resumed == 7
    assert run(source, tmp_path / "out", "1/1", state=tmp_path / "node-1").n_resumed == 7
    with pytest.raises(OutputError, match="belongs to the output"):
        run(source, tmp_path / "another", "1/1", state=tmp_path / "node-1")
    merge([str(tmp_path / "out")], str(tmp_path / "out"))
    assert len(read_table(tmp_path / "out", "images")) == 7
