"""Films among the pictures of a collection: one after the other, in a thread of their own.

What anonymises a film is handed in; here is how it is found, where its files go and what its row says.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from understudy.batch.folder import Outputs
from understudy.batch.items import Item
from understudy.batch.ledger import Ledger, Status, differences
from understudy.batch.stages import Picture, describe
from understudy.batch.workspace import FILM_WORK
from understudy.errors import OutputError, RefusedImageError, StateMismatchError

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
FILMS = "films"
"""Folder of the records of films, beside that of the pictures."""
_DEPENDS = "films"
"""Where the ledger keeps the settings of films."""


class FilmResult(Protocol):
    """What became of a film."""

    @property
    def status(self) -> str:
        """done, refused or quarantined."""

    @property
    def error(self) -> str:
        """Why it is not done."""

    @property
    def outcomes(self) -> Mapping[str, int]:
        """Regions over all frames, by outcome."""

    @property
    def notes(self) -> list[str]:
        """What the table should say."""


class FilmMaker(Protocol):
    """Anonymises one film of this machine."""

    @property
    def depends(self) -> Mapping[str, object]:
        """Settings of films that results depend on."""

    def __call__(self, path: Path, folder: Path, tick: Callable[[], object]) -> FilmResult:
        """Write ``images/NAME``, ``film.json`` and ``frames.jsonl`` into a folder, going on where it stopped.

        ``tick`` is called for each frame; what it raises ends the work.
        """


class StoppedError(KeyboardInterrupt):
    """The run stops: what was made of the film so far stays for the next one."""


def is_film(item: Item) -> bool:
    """Whether an item is a film of its own, by its name."""
    return not item.problem and not item.staged and item.image_id.lower().endswith(SUFFIXES)


class Films:
    """Anonymises films into the output of a collection.

    Parameters
    ----------
    make : FilmMaker
    ledger : Ledger
    outputs : Outputs
    state : Path
        Folder of this machine in which unfinished films lie.
    """

    def __init__(self, make: FilmMaker, ledger: Ledger, outputs: Outputs, state: Path) -> None:
        self._make, self._ledger, self._outputs, self._state = make, ledger, outputs, state

    def work_on(self, picture: Picture, tick: Callable[[], object]) -> None:
        """Anonymise one film; ``picture.done`` is set where the run goes on.

        Raises
        ------
        OutputError
            Nothing more can be written.
        StateMismatchError
            Films were made with other settings, or of another source.
        StoppedError
            ``tick`` raised it.
        """
        self._match()
        name = hashlib.sha256(picture.file.image_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        folder = self._state / FILM_WORK / name
        try:
            path = self._source(picture, folder / "source")
            result = self._make(path, folder, tick)
            if result.status == "done":
                self._settle(picture, result, folder, folder / "images" / path.name)
            else:
                picture.end(Status(result.status), result.error)
        except (OutputError, StateMismatchError):
            raise
        except RefusedImageError as error:
            picture.end(Status.REFUSED, str(error))
        except OSError as error:
            picture.end(Status.FAILED, f"cannot be read: {(error.strerror or str(error)).lower()}")
        except Exception as error:  # noqa: BLE001 - one film never stops the run
            picture.end(Status.QUARANTINED, describe(error))
        finally:
            shutil.rmtree(folder / "source", ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _source(self, picture: Picture, spool: Path) -> Path:
        """The film on this machine, under its own name; what is known of it goes into its row."""
        item = picture.file
        spool.mkdir(parents=True, exist_ok=True)
        version = item.version()
        path = item.local_copy(spool)
        if path.parent == spool:
            path = path.rename(spool / item.image_id.rpartition("/")[2])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        size, stamp = version or (None, None)
        picture.row = replace(picture.row, digest=digest, source_bytes=size, source_mtime_ns=stamp)
        return path

    def _match(self) -> None:
        """See that all films of an output are made with the same settings."""
        now, before = json.loads(json.dumps(self._make.depends, default=str)), self._ledger.get(_DEPENDS)
        if isinstance(before, dict) and before != now:
            raise StateMismatchError(
                f"films here were made with other settings: {differences(before, now)}. Give the earlier ones, another "
                "output folder, or resume=restart to begin anew"
            )
        self._ledger.put(_DEPENDS, now)

    def _settle(self, picture: Picture, result: FilmResult, folder: Path, film: Path) -> None:
        item, store = picture.file, self._outputs.store
        relative, key = self._outputs.claim(item.image_id)
        n_bytes = film.stat().st_size
        with film.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        for name in ("film.json", "frames.jsonl"):
            store.put(f"{FILMS}/{item.image_id}/{name}", folder / name)
        store.put(relative, film)
        n = result.outcomes
        picture.done = replace(
            picture.row,
            status=Status.DONE,
            output=relative,
            output_key=key,
            output_digest=digest,
            output_bytes=n_bytes,
            n_regions=sum(n.values()),
            n_replaced=n.get("replaced", 0),
            n_filled=n.get("filled", 0),
            n_obscured=n.get("obscured", 0),
            notes=(*result.notes, f"a film: regions are counted over all frames; see {FILMS}/"),
        )
