"""``understudy anonymize input=PATH output=DIR``: the main job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import cv2

from understudy.batch.inputs import open_inputs
from understudy.batch.local import run_local
from understudy.batch.progress import Event, ProgressBar
from understudy.batch.sources import printable
from understudy.batch.summary import RunInterruptedError, RunSummary
from understudy.batch.tables import write_run_file
from understudy.config.build import build_job, choose_residual, fingerprint, run_record
from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read_anonymize
from understudy.config.schema import Anonymize

HELP = """usage: understudy anonymize input=PATH output=DIR [key=value ...]

Replaces every person in a collection of pictures by someone who does not exist. input is a file, a folder (read
recursively), a glob in quotes, or a .txt list of paths. The same command started again goes on where it stopped.

writes  DIR/images/...         the pictures, under the same names
        DIR/images.parquet     one row for each input; regions.parquet: one for each face (CSV without pyarrow)
        DIR/run.yaml           settings, versions, digests of the weights; ledger.db: what makes it resumable
ends    0 every input finished; 1 nothing could run or go on; 3 some inputs failed, were refused or quarantined
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("anonymize", HELP))
        return 0
    config = compose_config("anonymize", choose_residual(flags.overrides), flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    settings = read_anonymize(config)
    summary = anonymize(settings)
    print(describe(summary, settings.output))
    return summary.exit_code


def anonymize(settings: Anonymize) -> RunSummary:
    """Run the main job and leave ``run.yaml`` beside its results."""
    cv2.setNumThreads(1)  # the workers are the threads; and results do not depend on how many cores there are
    inputs = open_inputs(settings.input)
    built = build_job(settings)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(settings.runtime.n_threads)
    for warning in built.warnings:
        print(f"understudy: {warning}", file=sys.stderr)
    if built.job.boxes is not None:
        unused = set(built.job.boxes.found) - {file.image_id for file in inputs}
        if unused:
            print(
                f"understudy: {settings.boxes} names {len(unused)} picture(s) that input does not hold, "
                f"such as {printable(min(unused))!r}",
                file=sys.stderr,
            )
    record = run_record(settings, built.job)
    folder = Path(settings.output)
    written = False
    with ProgressBar(inputs.count) as bar:

        def report(event: Event) -> None:
            nonlocal written
            if not written:  # the output folder is ours, and the settings agree with it: not before the first event
                write_run_file(folder, record)
                written = True
            bar(event)

        try:
            summary = run_local(
                built.job,
                inputs,
                folder,
                settings=built.run_settings,
                fingerprint=fingerprint(settings, built.job),
                report=report,
            )
        except RunInterruptedError as stopped:
            print(describe(stopped.summary, settings.output), file=sys.stderr)
            raise
    if not written:
        write_run_file(folder, record)
    return summary


def describe(summary: RunSummary, output: str) -> str:
    """What became of a collection, in a few lines."""
    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.counts.items()) if n) or "none"
    regions = ", ".join(f"{n} {kind}" for kind, n in sorted(summary.outcomes.items()) if n) or "none"
    resumed = f", {summary.n_resumed} of them by an earlier run" if summary.n_resumed else ""
    lines = [
        f"inputs: {counts}{resumed}",
        f"faces:  {regions}",
        f"time:   {summary.elapsed_s:.1f} s, {summary.rate:.2f} pictures a second",
        *(f"{status}: {image_id}: {error}" for image_id, status, error in summary.failures),
    ]
    if summary.n_bad > len(summary.failures):
        lines.append(f"... and {summary.n_bad - len(summary.failures)} more: see the table of images")
    return "\n".join([*lines, f"results lie in {output}"])
