"""Which files a run reads: a file, a folder, a glob or a list, listed one by one in a stable order, never held whole.

Every input has an id, its POSIX path relative to the root of the collection, and is listed exactly once. What cannot be
read (a folder without permission, a broken link) is listed with the reason, so that nothing is lost in silence. Hidden
files, output folders (they carry ``MARKER``) and links that lead out of the tree are never read.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fnmatch import translate
from pathlib import Path
from typing import Literal

from understudy.errors import InvalidInputError

MARKER = ".understudy-output"
"""Name of the file that says "this folder was written by understudy"."""

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
    status: Literal["", "failed", "skipped"] = ""
    """What to record where there is a problem."""


@dataclass(frozen=True)
class Inputs:
    """A collection that can be listed again and again, each time from the disk and in the same order."""

    spec: str
    root: Path
    """What the ids are relative to."""
    _list: Callable[[], Iterator[InputFile]]

    def __iter__(self) -> Iterator[InputFile]:
        return self._list()

    def count(self) -> int:
        """How many files a run will see now; one pass over the folders."""
        return sum(1 for _ in self)


def open_inputs(spec: str | os.PathLike[str]) -> Inputs:
    """Find out what ``spec`` names: an existing file or folder, a ``.txt`` list of paths, or a glob.

    Parameters
    ----------
    spec : str or path
        An existing path is taken as it is, whatever characters it holds. A glob knows ``*``, ``?``, ``[...]`` and
        ``**`` (any number of folders); its ids are relative to the part before the first wildcard. A list holds one
        path a line, relative to the list's folder; its ids are relative to that folder where all paths lie in it, else
        to the folder that all of them share.

    Returns
    -------
    Inputs
        Nothing is listed before it is iterated.

    Raises
    ------
    InvalidInputError
        Where there is nothing, or where it lies in an output folder; iterating raises it for a glob without a match.
    """
    text = os.fspath(spec)
    path = Path(os.path.abspath(text))
    if os.path.exists(path):
        _refuse_output(path if path.is_dir() else path.parent, text)
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise InvalidInputError(f"input folder {printable(text)!r} cannot be read: permission denied")
            return Inputs(text, path, lambda: _below(path, (None,)))
        if path.suffix.lower() == ".txt":
            return _open_list(text, path)
        return Inputs(text, path.parent, lambda: iter([InputFile(path.name, path)]))
    if _MAGIC.search(text):
        return _open_glob(text, path)
    raise InvalidInputError(f"input {printable(text)!r} does not exist: give a file, a folder, a glob or a .txt list")


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


def _names(folder: Path, image_id: str) -> list[bytes] | InputFile:
    """What lies in a folder, by name; nothing where it is an output folder; a problem where it cannot be listed.

    Each entry is the name, a zero byte and a letter: f file, d folder, l link, o other. This takes some 60 bytes an
    entry, a quarter of what the ``DirEntry`` objects of a folder with a million pictures would take.
    """
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == MARKER:
                    return []
                if not entry.name.startswith("."):
                    names.append(os.fsencode(entry.name) + _letter(entry))
    except OSError as error:
        return InputFile(image_id or ".", folder, f"folder cannot be listed: {_reason(error)}", "failed")
    names.sort()
    return names


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


_Patterns = tuple[re.Pattern[str] | None, ...]
"""One expression for each path component; None stands for ``**``."""


def _closure(states: frozenset[int], patterns: _Patterns) -> frozenset[int]:
    """The states with those added that a ``**`` for no folder at all leads to."""
    grown = set(states)
    for state in states:
        while state < len(patterns) and patterns[state] is None:
            state += 1
            grown.add(state)
    return frozenset(grown)


def _advance(states: frozenset[int], name: str, patterns: _Patterns) -> frozenset[int]:
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


def _matches(place: _Place, patterns: _Patterns, states: frozenset[int]) -> Iterator[InputFile]:
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
                yield from _matches(found, patterns, after)
        elif len(patterns) in after:
            yield found


def _below(folder: Path, patterns: _Patterns) -> Iterator[InputFile]:
    status = folder.stat()
    place = _Place(folder, "", ((status.st_dev, status.st_ino),), os.path.realpath(folder))
    yield from _matches(place, patterns, _closure(frozenset([0]), patterns))


def _open_glob(text: str, path: Path) -> Inputs:
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
    patterns = tuple(None if part == "**" else re.compile(translate(part)) for part in parts[first:])

    def listed() -> Iterator[InputFile]:
        n_found = 0
        for found in _below(root, patterns):
            n_found += 1
            yield found
        if n_found == 0:
            raise InvalidInputError(f"input {printable(text)!r} matches no file")

    return Inputs(text, root, listed)


def _read_list(path: Path) -> Iterator[Path]:
    """The paths of a list file, absolute, without ``..``."""
    folder = path.parent
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            name = os.fsdecode((line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).rstrip(b"\r\n"))
            if name.strip():
                yield Path(os.path.normpath(folder / name))


def _open_list(text: str, path: Path) -> Inputs:
    root: str | None = None
    for listed_path in _read_list(path):
        parent = str(listed_path.parent)
        root = parent if root is None else os.path.commonpath([root, parent])
    if root is None:
        raise InvalidInputError(f"input list {printable(text)!r} names no file: one path a line is expected")
    folder = path.parent if Path(root).is_relative_to(path.parent) else Path(root)

    def listed() -> Iterator[InputFile]:
        # a private database on disk remembers what was listed, so that memory does not grow with the list
        with closing(sqlite3.connect("")) as seen:
            seen.execute("CREATE TABLE seen (path BLOB PRIMARY KEY) WITHOUT ROWID")
            for listed_path in _read_list(path):
                fresh = seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (os.fsencode(listed_path),)).rowcount
                if fresh:
                    yield _listed_file(listed_path, listed_path.relative_to(folder).as_posix())

    return Inputs(text, folder, listed)


def _listed_file(path: Path, image_id: str) -> InputFile:
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
