"""What runs in the workers of a Ray cluster: reading and decoding, the networks, encoding and writing.

Pictures travel in Arrow tables of two columns, a number and the picture itself; nothing is written twice, and no worker
knows of the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
from ray import cloudpickle

from understudy.batch.folder import Outputs, output_key, relative_output
from understudy.batch.items import Item
from understudy.batch.ledger import Row, Status
from understudy.batch.stages import (
    Codec,
    Picture,
    Replacer,
    copy_sidecar,
    detect,
    fetch,
    finish,
    read,
    replace_batch,
)
from understudy.batch.store import Store
from understudy.errors import OutputError

Table = Any
"""``pyarrow.Table``"""
_pickle: Any = cloudpickle
"""Ray's own way to pack what travels between its workers."""
_SCHEMA = pa.schema([("k", pa.int64()), ("packed", pa.large_binary())])


@dataclass(frozen=True)
class Workers:
    """What the workers are made of; both are called there, and travel by name."""

    codec: Callable[[], Codec]
    replacer: Callable[[], Replacer]


@dataclass(frozen=True)
class Finished:
    """What became of one picture."""

    row: Row | None
    data: bytes | None = None
    """Its file, where the driver is to write it: pictures of containers, and those whose name has changed."""
    suffix: str = ""
    stop: str = ""
    """Why nothing more can be written at all; there is no row then."""


def pack(values: Sequence[tuple[int, object]]) -> Table:
    """A table of numbered values."""
    columns = [[k for k, _ in values], [_pickle.dumps(value) for _, value in values]]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA)


def unpack(table: Table) -> Iterator[tuple[int, Any]]:
    """The numbered values of a table, one by one."""
    for k, packed in zip(table["k"], table["packed"], strict=True):
        yield k.as_py(), _pickle.loads(packed.as_buffer())


class WorkerPlaces:
    """Writes pictures that go to their own names; keeps those over which the driver must decide.

    Parameters
    ----------
    store : Store
    folds : bool
        Whether the file system folds upper and lower case.
    """

    def __init__(self, store: Store, *, folds: bool) -> None:
        self._outputs = Outputs(store, cast("Any", None), folds=folds)
        self._folds = folds
        self.kept: bytes | None = None
        self.suffix = ""

    def claim(self, image_id: str, suffix: str = "") -> tuple[str, str]:
        """Where it goes; the driver has reserved the name without a suffix, and is asked for any other later."""
        relative = relative_output(image_id, suffix)
        self.suffix = suffix
        return relative, output_key(relative, folds=self._folds)

    def write_for(self, item: Item, relative: str, data: bytes) -> None:
        """Write a picture, or keep it for the driver.

        Raises
        ------
        NameTakenError, OutputError
        """
        if item.staged or self.suffix:
            self.kept = data
        else:
            self._outputs.write(relative, data)


def decode_block(table: Table, *, workers: Workers, n_fetchers: int, max_bytes: int) -> Iterator[Table]:
    """Read and decode pictures; a table for each, so that large ones part."""
    codec = workers.codec()
    pictures: list[tuple[int, Picture]] = list(unpack(table))
    with ThreadPoolExecutor(n_fetchers) as pool:
        far = (picture for _, picture in pictures if picture.file.far)
        for _ in pool.map(lambda picture: fetch(picture, max_bytes=max_bytes), far):
            pass
    for k, picture in pictures:
        if picture.done is None:
            read(codec, picture, max_bytes=max_bytes)
        yield pack([(k, picture)])
        picture.source = None


class ReplaceActor:
    """Holds all networks, and replaces everybody in a block of pictures.

    Parameters
    ----------
    workers : Workers
    """

    def __init__(self, workers: Workers) -> None:
        self._replacer = workers.replacer()

    def __call__(self, table: Table) -> Table:
        """Detect and replace."""
        pictures = list(unpack(table))
        for _, picture in pictures:
            detect(self._replacer, picture)
        live = [picture for _, picture in pictures if picture.done is None]
        if live:
            replace_batch(self._replacer, live)
        return pack(pictures)


def encode_block(table: Table, *, workers: Workers, store: Store, folds: bool) -> Table:
    """Check, encode and write pictures; what comes back is small."""
    codec = workers.codec()
    return pack([(k, _finished(codec, picture, WorkerPlaces(store, folds=folds))) for k, picture in unpack(table)])


def _finished(codec: Codec, picture: Picture, places: WorkerPlaces) -> Finished:
    try:
        if picture.done is None:
            finish(codec, picture, places)
        else:
            copy_sidecar(picture, places)
    except OutputError as error:
        return Finished(None, stop=str(error))
    row = picture.done
    kept = places.kept if row is not None and row.status is Status.DONE else None
    return Finished(row, kept, places.suffix if kept is not None else "")
