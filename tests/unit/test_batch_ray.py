"""The runner on Ray Data: the bytes of the local one, whoever dies on the way."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.faults.tiny_job import FINGERPRINT, TinyJob, expected_bytes, save_picture

from understudy.batch.carry import Errand
from understudy.batch.inputs import open_inputs
from understudy.batch.ledger import Status
from understudy.batch.local import run_local
from understudy.batch.progress import Event
from understudy.batch.ray_settings import RaySettings
from understudy.batch.summary import RunSummary
from understudy.batch.tables import read_table
from understudy.errors import InvalidInputError, StateMismatchError

pytest.importorskip("ray")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.filterwarnings("default")  # Ray itself uses what it has deprecated


@pytest.fixture(scope="module")
def cluster() -> Iterator[RaySettings]:
    """One cluster for all tests of this file: starting one takes seconds."""
    from tests.faults.tiny_ray import SETTINGS

    from understudy.batch.ray_cluster import ClusterError, connected

    context = connected(SETTINGS)
    try:
        context.__enter__()
    except ClusterError as error:
        if "timed out during startup" in str(error):
            pytest.skip(f"this machine is too busy to start Ray within Ray's own limit: {error}")
        raise
    yield SETTINGS
    context.__exit__(None, None, None)


def run(source: Path, output: Path, settings: RaySettings, job: object = TinyJob, **more: object) -> RunSummary:
    from understudy.batch.ray_run import run_ray
    from understudy.batch.ray_stages import Workers

    errand = Errand(open_inputs(source), output, more.pop("fingerprint", FINGERPRINT), **more)  # type: ignore[arg-type]
    return run_ray(Workers(TinyJob, job), errand, settings)  # type: ignore[arg-type]


def written(output: Path) -> dict[str, bytes]:
    images = output / "images"
    return {path.relative_to(images).as_posix(): path.read_bytes() for path in images.rglob("*") if path.is_file()}


def without_seconds(output: Path) -> list[dict[str, object]]:
    """The table of images, but for what differs from run to run: the time it took, and digests under a fresh key."""
    rows = [dict(row) for row in read_table(output, "images")]
    for row in rows:
        for name in [name for name in row if "seconds" in name or "digest" in name]:
            del row[name]
    return sorted(rows, key=lambda row: str(row["image_id"]))


def test_a_mixed_collection_gives_the_files_and_rows_of_the_local_runner(tmp_path: Path, cluster: RaySettings) -> None:
    source = tmp_path / "in"
    for k in range(10):
        save_picture(source / f"d{k % 3}" / f"{k}.png", k)
    save_picture(source / "as.jpg", 50)  # written as as.jpg.png: a name that only the driver may give
    for k, name in enumerate(("raise-decode", "raise-detect", "raise-replace", "memory-replace", "value-", "refuse")):
        save_picture(source / f"{name}.png", 60 + k)
    (source / "notes.md").write_text("text")
    (source / "metadata.csv").write_text("file_name,text\nd0/0.png,a\n")
    with tarfile.open(source / "shard.tar", "w") as shard:
        for k in range(3):
            for name, data in (
                (f"{k}.png", save_picture(tmp_path / "member.png", 70 + k).read_bytes()),
                (f"{k}.cls", b"7"),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                shard.addfile(info, io.BytesIO(data))
    run_local(TinyJob(), open_inputs(source), tmp_path / "local", fingerprint=FINGERPRINT)
    summary = run(source, tmp_path / "ray", cluster)
    assert written(tmp_path / "ray") == written(tmp_path / "local")
    assert without_seconds(tmp_path / "ray") == without_seconds(tmp_path / "local")
    assert summary.counts[Status.DONE] == 10 + 1 + 1 + 3
    assert summary.exit_code == 3
    again = run(source, tmp_path / "ray", cluster)
    assert again.n_resumed == 10 + 1 + 1 + 3 + 1


@pytest.mark.slow
def test_a_picture_that_kills_its_worker_is_quarantined_and_takes_no_other_with_it(
    tmp_path: Path, cluster: RaySettings
) -> None:
    from tests.faults.tiny_ray import Deadly

    source = tmp_path / "in"
    for k in range(6):
        save_picture(source / f"{k}.png", k)
    save_picture(source / "die-once-1.png", 8)
    save_picture(source / "kill-2.png", 9)
    events: list[Event] = []
    run(source, tmp_path / "out", cluster, partial(Deadly, folder=str(tmp_path)), report=events.append)
    good = [path for path in source.iterdir() if not path.name.startswith("kill-")]
    assert written(tmp_path / "out") == {path.name: expected_bytes(path, path.name) for path in good}
    assert Counter(event.status for event in events) == Counter({Status.DONE: 7, Status.QUARANTINED: 1})
    (failure,) = [event for event in events if event.status is Status.QUARANTINED]
    assert failure.image_id == "kill-2.png"
    assert "the worker died each time (3)" in failure.error


def test_settings_that_changed_end_the_run_before_anything_is_sent_out(tmp_path: Path, cluster: RaySettings) -> None:
    save_picture(tmp_path / "in" / "0.png", 0)
    run_local(TinyJob(), open_inputs(tmp_path / "in"), tmp_path / "out", fingerprint=FINGERPRINT)
    with pytest.raises(StateMismatchError):
        run(tmp_path / "in", tmp_path / "out", cluster, fingerprint={"other": 1})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_actors": 0}, "max_actors must be more than 0, got 0"),
        ({"min_actors": 3}, r"max_actors must be min_actors \(3\) or more, got 2"),
        ({"num_gpus": -1}, "num_gpus must be 0 or more"),
        ({"task_cpus": 1.0}, "must differ"),
        ({"address": "ray://host:1"}, "start the run on a machine of the cluster"),
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        RaySettings(**values)  # type: ignore[arg-type]
