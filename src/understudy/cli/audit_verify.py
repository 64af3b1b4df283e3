"""``understudy audit verify=FILE``: whether a report is what the audit wrote, and who signed it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from understudy.audit.report_verify import verify_report
from understudy.errors import ConfigError

SETTINGS = ("verify", "public_key", "before", "after", "null", "debug")


def wanted(arguments: Sequence[str]) -> bool:
    """Whether the arguments ask for a check in place of an audit."""
    return any(argument.startswith("verify=") for argument in arguments)


def run(arguments: Sequence[str]) -> int:
    """Check a report and print what was found.

    Parameters
    ----------
    arguments : sequence of str
        ``verify=FILE`` and, each as key=value, ``public_key``, ``before``, ``after`` and ``null``.

    Returns
    -------
    int
        0 where nothing is wrong, 4 where the report must not be relied on.

    Raises
    ------
    ConfigError
        For another setting, or one without a value.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in SETTINGS or not value:
            raise ConfigError(f"verify takes {', '.join(SETTINGS[1:5])}, each as key=value, got {argument!r}")
        given[key] = value
    public_key = given.get("public_key")
    folders: dict[str, str | Path] = {role: given[role] for role in ("before", "after", "null") if role in given}
    result = verify_report(Path(given["verify"]), None if public_key is None else Path(public_key), folders)
    print("\n".join(result.lines()))
    return result.exit_code
