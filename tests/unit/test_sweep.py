from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from understudy.cli import sweep as command
from understudy.cli.main import main
from understudy.cli.sweep import SWEEP_FILE, sweep, worst
from understudy.config.compose import read_flags
from understudy.config.sweep import LAUNCHER_FOLDER, has_launcher, job_name, key_of, read_job
from understudy.errors import ConfigError, MissingExtraError, MissingWeightsError

CODES = {"generator=pixelate": 3, "generator=solid": 1}
CALLS: list[list[str]] = []


def runs(overrides: Sequence[str], config_folder: str | None) -> int:
    """Stands in for the main job: notes what it was asked for, and ends as the generator says."""
    CALLS.append(list(overrides))
    (generator,) = [o for o in overrides if o.startswith("generator=")]
    if generator == "generator=null_edit":
        raise MissingWeightsError("they are elsewhere")
    if generator == "generator=blur":
        raise ZeroDivisionError("a bug")
    return CODES.get(generator, 0)


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


def swept(tmp_path: Path, *arguments: str) -> int:
    flags = read_flags(["-m", "input=photos", f"output={tmp_path / 'out'}", *arguments], sweeps=True)
    return sweep(flags, runs)


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir() and path.name != LAUNCHER_FOLDER)


def test_every_combination_runs_in_a_folder_that_says_what_it_is(tmp_path: Path) -> None:
    assert swept(tmp_path, "generator=fill,pixelate", "seed=1,2", "n_attempts=2") == 3
    assert names(tmp_path) == [
        "generator=fill,seed=1",
        "generator=fill,seed=2",
        "generator=pixelate,seed=1",
        "generator=pixelate,seed=2",
    ]
    assert f"output={tmp_path / 'out' / 'generator=fill,seed=2'}" in CALLS[1]
    assert {"input=photos", "n_attempts=2", "generator=fill", "seed=2"} < set(CALLS[1])


def test_a_finished_job_is_not_run_again_and_others_are(tmp_path: Path) -> None:
    swept(tmp_path, "generator=fill,pixelate")
    CALLS.clear()
    assert swept(tmp_path, "generator=fill,pixelate,latent") == 3
    assert [next(o for o in call if o.startswith("generator")) for call in CALLS] == [
        "generator=pixelate",
        "generator=latent",
    ]


def test_a_finished_job_is_run_again_with_other_settings_and_where_one_says_so(tmp_path: Path) -> None:
    swept(tmp_path, "generator=fill,latent")
    CALLS.clear()
    swept(tmp_path, "generator=fill,latent", "n_attempts=5")
    assert len(CALLS) == 2
    CALLS.clear()
    swept(tmp_path, "generator=fill,latent", "n_attempts=5", "resume=restart")
    assert len(CALLS) == 2


def test_failed_jobs_end_no_sweep_and_are_all_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert swept(tmp_path, "generator=null_edit,blur,pixelate,fill") == 1
    told = capsys.readouterr().out
    assert "4 jobs: 1 finished (0 by an earlier run), 3 not" in told
    assert "failed: generator=null_edit: exit 1: they are elsewhere" in told
    assert "failed: generator=blur: exit 1: ZeroDivisionError: a bug" in told
    assert "failed: generator=pixelate: exit 3: some inputs failed" in told
    written = json.loads((tmp_path / "out" / SWEEP_FILE).read_text())["jobs"]
    assert [job["exit_code"] for job in written] == [1, 1, 3, 0]
    report = read_job(tmp_path / "out" / "generator=pixelate")
    assert report is not None
    assert report.exit_code == 3
    assert main(["status", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a sweep; 4 jobs have come to an end")
    assert lines[1] == "generator=blur: exit 1: ZeroDivisionError: a bug"


def test_ctrl_c_ends_the_sweep_and_the_job_is_not_called_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CODES, "generator=fill", 130)
    with pytest.raises(KeyboardInterrupt):
        sweep(read_flags(["-m", "input=a", f"output={tmp_path}", "generator=fill,blur"], sweeps=True), interrupted)
    assert read_job(tmp_path / "generator=fill") is None


def interrupted(overrides: Sequence[str], config_folder: str | None) -> int:
    raise KeyboardInterrupt


def test_paths_with_nasty_characters_reach_every_job_as_typed(tmp_path: Path) -> None:
    flags = read_flags(
        ["-m", "input=a, b=(c) 'd'", f"output={tmp_path / 'o, p'}", "seed=1,2", "generator=fill"], sweeps=True
    )
    assert sweep(flags, runs) == 0
    assert all("input=a, b=(c) 'd'" in call for call in CALLS)
    assert (tmp_path / "o, p" / "seed=1" / "job.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generator=fill"], "needs a setting with several values"),
        (["generator=fill,nothing_such"], "generator=nothing_such is not known"),
        (["seed=1,2", "n_attemps=3"], "no setting is called 'n_attemps'"),
        (["seed=1,2", "shard=1/2"], "takes neither state nor shard"),
        (["seed=1,2", "output=s3://bucket/x"], "writes to a folder of this machine"),
        (["seed=1,2", "--cfg", "job"], "leave out -m"),
    ],
)
def test_a_sweep_that_cannot_work_is_refused_before_any_job(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        swept(tmp_path, *arguments)
    assert CALLS == []


def test_a_launcher_that_is_not_installed_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.config.sweep.has_launcher", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"hydra-submitit-launcher: run `pip install 'understudy\[sweep\]'`"):
        swept(tmp_path, "seed=1,2", "hydra/launcher=submitit_local")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_the_launchers_run_the_same_jobs_in_other_processes(tmp_path: Path, launcher: str) -> None:
    name = launcher.partition("_")[0]
    if not has_launcher(name):
        pytest.skip(f"hydra-{name}-launcher is not installed: pip install 'understudy[sweep]'")
    assert swept(tmp_path, "generator=fill,pixelate", f"hydra/launcher={launcher}") == 3
    assert names(tmp_path) == ["generator=fill", "generator=pixelate"]


def test_names_are_kept_where_a_file_system_can_hold_them() -> None:
    assert job_name(["generator=fill", "context=1.5"]) == "generator=fill,context=1.5"
    odd, other = job_name(["x='a/b'"]), job_name(["x=a:b"])
    assert odd.startswith("x=a_b-")
    assert odd != other
    assert len(job_name(["x=" + "y" * 300])) == 129


def test_keys_are_read_off_arguments() -> None:
    assert [key_of(a) for a in ("+a/b=1", "hydra/launcher=joblib", "~boxes", "++x.y=z", "nothing here")] == [
        "a/b",
        "hydra/launcher",
        "boxes",
        "x.y",
        "",
    ]


def test_the_worst_exit_code_is_that_of_the_sweep() -> None:
    assert [worst(codes) for codes in ([], [0], [0, 3], [3, 1, 4], [1, 130], [0, 7])] == [0, 0, 3, 1, 130, 7]


def test_the_stand_in_is_called_as_the_main_job_is() -> None:
    from understudy.cli.anonymize import run_once

    assert run_once.__code__.co_varnames[:2] == runs.__code__.co_varnames[:2]
    assert command.run_job.__name__ == "run_job"
