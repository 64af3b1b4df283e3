"""The local runner: every input settled once, the same bytes whatever the order, going on, and failing closed."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.faults.tiny_job import FINGERPRINT, Encoded, TinyJob, expected_bytes, save_picture

from understudy.batch import folder as folder_module
from understudy.batch.folder import Outputs
from understudy.batch.inputs import open_inputs
from understudy.batch.inspect import parts_of, progress_of
from understudy.batch.items import Inputs
from understudy.batch.ledger import Ledger, Status
from understudy.batch.local import RunSettings, run_local
from understudy.batch.progress import Event
from understudy.batch.sources import MARKER, InputFile
from understudy.batch.store import LocalStore
from understudy.batch.summary import RunInterruptedError, RunSummary
from understudy.batch.tables import read_table
from understudy.errors import InvalidInputError, OutputError, StateMismatchError
from understudy.types import AnonymizedImage, Detections, SourceImage


def collection(root: Path, n: int = 12) -> Path:
    for k in range(n):
        save_picture(root / f"d{k % 3}" / f"{k}.png", k)
    return root


def run(source: Path, output: Path, job: TinyJob | None = None, **more: object) -> RunSummary:
    settings = more.pop("settings", RunSettings(n_workers=2, micro_batch=4))
    fingerprint = more.pop("fingerprint", FINGERPRINT)
    return run_local(
        job or TinyJob(),
        open_inputs(source),
        output,
        settings=settings,  # type: ignore[arg-type]
        fingerprint=fingerprint,  # type: ignore[arg-type]
        **more,  # type: ignore[arg-type]
    )


def written(output: Path) -> dict[str, bytes]:
    images = output / "images"
    return {path.relative_to(images).as_posix(): path.read_bytes() for path in images.rglob("*") if path.is_file()}


def expected(source: Path) -> dict[str, bytes]:
    return {
        path.relative_to(source).as_posix(): expected_bytes(path, path.relative_to(source).as_posix())
        for path in source.rglob("*.png")
    }


def statuses(output: Path) -> dict[str, str]:
    return {str(record["image_id"]): str(record["status"]) for record in read_table(output, "images")}


def errors(output: Path) -> dict[str, str]:
    return {str(record["image_id"]): str(record["error"]) for record in read_table(output, "images")}


def test_every_picture_is_written_under_its_own_relative_path(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    summary = run(source, tmp_path / "out")
    assert written(tmp_path / "out") == expected(source)
    assert summary.counts == Counter({Status.DONE: 12})
    assert summary.exit_code == 0


def test_one_worker_and_four_and_several_replacers_write_the_same_bytes(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 30)
    for name, settings in {
        "one": RunSettings(n_workers=1, micro_batch=1, max_pictures=1),
        "four": RunSettings(n_workers=4, micro_batch=6),
        "many": RunSettings(n_workers=4, n_replacers=3, micro_batch=3, max_pictures=5),
    }.items():
        run(source, tmp_path / name, TinyJob(pause_s=0.005), settings=settings)
    assert written(tmp_path / "one") == written(tmp_path / "four") == written(tmp_path / "many") == expected(source)


def test_the_order_of_inputs_plays_no_part(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    files = list(open_inputs(source))
    shuffled = [files[k] for k in np.random.default_rng(0).permutation(len(files))]
    inputs = Inputs("shuffled", source, lambda: iter(shuffled))
    run_local(TinyJob(), inputs, tmp_path / "out", settings=RunSettings(n_workers=3), fingerprint=FINGERPRINT)
    assert written(tmp_path / "out") == expected(source)


def test_a_picture_alone_gives_the_bytes_that_it_gives_in_company(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    run(source, tmp_path / "all")
    run(source / "d1" / "4.png", tmp_path / "alone")
    assert written(tmp_path / "alone") == {"4.png": written(tmp_path / "all")["d1/4.png"]}


def test_what_is_no_picture_is_skipped_and_does_not_count_as_failure(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 2)
    (source / "notes.md").write_text("text")
    summary = run(source, tmp_path / "out")
    assert (summary.counts[Status.SKIPPED], summary.exit_code) == (1, 0)
    assert set(written(tmp_path / "out")) == {"d0/0.png", "d1/1.png"}


BAD = {
    "truncated.png": ("failed", "truncated.png: no picture"),
    "empty.png": ("failed", "is empty (0 bytes)"),
    "text.jpg": ("failed", "holds no picture"),
    "refuse.png": ("refused", "refused on purpose"),
    "raise-decode.png": ("failed", "unexpected ZeroDivisionError: planted"),
    "memory-decode.png": ("failed", "out of memory"),
    "raise-detect.png": ("quarantined", "detection failed: unexpected ZeroDivisionError: planted"),
    "raise-replace.png": ("quarantined", "unexpected ZeroDivisionError: planted"),
    "memory-replace.png": ("quarantined", "out of memory"),
    "value-.png": ("quarantined", "planted value"),
    "raise-encode.png": ("quarantined", "unexpected ZeroDivisionError: planted"),
    "forget-.png": ("quarantined", "regions need one outcome each"),
}


def test_bad_pictures_stop_nobody_and_leave_no_file(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    good = expected(source)
    for seed, name in enumerate(BAD, start=100):
        save_picture(source / name, seed if name != "forget-.png" else 105)
    whole = (source / "truncated.png").read_bytes()
    (source / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (source / "empty.png").write_bytes(b"")
    (source / "text.jpg").write_text("I am text")
    summary = run(source, tmp_path / "out")
    assert written(tmp_path / "out") == good
    found, reasons = statuses(tmp_path / "out"), errors(tmp_path / "out")
    for name, (status, reason) in BAD.items():
        assert found[name] == status, name
        assert reason.removeprefix(f"{name}: ") in reasons[name]
    assert summary.exit_code == 3
    assert summary.n_bad == len(BAD) == len(summary.failures)
    assert summary.failures == sorted(summary.failures)


def test_a_picture_that_fails_in_company_is_tried_once_alone(tmp_path: Path) -> None:
    for k, name in enumerate(["a.png", "once-replace.png", "raise-replace.png", "z.png"]):
        save_picture(tmp_path / "in" / name, k)
    job = TinyJob()
    run(tmp_path / "in", tmp_path / "out", job, settings=RunSettings(n_workers=1, micro_batch=100, gather_s=5))
    assert statuses(tmp_path / "out") == {
        "a.png": "done",
        "once-replace.png": "done",
        "raise-replace.png": "quarantined",
        "z.png": "done",
    }
    # with the three others, with one of them, alone
    assert job.calls["replace raise-replace.png"] <= 3


def test_an_error_that_is_ours_is_not_tried_again(tmp_path: Path) -> None:
    save_picture(tmp_path / "in" / "value-.png", 0)
    job = TinyJob()
    run(tmp_path / "in", tmp_path / "out", job)
    assert job.calls["replace value-.png"] == 1


def test_a_picture_that_cannot_be_encoded_stops_nobody(tmp_path: Path) -> None:
    class Unencodable(TinyJob):
        def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> Encoded:
            if source.image_id == "d1/1.png":
                raise OutputError("d1/1.png: cannot be encoded as PNG: broken data stream")
            return super().encode(source, anonymized)

    source = collection(tmp_path / "in", 3)
    summary = run(source, tmp_path / "out", Unencodable())
    assert statuses(tmp_path / "out") == {"d0/0.png": "done", "d1/1.png": "quarantined", "d2/2.png": "done"}
    assert summary.exit_code == 3


def test_what_was_refused_is_done_when_the_reason_is_gone(tmp_path: Path) -> None:
    class WithExtra(TinyJob):
        def decode(self, data: bytes, image_id: str) -> SourceImage:
            return replace(super().decode(data, "a.png"), image_id=image_id)

    save_picture(tmp_path / "in" / "refuse.png", 0)
    assert run(tmp_path / "in", tmp_path / "out").counts == Counter({Status.REFUSED: 1})
    assert run(tmp_path / "in", tmp_path / "out", WithExtra()).counts == Counter({Status.DONE: 1})


def test_a_file_of_a_killed_run_goes_when_its_picture_is_quarantined_now(tmp_path: Path) -> None:
    for name in ("raise-replace.gif", "raise-replace.png"):
        save_picture(tmp_path / "in" / name, 0)
    run(collection(tmp_path / "first", 1), tmp_path / "out")
    for name in ("raise-replace.gif.png", "raise-replace.png"):  # written, and killed before the row was committed
        (tmp_path / "out/images" / name).write_bytes(b"by other settings")
    run(tmp_path / "in", tmp_path / "out")
    assert set(written(tmp_path / "out")) == {"d0/0.png"}


def test_a_result_of_another_picture_is_not_written(tmp_path: Path) -> None:
    class Swapping(TinyJob):
        def replace(self, sources: Sequence[SourceImage], detections: Sequence[Detections]) -> list[AnonymizedImage]:
            return super().replace(sources, detections)[::-1]  # type: ignore[return-value]

    source = collection(tmp_path / "in", 2)
    run(source, tmp_path / "out", Swapping(), settings=RunSettings(n_workers=1, micro_batch=100, gather_s=5))
    assert written(tmp_path / "out").items() <= expected(source).items()


def test_missing_results_fail_closed(tmp_path: Path) -> None:
    class Losing(TinyJob):
        def replace(self, sources: Sequence[SourceImage], detections: Sequence[Detections]) -> list[AnonymizedImage]:
            return []

    source = collection(tmp_path / "in", 3)
    summary = run(source, tmp_path / "out", Losing())
    assert (written(tmp_path / "out"), summary.counts[Status.QUARANTINED]) == ({}, 3)


def test_tables_have_counts_and_regions(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 6)
    summary = run(source, tmp_path / "out")
    images, regions = read_table(tmp_path / "out", "images"), read_table(tmp_path / "out", "regions")
    by_hand = Counter(len(TinyJob().detect([_source(path)])[0]) for path in source.rglob("*.png"))
    assert Counter(record["n_regions"] for record in images) == by_hand
    assert len(regions) == sum(n * count for n, count in by_hand.items()) == sum(summary.outcomes.values())
    assert [record["image_id"] for record in images] == sorted(str(record["image_id"]) for record in images)


def _source(path: Path) -> SourceImage:
    return TinyJob().decode(path.read_bytes(), path.name)


def test_the_same_command_again_works_on_nothing(tmp_path: Path) -> None:
    source = collection(tmp_path / "in")
    (source / "notes.md").write_text("text")
    save_picture(source / "refuse.png", 1)
    first = run(source, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/images").rglob("*.png")}
    job = TinyJob()
    again = run(source, tmp_path / "out", job)
    assert not job.calls
    assert (again.n_resumed, again.n_inputs) == (13, 14)  # what was refused is asked once more
    assert (again.counts, again.outcomes, again.failures) == (first.counts, first.outcomes, first.failures)
    assert again.exit_code == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_tables_that_were_lost_are_written_again(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 2)
    run(source, tmp_path / "out")
    for path in (*tmp_path.glob("out/*.parquet"), *tmp_path.glob("out/*.csv")):
        path.unlink()
    run(source, tmp_path / "out")
    assert len(read_table(tmp_path / "out", "images")) == 2


def test_new_inputs_are_added_and_failed_ones_are_tried_again(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 3)
    bad = source / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    run(source, tmp_path / "out")
    save_picture(bad, 50)
    save_picture(source / "new.png", 51)
    job = TinyJob()
    summary = run(source, tmp_path / "out", job)
    assert {name for name in job.calls if name.startswith("encode")} == {"encode bad.png", "encode new.png"}
    assert summary.exit_code == 0
    assert written(tmp_path / "out") == expected(source)


def test_a_file_without_a_row_and_a_row_without_a_file_are_made_again(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 4)
    run(source, tmp_path / "out")
    whole = written(tmp_path / "out")
    (tmp_path / "out/images/d0/0.png").unlink()
    (tmp_path / "out/images/d1/1.png").write_bytes(b"cut off")
    ledger = Ledger(tmp_path / "out")
    ledger._connection.execute("DELETE FROM items WHERE image_id = 'd2/2.png'")
    ledger.close()
    job = TinyJob()
    run(source, tmp_path / "out", job)
    assert sorted(name for name in job.calls if name.startswith("encode")) == [
        "encode d0/0.png",
        "encode d1/1.png",
        "encode d2/2.png",
    ]
    assert written(tmp_path / "out") == whole


def test_a_touched_source_is_not_made_again(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 2)
    run(source, tmp_path / "out")
    os.utime(source / "d0/0.png", (1, 1))
    job = TinyJob()
    assert run(source, tmp_path / "out", job).n_resumed == 2
    assert not job.calls


def test_a_changed_source_stops_the_run_and_is_named(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 3)
    run(source, tmp_path / "out")
    before = written(tmp_path / "out")
    save_picture(source / "d1/1.png", 99)
    with pytest.raises(StateMismatchError, match=r"d1/1\.png' changed since"):
        run(source, tmp_path / "out")
    assert written(tmp_path / "out") == before
    (tmp_path / "out/images/d1/1.png").unlink()
    run(source, tmp_path / "out")
    assert written(tmp_path / "out") == expected(source)


def test_changed_settings_stop_the_run_and_a_restart_begins_anew(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 3)
    run(source, tmp_path / "out")
    (tmp_path / "out/images/own.txt").write_text("not of the run")
    with pytest.raises(StateMismatchError, match=r"config\.generator\.name|config\.generator"):
        run(source, tmp_path / "out", fingerprint={"config": {"generator": "other"}})
    (source / "d1/1.png").unlink()
    job = TinyJob()
    run(
        source,
        tmp_path / "out",
        job,
        fingerprint={"config": {"generator": "other"}},
        settings=RunSettings(resume="restart"),
    )
    assert len([name for name in job.calls if name.startswith("encode")]) == 2
    assert set(written(tmp_path / "out")) == {"d0/0.png", "d2/2.png", "own.txt"}
    assert not (tmp_path / "out/images/d1").exists()


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 2)
    run(source, tmp_path / "out")
    ledger = Ledger(tmp_path / "out")
    ledger.mark(clean=False)
    ledger.close()
    ours = [tmp_path / "out/.understudy-12ab.part", tmp_path / "out/images/d0/.understudy-34cd.part"]
    other = tmp_path / "out/images/d0/.mine.part"
    for path in (*ours, other):
        path.write_bytes(b"half")
    run(source, tmp_path / "out")
    assert [path.exists() for path in (*ours, other)] == [False, False, True]


def test_two_inputs_for_one_output_never_overwrite_each_other(tmp_path: Path) -> None:
    for seed, name in enumerate(["a.gif", "a.gif.png", "b.gif"]):
        save_picture(tmp_path / "in" / name, seed)
    for n_workers in (1, 4):
        out = tmp_path / f"out{n_workers}"
        summary = run(tmp_path / "in", out, settings=RunSettings(n_workers=n_workers))
        assert set(written(out)) == {"a.gif.png", "b.gif.png"}
        assert written(out)["a.gif.png"] == expected_bytes(tmp_path / "in/a.gif.png", "a.gif.png")
        assert statuses(out) == {"a.gif": "quarantined", "a.gif.png": "done", "b.gif": "done"}
        assert "rename one of them" in errors(out)["a.gif"]
        assert summary.exit_code == 3


def test_names_that_differ_in_case_do_not_meet_on_a_folding_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.batch.carry.folds_names", lambda folder: True)
    save_picture(tmp_path / "in/IMG.png", 0)
    save_picture(tmp_path / "in/img.png", 1)
    save_picture(tmp_path / "in/caf\u00e9.png", 2)
    save_picture(tmp_path / "in/cafe\u0301.png", 3)
    run(tmp_path / "in", tmp_path / "out")
    assert statuses(tmp_path / "out") == {
        "IMG.png": "done",
        "img.png": "failed",
        "cafe\u0301.png": "done",
        "caf\u00e9.png": "failed",
    }
    assert "would overwrite that of 'IMG.png'" in errors(tmp_path / "out")["img.png"]
    assert len(written(tmp_path / "out")) == 2


def test_a_name_without_room_for_a_suffix_is_shortened(tmp_path: Path) -> None:
    names = ["x" * 251 + ".gif", "x" * 250 + "y.gif"]
    for seed, name in enumerate(names):
        save_picture(tmp_path / "in" / name, seed)
    run(tmp_path / "in", tmp_path / "out")
    assert sorted(statuses(tmp_path / "out").values()) == ["done", "done"]
    assert len(written(tmp_path / "out")) == 2


def test_a_listed_problem_gets_a_row(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 1)
    (source / "gone.jpg").symlink_to("nowhere")
    (source / "out.jpg").symlink_to(tmp_path)
    summary = run(source, tmp_path / "out")
    assert statuses(tmp_path / "out") == {"d0/0.png": "done", "gone.jpg": "failed", "out.jpg": "skipped"}
    assert summary.failures == [("gone.jpg", Status.FAILED, "link leads nowhere, or in circles")]


def test_a_source_that_is_out_of_reach_later_keeps_its_output(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 2)
    run(source, tmp_path / "out")
    before = written(tmp_path / "out")
    gone = [InputFile("d0/0.png", source / "d0/0.png", "cannot be read: input/output error", "failed")]
    inputs = Inputs("", source, lambda: iter(gone))
    summary = run_local(TinyJob(), inputs, tmp_path / "out", fingerprint=FINGERPRINT)
    assert summary.counts == Counter({Status.DONE: 1})
    assert written(tmp_path / "out") == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_an_output_that_cannot_be_written_ends_the_run_which_can_then_go_on(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = collection(tmp_path / "in", 12)
    n_written = 0

    def fail(self: Outputs, relative: str, data: bytes) -> None:
        nonlocal n_written
        n_written += 1
        if n_written > 3:
            raise OutputError(f"cannot write {relative}: {os.strerror(number)}")
        write(self, relative, data)

    write = Outputs.write
    monkeypatch.setattr(Outputs, "write", fail)
    with pytest.raises(OutputError, match=os.strerror(number)):
        run(source, tmp_path / "out", settings=RunSettings(n_workers=1))
    assert len(written(tmp_path / "out")) == 3
    assert list(statuses(tmp_path / "out").values()) == ["done"] * 3
    monkeypatch.undo()
    assert run(source, tmp_path / "out").n_resumed == 3
    assert written(tmp_path / "out") == expected(source)


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR])
def test_a_name_that_cannot_be_written_concerns_its_picture_only(tmp_path: Path, number: int) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OutputError("cannot write") from OSError(number, os.strerror(number))

    ledger = Ledger(tmp_path)
    outputs = Outputs(LocalStore(tmp_path, fail), ledger, folds=False)
    with pytest.raises(folder_module.NameTakenError, match="rename it"):
        outputs.write("images/a.png", b"")
    ledger.close()


def test_a_full_ledger_ends_the_run_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = collection(tmp_path / "in", 8)

    def full(self: Ledger, rows: object) -> None:
        raise OutputError("no space is left")

    monkeypatch.setattr(Ledger, "record", full)
    with pytest.raises(OutputError, match="no space is left"):
        run(source, tmp_path / "out")
    monkeypatch.undo()
    run(source, tmp_path / "out")
    assert written(tmp_path / "out") == expected(source)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_and_the_run_goes_on_later(tmp_path: Path, number: int) -> None:
    source = collection(tmp_path / "in", 40)
    n_seen = 0

    def interrupt(event: Event) -> None:
        nonlocal n_seen
        n_seen += 1
        if n_seen == 5:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(RunInterruptedError) as caught:
        run(source, tmp_path / "out", TinyJob(pause_s=0.01), report=interrupt, settings=RunSettings(max_pictures=6))
    n_done = caught.value.summary.n_inputs
    assert 5 <= n_done < 40
    assert len(statuses(tmp_path / "out")) == n_done == len(written(tmp_path / "out"))
    assert signal.getsignal(number) is before
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("_work", "_replace", "list"))]
    assert told(tmp_path / "out") == "the run was stopped before its end: the same command goes on with it"
    assert run(source, tmp_path / "out").n_resumed == n_done
    assert written(tmp_path / "out") == expected(source)
    assert told(tmp_path / "out") == "the run has ended"


def told(output: Path) -> str:
    """What ``understudy status`` says of a run."""
    with parts_of(str(output)) as (part,):
        return progress_of(part).state


def test_an_error_in_the_report_ends_the_run_in_order(tmp_path: Path) -> None:
    def report(event: Event) -> None:
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        run(collection(tmp_path / "in"), tmp_path / "out", report=report)
    assert run(tmp_path / "in", tmp_path / "out").counts == Counter({Status.DONE: 12})


def test_pixels_in_flight_stay_within_the_limit(tmp_path: Path) -> None:
    for k in range(10):
        save_picture(tmp_path / "in" / f"{k}.png", k, (100, 100))
    job = TinyJob(pause_s=0.01)
    run(
        tmp_path / "in",
        tmp_path / "out",
        job,
        settings=RunSettings(n_workers=4, max_pixels=25_000, micro_batch=50, max_pictures=10),
    )
    assert 10_000 <= job.peak_pixels <= 25_000


def test_a_picture_over_the_limit_is_worked_on_alone(tmp_path: Path) -> None:
    for k in range(6):
        save_picture(tmp_path / "in" / f"{k}.png", k, (100, 100))
    job = TinyJob(pause_s=0.01)
    summary = run(tmp_path / "in", tmp_path / "out", job, settings=RunSettings(n_workers=4, max_pixels=500))
    assert summary.counts == Counter({Status.DONE: 6})
    assert job.peak_pixels == 10_000


def test_listing_waits_for_the_stages_behind_it(tmp_path: Path) -> None:
    """However many inputs there are, few more are listed than are in flight."""
    source = collection(tmp_path / "in", 30)
    n_listed = 0
    ahead = []

    def listed():  # type: ignore[no-untyped-def]
        nonlocal n_listed
        for file in open_inputs(source):
            n_listed += 1
            yield file

    n_settled = 0

    def report(event: Event) -> None:
        nonlocal n_settled
        n_settled += 1
        ahead.append(n_listed - n_settled)

    settings = RunSettings(n_workers=2, max_pictures=4, micro_batch=2)
    run_local(
        TinyJob(pause_s=0.01),
        Inputs("", source, listed),
        tmp_path / "out",
        settings=settings,
        fingerprint=FINGERPRINT,
        report=report,
    )
    assert n_settled == 30
    assert max(ahead) <= 4 + 4 + 1


def test_batches_are_filled_across_pictures(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 40)
    job = TinyJob()
    settings = RunSettings(n_workers=1, micro_batch=8, max_pictures=40, gather_s=5)
    run(source, tmp_path / "out", job, settings=settings)
    n_regions = sum(job.batches)
    assert len(job.batches) < 40
    assert len(job.batches) <= 2 + (n_regions + 40) / 8


def test_a_file_over_the_size_limit_is_refused_without_being_read(tmp_path: Path) -> None:
    save_picture(tmp_path / "in" / "big.png", 0)
    summary = run(tmp_path / "in", tmp_path / "out", settings=RunSettings(max_file_bytes=100))
    ((_, status, reason),) = summary.failures
    assert status is Status.REFUSED
    assert "the limit is 100" in reason


def test_an_output_folder_with_files_of_others_is_refused_and_untouched(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("mine")
    with pytest.raises(OutputError, match=r"holds 'thesis\.doc'"):
        run(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.doc"]


def test_the_input_folder_is_no_output_folder(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 1)
    with pytest.raises(OutputError, match="is the input folder"):
        run(source, source)
    assert not (source / MARKER).exists()


def test_an_output_inside_the_input_is_not_read_by_the_next_run(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 2)
    assert run(source, source / "out").n_inputs == 2
    assert run(source, source / "out").n_inputs == 2


def test_an_output_inside_an_output_is_refused(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 1)
    run(source, tmp_path / "out")
    with pytest.raises(OutputError, match="lies inside"):
        run(source, tmp_path / "out" / "images" / "deeper")


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    source = collection(tmp_path / "in", 1)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="is a file: give the name of a folder"):
        run(source, tmp_path / "out")


@pytest.mark.parametrize(
    "settings", [{"n_workers": 0}, {"micro_batch": 0}, {"max_pixels": 0}, {"max_pictures": -1}, {"resume": "never"}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        RunSettings(**settings)  # type: ignore[arg-type]


def test_outcomes_and_notes_of_a_picture_reach_its_row(tmp_path: Path) -> None:
    class Noting(TinyJob):
        def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> Encoded:
            return Encoded(super().encode(source, anonymized).data, "", ("re-encoded",))

    save_picture(tmp_path / "in" / "a.png", 3)
    run(tmp_path / "in", tmp_path / "out", Noting())
    (record,) = read_table(tmp_path / "out", "images")
    assert (record["notes"], record["width"], record["height"]) == ("re-encoded", 32, 16)
