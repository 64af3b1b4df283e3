"""Joining the parts of a collection (``shard=1/16`` ... ``16/16``): one ledger, one pair of tables, one ``run.yaml``.

Pictures stay where they are. Parts are refused that were made with other settings or weights, that overlap, that are
missing or have not ended, or that saw different collections; the message says which.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from understudy.batch.inspect import Part
from understudy.batch.ledger import LEDGER_FILE, Ledger, differences
from understudy.batch.ledger_reader import LedgerReader, read_ledger
from understudy.batch.rows import Row
from understudy.batch.shard import Shard, parse_shard
from understudy.batch.sources import printable
from understudy.batch.tables import write_run_file, write_tables
from understudy.batch.workspace import RUN_FILE
from understudy.errors import StateMismatchError


@dataclass(frozen=True)
class _Told:
    """What a part says of itself."""

    part: Part
    shard: Shard
    fingerprint: Mapping[str, object]
    collection: Mapping[str, object]
    n_rows: int


def merge_parts(parts: Sequence[Part], target: Path, prefixes: Sequence[str]) -> int:
    """Check the parts and write what they come to.

    Parameters
    ----------
    parts : sequence of Part
    target : Path
        Folder for ``ledger.db``, the tables and ``run.yaml``; it exists and holds no ledger.
    prefixes : sequence of str
        What leads from the target to the output folder of each part; empty where that is the target.

    Returns
    -------
    int
        How many inputs there are.

    Raises
    ------
    StateMismatchError
        They do not belong together.
    """
    told = [_ask(part) for part in parts]
    _check_same(told)
    _check_complete(told)
    whole = target / LEDGER_FILE
    with suppress(FileNotFoundError):
        whole.unlink()
    try:
        with closing(Ledger(target)) as ledger:
            ledger.match_fingerprint(told[0].fingerprint)
            for one, prefix in zip(told, prefixes, strict=True):
                _add(ledger, one, prefix)
            ledger.put("merged", sorted(str(one.shard) for one in told))
            n_rows = sum(n for n, *_ in ledger.counts().values())
            _check_count(n_rows, told[0], holds_containers=any(ledger.containers()))
            write_tables(target, ledger)
            _write_record(told, target)
            ledger.mark(clean=True)
    except BaseException:
        for name in (LEDGER_FILE, f"{LEDGER_FILE}-wal", f"{LEDGER_FILE}-shm"):
            (target / name).unlink(missing_ok=True)
        raise
    return n_rows


def _ask(part: Part) -> _Told:
    with read_ledger(part.folder) as ledger:
        shard = parse_shard(cast("str | None", ledger.get("shard")))
        if shard is None:
            raise StateMismatchError(f"{part.where!r} is a whole run, not a part: it was not made with shard=K/N")
        collection = ledger.get("collection")
        if not isinstance(collection, Mapping) or not ledger.clean:
            raise StateMismatchError(
                f"part {shard} in {part.where!r} has not ended: start its command again, then merge"
            )
        fingerprint = cast("Mapping[str, object]", ledger.get("fingerprint") or {})
        return _Told(part, shard, fingerprint, collection, sum(n for n, *_ in ledger.counts().values()))


def _check_same(told: Sequence[_Told]) -> None:
    """All were made with the same settings, weights and versions, from the same collection."""
    first = told[0]
    for other in told[1:]:
        if other.fingerprint != first.fingerprint:
            raise StateMismatchError(
                f"part {other.shard} was made with other settings or weights than part {first.shard}: "
                f"{differences(first.fingerprint, other.fingerprint)}"
            )
        if other.shard.n != first.shard.n:
            raise StateMismatchError(
                f"{other.part.where!r} is part {other.shard} and {first.part.where!r} is part {first.shard}: "
                "parts of one collection have the same number behind the slash"
            )
        if other.collection != first.collection:
            raise StateMismatchError(
                f"the collection changed between parts: part {first.shard} listed {first.collection.get('n_listed')} "
                f"inputs, part {other.shard} listed {other.collection.get('n_listed')}"
                f"{' others' if other.collection.get('n_listed') == first.collection.get('n_listed') else ''}; "
                "start the commands of the parts again, then merge"
            )


def _check_complete(told: Sequence[_Told]) -> None:
    """Each part is there once, and together they hold what each of them listed."""
    by_index: dict[int, str] = {}
    for one in told:
        if one.shard.index in by_index:
            raise StateMismatchError(
                f"part {one.shard} is given twice: {by_index[one.shard.index]!r} and {one.part.where!r}"
            )
        by_index[one.shard.index] = one.part.where
    n = told[0].shard.n
    missing = [f"{k}/{n}" for k in range(1, n + 1) if k not in by_index]
    if missing:
        shown = ", ".join(missing[:20]) + (f" and {len(missing) - 20} more" if len(missing) > 20 else "")
        raise StateMismatchError(f"{len(missing)} of {n} parts are missing: {shown}")


def _check_count(n_rows: int, one: _Told, *, holds_containers: bool) -> None:
    """Every input that was listed has a row; a container has one for each of its pictures."""
    n_listed = one.collection.get("n_listed")
    if n_rows != n_listed and not holds_containers:
        raise StateMismatchError(
            f"the collection has {n_listed} inputs and the parts have {n_rows} rows: "
            "start their commands again, then merge"
        )


def _add(ledger: Ledger, one: _Told, prefix: str) -> None:
    with read_ledger(one.part.folder) as source:
        for page in _pages(source):
            known = ledger.find_many([row.image_id for row in page])
            if known:
                name = printable(next(iter(known)))
                raise StateMismatchError(f"parts overlap: {name!r} is in part {one.shard} and in another one")
            ledger.record(_moved(page, prefix))
        for container in source.containers():
            ledger.record_container(replace(container, output=_join(prefix, container.output)))


def _pages(source: LedgerReader) -> Iterator[list[Row]]:
    after = ""
    while page := source.rows(after=after):
        yield page
        after = page[-1].image_id


def _moved(rows: Iterable[Row], prefix: str) -> Iterator[Row]:
    for row in rows:
        if not prefix or row.output is None:
            yield row
        else:
            yield replace(row, output=_join(prefix, row.output), output_key=_join(prefix, row.output_key or row.output))


def _join(prefix: str, relative: str) -> str:
    return posixpath.join(prefix, relative) if prefix else relative


def _write_record(told: Sequence[_Told], target: Path) -> None:
    """The run file of the first part, with what each part was."""
    import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

    path = told[0].part.folder / RUN_FILE
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    record = {key: value for key, value in found.items() if key not in {"shard", "collection"}}
    if isinstance(record.get("config"), dict):
        record["config"] = {**record["config"], "shard": None}
    parts = [{"shard": str(one.shard), "n_inputs": one.n_rows} for one in sorted(told, key=lambda o: o.shard.index)]
    write_run_file(target, {**record, "merged": parts, "collection": dict(told[0].collection)})


def relative_prefix(output: str, target: Path) -> str:
    """What leads from the target folder to an output folder, as a POSIX path; empty where they are one."""
    path = os.path.relpath(os.path.realpath(output), os.path.realpath(target))
    return "" if path == "." else path.replace(os.sep, "/")
