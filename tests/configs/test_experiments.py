"""Every ready experiment is composed by the command in its first comment, each job of its sweep too."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from understudy.config.compose import compose_config, read_flags
from understudy.config.licences import require_licences
from understudy.config.locations import configs_folder
from understudy.config.read import read_anonymize
from understudy.config.sweep import JobReport, run_jobs

FILES = sorted((configs_folder() / "experiment").glob("*.yaml"))


def command_of(path: Path) -> list[str]:
    """Arguments of the command in the first comment, after Hydra's own line."""
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first == "# @package _global_"
    words = shlex.split(second.removeprefix("# "))
    assert words[:2] == ["understudy", "anonymize"]
    return words[2:]


def composed_only(overrides: tuple[str, ...], name: str, folder: Path, config_folder: str | None) -> JobReport:
    """A task that runs nothing: Hydra composed every job before the first."""
    return JobReport(name, overrides, 0)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_an_experiment_composes_by_the_command_in_its_first_comment(path: Path, tmp_path: Path) -> None:
    flags = read_flags(command_of(path), sweeps=True)
    assert f"+experiment={path.stem}" in flags.overrides
    own = [o for o in flags.overrides if not o.startswith("output=")]
    if not flags.multirun:
        require_licences(read_anonymize(compose_config("anonymize", flags.overrides)))
        return
    reports = run_jobs(own, str(tmp_path / "sweep"), composed_only)
    assert len(reports) > 1
    assert len({report.name for report in reports}) == len(reports)


def test_what_an_experiment_sweeps_can_be_narrowed_on_the_command_line(tmp_path: Path) -> None:
    own = ["+experiment=baselines", "input=a", "generator=fill", "seed=1,2"]
    names = [report.name for report in run_jobs(own, str(tmp_path / "sweep"), composed_only)]
    assert names == ["seed=1", "seed=2"]


def test_experiments_are_named_as_the_docs_name_them() -> None:
    docs = (configs_folder().parent / "docs" / "how-to" / "sweeps.md").read_text(encoding="utf-8")
    assert {path.stem for path in FILES} == set(re.findall(r"`.*\+experiment=(\w+)", docs))
