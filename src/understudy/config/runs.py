"""Output folders of the main job, as their run.yaml tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.batch.workspace import RUN_FILE
from understudy.errors import ConfigError

NULL_EDIT = "understudy.generate.obscure.NullEdit"
_SKIPPED = frozenset({"images", "shards", "audits"})


@dataclass(frozen=True)
class Run:
    """One output folder."""

    name: str
    """Its path below the folder that was searched."""
    folder: Path
    config: Mapping[str, Any]

    @property
    def input(self) -> str | None:
        """What it says was its input."""
        return None if self.config.get("input") is None else str(self.config["input"])

    @property
    def is_null_edit(self) -> bool:
        """Whether nothing was replaced in it: the meter's own error."""
        generator = self.config.get("generator")
        return isinstance(generator, Mapping) and generator.get("_target_") == NULL_EDIT


def find_runs(root: Path) -> list[Run]:
    """Every output folder below a folder, by name.

    Raises
    ------
    ConfigError
        There is no such folder, or no run in it.
    """
    if not root.is_dir():
        raise ConfigError(f"runs must name a folder, {str(root)!r} is none")
    found = [
        Run(folder.relative_to(root).as_posix() if folder != root else root.absolute().name, folder, _config(folder))
        for folder in sorted({path.parent for path in root.rglob(RUN_FILE)})
        if not _SKIPPED & set(folder.relative_to(root).parts)
    ]
    if not found:
        raise ConfigError(f"no folder below {str(root)!r} holds a {RUN_FILE}: give the output of a sweep")
    return found


def _config(folder: Path) -> Mapping[str, Any]:
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    try:
        record = yaml.safe_load((folder / RUN_FILE).read_text(encoding="utf-8"))
        config = record["config"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{folder / RUN_FILE} cannot be read: {error}") from error
    return config if isinstance(config, Mapping) else {}
