"""From a composed config to an audit that can be run, with what the anonymiser says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from understudy import __version__
from understudy import weights as registry
from understudy.audit.faces import Readers
from understudy.audit.folders import Manifest, named_targets
from understudy.audit.gates import Gate
from understudy.audit.labels import LabelFormat
from understudy.audit.resampling import Plan
from understudy.audit.run import AuditJob
from understudy.audit.sections import Options, Used
from understudy.config.build import named_weights
from understudy.config.parts import PartBuilder, find_target
from understudy.config.providers import require_device, require_installed
from understudy.config.schema import Audit
from understudy.detect.mtcnn_networks import PARTS as MTCNN_WEIGHTS
from understudy.errors import ConfigError, UnderstudyError

SECOND = ("yunet", "dlib_hog", "mtcnn")
"""Second detectors in the order in which they are tried; each is called as its family is."""
PARTS = ("attacker", "detector", "second", "estimator", "people", "extractor", "perceptual")
"""Settings of what reads pictures."""
WHERE_HERE: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "people": ("default", ("yolox_nano",), ()),
    "extractor": ("inception_v3_torchvision", ("inception_v3_torchvision",), ("torch", "torchvision")),
    "perceptual": ("lpips_alex", ("alexnet_torchvision", "lpips_alex"), ("torch", "torchvision")),
}
"""By group: what is chosen where its weights and packages are on this machine."""
_PACKAGES = (
    "numpy",
    "scipy",
    "opencv-python-headless",
    "onnxruntime",
    "Pillow",
    "dlib-bin",
    "torch",
    "pandas",
)
_AT_LEAST = {"seed": 0, "n_boot": 1, "n_permutations": 1, "minimum_n": 1, "n_workers": 1, "max_pixels": 1}


def what_was_used(manifest: Manifest | None) -> Used:
    """Embedders, detectors and policy of an anonymiser, as its manifest says; nothing without one.

    Parameters
    ----------
    manifest : Manifest or None
        Of the folder ``after``.
    """
    if manifest is None:
        return Used()
    config = manifest.config
    detectors: set[str] = set()
    for part in ("detector", "residual", "guard"):
        for kind in _classes(config.get(part)):
            families = getattr(kind, "families", None)
            if isinstance(families, frozenset):
                detectors |= families
    embedders = set(_embedder_names(config.get("guard")))
    attributes = config.get("attributes")
    policy = isinstance(attributes, Mapping) and bool(attributes.get("keep"))
    return Used(frozenset(embedders), frozenset(detectors), policy)


def _classes(node: object) -> Iterator[Any]:
    """The classes of understudy that settings name; others are no business of ours."""
    for target in named_targets(node):
        try:
            yield find_target(target, "manifest")
        except UnderstudyError:
            continue


def _embedder_names(node: object) -> Iterator[str]:
    """What embedders in settings call themselves: by their class, or by the name that their settings give."""
    if isinstance(node, Mapping):
        for kind in _classes({"_target_": node.get("_target_")}):
            if hasattr(kind, "embed"):
                yield str(getattr(kind, "name", None) or node.get("name"))
        for value in node.values():
            yield from _embedder_names(value)
    elif isinstance(node, list):
        for value in node:
            yield from _embedder_names(value)


def choose_where_here(overrides: Sequence[str]) -> list[str]:
    """The overrides with what is on this machine of ``WHERE_HERE``, unless they choose for themselves."""
    chosen = {override.lstrip("+").partition("=")[0] for override in overrides}
    more = [
        f"{group}={choice}"
        for group, (choice, weights, packages) in WHERE_HERE.items()
        if group not in chosen and all(map(registry.is_here, weights)) and all(map(find_spec, packages))
    ]
    return [*overrides, *more]


def choose_second(overrides: Sequence[str], used: Used) -> list[str]:
    """The overrides with a second detector that the anonymiser did not use, unless they choose one.

    The first of ``SECOND`` that is installed and was not used; where all that are installed were used, the first of
    them; where none is installed, none.
    """
    if any(override.lstrip("+").partition("=")[0] == "second" for override in overrides):
        return list(overrides)
    installed = [name for name in SECOND if _is_here(name)]
    free = [name for name in installed if name not in used.detectors]
    return [*overrides, f"second={(free or installed or ['none'])[0]}"]


def _is_here(name: str) -> bool:
    if name == "yunet":
        return registry.is_here("yunet")
    if name == "mtcnn":
        return all(map(registry.is_here, MTCNN_WEIGHTS))
    return find_spec("dlib") is not None


def build_audit(settings: Audit) -> AuditJob:
    """Load everything that an audit reads with.

    Raises
    ------
    ConfigError, MissingWeightsError, WeightsDigestError, MissingExtraError
        Nothing has been written then.
    """
    for key, least in _AT_LEAST.items():
        if getattr(settings, key) < least:
            raise ConfigError(f"{key} must be {least} or more, got {getattr(settings, key)}")
    if not settings.attacker:
        raise ConfigError("an audit needs an attacker: attacker=[dlib]")
    require_installed(settings.runtime)
    require_device(settings.runtime.device)
    build = PartBuilder()
    attacks = build(settings.attacker, "attacker")
    estimators = build(settings.estimator, "estimator")
    readers = Readers(
        detector=build(settings.detector, "detector"),
        second=build(settings.second, "second"),
        attacks=tuple(attacks.values()),
        estimators=tuple(estimators.values()),
        people=build(settings.people, "people"),
        extractor=build(settings.extractor, "extractor"),
        perceptual=build(settings.perceptual, "perceptual"),
    )
    names = [attack.name for attack in readers.attacks]
    if len(set(names)) != len(names):
        raise ConfigError(f"attackers must have different names, got {names}")
    label_format = build(settings.label_format, "label_format")
    if not isinstance(label_format, LabelFormat):
        raise ConfigError("label_format must build a LabelFormat")
    digests = audit_weights(settings, readers)
    return AuditJob(
        before=settings.before,
        after=settings.after,
        null=settings.null,
        readers=readers,
        options=_options(settings),
        labels=None if settings.labels is None else Path(settings.labels),
        label_format=label_format,
        gates=build_gates(settings.gates),
        cache_folder=_cache_folder(settings),
        reader_record={
            "understudy": __version__,
            "parts": {key: getattr(settings, key) for key in PARTS},
            "weights": digests,
        },
        max_pixels=settings.max_pixels,
        n_workers=settings.n_workers,
    )


def _cache_folder(settings: Audit) -> Path | None:
    if not settings.keep_readings:
        return None
    return Path(settings.output) / ".cache" if settings.cache is None else Path(settings.cache)


def _options(settings: Audit) -> Options:
    if not 0 < settings.level < 1:
        raise ConfigError(f"level must lie in (0, 1), got {settings.level}")
    bad = [far for far in settings.far_targets if not 0 < far < 1]
    if bad or not settings.far_targets:
        raise ConfigError(f"far_targets must lie in (0, 1), got {settings.far_targets}")
    crossed = []
    for names in settings.intersections:
        if not isinstance(names, list) or len(names) < 2:
            raise ConfigError(f"intersections must be lists of two attributes or more, got {names!r}")
        crossed.append(tuple(str(name) for name in names))
    return Options(
        plan=Plan(settings.seed, settings.n_boot, settings.n_permutations, settings.level),
        minimum_n=settings.minimum_n,
        far_targets=tuple(settings.far_targets),
        beautification_weights={str(k): float(v) for k, v in settings.beautification.items()},
        groups=None if settings.groups is None else tuple(settings.groups),
        intersections=tuple(crossed),
        second_confidence=settings.second_confidence,
    )


def build_gates(nodes: Mapping[str, Any]) -> tuple[Gate, ...]:
    """Gates from settings, in their order; ``null`` switches one off.

    Raises
    ------
    ConfigError
        For a setting that a gate does not have.
    """
    gates = []
    for key, node in nodes.items():
        if node is None:
            continue
        try:
            gates.append(Gate(**{"name": key, **node}))
        except TypeError as error:
            raise ConfigError(f"gates.{key}: {str(error).removeprefix('Gate.__init__() ')}") from error
    return tuple(gates)


def audit_weights(settings: Audit, readers: Readers) -> dict[str, str]:
    """SHA-256 of every weight file that reads, by its name."""
    found: dict[str, str] = {}
    whole = (readers.extractor, readers.perceptual)
    for part in (*(attack.embedder for attack in readers.attacks), *readers.estimators, *whole):
        digests = getattr(part, "digests", None)
        if callable(digests):
            found |= digests()
    for key in PARTS:
        for name in named_weights(getattr(settings, key)):
            found[name] = registry.file_digest(registry.resolve(name))
    return dict(sorted(found.items()))


def audit_record(settings: Audit, job: AuditJob) -> dict[str, object]:
    """What ``audit.json`` says of how it was made: settings, weights, versions."""
    versions = {"understudy": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"config": asdict(settings), "weights": job.reader_record.get("weights", {}), "software": versions}
