"""``understudy merge DIR...``: one ledger and one pair of tables from the parts of a collection."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from understudy.batch import address
from understudy.batch.inspect import Part, parts_of
from understudy.batch.ledger_reader import LEDGER_FILE
from understudy.batch.lock import locked
from understudy.batch.merge import merge_parts, relative_prefix
from understudy.batch.shard import SHARDS
from understudy.batch.sources import MARKER, printable
from understudy.batch.store import RemoteStore
from understudy.batch.tables import TABLE_FILES
from understudy.batch.workspace import RUN_FILE
from understudy.cli.words import plain_arguments
from understudy.errors import ConfigError

HELP = """usage: understudy merge DIR [DIR ...] [output=DIR]

Joins what `understudy anonymize shard=1/N`, ..., `shard=N/N` wrote: DIR is the output that they share (a folder, or an
address such as s3://...), or one output for each of them. Pictures stay where they are; images.parquet,
regions.parquet, run.yaml and ledger.db are written into the shared output, or into output=DIR.

ends    0 they are joined; 1 they do not belong together, overlap, are not complete or have not ended: it says which
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(HELP, end="")
        return 0 if arguments else 1
    target = [argument.partition("=")[2] for argument in arguments if argument.startswith("output=")]
    words = [argument for argument in arguments if not argument.startswith("output=")]
    outputs, _ = plain_arguments(words, "merge", "dir", ())
    if "" in (*outputs, *target):
        raise ConfigError("merge got an empty path: give the name of a folder")
    if len(target) > 1 or (not target and len(outputs) > 1):
        raise ConfigError("merge of several folders needs one output=DIR, the folder for the joined tables")
    print(merge(outputs, target[0] if target else outputs[0]))
    return 0


def merge(outputs: Sequence[str], target: str) -> str:
    """Join the parts that lie in some outputs, and say what they come to."""
    with ExitStack() as stack:
        parts: list[Part] = []
        owners: list[str] = []
        for output in outputs:
            found = stack.enter_context(parts_of(output))
            parts += found
            owners += [_owner(output)] * len(found)
        if address.is_address(target):
            n = _merge_remote(parts, owners, target.rstrip("/"), stack)
        else:
            n = _merge_here(parts, owners, Path(os.path.abspath(target)))
    return f"{n} inputs of {len(parts)} parts are joined; the tables lie in {target}"


_MERGED = "the parts were merged before, or it is the output of a whole run, which needs no merging"


def _owner(output: str) -> str:
    """The output folder that holds the pictures: that of a part's own folder is two levels up."""
    if address.is_address(output):
        return output.rstrip("/")
    path = Path(os.path.abspath(output))
    return str(path.parent.parent if path.parent.name == SHARDS else path)


def _merge_here(parts: Sequence[Part], owners: Sequence[str], target: Path) -> int:
    if any(address.is_address(owner) for owner in owners):
        raise ConfigError("parts at an address are merged there: leave output= out, or give that address")
    if (target / LEDGER_FILE).exists():
        raise ConfigError(f"{printable(str(target))!r} holds a {LEDGER_FILE} already: {_MERGED}")
    if target.exists() and not (target / MARKER).exists() and any(target.iterdir()):
        raise ConfigError(
            f"output {printable(str(target))!r} is not empty and was not written by understudy: give another"
        )
    target.mkdir(parents=True, exist_ok=True)
    (target / MARKER).touch()
    with locked(target):
        return merge_parts(parts, target, [relative_prefix(owner, target) for owner in owners])


def _merge_remote(parts: Sequence[Part], owners: Sequence[str], target: str, stack: ExitStack) -> int:
    if set(owners) != {target}:
        raise ConfigError("parts at an address are merged where they lie, and all of them must lie there")
    if address.exists(f"{target}/{LEDGER_FILE}"):
        raise ConfigError(f"{printable(target)!r} holds a {LEDGER_FILE} already: {_MERGED}")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="understudy-")))
    n = merge_parts(parts, folder, [""] * len(parts))
    store = RemoteStore(target)
    for name in (*TABLE_FILES, RUN_FILE, LEDGER_FILE):
        if (folder / name).exists():
            store.put(name, folder / name)
    store.write(MARKER, json.dumps({"written by": "understudy merge", "generation": 1}).encode() + b"\n")
    return n
