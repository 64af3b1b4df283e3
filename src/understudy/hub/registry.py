"""Entries of the registry that are checkpoints of the hub: a repository, a pinned revision, and a licence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from understudy.errors import ConfigError
from understudy.weights import HUB, models_folder

Part = Literal["pipeline", "controlnet", "lora"]

_PATTERNS: dict[str, tuple[str, ...]] = {
    "pipeline": ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors"),
    "controlnet": ("config.json", "diffusion_pytorch_model*"),
    "lora": ("pytorch_lora_weights.safetensors",),
}
"""What is fetched of a repository where its entry does not say: nothing pickled, no single-file copies."""


@dataclass(frozen=True)
class HubEntry:
    """One checkpoint of the hub."""

    name: str
    task: str
    part: Part
    repo: str
    licence: str
    """As the model card calls it."""
    commercial: bool
    """Whether its licence lets anybody use the weights for their trade."""
    training_data: str
    source: str
    revision: str | None = None
    """Commit; where it is left out, the one that `models pull` met first is kept."""
    variant: str | None = None
    """Which of the weight files, such as fp16."""
    files: tuple[str, ...] = ()
    """Patterns of the files that are fetched."""
    was: tuple[str, ...] = ()
    """Ids under which it was known, and which are gone."""
    mirrors: tuple[str, ...] = ()
    """Other repositories that hold the same weights, for the day on which this one is gone."""
    note: str = ""

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of the files that are fetched."""
        return self.files or _PATTERNS[self.part]


def read_hub_registry(path: Path) -> dict[str, HubEntry]:
    """Checkpoints of a registry file by name, in the file's order.

    Raises
    ------
    ConfigError
        The file is absent, is no TOML, or an entry is not of the right form.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read the weights registry {path}: {error}") from error
    return {name: _entry(name, table, path) for name, table in tables.items() if table.get("kind") == HUB}


def _entry(name: str, table: Mapping[str, object], path: Path) -> HubEntry:
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items() if key != "kind"}
    if fields.get("part") not in _PATTERNS:
        raise ConfigError(f"[{name}] in {path}: part must be one of {', '.join(_PATTERNS)}, got {fields.get('part')!r}")
    try:
        return HubEntry(name=name, **fields)  # type: ignore[arg-type]
    except TypeError as error:
        raise ConfigError(f"[{name}] in {path} is no valid entry: {error}") from error


@lru_cache(maxsize=1)
def _registry() -> dict[str, HubEntry]:
    return read_hub_registry(models_folder() / "registry.toml")


def hub_entries() -> tuple[HubEntry, ...]:
    """Every checkpoint of the registry."""
    return tuple(_registry().values())


def is_hub_name(name: str) -> bool:
    """Whether the registry has a checkpoint of this name."""
    return name in _registry()


def hub_entry(name: str) -> HubEntry:
    """The checkpoint of a name.

    Raises
    ------
    ConfigError
        No such name.
    """
    try:
        return _registry()[name]
    except KeyError:
        raise ConfigError(f"no checkpoint is called {name!r}; the registry has {', '.join(_registry())}") from None


def entry_of_repo(repo: str) -> HubEntry | None:
    """The entry whose repository this hub id is, was, or mirrors; None where the registry does not know it."""
    return next((e for e in hub_entries() if repo in (e.repo, *e.was, *e.mirrors)), None)


def vanished(repo: str) -> str:
    """What to do about a hub id that is gone, in words; empty where the registry knows nothing of it."""
    entry = entry_of_repo(repo)
    if entry is None:
        return ""
    others = [other for other in (entry.repo, *entry.mirrors) if other != repo]
    gone = f"'{repo}' was removed from the hub by its owner" if repo in entry.was else f"'{repo}' may be gone"
    if not others:
        return gone
    return f"{gone}: use {' or '.join(repr(other) for other in others)} in its place"
