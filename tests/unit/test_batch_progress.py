"""Progress: shown where somebody watches, silent where not."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from understudy.batch.ledger import Status
from understudy.batch.progress import Event, ProgressBar


def test_nothing_is_shown_and_nothing_counted_where_standard_error_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def count() -> int:
        raise AssertionError("inputs were counted for nobody")

    with ProgressBar(count) as bar:
        bar(Event(Status.DONE, "a.jpg"))
    assert capsys.readouterr() == ("", "")


def test_counts_outcomes_and_failures_are_shown_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(lambda: 5, enabled=True) as bar:
        bar(Event(Status.DONE, n=3, outcomes=Counter(replaced=4, filled=1), resumed=True))
        bar(Event(Status.FAILED, "[bold]a.jpg", "cut [red]off"))
        bar(Event(Status.REFUSED, "old.gif", "animated", resumed=True))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "failed: [bold]a.jpg: cut [red]off" in shown.err
    assert "old.gif" not in shown.err
    assert "5/" in shown.err
    assert "1 failed, 1 filled, 1 refused, 4 replaced" in shown.err.replace("\n", " ")


def test_a_count_that_fails_does_not_disturb_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    def count() -> int:
        raise OSError("gone")

    with ProgressBar(count, enabled=True) as bar:
        bar(Event(Status.DONE, "a.jpg"))
    assert "1/?" in capsys.readouterr().err


def test_a_terminal_switches_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert ProgressBar(lambda: 1).enabled
