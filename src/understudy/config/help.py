"""What ``understudy COMMAND --help`` prints for a command that is configured."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from understudy.config.locations import configs_folder
from understudy.config.schema import SCHEMAS


def help_text(command: str, first_lines: str) -> str:
    """Usage of a command: its own words, every setting with its meaning, and what each group offers."""
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
            "parts (each a file under configs/; PART=NAME chooses one, PART.KEY=VALUE changes a value in it):",
        ]
        lines += [f"  {name:<{wide}}{', '.join(groups[name])}" for name in names if name in groups]
    lines += ["", f"`understudy {command} --cfg job` prints every setting; `--config-dir DIR` adds files of your own."]
    return "\n".join(lines)


def _groups() -> Iterator[tuple[str, list[str]]]:
    for folder in sorted(path for path in configs_folder().iterdir() if path.is_dir()):
        yield folder.name, sorted(Path(file).stem for file in folder.glob("*.yaml"))


def _meanings(schema: type) -> dict[str, str]:
    """The string under each field of a dataclass, and its default."""
    source = inspect.getsource(schema)
    found = re.findall(r'^    (\w+): [^=\n]+?(?: = ([^\n]+))?\n(?:    """(.+?)""")?', source, re.MULTILINE)
    return {
        name: f"{text}{f' [{default}]' if default and default != 'MISSING' and 'field(' not in default else ''}"
        for name, default, text in found
    }
