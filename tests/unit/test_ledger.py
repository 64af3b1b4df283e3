"""The ledger: what it keeps, what it compares, and how it says that it cannot be used."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from understudy.batch import ledger as ledger_module
from understudy.batch.ledger import Ledger, Row, Status, is_local
from understudy.errors import OutputError, StateMismatchError

FULL = Row(
    image_id="d/a.jpg",
    path="/in/d/a.jpg",
    status=Status.DONE,
    digest=bytes(32),
    source_bytes=10,
    source_mtime_ns=2**62 + 1,
    width=4,
    height=3,
    output="images/d/a.jpg",
    output_key="images/d/a.jpg",
    output_digest=b"\x01" * 32,
    output_bytes=9,
    n_regions=2,
    n_replaced=1,
    n_filled=1,
    seconds=0.5,
    notes=("cmyk written as srgb",),
    regions=({"region": 0, "xyxy": [0.0, 1.0, 2.0, 3.0]}, {"region": 1}),
)


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def test_a_row_comes_back_as_it_was_written(ledger: Ledger) -> None:
    ledger.record([FULL])
    assert ledger.rows() == [FULL]


def test_a_row_is_still_there_after_the_ledger_was_opened_again(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    first.record([FULL])
    key = first.run_key
    first.close()
    again = Ledger(tmp_path)
    assert again.rows() == [FULL]
    assert again.run_key == key
    again.close()


def test_a_looked_up_row_has_everything_but_notes_and_regions(ledger: Ledger) -> None:
    ledger.record([FULL])
    found = ledger.find("d/a.jpg")
    assert found is not None
    assert (found.digest, found.output_bytes, found.n_filled, found.regions) == (bytes(32), 9, 1, ())
    assert ledger.find("d/b.jpg") is None


def test_a_second_row_of_an_input_takes_the_place_of_the_first(ledger: Ledger) -> None:
    ledger.record([FULL])
    ledger.record([Row("d/a.jpg", "/in/d/a.jpg", Status.FAILED, error="truncated")])
    (row,) = ledger.rows()
    assert (row.status, row.error, row.output, row.output_key) == (Status.FAILED, "truncated", None, None)


@pytest.mark.parametrize("name", [os.fsdecode(b"byte\xff.jpg"), "e\u0301.jpg", "new\nline.jpg", 'it\'s "x".jpg'])
def test_any_name_that_a_file_can_have_is_kept_exactly(ledger: Ledger, name: str) -> None:
    ledger.record([Row(name, f"/in/{name}", Status.SKIPPED)])
    (row,) = ledger.rows()
    assert (row.image_id, row.path) == (name, f"/in/{name}")
    assert ledger.find(name) is not None


def test_two_inputs_cannot_own_one_output(ledger: Ledger) -> None:
    ledger.record([FULL])
    with pytest.raises(OutputError, match="UNIQUE"):
        ledger.record([Row("d/b.jpg", "", Status.DONE, output="images/d/a.jpg", output_key="images/d/a.jpg")])
    assert ledger.rows() == [FULL]
    assert ledger.owner_of("images/d/a.jpg") == "d/a.jpg"


def test_rows_come_by_id_a_page_at_a_time(ledger: Ledger) -> None:
    ledger.record([Row(f"{k}.jpg", "", Status.SKIPPED) for k in (3, 1, 2, 10)])
    first = ledger.rows(limit=3)
    assert [row.image_id for row in first] == ["1.jpg", "10.jpg", "2.jpg"]
    assert [row.image_id for row in ledger.rows(after="2.jpg", limit=3)] == ["3.jpg"]


def test_outputs_are_those_that_were_written(ledger: Ledger) -> None:
    ledger.record([FULL, Row("b.jpg", "", Status.FAILED)])
    assert list(ledger.outputs()) == ["images/d/a.jpg"]


def test_a_changed_setting_is_named_with_both_values(ledger: Ledger) -> None:
    ledger.match_fingerprint({"config": {"generator": {"n_steps": 4}}, "weights": {"cf": "aa"}})
    ledger.record([FULL])
    ledger.match_fingerprint({"weights": {"cf": "aa"}, "config": {"generator": {"n_steps": 4}}})
    with pytest.raises(StateMismatchError, match=r"config\.generator\.n_steps was 4, is 8") as caught:
        ledger.match_fingerprint({"config": {"generator": {"n_steps": 8}}, "weights": {"cf": "aa"}})
    assert "weights" not in str(caught.value)
    assert "resume=restart" in str(caught.value)


def test_an_added_and_a_removed_key_are_named(ledger: Ledger) -> None:
    ledger.match_fingerprint({"old": 1})
    ledger.record([FULL])
    with pytest.raises(StateMismatchError, match="new was absent, is 2; old was 1, is absent"):
        ledger.match_fingerprint({"new": 2})


def test_of_many_changes_those_of_whole_parts_come_first_and_the_others_are_counted(ledger: Ledger) -> None:
    guard = {"_target_": "Guard", "embedder": {"_target_": "Embedder"}}
    ledger.match_fingerprint({"a": {str(k): k for k in range(10)}, "guard": guard})
    ledger.record([FULL])
    with pytest.raises(StateMismatchError) as caught:
        ledger.match_fingerprint({"guard": {"_target_": "Other"}})
    told = str(caught.value).partition("settings: ")[2].partition(". Give")[0].split("; ")
    assert told[:2] == ['guard._target_ was "Guard", is "Other"', 'guard.embedder._target_ was "Embedder", is absent']
    assert told[2] == "a.0 was 0, is absent"
    assert told[-1] == "and 6 more"


def test_settings_may_change_while_nothing_is_done(ledger: Ledger) -> None:
    ledger.match_fingerprint({"steps": 4})
    ledger.record([Row("a.jpg", "", Status.FAILED)])
    ledger.match_fingerprint({"steps": 8})
    assert ledger.rows() == []


def test_a_restart_forgets_rows_settings_and_key(ledger: Ledger) -> None:
    key = ledger.run_key
    ledger.match_fingerprint({"steps": 4})
    ledger.record([FULL])
    ledger.restart()
    ledger.match_fingerprint({"steps": 8})
    assert ledger.rows() == []
    assert ledger.run_key != key
    assert len(ledger.run_key) == 32


def test_touch_changes_only_the_stamp(ledger: Ledger) -> None:
    ledger.record([FULL])
    ledger.touch("d/a.jpg", 11, 12)
    (row,) = ledger.rows()
    assert (row.source_bytes, row.source_mtime_ns, row.digest) == (11, 12, FULL.digest)


def test_a_new_ledger_counts_as_not_ended(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    assert not first.clean
    first.mark(clean=True)
    first.close()
    second = Ledger(tmp_path)
    assert second.clean
    second.close()


def test_a_local_disk_gets_a_write_ahead_log_and_any_other_a_rollback_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "is_local", lambda folder: True)
    local = Ledger(tmp_path)
    assert local.journal == "wal"
    local.close()
    monkeypatch.setattr(ledger_module, "is_local", lambda folder: False)
    remote = Ledger(tmp_path)
    assert remote.journal == "delete"
    remote.record([FULL])
    remote.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.db"]


MOUNTS = """1 0 8:1 / / rw - ext4 /dev/a rw
2 1 0:40 / /mnt/share rw - nfs4 server:/x rw
3 2 8:2 / /mnt/share/my\\040disk rw,relatime shared:1 - xfs /dev/b rw
"""


@pytest.mark.parametrize(
    ("folder", "local"),
    [("/home/u", True), ("/mnt/share/out", False), ("/mnt/shared", True), ("/mnt/share/my disk/out", True)],
)
def test_the_nearest_mount_point_decides_whether_a_disk_is_local(
    folder: str, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self: MOUNTS)
    assert is_local(Path(folder)) is local


def test_a_damaged_ledger_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(OutputError, match="is damaged"):
        Ledger(tmp_path)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute("CREATE TABLE meta (name TEXT, value TEXT)")
    other.commit()
    other.close()
    with pytest.raises(OutputError, match="no ledger of this version"):
        Ledger(tmp_path)


def test_a_transaction_that_fails_leaves_nothing_of_itself(ledger: Ledger) -> None:
    clash = Row("z.jpg", "", Status.DONE, output="images/z", output_key="images/d/a.jpg")
    with pytest.raises(OutputError):
        ledger.record([FULL, clash])
    assert ledger.rows() == []
    ledger.record([FULL])
    assert ledger.rows() == [FULL]
