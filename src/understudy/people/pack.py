"""Pack a folder of renders: tar shards in WebDataset's layout, and one Parquet of all labels.

usage: python -m understudy.people.pack FOLDER OUTPUT [--heads 50]
Runs in the product's own environment (pyarrow); the same folder gives the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.errors import InvalidInputError, MissingExtraError
from understudy.people.output import LABELS, count_rejected, read_rows

TABLE = "labels.parquet"


def unique_rows(folder: Path) -> list[dict[str, Any]]:
    """Labels of a folder by head, view and mix; of a picture that was written twice, the later row.

    Raises
    ------
    InvalidInputError
        Where the folder holds no labels.
    """
    rows = {row["file"]: row for row in read_rows(folder / LABELS)}
    if not rows:
        raise InvalidInputError(f"{folder / LABELS} names no picture: render some first, with 'make render'")
    return [rows[name] for name in sorted(rows)]


def members(folder: Path, row: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Files of one picture in a shard: its key with .png, .json, .alpha.png, .masks.png, .linear.npz."""
    key = Path(row["file"]).stem
    yield f"{key}.png", (folder / row["file"]).read_bytes()
    yield f"{key}.json", json.dumps(row, sort_keys=True).encode()
    yield f"{key}.alpha.png", (folder / row["foreground"]).read_bytes()
    yield f"{key}.masks.png", (folder / row["masks"]).read_bytes()
    if row.get("linear"):
        yield f"{key}.linear.npz", (folder / row["linear"]).read_bytes()


def write_shard(path: Path, folder: Path, rows: list[dict[str, Any]]) -> None:
    """One tar; it appears under its name when it is whole."""
    part = path.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for row in rows:
            for name, content in members(folder, row):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    part.replace(path)


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """All labels as Parquet; what is nested is kept as lists, light as JSON.

    Raises
    ------
    MissingExtraError
        Without pyarrow.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("a Parquet needs pyarrow: pip install 'understudy[tables]'") from error
    flat = [{k: json.dumps(v, sort_keys=True) if isinstance(v, dict) else v for k, v in row.items()} for row in rows]
    parquet.write_table(pa.Table.from_pylist(flat), path)


def pack(folder: Path, output: Path, heads_per_shard: int) -> int:
    """Write the shards and the table; the number of shards."""
    rows = unique_rows(folder)
    output.mkdir(parents=True, exist_ok=True)
    indices = sorted({int(row["index"]) for row in rows})
    starts = range(0, len(indices), heads_per_shard)
    for number, start in enumerate(starts):
        chosen = set(indices[start : start + heads_per_shard])
        shard = f"people-{number:05d}.tar"
        mine = [row for row in rows if int(row["index"]) in chosen]
        write_shard(output / shard, folder, mine)
        for row in mine:
            row["shard"] = shard
    write_table(output / TABLE, rows)
    return len(starts)


def main(arguments: list[str] | None = None) -> None:
    """Pack what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--heads", type=int, default=50, help="of each shard")
    args = parser.parse_args(arguments)
    n = pack(args.folder, args.output, args.heads)
    counts = ", ".join(f"{rule} {k}" for rule, k in sorted(count_rejected(args.folder).items()))
    sys.stdout.write(f"{n} shards and {TABLE} in {args.output}; {counts}\n")


if __name__ == "__main__":
    main()
