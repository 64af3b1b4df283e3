"""The runner for one machine: every input once, stages overlapping, memory bounded; it goes on after any stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial

from understudy.batch.carry import Errand, carry_out, ignore
from understudy.batch.engine import Watch
from understudy.batch.items import Inputs
from understudy.batch.progress import Event
from understudy.batch.settings import RunSettings
from understudy.batch.shard import Shard
from understudy.batch.stages import Job
from understudy.batch.summary import RunSummary
from understudy.batch.threads import ThreadRun

__all__ = ["RunSettings", "run_local"]


def run_local(
    job: Job,
    inputs: Inputs,
    output: str | os.PathLike[str],
    *,
    settings: RunSettings | None = None,
    fingerprint: Mapping[str, object],
    report: Callable[[Event], object] = ignore,
    state: str | os.PathLike[str] | None = None,
    shard: Shard | None = None,
    record: Mapping[str, object] | None = None,
    watch: Watch | None = None,
) -> RunSummary:
    """Anonymise a collection into an output, going on where an earlier run on it stopped.

    Parameters
    ----------
    job : Job
        What turns one file into another; called from several threads.
    inputs, output, fingerprint, report, state, shard, record, watch
        Those of ``Errand``.
    settings : RunSettings, optional

    Returns
    -------
    RunSummary

    Raises
    ------
    OutputError, StateMismatchError, RunInterruptedError
        As ``carry_out``.
    """
    errand = Errand(inputs, output, fingerprint, report, state, shard, record, watch)
    return carry_out(partial(ThreadRun, job), errand, settings or RunSettings())
