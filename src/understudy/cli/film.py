"""What ``understudy anonymize`` does where its input is one film."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from understudy.batch.address import is_address
from understudy.batch.ledger_reader import LEDGER_FILE
from understudy.batch.lock import LOCK_FILE, is_dead, read_owner
from understudy.batch.logs import Log
from understudy.config.schema import Anonymize
from understudy.errors import ConfigError
from understudy.imaging import HEAD_BYTES, sniff
from understudy.video.live import refuse_live

if TYPE_CHECKING:
    from understudy.video.film import FilmResult

RECORD, WORKPLACE = "film.json", ".understudy-video"
"""Those of understudy.video.film, which needs PyAV: a status does not."""


def film_at(text: str) -> Path | None:
    """The path of the film that an input names, None where it names something else.

    Raises
    ------
    RefusedImageError
        It is a webcam or a network stream.
    """
    refuse_live(text)
    path = Path(text)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            kind = sniff(file.read(HEAD_BYTES))
    except (OSError, ValueError):
        return None
    return path if kind is not None and kind.startswith("video/") else None


def run_one_film(settings: Anonymize, path: Path, log: Log) -> int:
    """Anonymise it and say what became of it."""
    from understudy.config.video import load_parts, run_film

    built = load_parts(settings)
    for warning in built.warnings:
        log.warn(warning)
    with _progress(quiet=log.form == "json" or settings.logs.redact) as report:
        result = run_film(settings, path, built, report)
    print(log.clean(_told(result, path.name, settings.output)))
    return result.exit_code


def film_status(output: str) -> str:
    """What ``understudy status`` says of an output that holds one film and no ledger; empty for any other.

    Raises
    ------
    ConfigError
        ``film.json`` is damaged.
    """
    folder = Path(output)
    if is_address(output) or (folder / LEDGER_FILE).is_file():
        return ""
    if (folder / WORKPLACE).is_dir():
        owner = read_owner(folder / LOCK_FILE)
        alive = owner and not is_dead(owner)
        return f"film:   {'under way' if alive else 'not finished: the same command goes on with it'}"
    if not (folder / RECORD).is_file():
        return ""
    try:
        kept = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return _told(SimpleNamespace(**kept), kept["film"], output)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{folder / RECORD} cannot be read: {error}") from error


def _told(result: FilmResult | SimpleNamespace, name: str, output: str) -> str:
    if result.status != "done":
        return f"film:   {name} {result.status}: {result.error}\nno film was written"
    again = ", by an earlier run" if result.resumed else ""
    regions = ", ".join(f"{n} {kind}" for kind, n in result.outcomes.items()) or "none"
    filled = (
        f", {result.n_tracks_filled} of them filled for the whole length (why: frames.jsonl)"
        if result.n_tracks_filled
        else ""
    )
    tracks = "track" if result.n_tracks == 1 else "tracks"
    return "\n".join(
        [
            f"film:   {name} done{again}: {result.n_frames} frames, {result.n_tracks} {tracks}{filled}",
            f"faces:  {regions} (in all frames)",
            *(f"note:   {note}" for note in result.notes),
            f"results lie in {output}",
        ]
    )


def _ignore(stage: str, frame: int) -> None:
    """No report."""


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int], object]]:
    if quiet or not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), TextColumn("frame {task.completed:.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, frame: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=frame + 1)

        yield report
