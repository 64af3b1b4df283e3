"""Collections on an object store: a real S3 server on the loopback address, with faults between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")
from tests.faults.object_store import BUCKET, ObjectStore, environment, object_store
from tests.faults.tiny_job import FINGERPRINT, TinyJob, expected_bytes, save_picture

from understudy.batch import address, remote_lock
from understudy.batch.inputs import open_inputs
from understudy.batch.inspect import parts_of, progress_of
from understudy.batch.ledger import Status
from understudy.batch.local import RunSettings, run_local
from understudy.batch.summary import RunSummary
from understudy.errors import InvalidInputError, OutputError

ROOT = f"s3://{BUCKET}"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with object_store() as store:
        yield store


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ObjectStore]:
    """The server, empty, with the environment that leads to it and with short waits."""
    for key, value in environment(server).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(address, "FIRST_WAIT_S", 0.01)
    address.file_system.cache_clear()
    server.fault = lambda method, path, n: None
    driver = address.file_system("s3")
    for name in driver.find(BUCKET):
        driver.rm_file(name)
    server.requests.clear()
    yield server
    address.file_system.cache_clear()


def fill(tmp_path: Path, n: int = 6) -> dict[str, bytes]:
    """Put a small collection on the store; what each picture becomes."""
    expected = {}
    for k in range(n):
        name = f"d{k % 2}/{k}.png"
        path = save_picture(tmp_path / "in" / name, k)
        address.write_bytes(f"{ROOT}/in/{name}", path.read_bytes())
        expected[name] = expected_bytes(path, name)
    return expected


def run(source: str, output: str, job: TinyJob | None = None, **more: object) -> RunSummary:
    settings = RunSettings(n_workers=2, micro_batch=4, n_fetchers=2)
    given = open_inputs(source)
    return run_local(job or TinyJob(), given, output, settings=settings, fingerprint=FINGERPRINT, **more)  # type: ignore[arg-type]


def written(root: str = f"{ROOT}/out") -> dict[str, bytes]:
    driver, path = address.split(f"{root}/images")
    return {name[len(path) + 1 :]: driver.cat_file(name) for name in driver.find(path)}


def test_a_collection_goes_from_store_to_store_with_tables_and_ledger_beside_it(
    store: ObjectStore, tmp_path: Path
) -> None:
    expected = fill(tmp_path)
    summary = run(f"{ROOT}/in", f"{ROOT}/out")
    assert (summary.exit_code, summary.counts[Status.DONE]) == (0, 6)
    assert written() == expected
    driver = address.file_system("s3")
    names = {name.rpartition("/")[2] for name in driver.find(f"{BUCKET}/out") if "/images/" not in name}
    assert {"images.parquet", "regions.parquet", "ledger.db", ".understudy-output"} == names


def test_a_restart_works_on_nothing_and_asks_for_no_picture(store: ObjectStore, tmp_path: Path) -> None:
    fill(tmp_path)
    run(f"{ROOT}/in", f"{ROOT}/out")
    store.requests.clear()
    again = run(f"{ROOT}/in", f"{ROOT}/out")
    assert (again.n_resumed, again.n_inputs) == (6, 6)
    assert store.n("GET", "/in/") == 0
    assert store.n("HEAD", ".png") == 0
    assert store.n("PUT", ".png") == 0


def test_another_machine_goes_on_from_the_ledger_on_the_store(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    run(f"{ROOT}/in", f"{ROOT}/out")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    assert run(f"{ROOT}/in", f"{ROOT}/out").n_resumed == 6
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # whose ledger is now behind that of the store
    assert run(f"{ROOT}/in", f"{ROOT}/out").n_resumed == 6


def test_local_pictures_go_to_a_store_and_remote_ones_to_a_folder(store: ObjectStore, tmp_path: Path) -> None:
    expected = fill(tmp_path)
    run(str(tmp_path / "in"), f"{ROOT}/out")
    assert written() == expected
    run(f"{ROOT}/in", str(tmp_path / "here"))
    assert {name: (tmp_path / "here" / "images" / name).read_bytes() for name in expected} == expected


def test_a_changed_object_stops_the_run_and_an_equal_one_written_again_does_not(
    store: ObjectStore, tmp_path: Path
) -> None:
    fill(tmp_path)
    run(f"{ROOT}/in", f"{ROOT}/out")
    address.write_bytes(f"{ROOT}/in/d0/0.png", (tmp_path / "in/d0/0.png").read_bytes())
    assert run(f"{ROOT}/in", f"{ROOT}/out").n_resumed == 6
    address.write_bytes(f"{ROOT}/in/d0/0.png", (tmp_path / "in/d0/2.png").read_bytes())
    with pytest.raises(Exception, match=r"source 'd0/0\.png' changed"):
        run(f"{ROOT}/in", f"{ROOT}/out")


@pytest.mark.parametrize("fault", [500, 503, "cut", "slow"])
def test_passing_faults_of_the_store_change_nothing(store: ObjectStore, tmp_path: Path, fault: int | str) -> None:
    """Every first request for a picture, reading and writing, fails or is slow or is cut off."""
    expected = fill(tmp_path)
    store.requests.clear()
    store.fault = lambda method, path, n: (
        fault if ".png" in path and n == 0 and (method == "GET" or (method == "PUT" and fault != "cut")) else None
    )
    summary = run(f"{ROOT}/in", f"{ROOT}/out")
    store.fault = lambda method, path, n: None
    assert (summary.exit_code, written()) == (0, expected)
    assert store.n("GET", ".png") >= 6 * (1 if fault == "slow" else 2)


def test_a_picture_that_never_comes_whole_is_failed_and_done_when_it_comes(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "N_TRIES", 2)
    expected = fill(tmp_path, 2)
    store.fault = lambda method, path, n: "cut" if method == "GET" and "d0/0.png" in path else None
    summary = run(f"{ROOT}/in", f"{ROOT}/out")
    assert summary.counts == {Status.DONE: 1, Status.FAILED: 1}
    assert summary.failures[0][0] == "d0/0.png"
    assert set(written()) == {"d1/1.png"}
    store.fault = lambda method, path, n: None
    assert run(f"{ROOT}/in", f"{ROOT}/out").exit_code == 0
    assert written() == expected


def test_a_store_that_takes_nothing_any_more_ends_the_run_which_can_then_go_on(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "N_TRIES", 2)
    expected = fill(tmp_path)
    store.fault = lambda method, path, n: 500 if method == "PUT" and "/images/d1" in path else None
    with pytest.raises(OutputError, match="cannot be written"):
        run(f"{ROOT}/in", f"{ROOT}/out")
    store.fault = lambda method, path, n: None
    assert all(expected[name] == data for name, data in written().items())
    assert run(f"{ROOT}/in", f"{ROOT}/out").counts[Status.DONE] == 6
    assert written() == expected


def test_a_listing_that_fails_is_an_error_that_names_the_input(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "N_TRIES", 2)
    fill(tmp_path)
    inputs = open_inputs(f"{ROOT}/in")
    store.fault = lambda method, path, n: 500 if "list-type=2" in path else None
    with pytest.raises(InvalidInputError, match="cannot be listed any further"):
        list(inputs)


def test_an_empty_prefix_and_a_glob_without_a_match_are_errors(store: ObjectStore, tmp_path: Path) -> None:
    fill(tmp_path)
    for nothing in ("none", "in/*.jpg"):
        with pytest.raises(InvalidInputError, match=r"(holds|matches) no object"):
            list(open_inputs(f"{ROOT}/{nothing}"))


def test_globs_and_lists_name_objects_and_ids_are_relative(store: ObjectStore, tmp_path: Path) -> None:
    fill(tmp_path)
    assert [item.image_id for item in open_inputs(f"{ROOT}/in/d1/*.png")] == ["1.png", "3.png", "5.png"]
    assert [item.image_id for item in open_inputs(f"{ROOT}/in/**/[01].png")] == ["d0/0.png", "d1/1.png"]
    assert [item.image_id for item in open_inputs(f"{ROOT}/in/d0/0.png")] == ["0.png"]
    address.write_bytes(f"{ROOT}/in/list.txt", b"d1/3.png\nd0/2.png\nd1/3.png\n")
    assert [item.image_id for item in open_inputs(f"{ROOT}/in/list.txt")] == ["d1/3.png", "d0/2.png"]
    (tmp_path / "list.csv").write_text(f"label,path\n1,{ROOT}/in/d1/3.png\n2,{ROOT}/in/d0/2.png\n")
    listed = list(open_inputs(tmp_path / "list.csv"))
    assert [item.image_id for item in listed] == ["d1/3.png", "d0/2.png"]
    assert listed[0].load(1 << 20, lambda _size, _stamp: None) == (tmp_path / "in/d1/3.png").read_bytes()


def test_keys_that_are_no_paths_and_hidden_ones_are_never_written(store: ObjectStore, tmp_path: Path) -> None:
    fill(tmp_path, 1)
    driver = address.file_system("s3")
    for key in ("in/../../etc/a.png", "in//b.png", "in/.hidden/c.png", "in/folder/"):
        driver.call_s3("put_object", Bucket=BUCKET, Key=key, Body=b"x")
    summary = run(f"{ROOT}/in", str(tmp_path / "here"))
    assert summary.counts == {Status.DONE: 1, Status.FAILED: 2}
    assert not (tmp_path / "etc").exists()


def test_a_listing_is_asked_for_page_by_page(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    monkeypatch.setattr("understudy.batch.remote.PAGE", 2)
    inputs = open_inputs(f"{ROOT}/in")
    store.requests.clear()
    listing = iter(inputs)
    assert next(listing).image_id == "d0/0.png"
    assert store.n("GET", "list-type=2") == 1
    assert len(list(listing)) == 5
    assert store.n("GET", "list-type=2") == 3


def test_an_output_of_understudy_is_never_read_and_never_written_by_another(store: ObjectStore, tmp_path: Path) -> None:
    fill(tmp_path)
    run(f"{ROOT}/in", f"{ROOT}/in/out")
    assert sorted(item.image_id for item in open_inputs(f"{ROOT}/in") if item.image_id.endswith(".png")) == sorted(
        f"d{k % 2}/{k}.png" for k in range(6)
    )
    with pytest.raises(InvalidInputError, match="output folder"):
        open_inputs(f"{ROOT}/in/out/images")
    with pytest.raises(OutputError, match="is not empty"):
        run(str(tmp_path / "in"), f"{ROOT}/in/d0")
    with pytest.raises(OutputError, match="lies inside"):
        run(str(tmp_path / "in"), f"{ROOT}/in/out/images/x")
    with pytest.raises(OutputError, match="is the input"):
        run(f"{ROOT}/in", f"{ROOT}/in/")


def test_a_second_run_on_the_same_output_is_refused_and_a_stale_lock_is_taken_over(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    with remote_lock.remotely_locked(f"{ROOT}/out", lambda error: None):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
        address.write_bytes(f"{ROOT}/out/.understudy-output", b"{}")
        with pytest.raises(OutputError, match=rf"in use by another run \(process {os.getpid()}"):
            run(f"{ROOT}/in", f"{ROOT}/out")
        monkeypatch.setattr(remote_lock, "STALE_S", -1.0)
        assert run(f"{ROOT}/in", f"{ROOT}/out").exit_code == 0


def test_whoever_lost_the_lock_is_told(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_lock, "RENEW_S", 0.01)
    lost: list[BaseException] = []
    with remote_lock.remotely_locked(f"{ROOT}/out", lost.append):
        for _ in range(500):  # the other run renews its lock, too: one of our own renewals may have been on its way
            if lost:
                break
            address.write_bytes(f"{ROOT}/out/.understudy-lock", b'{"token": "of another"}')
            time.sleep(0.01)
    assert "taken over by another run" in str(lost[0])
    assert address.exists(f"{ROOT}/out/.understudy-lock"), "the lock of another is left to it"


def test_status_reads_the_ledger_here_or_its_copy_on_the_store(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    run(f"{ROOT}/in", f"{ROOT}/out")
    for state in ("state", "another"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / state))
        with parts_of(f"{ROOT}/out") as (part,):
            assert progress_of(part).counts == {Status.DONE: 6}


PROGRAM = """
import sys
from tests.faults.tiny_job import FINGERPRINT, TinyJob
from understudy.batch.inputs import open_inputs
from understudy.batch.local import RunSettings, run_local
settings = RunSettings(n_workers=2, micro_batch=2, max_pictures=4, n_fetchers=2)
job = TinyJob(pause_s=float(sys.argv[1]))
inputs = open_inputs("s3://pictures/in")
summary = run_local(job, inputs, "s3://pictures/out", settings=settings, fingerprint=FINGERPRINT)
print(summary.n_inputs, summary.n_resumed)
"""


def start(pause_s: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(pause_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_and_what_it_committed_is_not_made_again(store: ObjectStore, tmp_path: Path) -> None:
    expected = fill(tmp_path, 16)
    killed = start(1.0)
    while killed.poll() is None and store.n("PUT", "/out/images/") < 4:
        time.sleep(0.01)
    assert killed.poll() is None
    killed.kill()
    killed.communicate()
    with parts_of(f"{ROOT}/out") as (part,):
        found = progress_of(part)
    assert "killed" in found.state
    n_done = found.counts[Status.DONE]
    assert 1 <= n_done < 16
    before = dict(store.requests)
    again = start(0)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert int(out.split()[1]) == n_done
    assert written() == expected
    keys = [key for key in store.requests if key.startswith("PUT /pictures/out/images/")]
    assert sum(store.requests[key] - before.get(key, 0) for key in keys) == 16 - n_done
