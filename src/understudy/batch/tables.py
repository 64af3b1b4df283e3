r"""The published tables of a run: ``images`` with a row for each input, ``regions`` with one for each replaced region.

Both are written from the ledger in the order of the ids, a page at a time, as Parquet, or as CSV where pyarrow is not
installed. They hold no pixels, no embeddings, no seeds and no raw digests.

``images``: ``image_id`` (relative POSIX path; undecodable bytes as ``\xNN``), ``status`` (done, failed, quarantined,
refused, skipped), ``output`` (relative path of what was written), ``source_digest`` and ``output_digest`` (hexadecimal
HMAC-SHA256 of the SHA-256 under the run's key, which stays in the ledger: equal within a run where the files are equal,
and of no use to look a picture up elsewhere), ``source_bytes``, ``output_bytes``, ``width``, ``height`` (upright px),
``n_regions``, ``n_replaced``, ``n_filled``, ``n_obscured``, ``seconds`` (work on this picture), ``error``, ``notes``
(one a line).

``regions``: ``image_id``, ``region`` (index), ``x0``, ``y0``, ``x1``, ``y1`` (upright px), ``kind`` (face, body),
``confidence``, ``outcome`` (replaced, filled, obscured, kept), ``attempts``, ``reason``, ``found_by``, ``identity``
(other, same, undecided), ``identity_distance``, ``face_confidence`` (the guard's readings of the last attempt),
``readings`` (all of them, JSON), ``subject`` (number of the person where bodies are replaced: a body and the face in it
have the same).
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from understudy.batch.ledger import Ledger, Row
from understudy.batch.sources import printable
from understudy.errors import OutputError
from understudy.imaging.files import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, write_atomic

Column = tuple[str, Literal["string", "int64", "float64"]]
Record = dict[str, object]

IMAGE_COLUMNS: tuple[Column, ...] = (
    ("image_id", "string"),
    ("status", "string"),
    ("output", "string"),
    ("source_digest", "string"),
    ("output_digest", "string"),
    ("source_bytes", "int64"),
    ("output_bytes", "int64"),
    ("width", "int64"),
    ("height", "int64"),
    ("n_regions", "int64"),
    ("n_replaced", "int64"),
    ("n_filled", "int64"),
    ("n_obscured", "int64"),
    ("seconds", "float64"),
    ("error", "string"),
    ("notes", "string"),
)
REGION_COLUMNS: tuple[Column, ...] = (
    ("image_id", "string"),
    ("region", "int64"),
    ("x0", "float64"),
    ("y0", "float64"),
    ("x1", "float64"),
    ("y1", "float64"),
    ("kind", "string"),
    ("confidence", "float64"),
    ("outcome", "string"),
    ("attempts", "int64"),
    ("reason", "string"),
    ("found_by", "string"),
    ("identity", "string"),
    ("identity_distance", "float64"),
    ("face_confidence", "float64"),
    ("readings", "string"),
    ("subject", "int64"),
)

TABLE_FILES = ("images.parquet", "regions.parquet", "images.csv", "regions.csv")
_PRIVATE_READINGS = ("seed", "embedding", "digest")
_MAX_READING = 200


def keyed_digest(key: bytes, digest: bytes | None) -> str | None:
    """HMAC-SHA256 of a digest under the run's key, hexadecimal."""
    return None if digest is None else hmac.new(key, digest, hashlib.sha256).hexdigest()


def _image_record(row: Row, key: bytes) -> Record:
    return {
        "image_id": printable(row.image_id),
        "status": str(row.status),
        "output": None if row.output is None else printable(row.output),
        "source_digest": keyed_digest(key, row.digest),
        "output_digest": keyed_digest(key, row.output_digest),
        **{
            name: getattr(row, name)
            for name in ("source_bytes", "output_bytes", "width", "height", "n_regions", "n_replaced", "n_filled")
        },
        "n_obscured": row.n_obscured,
        "seconds": row.seconds,
        "error": row.error,
        "notes": "\n".join(row.notes),
    }


def _region_records(row: Row) -> list[Record]:
    records: list[Record] = []
    for region in row.regions:
        readings = _public(region.get("readings"))
        box = region["xyxy"]
        corners = dict(zip(("x0", "y0", "x1", "y1"), box if isinstance(box, list) else [], strict=True))
        records.append(
            {
                "image_id": printable(row.image_id),
                **corners,
                **{name: region.get(name) for name, _ in REGION_COLUMNS if name in region and name != "readings"},
                "identity": readings.get("identity"),
                "identity_distance": readings.get("identity_distance"),
                "face_confidence": readings.get("face_confidence"),
                "readings": json.dumps(readings, sort_keys=True),
                "subject": region.get("subject"),
            }
        )
    return records


def _public(readings: object) -> dict[str, object]:
    """The readings that may be published: single numbers and short words."""
    if not isinstance(readings, Mapping):
        return {}
    return {
        str(name): value
        for name, value in readings.items()
        if isinstance(value, str | int | float)
        and len(str(value)) <= _MAX_READING
        and not any(word in str(name) for word in _PRIVATE_READINGS)
    }


def _pages(ledger: Ledger) -> Iterator[list[Row]]:
    after = ""
    while page := ledger.rows(after=after):
        yield page
        after = page[-1].image_id


def write_tables(folder: Path, ledger: Ledger) -> list[Path]:
    """Write both tables, each whole or not at all, and remove those of an earlier run in the other format.

    Parameters
    ----------
    folder : Path
        The output folder.
    ledger : Ledger

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    OutputError
        Where they cannot be written; those of before are then still there.
    """
    key = ledger.run_key
    suffix = _format()
    images, regions = folder / f"images.{suffix}", folder / f"regions.{suffix}"
    _write(images, IMAGE_COLUMNS, ([_image_record(row, key) for row in page] for page in _pages(ledger)))
    _write(
        regions,
        REGION_COLUMNS,
        ([record for row in page for record in _region_records(row)] for page in _pages(ledger)),
    )
    for name in TABLE_FILES:
        if not name.endswith(suffix):
            (folder / name).unlink(missing_ok=True)
    return [images, regions]


def has_tables(folder: Path) -> bool:
    """Whether both tables are there in the format that would be written now."""
    return all((folder / f"{name}.{_format()}").exists() for name in ("images", "regions"))


def _format() -> Literal["parquet", "csv"]:
    try:
        import pyarrow.parquet  # noqa: F401 - only whether it is there
    except ImportError:
        return "csv"
    return "parquet"


def _write(path: Path, columns: Sequence[Column], pages: Iterator[list[Record]]) -> None:
    """Stream pages into a temporary file beside ``path``, flush it to disk, and rename it."""
    fill = _write_parquet if path.suffix == ".parquet" else _write_csv
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            fill(file, columns, pages)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {printable(str(path))!r}: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write_csv(file: IO[bytes], columns: Sequence[Column], pages: Iterator[list[Record]]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.DictWriter(text, [name for name, _ in columns], restval="")
    writer.writeheader()
    for page in pages:
        writer.writerows(page)
    text.flush()
    text.detach()


def _write_parquet(file: IO[bytes], columns: Sequence[Column], pages: Iterator[list[Record]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, Callable[[], object]] = {"string": pa.string, "int64": pa.int64, "float64": pa.float64}
    schema = pa.schema([(name, kinds[kind]()) for name, kind in columns])
    with pq.ParquetWriter(file, schema) as writer:
        for page in pages:
            if page:
                writer.write_table(pa.Table.from_pylist(page, schema=schema))


def read_table(folder: Path, name: Literal["images", "regions"]) -> list[Record]:
    """A written table as records, from whichever format is there; CSV gives text, and "" for what is absent.

    Raises
    ------
    OutputError
        Where the folder holds no such table.
    """
    parquet, plain = folder / f"{name}.parquet", folder / f"{name}.csv"
    if parquet.exists():
        import pyarrow.parquet as pq

        records: list[Record] = pq.read_table(parquet).to_pylist()
        return records
    if plain.exists():
        with plain.open(encoding="utf-8", newline="") as file:
            return [dict(record) for record in csv.DictReader(file)]
    raise OutputError(f"{printable(str(folder))!r} holds neither {parquet.name} nor {plain.name}")


def write_run_file(folder: Path, content: Mapping[str, object]) -> Path:
    """Write ``run.yaml``: what a run was made with.

    Parameters
    ----------
    folder : Path
        The output folder.
    content : mapping
        Plain values, lists and mappings.

    Returns
    -------
    Path
        The written file.
    """
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    path = folder / "run.yaml"
    write_atomic(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120).encode())
    return path
