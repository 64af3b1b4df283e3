"""What several commands read and say alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.batch.address import is_address
from understudy.config.locations import user_path
from understudy.errors import ConfigError


def plain_arguments(
    arguments: Sequence[str], command: str, main: str, keys: Sequence[str], *, at_most: int | None = None
) -> tuple[list[str], dict[str, str]]:
    """Split arguments into the values of ``main`` (given as words, or as ``main=...``) and the other settings.

    Raises
    ------
    ConfigError
        An option that the command does not have, or a number of values that it does not take.
    """
    words: list[str] = []
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key == main:
            words.append(user_path(value))
        elif equals and key in keys:
            given[key] = user_path(value)
        elif argument.startswith("-"):
            raise ConfigError(f"{command} has no option {argument!r}: `understudy {command} --help` tells more")
        elif equals and key.isidentifier() and not (is_address(argument) or Path(user_path(argument)).exists()):
            raise ConfigError(f"{command} has no setting {key!r}: `understudy {command} --help` tells more")
        else:
            words.append(user_path(argument))
    if not words or (at_most is not None and len(words) > at_most):
        n = "one folder" if at_most == 1 else "folders"
        raise ConfigError(f"{command} takes {n}, got {' '.join(arguments)!r}")
    return words, given


def nothing_done(what: str, n_files: int, where: str) -> str:
    """What to say where not one of the input's files is what a command works on.

    Parameters
    ----------
    what : str
        What it works on, such as "picture".
    n_files : int
        Files that there are.
    where : str
        The collection, as it may be shown.
    """
    there = f"no {what} is among the {n_files} file(s) of {where!r}" if n_files else f"there is no file in {where!r}"
    return f"nothing was done: {there}; hidden files and output folders of understudy are not read"
