"""What ``understudy COMMAND --help`` prints for a command that is configured."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from understudy.config.locations import configs_folder
from understudy.config.schema import SCHEMAS


def help_text(command: str, first_lines: str, chosen: Sequence[str] = ()) -> str:
    """Usage of a command: its own words, every setting with its meaning, and what each group offers.

    Parameters
    ----------
    command : str
        A key of ``SCHEMAS``.
    first_lines : str
        Its own words.
    chosen : sequence of str
        ``group=choice`` as the command chooses by what is on this machine, before those of its primary config.
    """
    schema = SCHEMAS[command]
    groups = dict(_groups())
    meaning = _meanings(schema)
    names = [f.name for f in fields(schema)]
    wide = max(len(name) for name in names) + 2
    lines = [first_lines.rstrip(), "", "settings (key=value):"]
    lines += [f"  {name:<{wide}}{meaning.get(name, '')}".rstrip() for name in names if name not in groups]
    if set(names) & set(groups):
        lines += [
            "",
            "parts (files under configs/; PART=NAME chooses one, PART.KEY=VALUE changes a value in it; [the default]):",
        ]
        usual = _defaults(command) | dict(setting.split("=", 1) for setting in chosen)
        lines += [f"  {name:<{wide}}{', '.join(groups[name])} [{usual[name]}]" for name in names if name in groups]
    lines += ["", f"`understudy {command} --cfg job` prints every setting; `--config-dir DIR` adds files of your own."]
    return "\n".join(lines)


def _groups() -> Iterator[tuple[str, list[str]]]:
    for folder in sorted(path for path in configs_folder().iterdir() if path.is_dir()):
        yield folder.name, sorted(Path(file).stem for file in folder.glob("*.yaml"))


def _defaults(command: str) -> dict[str, str]:
    """What the primary config chooses of each group."""
    config = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(configs_folder() / f"{command}.yaml")))
    found: dict[str, str] = {}
    for entry in config["defaults"]:
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            found[str(group)] = ",".join(choice) if isinstance(choice, list) else str(choice)
    return found


def _meanings(schema: type) -> dict[str, str]:
    """The string under each field of a dataclass, and its default."""
    source = inspect.getsource(schema)
    found = re.findall(
        r'^    (\w+): [^=\n]+?(?: = (field\([^()]*\)|[^\n]+))?\n(?:    """(.+?)""")?', source, re.MULTILINE
    )
    return {name: f"{text}{_as_typed(default)}" for name, default, text in found}


def _as_typed(default: str) -> str:
    """A default as it would be typed; nothing where there is none."""
    if default in {"", "MISSING", "None"} or default.startswith("field("):
        return ""
    words = {"True": "true", "False": "false"}
    plain = default.strip('"')
    return f" [{words.get(plain, plain)}]"
