"""Arguments of the plain commands: words, and a few ``key=value``."""

from __future__ import annotations

from collections.abc import Sequence

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
        else:
            words.append(user_path(argument))
    if not words or (at_most is not None and len(words) > at_most):
        n = "one folder" if at_most == 1 else "folders"
        raise ConfigError(f"{command} takes {n}, got {' '.join(arguments)!r}")
    return words, given
