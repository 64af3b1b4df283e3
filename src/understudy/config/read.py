"""A composed config as plain, checked settings: the only part that reads a DictConfig."""

from __future__ import annotations

from operator import attrgetter
from typing import TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from understudy.config.bundle import with_bundle_everywhere
from understudy.config.schema import Anonymize
from understudy.detect.boxes import Target
from understudy.errors import ConfigError

T = TypeVar("T")

TARGETS: tuple[Target, ...] = ("face", "body", "both")
CHOICES = {
    "target": TARGETS,
    "boxes_mode": ("replace", "add"),
    "boxes_frame": ("upright", "raw"),
    "resume": ("continue", "restart"),
    "logs.format": ("text", "json"),
}
"""Settings that are one of a few words."""
_NEEDED = {
    "input": "input=PATH (a file, a folder, a glob, a list or an address)",
    "output": "output=PATH",
    "before": "before=FOLDER",
    "after": "after=FOLDER",
    "labels": "labels=FILE.jsonl",
    "model": "model=FOLDER",
    "generator.model": "generator.model=ID_OR_FOLDER",
}


def read(config: DictConfig, schema: type[T], command: str) -> T:
    """Settings of a command as its schema's dataclass, without a trace of OmegaConf.

    Raises
    ------
    ConfigError
        Something is missing or cannot be resolved.
    """
    try:
        unset = sorted(str(key) for key in OmegaConf.missing_keys(config))
        if unset:
            wanted = " and ".join(_NEEDED.get(key, f"{key}=...") for key in unset)
            raise ConfigError(f"{command} needs {wanted}; `understudy {command} --help` tells more")
        settings = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    if not isinstance(settings, schema):
        raise ConfigError(f"this is no config of {command} but of {type(settings).__name__}")
    return settings


def read_anonymize(config: DictConfig) -> Anonymize:
    """Settings of the main job, checked.

    Raises
    ------
    ConfigError
        Something is missing or is not one of the words that it may be.
    """
    settings = read(config, Anonymize, "anonymize")
    if settings.target == "body" and settings.boxes is not None:
        raise ConfigError("boxes are faces, and target=body looks at no faces: say target=both, or leave boxes out")
    for key, words in CHOICES.items():
        value = attrgetter(key)(settings)
        if value not in words:
            raise ConfigError(f"{key} must be one of {', '.join(words)}, got {value!r}")
    for key, least in (("seed", 0), ("n_attempts", 1), ("n_candidates", 1), ("max_pixels", 1)):
        if getattr(settings, key) < least:
            raise ConfigError(f"{key} must be {least} or more, got {getattr(settings, key)}")
    for key in ("context", "body_context"):
        if not getattr(settings, key) >= 1:
            raise ConfigError(f"{key} must be 1 or more, got {getattr(settings, key)}")
    return with_bundle_everywhere(settings)


def one_target(word: str) -> Target:
    """The word for who is looked for.

    Raises
    ------
    ConfigError
        It is another word.
    """
    for target in TARGETS:
        if word == target:
            return target
    raise ConfigError(f"target must be one of {', '.join(TARGETS)}, got {word!r}")


def as_text(config: DictConfig) -> str:
    """The composed config as YAML, as ``--cfg job`` prints it."""
    return OmegaConf.to_yaml(config)
