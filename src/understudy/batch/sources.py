"""Which files of this machine a run reads: a file, a folder or a glob, listed in a stable order, never held whole.

Every input has an id, its POSIX path relative to the root of the collection, and is listed exactly once. What cannot be
read (a folder without permission, a broken link) is listed with the reason, so that nothing is lost in silence. Hidden
files, output folders (they carry ``MARKER``) and links that lead out of the tree are never read.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import IO

from understudy.batch.cost import picture_cost
from understudy.batch.flow import Cost
from understudy.batch.items import Inputs, Opened, Problem, check_head
from understudy.errors import InvalidInputError, UnreadableImageError
from understudy.imaging.sniff import HEAD_BYTES

MARKER = ".understudy-output"
"""Name of the file that says "this folder was written by understudy"."""

RUN_LENGTH = 100_000
"""Entries of one folder that are sorted in memory."""

_MAGIC = re.compile(r"[*?\[]")


def printable(text: str) -> str:
    r"""The text with bytes that are no UTF-8 written as ``\xNN`` and with line breaks escaped: safe for any table."""
    clean = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return clean.replace("\n", "\\n").replace("\r", "\\r")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One listed file. Names keep undecodable bytes as lone surrogates, as Python's ``os`` functions do."""

    image_id: str
    """Relative POSIX path of the file in its collection."""
    path: Path
    problem: str = ""
    """Why it cannot be worked on; empty for an ordinary file."""
    status: Problem = ""
    """What to record where there is a problem."""

    @property
    def where(self) -> str:
        """Its path."""
        return os.fspath(self.path)

    @property
    def staged(self) -> str:
        """Nothing: its picture is a file of its own."""
        return ""

    @property
    def far(self) -> bool:
        """No."""
        return False

    def version(self) -> tuple[int, int] | None:
        """Size and modification time (ns); None where it cannot be reached."""
        if self.problem:
            return None
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def cost(self) -> Cost:
        """Pixels and bytes, read from the header."""
        return picture_cost(self.path)

    def load(self, max_bytes: int, opened: Opened) -> bytes:
        """All bytes, after the first ones have said that it is a picture."""
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableImageError("no ordinary file")
            opened(status.st_size, status.st_mtime_ns)
            head = file.read(HEAD_BYTES)
            check_head(head, self.image_id, status.st_size, max_bytes)
            return head + file.read()

    def read(self, opened: Opened) -> bytes:
        """All bytes, whatever they are."""
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            opened(status.st_size, status.st_mtime_ns)
            return file.read()

    def digest(self) -> bytes:
        """SHA-256 of its bytes; empty where it cannot be reached."""
        try:
            with self.path.open("rb") as source:
                return hashlib.file_digest(source, "sha256").digest()
        except OSError:
            return b""

    def has_beside(self, name: str) -> bool:
        """Whether a file of this name lies beside it; told by the disk, so that order plays no part."""
        return os.path.lexists(self.path.parent / name)

    def local_copy(self, spool: Path) -> Path:  # noqa: ARG002 - it lies here already
        """The file itself."""
        return self.path


def inside_output(path: Path) -> Path | None:
    """The nearest folder at or above ``path`` that carries the marker of an output folder."""
    return next((folder for folder in (path, *path.parents) if (folder / MARKER).exists()), None)


def _refuse_output(folder: Path, text: str) -> None:
    output = inside_output(folder)
    if output is not None:
        raise InvalidInputError(
            f"input {printable(text)!r} lies in {printable(str(output))!r}, an output folder of understudy, "
            "and outputs are never read as inputs"
        )


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _names(folder: Path, image_id: str) -> Iterator[bytes] | InputFile:
    """What lies in a folder, by name; nothing where it is an output folder; a problem where it cannot be listed.

    Each entry is the name, a zero byte and a letter: f file, d folder, l link, o other. This takes some 60 bytes an
    entry; of a folder with more than ``RUN_LENGTH``, sorted runs go to temporary files and are merged from there.
    """
    names: list[bytes] = []
    with ExitStack() as stack:
        runs: list[IO[bytes]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name == MARKER:
                        return iter(())
                    if not entry.name.startswith("."):
                        names.append(os.fsencode(entry.name) + _letter(entry))
                    if len(names) >= RUN_LENGTH:
                        runs.append(stack.enter_context(_sorted_run(names)))
                        names = []
        except OSError as error:
            return InputFile(image_id or ".", folder, f"folder cannot be listed: {_reason(error)}", "failed")
        names.sort()
        return _merged(runs, names, stack.pop_all()) if runs else iter(names)


def _sorted_run(names: list[bytes]) -> IO[bytes]:
    """A temporary file without a name that holds entries in order, each ended by a slash."""
    run = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    run.writelines(name + b"/" for name in sorted(names))
    run.seek(0)
    return run


def _merged(runs: list[IO[bytes]], last: list[bytes], stack: ExitStack) -> Iterator[bytes]:
    with stack:
        yield from heapq.merge(*(_entries(run) for run in runs), last)


def _entries(run: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while block := run.read(1 << 16):
        *whole, rest = (rest + block).split(b"/")
        yield from whole


def _letter(entry: os.DirEntry[str]) -> bytes:
    if entry.is_symlink():
        return b"\0l"
    if entry.is_file(follow_symlinks=False):
        return b"\0f"
    return b"\0d" if entry.is_dir(follow_symlinks=False) else b"\0o"


@dataclass(frozen=True)
class _Place:
    """A folder on the way down: ``above`` holds it and its parents by device and inode, so that loops end."""

    folder: Path
    prefix: str
    above: tuple[tuple[int, int], ...]
    root: str
    """Real path of the collection."""


def _follow(target: str, root: str) -> str:
    """Why a link is not followed; empty where it is."""
    if target != root and not target.startswith(root.rstrip("/") + "/"):
        return "link leads out of the input folder"
    if inside_output(Path(target)) is not None:
        return "link leads into an output folder"
    return ""


def _visit(name: str, letter: str, place: _Place) -> InputFile | _Place:
    """A file to read or with a problem, or a folder to go into."""
    image_id = place.prefix + name
    path = place.folder / name
    if letter == "f":
        return InputFile(image_id, path)
    try:
        if letter == "l":
            if not os.path.exists(path):
                return InputFile(image_id, path, "link leads nowhere, or in circles", "failed")
            problem = _follow(os.path.realpath(path), place.root)
            if problem:
                return InputFile(image_id, path, problem, "skipped")
            if os.path.isfile(path):
                return InputFile(image_id, path)
        if not os.path.isdir(path):
            return InputFile(image_id, path, "neither a file nor a folder", "skipped")
        status = os.stat(path)
    except OSError as error:
        return InputFile(image_id, path, f"cannot be read: {_reason(error)}", "failed")
    this = (status.st_dev, status.st_ino)
    if this in place.above:
        return InputFile(image_id, path, "link leads back to a folder that it lies in", "skipped")
    return _Place(path, f"{image_id}/", (*place.above, this), place.root)


Patterns = tuple[re.Pattern[str] | None, ...]
"""One expression for each path component; None stands for ``**``."""


def _closure(states: frozenset[int], patterns: Patterns) -> frozenset[int]:
    """The states with those added that a ``**`` for no folder at all leads to."""
    grown = set(states)
    for state in states:
        while state < len(patterns) and patterns[state] is None:
            state += 1
            grown.add(state)
    return frozenset(grown)


def _advance(states: frozenset[int], name: str, patterns: Patterns) -> frozenset[int]:
    """Positions in the pattern after one more path component; each file is matched once, whatever the wildcards."""
    after: set[int] = set()
    for state in states:
        if state == len(patterns):
            continue
        pattern = patterns[state]
        if pattern is None:
            after.add(state)
        elif pattern.match(name):
            after.add(state + 1)
    return _closure(frozenset(after), patterns)


def _matching(place: _Place, patterns: Patterns, states: frozenset[int]) -> Iterator[InputFile]:
    """Files below a folder that match, depth first, by name."""
    names = _names(place.folder, place.prefix.rstrip("/"))
    if isinstance(names, InputFile):
        yield names
        return
    everything = states == {0, 1} and patterns == (None,)
    for raw in names:
        name, letter = os.fsdecode(raw[:-2]), chr(raw[-1])
        after = states if everything else _advance(states, name, patterns)
        if not after:
            continue
        found = _visit(name, letter, place)
        if isinstance(found, _Place):
            if any(state < len(patterns) for state in after):
                yield from _matching(found, patterns, after)
        elif len(patterns) in after:
            yield found


def _below(folder: Path, patterns: Patterns) -> Iterator[InputFile]:
    status = folder.stat()
    place = _Place(folder, "", ((status.st_dev, status.st_ino),), os.path.realpath(folder))
    yield from _matching(place, patterns, _closure(frozenset([0]), patterns))


def open_folder(text: str, path: Path) -> Inputs:
    """All files below a folder."""
    _refuse_output(path, text)
    if not os.access(path, os.R_OK | os.X_OK):
        raise InvalidInputError(f"input folder {printable(text)!r} cannot be read: permission denied")
    return Inputs(text, path, lambda: _below(path, (None,)))


def open_file(text: str, path: Path) -> Inputs:
    """One file."""
    _refuse_output(path.parent, text)
    return Inputs(text, path.parent, lambda: iter([InputFile(path.name, path)]))


def is_glob(text: str) -> bool:
    """Whether a text holds a wildcard."""
    return bool(_MAGIC.search(text))


def compile_patterns(parts: tuple[str, ...]) -> Patterns:
    """An expression for each path component of a glob."""
    return tuple(None if part == "**" else re.compile(translate(part)) for part in parts)


def matches(names: tuple[str, ...], patterns: Patterns) -> bool:
    """Whether a relative path, given by its components, fits a glob."""
    states = _closure(frozenset([0]), patterns)
    for name in names:
        states = _advance(states, name, patterns)
    return len(patterns) in states


def open_glob(text: str, path: Path) -> Inputs:
    """All files that match a glob; ids are relative to the part before the first wildcard."""
    parts = path.parts
    first = 1
    while not _MAGIC.search(parts[first]) or os.path.isdir(Path(*parts[: first + 1])):
        first += 1  # a folder that is there under that very name is no pattern
    root = Path(*parts[:first])
    if not root.is_dir():
        raise InvalidInputError(
            f"input {printable(text)!r} matches nothing: there is no folder {printable(str(root))!r}"
        )
    _refuse_output(root, text)
    patterns = compile_patterns(parts[first:])

    def listed() -> Iterator[InputFile]:
        n_found = 0
        for found in _below(root, patterns):
            n_found += 1
            yield found
        if n_found == 0:
            raise InvalidInputError(f"input {printable(text)!r} matches no file: check the pattern")

    next(listed())  # before anything is written
    return Inputs(text, root, listed)


def listed_file(path: Path, image_id: str) -> InputFile:
    """A file that a list names, or why it is not read."""
    try:
        path.stat()
    except OSError as error:
        return InputFile(image_id, path, f"cannot be read: {_reason(error)}", "failed")
    if path.name.startswith("."):
        return InputFile(image_id, path, "hidden files are not read", "skipped")
    if inside_output(path.parent) is not None:
        return InputFile(image_id, path, "lies in an output folder", "skipped")
    if not os.path.isfile(path):
        what = "is a folder: list its files" if os.path.isdir(path) else "is no ordinary file"
        return InputFile(image_id, path, what, "failed")
    return InputFile(image_id, path)
