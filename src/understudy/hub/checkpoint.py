"""A pulled checkpoint on this machine: a folder with a record of where each file came from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from understudy.errors import MissingWeightsError, WeightsDigestError
from understudy.hub.registry import HubEntry, hub_entry
from understudy.weights import MIRROR_VARIABLE, cache_folder, file_digest

RECORD = "pulled.json"
"""Written into the folder when every file of it is here."""


@dataclass(frozen=True)
class Pulled:
    """What `models pull` fetched."""

    repo: str
    revision: str
    """The commit, as the hub resolved it."""
    licence: str
    files: Mapping[str, tuple[int, str]]
    """Size in bytes and SHA-256 of every file, by its path in the folder."""


@dataclass(frozen=True)
class HubCheck:
    """What ``verify`` found for one checkpoint."""

    name: str
    path: Path | None
    status: str
    """ok, absent or wrong digest."""
    detail: str = ""


def own_folder(name: str) -> Path:
    """Where `models pull` puts a checkpoint."""
    return cache_folder() / "hub" / name


def places(name: str) -> Iterator[Path]:
    """Folders in which a checkpoint may lie, in the order in which they are looked at."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    if mirror:
        yield Path(mirror) / name
    yield own_folder(name)


def read_record(folder: Path) -> Pulled | None:
    """The record of a folder, None where it has none that can be read."""
    try:
        read = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        files = {str(path): (int(size), str(digest)) for path, (size, digest) in read["files"].items()}
        return Pulled(str(read["repo"]), str(read["revision"]), str(read["licence"]), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_record(folder: Path, pulled: Pulled) -> None:
    """Write the record in one step."""
    part = folder / f"{RECORD}.part"
    part.write_text(json.dumps(asdict(pulled), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(folder / RECORD)


def find_checkpoint(name: str) -> Path:
    """Folder of a pulled checkpoint; its files are there in their sizes (their digests are for `models verify`).

    Raises
    ------
    MissingWeightsError
        It is not on this machine, or not whole.
    WeightsDigestError
        It is of another revision than the registry's.
    """
    entry = hub_entry(name)
    seen: list[str] = []
    for folder in places(name):
        if not folder.is_dir():
            continue
        record = read_record(folder)
        if record is None:
            seen.append(f"{folder} holds no {RECORD}, so nobody knows what it is, or it was pulled by halves")
            continue
        if record.repo == entry.repo and entry.revision not in (None, record.revision):
            raise WeightsDigestError(
                f"{folder} holds revision {record.revision} of {record.repo}, and the registry wants {entry.revision}: "
                f"delete the folder and run `understudy models pull {name}`"
            )
        lacking = next((path for path, (size, _) in record.files.items() if _size(folder / path) != size), None)
        if lacking is None:
            return folder
        seen.append(f"{folder / lacking} is absent or of another size")
    told = "; ".join(seen) or f"checkpoint '{name}' ({entry.repo}) is not on this machine"
    raise MissingWeightsError(
        f"{told}: run `understudy models pull {name}` where there is a network, and copy its folder into the one that "
        f"{MIRROR_VARIABLE} names; or set generator.model to a folder in diffusers' format"
    )


def verify_checkpoint(entry: HubEntry) -> HubCheck:
    """Read every file of a checkpoint that is here, and compare it with the record of the pull."""
    try:
        folder = find_checkpoint(entry.name)
    except MissingWeightsError as error:
        return HubCheck(entry.name, None, "absent", str(error))
    except WeightsDigestError as error:
        return HubCheck(entry.name, None, "wrong digest", str(error))
    record = read_record(folder)
    for path, (_, digest) in ({} if record is None else record.files).items():
        found = file_digest(folder / path)
        if found != digest:
            return HubCheck(entry.name, folder, "wrong digest", f"{folder / path} has sha256 {found}, not {digest}")
    return HubCheck(entry.name, folder, "ok")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
