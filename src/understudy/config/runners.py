"""From settings to what carries a run out: threads of this process, or workers of a Ray cluster."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2

from understudy.batch.carry import Errand, carry_out
from understudy.batch.progress import Event
from understudy.batch.ray_cluster import connected, on_a_worker
from understudy.batch.ray_settings import RaySettings
from understudy.batch.summary import RunSummary
from understudy.batch.threads import ThreadRun
from understudy.config.build import build_job, fingerprint, run_record
from understudy.config.films import CollectionFilms
from understudy.config.job import AnonymizeJob, PictureCodec
from understudy.config.parts import PartBuilder
from understudy.config.schema import Anonymize
from understudy.detect.boxes import read_boxes

__all__ = ["Errand", "Event", "Facts", "Runner", "open_runner"]


@dataclass(frozen=True)
class Facts:
    """What a run is made with: found out where its networks are loaded."""

    fingerprint: dict[str, object]
    record: dict[str, object]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Runner:
    """What carries a run out."""

    facts: Facts
    boxed: Collection[str]
    """Pictures that the user's own boxes name."""
    run: Callable[[Errand], RunSummary]
    film: CollectionFilms
    """For films among the pictures."""


@contextmanager
def open_runner(settings: Anonymize) -> Iterator[Runner]:
    """Load every part of the main job, here or on a cluster.

    Raises
    ------
    ConfigError, MissingWeightsError, WeightsDigestError, MissingExtraError, ClusterError
        Nothing has been written then.
    """
    chosen = PartBuilder()(settings.runner, "runner")
    if isinstance(chosen, RaySettings):
        with _on_ray(settings, chosen) as runner:
            yield runner
        return
    _one_thread()
    built = build_job(settings)
    _fix_torch(settings)
    facts = Facts(fingerprint(settings, built.job), run_record(settings, built.job), built.warnings)
    boxed: frozenset[str] = frozenset() if built.job.boxes is None else frozenset(built.job.boxes.found)
    run = partial(ThreadRun, built.job)
    films = CollectionFilms(settings, lambda: built)
    yield Runner(facts, boxed, lambda errand: carry_out(run, errand, built.run_settings), films)


def _one_thread() -> None:
    """The workers are the threads; and results do not depend on how many cores there are."""
    cv2.setNumThreads(1)


def _fix_torch(settings: Anonymize) -> None:
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(settings.runtime.n_threads)


@contextmanager
def _on_ray(settings: Anonymize, chosen: RaySettings) -> Iterator[Runner]:
    ray_settings = replace(chosen, resume="restart") if settings.resume == "restart" else chosen
    boxed: frozenset[str] = frozenset()
    if settings.boxes is not None:
        boxed = frozenset(read_boxes(Path(settings.boxes), "upright").found)
    with connected(ray_settings):
        from understudy.batch.ray_run import run_ray
        from understudy.batch.ray_stages import Workers

        workers = Workers(partial(codec, settings), partial(loaded_job, settings))
        facts = on_a_worker(partial(facts_of, settings), ray_settings)
        films = CollectionFilms(settings, partial(build_job, settings))
        yield Runner(facts, boxed, lambda errand: run_ray(workers, errand, ray_settings), films)


def facts_of(settings: Anonymize) -> Facts:
    """What a run is made with, told by a worker that has loaded everything."""
    built = build_job(settings)
    return Facts(fingerprint(settings, built.job), run_record(settings, built.job), built.warnings)


def loaded_job(settings: Anonymize) -> AnonymizeJob:
    """The main job with all its networks, with the threads that the settings fix."""
    _one_thread()
    job = build_job(settings).job
    _fix_torch(settings)
    return job


def codec(settings: Anonymize) -> PictureCodec:
    """What decodes and encodes: no network is loaded."""
    _one_thread()
    return PictureCodec(settings.max_pixels, mark=settings.mark, measure_encoding=settings.measure_encoding)
