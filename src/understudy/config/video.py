"""The film path of the main job, from settings to result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from understudy.batch.lock import locked
from understudy.batch.tables import write_run_file
from understudy.config.build import Built, build_job, fingerprint, run_record
from understudy.config.schema import Anonymize
from understudy.errors import ConfigError, InvalidInputError, OutputError
from understudy.video.film import FilmJob, FilmResult, Report
from understudy.video.settings import VideoSettings

_UNUSED = {"boxes": "your own boxes", "shard": "shards", "metrics_file": "a metrics file", "state": "state="}


def read_video(settings: Anonymize) -> VideoSettings:
    """The film's settings, checked.

    Raises
    ------
    ConfigError
        A value out of range, or a setting of pictures that films do not know.
    """
    for name, what in _UNUSED.items():
        if getattr(settings, name) is not None:
            raise ConfigError(f"{what} cannot be used with a film: leave out {name}=")
    try:
        return VideoSettings(**asdict(settings.video))
    except InvalidInputError as error:
        raise ConfigError(str(error)) from error


def build_film_job(settings: Anonymize, built: Built, report: Report) -> FilmJob:
    """The job that anonymises a film with the parts of the main job."""
    video = read_video(settings)
    depends: Mapping[str, object] = {
        **fingerprint(settings, built.job),
        "video": asdict(video),
    }
    return FilmJob(
        built.job.pipeline,
        video,
        max_pixels=settings.max_pixels,
        mark=settings.mark,
        fingerprint=depends,
        report=report,
    )


def run_film(settings: Anonymize, path: Path, built: Built, report: Report) -> FilmResult:
    """Anonymise one film into an output folder, going on where an earlier run stopped.

    Raises
    ------
    ConfigError, OutputError, StateMismatchError
        Nothing could run, or go on.
    """
    job = build_film_job(settings, built, report)
    output = Path(settings.output).absolute()
    if (output / "ledger.db").exists():
        raise OutputError(f"{str(output)!r} holds the results of a collection of pictures: give a film another output")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {str(output)!r} cannot be made: {error.strerror}") from error
    if path.resolve() == (output / "images" / path.name).resolve():
        raise ConfigError(f"output {str(output)!r} would overwrite the film itself: give another folder")
    with locked(output):
        result = job(path, output, restart=settings.resume == "restart")
        write_run_file(output, run_record(settings, built.job))
    return result


def load_parts(settings: Anonymize) -> Built:
    """Every part of the main job; the film's settings are checked first."""
    read_video(settings)
    if settings.n_candidates > 1:
        raise ConfigError(f"films: n_candidates=1 only (a track keeps one seed), got {settings.n_candidates}")
    return build_job(settings)
