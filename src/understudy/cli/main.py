"""``understudy COMMAND``: find the command, run it, and turn what goes wrong into one message and an exit code."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol, cast

from understudy import __version__
from understudy.errors import UnderstudyError

CANNOT_RUN = 1
INTERRUPTED = 130

COMMANDS = {
    "anonymize": "replace every person in a collection of pictures",
    "detect": "say who is found where, one JSON line a picture",
    "audit": "judge what an anonymiser did to a collection",
    "compare": "put several runs side by side: a leaderboard",
    "train": "train a generator",
    "export": "export a trained generator to ONNX",
    "serve": "anonymise pictures for devices: a small server and a page for trying out",
    "models": "list, fetch and check weights",
    "status": "say how far a run has come",
    "merge": "join the tables of a collection that was worked on in parts",
    "demo": "replace the people in two public-domain portraits",
}
"""What each command does, by its name; its module has the same name."""


class Command(Protocol):
    """What a command's module offers."""

    def run(self, arguments: Sequence[str]) -> int:
        """Run the command and return its exit code."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; those of the process where left out.

    Returns
    -------
    int
        0 every input finished; 1 nothing could run or go on; 3 some inputs failed, were refused or quarantined;
        4 a gate of an audit failed or is undecided; 130 stopped by Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0 if arguments else CANNOT_RUN
    if arguments[0] in {"-V", "--version", "version"}:
        print(f"understudy {__version__}")
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f": did you mean {near[0]!r}?" if near else ""
        print(f"understudy: no command is called {name!r}{meant}\n\n{usage()}", file=sys.stderr)
        return CANNOT_RUN
    return _run(name, rest)


def usage() -> str:
    """The list of commands."""
    lines = "\n".join(f"  {name:<10} {what}" for name, what in COMMANDS.items() if _exists(name))
    return (
        "understudy: every person in your pictures, played by someone who does not exist\n\n"
        "usage: understudy COMMAND [key=value ...]\n\n"
        f"{lines}\n\n"
        "`understudy COMMAND --help` tells more of a command; `understudy COMMAND --cfg job` prints its settings\n"
        "(of all but models, status and merge, which have none)."
    )


def _exists(name: str) -> bool:
    return find_spec(f"understudy.cli.{name}") is not None


def _run(name: str, arguments: Sequence[str]) -> int:
    wants_traceback = "debug=true" in arguments or os.environ.get("UNDERSTUDY_DEBUG", "0") not in {"", "0"}
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that is no UTF-8 is told, not stumbled over
    try:
        command = cast(Command, importlib.import_module(f"understudy.cli.{name}"))
        code = command.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("understudy: stopped; start the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CANNOT_RUN
    except Exception as error:  # noqa: BLE001 - the outermost edge: nobody above could do better
        if wants_traceback:
            traceback.print_exc()
        print(f"understudy: {_sentence(error)}", file=sys.stderr)
        return CANNOT_RUN


def _sentence(error: Exception) -> str:
    if isinstance(error, UnderstudyError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"out of memory ({error}): try runner.n_workers=1 and a smaller runner.batch_size"
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fspath(error.filename)!r}: " if error.filename else ""
        return f"{where}{error.strerror.lower()}"
    return f"{type(error).__name__}: {error} (this is a bug; UNDERSTUDY_DEBUG=1 shows where it happened)"
