"""Collections that are named by a list: text with one path a line, or a table (CSV, Parquet) with a column of paths.

Lists are read as they are needed and never held; what was listed already is remembered in a private database on disk.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from understudy.batch.items import Inputs, Item
from understudy.batch.remote import RemoteFile, is_address, open_address
from understudy.batch.sources import listed_file, printable
from understudy.errors import InvalidInputError, MissingExtraError

T = TypeVar("T")

LIST_SUFFIXES = frozenset({".txt", ".csv", ".parquet"})
PATH_COLUMNS = ("path", "file_name", "filename", "file", "image_path", "image", "url", "uri")
"""Names of the column that holds the paths, the most wanted first; a table with one column needs none of them."""

_BATCH = 4096
Opener = Callable[[], IO[bytes]]


def open_list(text: str, path: Path) -> Inputs:
    """A list file of this machine; its paths are absolute, relative to its folder, or addresses."""

    def names() -> Iterator[str]:
        return read_names(path.suffix.lower(), lambda: path.open("rb"), text)

    kinds = _kinds(names(), text)
    if kinds == "addresses":
        return _addresses(text, names)
    folder, root = path.parent, None
    for name in names():
        parent = str(Path(os.path.normpath(folder / name)).parent)
        root = parent if root is None else os.path.commonpath([root, parent])
    base = folder if Path(str(root)).is_relative_to(folder) else Path(str(root))

    def listed() -> Iterator[Item]:
        for found in _once(os.path.normpath(folder / name) for name in names()):
            yield listed_file(Path(found), Path(found).relative_to(base).as_posix())

    return Inputs(text, base, listed)


def open_remote_list(text: str) -> Inputs:
    """A list that lies on an object store: its paths are addresses, or relative to its own folder there."""
    folder = text.rpartition("/")[0]

    def names() -> Iterator[str]:
        found = read_names(posixpath.splitext(text)[1].lower(), lambda: open_address(text), text)
        return (name if is_address(name) else f"{folder}/{name.lstrip('/')}" for name in found)

    _kinds(names(), text)
    return _addresses(text, names)


def _kinds(names: Iterator[str], text: str) -> str:
    """Whether a list holds paths or addresses.

    Raises
    ------
    InvalidInputError
        It holds both, or nothing.
    """
    kinds = {is_address(name) for name in names}
    if not kinds:
        raise InvalidInputError(f"input list {printable(text)!r} names no file: one path a line is expected")
    if len(kinds) > 1:
        raise InvalidInputError(f"input list {printable(text)!r} holds paths and addresses: make two lists of it")
    return "addresses" if kinds.pop() else "paths"


def _addresses(text: str, names: Callable[[], Iterator[str]]) -> Inputs:
    """Objects by their addresses; ids are relative to the longest address that all of them share."""
    root: str | None = None
    for name in names():
        parent = name.rpartition("/")[0]
        root = parent if root is None else _shared(root, parent)
    if root is None or "://" not in f"{root}/":
        raise InvalidInputError(f"the addresses of {printable(text)!r} share no store: make a list for each store")
    base = root

    def listed() -> Iterator[Item]:
        for found in _once(names()):
            yield RemoteFile.at(found, found[len(base) + 1 :])

    return Inputs(text, None, listed, base)


def _shared(first: str, second: str) -> str:
    parts = []
    for one, two in zip(first.split("/"), second.split("/"), strict=False):
        if one != two:
            break
        parts.append(one)
    return "/".join(parts) if len(parts) > 2 else ""


def _once(names: Iterator[str]) -> Iterator[str]:
    """Each name the first time that it comes."""
    with closing(sqlite3.connect("")) as seen:
        seen.execute("CREATE TABLE seen (path BLOB PRIMARY KEY) WITHOUT ROWID")
        for name in names:
            if seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", (os.fsencode(name),)).rowcount:
                yield name


def read_names(suffix: str, open_file: Opener, text: str) -> Iterator[str]:
    """The names in a list, in its order, empty ones left out.

    Parameters
    ----------
    suffix : str
        ``.csv``, ``.parquet``, or anything else for text.
    open_file : callable
        Opens the list's bytes.
    text : str
        What the user called it.
    """
    with open_file() as file:
        if suffix == ".parquet":
            yield from _parquet_names(file, text)
        elif suffix == ".csv":
            yield from _csv_names(file, text)
        else:
            for number, line in enumerate(file):
                name = os.fsdecode((line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line).rstrip(b"\r\n"))
                if name.strip():
                    yield name


def _csv_names(file: IO[bytes], text: str) -> Iterator[str]:
    decoded = io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="")
    try:
        yield from _column(csv.reader(decoded), text)
    finally:
        decoded.detach()


def _column(rows: Iterator[list[str]], text: str) -> Iterator[str]:
    header = next(rows, [])
    known = path_column(header)
    if known is None and len(header) > 1:
        raise InvalidInputError(_no_column(text, header))
    column = 0 if known is None else header.index(known)
    if known is None and header and header[0].strip():
        yield header[0]
    yield from (row[column] for row in rows if len(row) > column and row[column].strip())


def _parquet_names(file: IO[bytes], text: str) -> Iterator[str]:
    pq = _parquet(text)
    table = pq.ParquetFile(file)
    columns = text_columns(table.schema_arrow)
    column = path_column(columns) or (columns[0] if len(columns) == 1 else None)
    if column is None:
        raise InvalidInputError(_no_column(text, table.schema_arrow.names))
    for batch in table.iter_batches(_BATCH, columns=[column]):
        yield from (name for name in batch.column(0).to_pylist() if name and name.strip())


def path_column(columns: Sequence[str]) -> str | None:
    """The column that holds the paths, by its name."""
    by_name = {name.strip().lower(): name for name in reversed(columns)}
    return next((by_name[known] for known in PATH_COLUMNS if known in by_name), None)


def text_columns(schema: object) -> list[str]:
    """Names of the columns of an Arrow schema that hold text."""
    import pyarrow as pa

    fields = list(cast("pa.Schema", schema))
    return [field.name for field in fields if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]


def names_files(path: IO[bytes], text: str) -> bool:
    """Whether a Parquet file is a list: it has a text column of a known name, or text only."""
    schema = _parquet(text).ParquetFile(path).schema_arrow
    columns = text_columns(schema)
    return path_column(columns) is not None or len(columns) == len(schema.names) == 1


def _no_column(text: str, columns: Sequence[str]) -> str:
    return (
        f"input list {printable(text)!r} has the columns {', '.join(columns)}: one of them must be called "
        f"{', '.join(PATH_COLUMNS[:-1])} or {PATH_COLUMNS[-1]}"
    )


def _parquet(text: str) -> Any:
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError(
            f"reading {printable(text)!r} needs pyarrow: pip install 'understudy[tables]'"
        ) from error
    return pq
