"""What a config needs besides the package: weight files and checkpoints, to be fetched ahead of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from understudy.config.build import choose_residual, named_weights
from understudy.config.compose import compose_config
from understudy.config.licences import used_checkpoints
from understudy.config.locations import configs_folder
from understudy.config.parts import TARGET
from understudy.config.read import read_anonymize
from understudy.config.used import used_settings
from understudy.hub.registry import HubEntry
from understudy.weights import entries

_INPAINT = "understudy.generate.diffusers_inpaint.DiffusersInpaintGenerator"


@dataclass(frozen=True)
class Needs:
    """What the main job needs with some settings."""

    weights: tuple[str, ...]
    """Names of weight files in the registry."""
    checkpoints: tuple[HubEntry, ...]
    hub_ids: tuple[tuple[str, str | None, str | None], ...]
    """Ids of the hub that the registry does not know, each with its revision and variant."""


def generator_names() -> list[str]:
    """Names of the configs of the group ``generator``."""
    return sorted(path.stem for path in (configs_folder() / "generator").glob("*.yaml"))


def is_generator(name: str) -> bool:
    """Whether a config of the group ``generator`` has this name."""
    return name in generator_names()


def needs_of(overrides: Sequence[str]) -> Needs:
    """What the main job needs with these overrides; input and output need not be given.

    Raises
    ------
    ConfigError
        The overrides do not compose.
    """
    given = ["input=.", "output=.", *choose_residual(overrides)]
    settings = read_anonymize(compose_config("anonymize", given))
    plain = used_settings(settings)
    registered = {entry.name for entry in entries()}
    return Needs(
        tuple(sorted(set(named_weights(plain)) & registered)),
        tuple(used_checkpoints(settings).values()),
        tuple(_hub_ids(plain)),
    )


def _hub_ids(node: object) -> Iterator[tuple[str, str | None, str | None]]:
    """Models that generators of the hub are given by id and not by the registry."""
    if not isinstance(node, Mapping):
        return
    if node.get(TARGET) == _INPAINT and node.get("checkpoint") is None and isinstance(node.get("model"), str):
        yield node["model"], node.get("revision"), node.get("variant")
    for value in node.values():
        yield from _hub_ids(value)
