"""Parquet files with pictures in them, as Hugging Face `datasets` writes them: pictures replaced, other columns kept.

A picture column is a struct with the fields ``bytes`` and ``path``, or a column of bytes, whose first value is a
picture or a video. Schema, metadata (the features of `datasets` among it), row groups and compression stay.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from understudy.batch.containers import BrokenContainerError, Cell, Replacement, is_copied
from understudy.batch.items import Item
from understudy.imaging.files import name_with_suffix
from understudy.imaging.sniff import HEAD_BYTES, sniff

_ROWS = 16
"""Rows that are read at a time."""
_HUGGING_FACE = b"huggingface"
_UNNAMED = "picture.png"
"""What a cell of a column of pictures is taken to be called: where it holds none, it is left out."""

Table = Any
"""Classes of pyarrow have no types of their own."""


def picture_columns(source: Path | IO[bytes]) -> dict[str, str]:
    """Columns that may hold pictures, each with the name that a cell without one is taken to have.

    Nothing where no column begins with a picture or a video or is declared as one of pictures, where the file is no
    Parquet file, or where pyarrow is not installed. Cells that are no media are copied as they are.

    Raises
    ------
    BrokenContainerError
        Pictures lie deeper than in a struct, where they are not reached: the file cannot be anonymised.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return {}
    try:
        file = pq.ParquetFile(source)
    except (pa.ArrowException, OSError):
        return {}
    declared = _declared(file.schema_arrow.metadata)
    found: dict[str, str] = {}
    is_container = False
    for field in file.schema_arrow:
        feature = declared.get(field.name)
        if _may_hold_bytes(field.type):
            is_image = isinstance(feature, dict) and feature.get("_type") == "Image"
            found[field.name] = _UNNAMED if is_image else ""
            is_container = is_container or is_image or _begins_with_media(file, field.name)
        elif pa.types.is_nested(field.type) and _mentions_pictures(feature, field.type):
            raise BrokenContainerError(f"column {field.name!r} holds pictures in lists or structs, which are not read")
    return found if is_container else {}


def _declared(metadata: Any) -> dict[str, Any]:
    """The features that `datasets` wrote into the file."""
    try:
        features = json.loads((metadata or {})[_HUGGING_FACE])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _is_struct_of_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_struct(kind)) and {"bytes", "path"} <= {kind.field(k).name for k in range(kind.num_fields)}


def _may_hold_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(_is_struct_of_bytes(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _mentions_pictures(feature: Any, kind: Any) -> bool:
    """Whether a nested column is declared to hold pictures, or has their struct in it."""
    if "'_type': 'Image'" in str(feature):
        return True
    return any(
        _is_struct_of_bytes(inner) or _mentions_pictures(None, inner)
        for inner in (kind.field(k).type for k in range(kind.num_fields))
    )


def _begins_with_media(file: Table, name: str) -> bool:
    for batch in file.iter_batches(_ROWS, columns=[name]):
        for value in batch.column(0).to_pylist():
            data, _ = _parts(value)
            if data:
                return sniff(data[:HEAD_BYTES]) is not None
    return False


def _parts(value: Any) -> tuple[bytes | None, str]:
    """Bytes and path of a cell, whichever of the two forms it has."""
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path") or ""
    return value, ""


class ParquetShard:
    """One Parquet file of this machine. Use ``open``.

    Parameters
    ----------
    image_id : str
    path : Path
    staging : str
        Its folder in the staging folder.
    stamp : int
    columns : dict
        From ``picture_columns``.
    """

    def __init__(self, image_id: str, path: Path, staging: str, stamp: int, columns: dict[str, str]) -> None:
        self._image_id, self._path, self._staging, self._stamp = image_id, path, staging, stamp
        self._columns = columns

    @classmethod
    def open(cls, image_id: str, path: Path, staging: str, stamp: int) -> ParquetShard | None:
        """Look into the file; None where it holds no pictures.

        Raises
        ------
        BrokenContainerError
            It holds pictures where they are not reached.
        """
        columns = picture_columns(path)
        return cls(image_id, path, staging, stamp, columns) if columns else None

    def members(self) -> Iterator[Item]:
        """The pictures, row by row and column by column."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        row = 0
        try:
            with pq.ParquetFile(self._path) as file:
                for batch in file.iter_batches(_ROWS, columns=list(self._columns)):
                    for values in batch.to_pylist():
                        yield from self._cells(values, row)
                        row += 1
        except (pa.ArrowException, OSError) as error:
            raise BrokenContainerError(f"the file cannot be read past row {row}: {error}") from error

    def _cells(self, values: dict[str, Any], row: int) -> Iterator[Item]:
        for k, column in enumerate(self._columns):
            data, path = _parts(values[column])
            if values[column] is None or (data is None and not path):
                continue
            image_id = f"{self._image_id}/{row:08d}/{column}" + (f"/{path.rpartition('/')[2]}" if path else "")
            staged = f"{self._staging}/{row:08d}-{k}"
            if data is None:
                problem = "the row names a file and does not hold the picture: embed it, or give the files as input"
                yield Cell(image_id, str(self._path), b"", self._stamp, staged, problem, "failed")
            elif not is_copied(data, path or self._columns[column]):
                yield Cell(image_id, str(self._path), data, self._stamp, staged)

    def write(self, path: Path, replacement: Replacement) -> None:
        """Write the file again, a row group at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        row = 0
        try:
            with pq.ParquetFile(self._path) as file:
                codecs = _codecs(file)
                with pq.ParquetWriter(path, file.schema_arrow, compression=codecs) as writer:
                    for group in range(file.num_row_groups):
                        table = file.read_row_group(group)
                        for k, column in enumerate(self._columns):
                            table = self._with_pictures(table, column, k, row, replacement)
                        writer.write_table(table, row_group_size=max(1, table.num_rows))
                        row += table.num_rows
        except pa.ArrowException as error:
            raise BrokenContainerError(f"the file cannot be read past row {row}: {error}") from error

    def _with_pictures(self, table: Table, column: str, k: int, first_row: int, replacement: Replacement) -> Table:
        import pyarrow as pa

        index = table.schema.get_field_index(column)
        field = table.schema.field(index)
        new: list[Any] = []
        for row, value in enumerate(table.column(index).to_pylist(), first_row):
            data, path = _parts(value)
            if data is None or is_copied(data, path or self._columns[column]):
                new.append(None if data is None and path else value)
                continue
            found = replacement(f"{self._staging}/{row:08d}-{k}")
            if found is None:
                new.append(None)
                continue
            written = found[0].read_bytes()
            folder, slash, name = path.rpartition("/")
            named = f"{folder}{slash}{name_with_suffix(name, found[1])}" if path else None
            new.append({**value, "bytes": written, "path": named} if isinstance(value, dict) else written)
        return table.set_column(index, field, pa.array(new, field.type))

    def close(self) -> None:
        """Nothing is held open."""


def _codecs(file: Table) -> dict[str, str]:
    """Compression of each column, as the first row group has it."""
    if file.metadata.num_row_groups == 0:
        return {}
    group = file.metadata.row_group(0)
    columns = (group.column(k) for k in range(group.num_columns))
    return {column.path_in_schema: column.compression.lower().replace("uncompressed", "none") for column in columns}
