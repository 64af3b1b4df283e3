"""``understudy anonymize input=PATH output=DIR``: the main job."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from understudy.batch.address import is_address
from understudy.batch.inputs import open_inputs
from understudy.batch.items import Inputs, shown_root
from understudy.batch.ledger import Status
from understudy.batch.logs import Log, Redactor
from understudy.batch.metrics import Metrics
from understudy.batch.progress import Event, ProgressBar
from understudy.batch.shard import Shard, parse_shard
from understudy.batch.sources import printable
from understudy.batch.summary import RunInterruptedError, RunSummary
from understudy.cli.film import film_at, run_one_film
from understudy.cli.sweep import sweep
from understudy.cli.words import nothing_done
from understudy.config.build import choose_residual
from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read_anonymize
from understudy.config.runners import Errand, Runner, open_runner
from understudy.config.schema import Anonymize
from understudy.errors import ConfigError, UnderstudyError

HELP = """usage: understudy anonymize input=PATH output=DIR [key=value ...]

Replaces every person in a collection of pictures by someone who does not exist. input is a file, a folder (read
recursively), a glob in quotes, or a list of paths (.txt, .csv, .parquet), here or at an address (s3://...); tar shards
and Parquet datasets in it are written again as such. The same command started again goes on where it stopped.

writes  DIR/images/...         the pictures, under the same names
        DIR/images.parquet     one row for each input; regions.parquet: one for each face or body (CSV without pyarrow)
        DIR/run.yaml           settings, versions, digests of the weights; ledger.db: what makes it resumable
        of a film: images/NAME, film.json, frames.jsonl (one line for each frame)
        with shard=3/16        tables, run.yaml and ledger.db in DIR/shards/3-of-16; `understudy merge DIR` joins them
sweeps  understudy anonymize -m generator=fill,blur ...: each combination in a folder of its own in DIR
ends    0 every input finished; 1 nothing could run or go on; 3 some inputs failed, were refused or quarantined
"""
CANNOT_RUN = 1
INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments, sweeps=True)
    if flags.show_help:
        print(help_text("anonymize", HELP, choose_residual(())))
        return 0
    if flags.multirun:
        return sweep(flags, run_once)
    config = compose_config("anonymize", choose_residual(flags.overrides), flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    return run_settings(read_anonymize(config))


def run_once(overrides: Sequence[str], config_folder: str | None = None) -> int:
    """Run the command with these overrides, residual and all; what goes wrong is raised."""
    return run_settings(read_anonymize(compose_config("anonymize", overrides, config_folder)))


def run_settings(settings: Anonymize) -> int:
    """Run the command with settings that were read; the exit code."""
    film = film_at(settings.input)
    if film is not None and settings.target != "face":
        raise ConfigError(f"films: target=face only, got target={settings.target}; or give the frames as pictures")
    if film is not None:
        return run_one_film(settings, film, open_log(settings))
    if settings.logs.format == "text" and not settings.logs.redact:
        summary = anonymize(settings)
        print(describe(summary, settings.output, _noun(settings)))
        return summary.exit_code
    return _with_own_log(settings)


def _with_own_log(settings: Anonymize) -> int:
    """Run with nothing said but what the log may say, errors included."""
    log = open_log(settings)
    try:
        summary = anonymize(settings, log)
    except RunInterruptedError:
        log.fail("stopped; start the same command again to go on")
        return INTERRUPTED
    except UnderstudyError as error:
        if settings.debug:
            raise
        log.fail(str(error))
        return CANNOT_RUN
    if settings.logs.format == "text":
        print(log.clean(describe(summary, settings.output, _noun(settings))))
    return summary.exit_code


def open_log(settings: Anonymize) -> Log:
    """The log that the settings ask for."""
    redact = None
    if settings.logs.redact:
        named = {settings.input: "<input>", settings.output: "<output>", settings.state or "": "<state>"}
        roots = {os.path.expanduser("~"): "<home>"}
        for path, word in named.items():
            if path:
                roots[path] = word
                if not is_address(path):
                    roots |= {os.path.abspath(path): word, os.path.realpath(path): word}
        redact = Redactor(roots)
    return Log("json" if settings.logs.format == "json" else "text", redact)


def anonymize(settings: Anonymize, log: Log | None = None) -> RunSummary:
    """Run the main job and leave ``run.yaml`` beside its results."""
    said = log or open_log(settings)
    shard = parse_shard(settings.shard)
    inputs = open_inputs(settings.input)
    with open_runner(settings) as runner:
        for warning in runner.facts.warnings:
            said.warn(warning)
        _warn_of_unused_boxes(settings, runner.boxed, inputs, said)
        return _anonymize(settings, runner, inputs, shard, said)


def _anonymize(settings: Anonymize, runner: Runner, inputs: Inputs, shard: Shard | None, said: Log) -> RunSummary:
    """Carry the run out and say how it goes."""
    metrics = Metrics(Path(settings.metrics_file).absolute()) if settings.metrics_file else None
    root = {} if settings.logs.redact else {"input": printable(shown_root(inputs)), "output": settings.output}
    said.begin(**root, shard=settings.shard)
    quiet = False if said.form == "json" or settings.logs.redact else None
    with ProgressBar(inputs.count, enabled=quiet) as bar:

        def report(event: Event) -> None:
            bar(event)
            said.settled(event)
            if metrics is not None:
                metrics.count(event)

        try:
            summary = runner.run(
                Errand(
                    inputs,
                    settings.output,
                    runner.facts.fingerprint,
                    report,
                    settings.state,
                    shard,
                    runner.facts.record,
                    None if metrics is None else metrics.watch,
                    runner.film,
                )
            )
        except RunInterruptedError as stopped:
            said.end(stopped.summary)
            if said.form == "text":
                print(said.clean(describe(stopped.summary, settings.output, _noun(settings))), file=sys.stderr)
            raise
        finally:
            if metrics is not None:
                metrics.end()
    if summary.n_inputs == summary.counts[Status.SKIPPED] and shard is None:
        said.warn(nothing_done("picture or film", summary.n_inputs, printable(shown_root(inputs))))
    said.end(summary)
    return summary


def _warn_of_unused_boxes(settings: Anonymize, boxed: Collection[str], inputs: Inputs, log: Log) -> None:
    if not boxed:
        return
    unused = set(boxed)
    for item in inputs:
        unused.discard(item.image_id)
    if unused:
        log.warn(
            f"{settings.boxes} names {len(unused)} picture(s) that input does not hold, "
            f"such as {printable(min(unused))!r}"
        )


def _noun(settings: Anonymize) -> str:
    return "faces" if settings.target == "face" else "regions"


def describe(summary: RunSummary, output: str, noun: str = "faces") -> str:
    """What became of a collection, in a few lines."""
    counts = ", ".join(f"{n} {status}" for status, n in sorted(summary.counts.items()) if n) or "none"
    regions = ", ".join(f"{n} {kind}" for kind, n in sorted(summary.outcomes.items()) if n) or "none"
    resumed = f", {summary.n_resumed} of them by an earlier run" if summary.n_resumed else ""
    lines = [
        f"inputs: {counts}{resumed}",
        f"{noun + ': ':<8}{regions}",
        f"time:   {summary.elapsed_s:.1f} s" + (f", {summary.rate:.2f} inputs a second" if summary.rate else ""),
        *(f"{status}: {image_id}: {error}" for image_id, status, error in summary.failures),
    ]
    if summary.outcomes["filled"]:
        lines.append("filled: why stands in the table of regions, under reason")
    if summary.n_bad > len(summary.failures):
        lines.append(f"... and {summary.n_bad - len(summary.failures)} more: see the table of images")
    return "\n".join([*lines, f"results lie in {output}"])
