"""Build hook: the wheel carries configs/ and models/ inside the package; an editable install reads them in place."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PackageDataHook(BuildHookInterface[Any]):
    """Map the two top-level folders into the package."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders to a standard wheel, and to no editable one."""
        if version == "standard":
            build_data["force_include"] = {"configs": "understudy/configs", "models": "understudy/models"}
