"""Films among the pictures of a collection: made in the same run, each with its row, and resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.faults.tiny_job import FINGERPRINT, TinyJob, expected_bytes, save_picture

from understudy.batch.carry import Errand, carry_out
from understudy.batch.inputs import open_inputs
from understudy.batch.ledger import Status
from understudy.batch.progress import Event
from understudy.batch.settings import RunSettings
from understudy.batch.summary import RunSummary
from understudy.batch.tables import read_table
from understudy.batch.threads import ThreadRun
from understudy.errors import StateMismatchError

pytest.importorskip("av")

from tests.unit.video_films import is_face, job, read_film, scene, write_film


@dataclass
class Maker:
    """The films' own stand-in."""

    depends: Mapping[str, object] = field(default_factory=lambda: {"crf": None})
    made: list[str] = field(default_factory=list)
    ticks: int = 0

    def __call__(self, path: Path, folder: Path, tick: Callable[[], object]) -> object:
        work = job()

        def report(_stage: str, _frame: int) -> None:
            self.ticks += 1
            tick()

        work.report = report
        self.made.append(path.name)
        return work(path, folder)


def collection(root: Path) -> Path:
    for k in range(4):
        save_picture(root / "pictures" / f"{k}.png", k)
    (root / "films").mkdir()
    write_film(root / "films" / "a.mp4", [scene((20 + k, 10, 44 + k, 40)) for k in range(12)])
    (root / "films" / "broken.mp4").write_bytes((root / "films" / "a.mp4").read_bytes()[:300])
    return root


def run(
    source: Path, output: Path, maker: Maker | None, report: Callable[[Event], object] = lambda _event: None
) -> RunSummary:
    def make(*arguments: object, **more: object) -> ThreadRun:
        return ThreadRun(TinyJob(), *arguments, **more)

    errand = Errand(open_inputs(source), output, FINGERPRINT, report, film=maker)  # type: ignore[arg-type]
    return carry_out(make, errand, RunSettings())


def test_pictures_and_films_of_one_folder_are_made_in_one_run(tmp_path: Path) -> None:
    source, output, maker = collection(tmp_path / "in"), tmp_path / "out", Maker()
    summary = run(source, output, maker)
    assert (summary.counts[Status.DONE], summary.n_bad, summary.exit_code) == (5, 1, 3)
    for k in range(4):
        name = f"pictures/{k}.png"
        assert (output / "images" / name).read_bytes() == expected_bytes(source / name, name)
    pictures, times, _ = read_film(output / "images" / "films" / "a.mp4")
    assert len(pictures) == len(times) == 12
    assert not any(is_face(picture).any() for picture in pictures)
    assert (output / "films" / "films" / "a.mp4" / "frames.jsonl").read_text().count("\n") == 12
    rows = {str(row["image_id"]): row for row in read_table(output, "images")}
    assert rows["films/a.mp4"]["status"] == "done"
    assert rows["films/broken.mp4"]["status"] in ("refused", "quarantined")
    assert not (output / "images" / "films" / "broken.mp4").exists()
    assert not list(output.glob(".understudy-films"))
    again = run(source, output, maker)
    assert (again.n_resumed, maker.made.count("a.mp4")) == (5, 1)


def test_a_run_that_is_stopped_within_a_film_goes_on_with_it(tmp_path: Path) -> None:
    source, output = collection(tmp_path / "in"), tmp_path / "out"

    class Interrupted(Maker):
        def __call__(self, path: Path, folder: Path, tick: Callable[[], object]) -> object:
            def stopping() -> None:
                if self.ticks > 8:
                    raise KeyboardInterrupt
                tick()

            return super().__call__(path, folder, stopping)

    with pytest.raises(KeyboardInterrupt):
        run(source, output, Interrupted())
    assert not (output / "images" / "films" / "a.mp4").exists()
    assert run(source, output, Maker()).counts[Status.DONE] == 5


def test_films_made_with_other_settings_stop_the_run(tmp_path: Path) -> None:
    source, output = collection(tmp_path / "in"), tmp_path / "out"
    run(source, output, Maker())
    write_film(source / "films" / "b.mp4", [scene(None)] * 3)
    with pytest.raises(StateMismatchError, match="crf was absent, is 20"):
        run(source, output, Maker(depends={"crf": 20}))


def test_without_a_maker_of_films_they_are_refused_by_name(tmp_path: Path) -> None:
    source, output = collection(tmp_path / "in"), tmp_path / "out"
    summary = run(source, output, None)
    assert summary.counts[Status.REFUSED] >= 1
    assert "a.mp4" in str(summary.failures)
