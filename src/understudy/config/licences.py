"""Licences of what a config uses: recorded, and asked for where they do not let everybody use the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.config.schema import Anonymize
from understudy.config.used import used_settings
from understudy.errors import ConfigError
from understudy.hub.checkpoint import places, read_record
from understudy.hub.registry import HubEntry, entry_of_repo, hub_entry, is_hub_name

HUB_KEYS = ("checkpoint", "controlnet", "lora")
"""Settings that name a checkpoint of the registry."""


def checkpoints_in(node: object) -> Iterator[HubEntry]:
    """Checkpoints of the registry that settings name at any depth, by name or (``model``) by hub id."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if isinstance(value, str) and key in HUB_KEYS and is_hub_name(value):
                yield hub_entry(value)
            elif isinstance(value, str) and key == "model" and (entry := entry_of_repo(value)) is not None:
                yield entry
            else:
                yield from checkpoints_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from checkpoints_in(value)


def used_checkpoints(settings: Anonymize) -> dict[str, HubEntry]:
    """Checkpoints that the main job uses, by name."""
    return {entry.name: entry for entry in checkpoints_in(used_settings(settings))}


def require_licences(settings: Anonymize) -> None:
    """Raise ConfigError where weights that are not for commercial use are used and nobody accepted their licence."""
    accept = settings.accept_licence
    for entry in used_checkpoints(settings).values():
        refuse_unless_accepted(entry, accept)


def refuse_unless_accepted(entry: HubEntry, accept: str | None) -> None:
    """Raise ConfigError for a checkpoint that is not for commercial use and whose licence nobody accepted.

    Parameters
    ----------
    entry : HubEntry
    accept : str or None
        Names of checkpoints, with commas or plus signs between them; a name stands for its licence.
    """
    accepted = {hub_entry(name).licence for name in re.split(r"[,+\s]+", accept or "") if name}
    if not entry.commercial and entry.licence not in accepted:
        raise ConfigError(
            f"'{entry.name}' ({entry.repo}) is under the {entry.licence}, which does not allow every use: read it at "
            f"{entry.source.split(',')[0]}, and say accept_licence={entry.name} if yours is allowed"
        )


def licence_record(settings: Anonymize) -> dict[str, dict[str, Any]]:
    """What ``run.yaml`` says of each checkpoint: its licence, and the revision that is on this machine."""
    return {name: _record(entry) for name, entry in sorted(used_checkpoints(settings).items())}


def _record(entry: HubEntry) -> dict[str, Any]:
    pulled = next((record for folder in places(entry.name) if (record := read_record(folder)) is not None), None)
    return {
        "licence": entry.licence,
        "commercial_use": entry.commercial,
        "repo": entry.repo if pulled is None else pulled.repo,
        "revision": entry.revision if pulled is None else pulled.revision,
    }
