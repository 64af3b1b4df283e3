"""From a composed config to a job that can be run: the only part that reads a DictConfig."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from understudy import __version__
from understudy.batch.local import RunSettings
from understudy.batch.sources import printable
from understudy.config.bundle import with_bundle
from understudy.config.compose import compose_config
from understudy.config.job import AnonymizeJob
from understudy.config.licences import licence_record, require_licences
from understudy.config.locations import configs_folder
from understudy.config.parts import PartBuilder
from understudy.config.providers import (
    providers_in_use,
    require_device,
    require_installed,
    require_providers,
    told_together,
)
from understudy.config.read import one_target, read_anonymize
from understudy.config.schema import Anonymize, Component, Detect
from understudy.config.used import obscures, unused_parts, used_settings
from understudy.detect.base import Detector
from understudy.detect.boxes import Frame, read_boxes
from understudy.detect.hog_people import has_hog_people
from understudy.detect.mtcnn_networks import JUDGE
from understudy.detect.mtcnn_networks import PARTS as MTCNN_WEIGHTS
from understudy.detect.persons import Persons
from understudy.detect.selfie import WEIGHTS as SELFIE
from understudy.errors import ConfigError, MissingExtraError
from understudy.generate.base import Generator, Obscurer
from understudy.generate.by_kind import ByKind
from understudy.guard import BodyGuard, FaceGuard
from understudy.pipeline import Pipeline, PipelineSettings
from understudy.residual import ResidualScan
from understudy.runtime.onnx import CPU, bound_memory
from understudy.types import OutcomeKind
from understudy.weights import file_digest, is_here, resolve

_PACKAGES = ("numpy", "Pillow", "opencv-python-headless", "onnxruntime", "hydra-core", "torch", "diffusers", "dlib-bin")
READ_AGAIN = ("default", "thorough")
"""Files of ``configs/detector`` whose keypoints MTCNN's last network may read, too."""
_NOT_IN_FINGERPRINT = (
    *("input", "output", "state", "shard", "boxes", "runner", "resume", "debug", "max_pixels", "measure_encoding"),
    *("logs", "metrics_file", "video", "accept_licence"),
)


def choose_keypoints(overrides: Sequence[str]) -> list[str]:
    """The overrides with MTCNN's last network as a reader of keypoints, unless they say something about it.

    Where its weights are on this machine, and the detector is one of those that read keypoints again. The others, files
    of the user's own, and what is composed by an experiment of the user's own stay as they are.
    """
    given = {override.lstrip("+~").partition("=")[0]: override.partition("=")[2] for override in overrides}
    told = any(key.startswith("detector.keypoints") for key in given)
    experiment = given.get("experiment")
    foreign = experiment is not None and not (configs_folder() / "experiment" / f"{experiment}.yaml").is_file()
    if told or foreign or given.get("detector", "default") not in READ_AGAIN or not is_here(JUDGE):
        return list(overrides)
    return [*overrides, "detector.keypoints.onet=true"]


def choose_residual(overrides: Sequence[str]) -> list[str]:
    """The overrides with the residual detector of this installation, unless they choose one, and ``choose_keypoints``.

    MTCNN where its weights are on this machine (and it is not the detector itself), else dlib's HOG detector. Where
    bodies are replaced, people get masks if the segmenter's weights are on this machine, and OpenCV's pedestrian
    detector looks for whom the first one missed, where this OpenCV has it. (Keypoint R-CNN finds more, but takes
    seconds for a picture without an accelerator: it is for the user to choose.)
    """
    chosen = {override.lstrip("+").partition("=")[0] for override in overrides}
    more: list[str] = []
    if "residual" not in chosen:
        free = "detector=mtcnn" not in overrides and all(is_here(name) for name in MTCNN_WEIGHTS)
        more.append("residual=mtcnn" if free else "residual=dlib_hog")
    if {"target=body", "target=both"} & set(overrides):
        if "people" not in chosen and is_here(SELFIE):
            more.append("people=masks")
        if "body_residual" not in chosen and has_hog_people():
            more.append("body_residual=hog_people")
    return [*choose_keypoints(overrides), *more]


@dataclass(frozen=True)
class Built:
    """A job with what a run should keep of it."""

    job: AnonymizeJob
    run_settings: RunSettings
    warnings: tuple[str, ...]
    """What the user should know before the run starts."""


def build_job(settings: Anonymize) -> Built:
    """Load every part of the main job.

    Raises
    ------
    ConfigError, MissingWeightsError, WeightsDigestError, MissingExtraError
        Nothing has been written then.
    """
    require_licences(settings)
    require_installed(settings.runtime)
    require_device(settings.runtime.device)
    build = PartBuilder()
    warnings: list[str] = []
    if settings.runtime.memory_mb is not None:
        bound_memory(settings.runtime.memory_mb)
    detector = _build_detector(build, settings.target, settings.detector, settings.people)
    residual = None if settings.target == "body" else _build_residual(build, settings.residual)
    if residual is not None:
        _refuse_overlap(detector, residual.detector)
    elif settings.target != "body":
        warnings.append("residual=none: nobody looks for people whom the detector missed")
    guard = None if settings.target == "body" else _build_guard(build, settings.guard, warnings)
    body_guard, body_residual = _build_body_parts(build, settings, detector, warnings)
    pipeline = Pipeline(
        detector=detector,
        residual=residual,
        generator=_build_generator(build, settings, warnings),
        guard=guard,
        blender=build(settings.blender, "blender"),
        policy=build(settings.attributes, "attributes"),
        settings=PipelineSettings(
            run_seed=settings.seed,
            n_attempts=settings.n_attempts,
            n_candidates=settings.n_candidates,
            context=settings.context,
            body_context=settings.body_context,
        ),
        body_guard=body_guard,
        body_residual=body_residual,
    )
    warnings += require_providers(pipeline, fallback=settings.runtime.fallback)
    if settings.runtime.precision != "fp32" or list(settings.runtime.providers) != [CPU]:
        used = told_together(providers_in_use(pipeline))
        warnings.append(f"runs with precision {settings.runtime.precision} ({used})")
    run_settings = build(settings.runner, "runner")
    if settings.resume == "restart":
        run_settings = replace(run_settings, resume="restart")
    boxes_frame: Frame = "raw" if settings.boxes_frame == "raw" else "upright"
    job = AnonymizeJob(
        pipeline,
        max_pixels=settings.max_pixels,
        mark=settings.mark,
        measure_encoding=settings.measure_encoding,
        boxes=None if settings.boxes is None else read_boxes(Path(settings.boxes), boxes_frame),
        boxes_mode="add" if settings.boxes_mode == "add" else "replace",
    )
    return Built(job, run_settings, tuple(warnings))


def _build_detector(build: PartBuilder, target: str, detector: Component, people: Component) -> Detector:
    """Who looks for faces, bodies or both."""
    if target == "face":
        faces: Detector = build(detector, "detector")
        return faces
    bodies = build(people, "people")
    if bodies is None:
        raise ConfigError(f"people=none and target={target} do not go together: nobody would look for bodies")
    return Persons(bodies, build(detector, "detector") if target == "both" else None)


def _build_generator(build: PartBuilder, settings: Anonymize, warnings: list[str]) -> Generator | Obscurer:
    """Who replaces it; a baseline that obscures does so with bodies, too. Nothing is loaded that is not used."""
    if settings.target == "body" and not obscures(settings.generator):
        body: Generator = build(settings.body_generator, "body_generator")
        return body
    generator: Generator | Obscurer = build(settings.generator, "generator")
    if isinstance(generator, Obscurer) and generator.outcome is OutcomeKind.KEPT:
        warnings.append(f"generator {generator.name} replaces nobody: what is written shows the people as they are")
    if settings.target == "face" or isinstance(generator, Obscurer):
        if settings.target != "face":
            warnings.append(f"generator {generator.name} obscures bodies too: body_generator is not used")
        return generator
    return ByKind(generator, build(settings.body_generator, "body_generator"))


def _build_body_parts(
    build: PartBuilder, settings: Anonymize, detector: Detector, warnings: list[str]
) -> tuple[BodyGuard | None, ResidualScan | None]:
    """Guard and scan of bodies, where bodies are replaced."""
    if settings.target == "face":
        return None, None
    scan: ResidualScan | None = build(settings.body_residual, "body_residual")
    if scan is None:
        warnings.append("body_residual=none: nobody looks for bodies whom the first detector missed")
    else:
        _refuse_overlap(detector, scan.detector, "people", "body_residual")
    return build(settings.body_guard, "body_guard"), scan


def _build_residual(build: PartBuilder, node: Mapping[str, object]) -> ResidualScan | None:
    """The residual scan; where its extra is not installed, the user decides whether to go without."""
    try:
        residual: ResidualScan | None = build(node, "residual")
    except MissingExtraError as error:
        raise MissingExtraError(
            f"no detector to look for people whom the first one missed: {error}; "
            "or say residual=none, and nobody looks for them"
        ) from error
    return residual


def _build_guard(build: PartBuilder, node: Mapping[str, object], warnings: list[str]) -> FaceGuard | None:
    """The guard; without its embedder where the embedder's extra is not installed, and that is said."""
    why = "guard.embedder=null"
    try:
        guard: FaceGuard | None = build(node, "guard")
    except MissingExtraError as error:
        if node.get("embedder") is None:
            raise
        guard, why = build({**node, "embedder": None}, "guard"), str(error)
    if guard is None:
        warnings.append("guard=none: understudies are not compared with the originals")
    elif guard.embedder is None:
        warnings.append(f"the guard compares no identities, they stay undecided: {why}")
    return guard


def build_detector(settings: Detect) -> Detector:
    """Load the detector of ``understudy detect``."""
    require_installed(settings.runtime)
    require_device(settings.runtime.device)
    faces = with_bundle(settings.detector, settings.runtime)
    detector = _build_detector(PartBuilder(), one_target(settings.target), faces, settings.people)
    require_providers({"detector": detector}, fallback=settings.runtime.fallback)
    return detector


def _refuse_overlap(primary: Detector, residual: Detector, first: str = "detector", second: str = "residual") -> None:
    both = sorted(primary.families & residual.families)
    if both:
        raise ConfigError(
            f"{first} and {second} both use {', '.join(both)}, so they would miss the same faces: "
            f"choose another {second}, or {second}=none for measuring"
        )


def job_from_overrides(overrides: Sequence[str]) -> AnonymizeJob:
    """The main job with some settings changed, for scripts and tests; input and output need not be given."""
    given = ["input=.", "output=.", *choose_residual(overrides)]
    return build_job(read_anonymize(compose_config("anonymize", given))).job


def fingerprint(settings: Anonymize, job: AnonymizeJob) -> dict[str, object]:
    """What results depend on: settings, weights, versions; compared when a run goes on."""
    left_out = {*_NOT_IN_FINGERPRINT, *unused_parts(settings)}
    left_out |= {"target", "body_context"} if settings.target == "face" else set()
    kept = {key: value for key, value in asdict(settings).items() if key not in left_out}
    boxes = None
    if settings.boxes is not None:
        boxes = hashlib.sha256(Path(settings.boxes).read_bytes()).hexdigest()
    return {
        **kept,
        "boxes": boxes,
        "weights": weight_digests(settings, job),
        "understudy": __version__,
    }


def run_record(settings: Anonymize, job: AnonymizeJob) -> dict[str, object]:
    """What ``run.yaml`` says: the resolved config, versions, weight digests and the providers that really run."""
    record = {
        "config": asdict(settings),
        "versions": {"understudy": __version__, "python": platform.python_version(), **dict(_versions())},
        "weights": weight_digests(settings, job),
        "providers": providers_in_use(job.pipeline),
        "licences": licence_record(settings),
    }
    return {key: _printable(value) for key, value in record.items()}


def weight_digests(settings: Anonymize, job: AnonymizeJob) -> dict[str, str]:
    """SHA-256 of every weight file in use: what the parts report, and what their settings called ``weights`` name."""
    found = dict(job.pipeline.digests())
    for name in named_weights(used_settings(settings)):
        found[name] = file_digest(resolve(name))
    return dict(sorted(found.items()))


def named_weights(node: object) -> Iterator[str]:
    """Names that settings call ``weights``, at any depth."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "weights" and isinstance(value, str):
                yield value
            else:
                yield from named_weights(value)
    elif isinstance(node, list):
        for value in node:
            yield from named_weights(value)


def _printable(value: object) -> object:
    """Plain data whose texts can be written as UTF-8, whatever bytes a path holds."""
    if isinstance(value, Mapping):
        return {str(k): _printable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(v) for v in value]
    return printable(value) if isinstance(value, str) else value


def _versions() -> Iterator[tuple[str, str]]:
    for package in _PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
