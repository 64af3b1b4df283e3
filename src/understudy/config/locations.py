"""Where the package's own files lie: inside the installed package, or in the checkout."""

from __future__ import annotations

import os
from pathlib import Path

from understudy.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
PORTRAITS = ("grace_hopper.jpg", "astronaut.png")
"""File names of the two public-domain portraits that come with the package."""


def configs_folder() -> Path:
    """Folder of the configs: ``understudy/configs`` in an installed wheel, ``configs`` in a checkout.

    Raises
    ------
    ConfigError
        Neither is there: the installation is incomplete.
    """
    for folder in (_PACKAGE / "configs", _PACKAGE.parents[1] / "configs"):
        if (folder / "anonymize.yaml").is_file():
            return folder
    raise ConfigError(f"the configs of understudy are missing beside {_PACKAGE}: install the package anew")


def portraits() -> tuple[Path, ...]:
    """The two portraits of the package."""
    return tuple(_PACKAGE / "portraits" / name for name in PORTRAITS)


def user_path(text: str) -> str:
    """A path as the user meant it: a leading ``~/`` is the home folder, unless a folder is really called ``~``."""
    if text == "~" or text.startswith("~/"):
        return text if os.path.exists("~") else os.path.expanduser(text)
    return text
