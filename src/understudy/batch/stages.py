"""What is done with one picture at each stage, and what becomes of it where that fails. Nothing here knows of threads.

Fail closed: whatever goes wrong with a picture ends in a row that says so and in no file, never in the picture itself.
"""

from __future__ import annotations

import gc
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from understudy.batch.flow import Cost
from understudy.batch.folder import NameTakenError
from understudy.batch.items import Item, holds_file_names, is_sidecar
from understudy.batch.ledger import Row, Status
from understudy.batch.rows import region_rows
from understudy.batch.sources import printable
from understudy.errors import (
    GenerationError,
    NotMediaError,
    OutputError,
    RefusedImageError,
    UnderstudyError,
    is_out_of_memory,
)
from understudy.types import AnonymizedImage, Detections, OutcomeKind, SourceImage

T = TypeVar("T")


class EncodedImage(Protocol):
    """A picture as it is written."""

    @property
    def data(self) -> bytes:
        """The file's bytes."""

    @property
    def suffix(self) -> str:
        """Appended to the source's name: "" or ".png"."""

    @property
    def notes(self) -> Sequence[str]:
        """What the table should say about the writing."""


class Codec(Protocol):
    """From a file's bytes to pixels and back: no network runs."""

    def decode(self, data: bytes, image_id: str) -> SourceImage:
        """Decode a file."""

    def encode(self, source: SourceImage, anonymized: AnonymizedImage) -> EncodedImage:
        """Encode in the source's own format, or in a lossless one."""


class Replacer(Protocol):
    """Finds and replaces people in decoded pictures: where the networks run."""

    def detect(self, sources: Sequence[SourceImage]) -> list[Detections]:
        """Find who is in each picture."""

    def replace(
        self, sources: Sequence[SourceImage], detections: Sequence[Detections]
    ) -> list[AnonymizedImage | UnderstudyError]:
        """Replace everybody in a micro-batch; the failure of one picture is its value, never its neighbours'."""


class Job(Codec, Replacer, Protocol):
    """Everything that turns one file's bytes into another's. Methods are called from several threads at once."""


class Places(Protocol):
    """Where each input's picture goes, and the writing itself."""

    def claim(self, image_id: str, suffix: str = "") -> tuple[str, str]:
        """The output path of an input, relative to the output, and its key.

        Raises
        ------
        NameTakenError
        """

    def write_for(self, item: Item, relative: str, data: bytes) -> None:
        """Write an input's picture.

        Raises
        ------
        NameTakenError, OutputError
        """


@dataclass
class Picture:
    """One input on its way; what a stage made is dropped as soon as the next one has used it."""

    file: Item
    cost: Cost
    row: Row
    data: bytes | None = None
    """The source's bytes, where they were fetched ahead."""
    source: SourceImage | None = None
    detections: Detections | None = None
    anonymized: AnonymizedImage | None = None
    seconds: float = 0.0
    done: Row | None = None
    """What to record; set by the stage that ends the way."""

    @property
    def n_regions(self) -> int:
        """Detections so far."""
        return 0 if self.detections is None else len(self.detections)

    def end(self, status: Status, error: str) -> None:
        """Go no further; let go of every pixel."""
        self.data = self.source = self.detections = self.anonymized = None
        prefix = f"{self.file.image_id}: "
        self.done = replace(
            self.row, status=status, error=printable(error.removeprefix(prefix)), seconds=round(self.seconds, 4)
        )


def new_picture(file: Item, cost: Cost) -> Picture:
    """A picture of which nothing is known but where it lies."""
    return Picture(file, cost, Row(file.image_id, file.where, Status.FAILED))


def _timed(picture: Picture, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    try:
        return work()
    finally:
        picture.seconds += time.perf_counter() - began


def _twice(work: Callable[[], T]) -> T:
    """Do it, and once again where it failed in a way that nobody meant: out of memory, or an error that is not ours."""
    try:
        return work()
    except (UnderstudyError, NameTakenError):
        raise
    except Exception:  # noqa: BLE001 - whatever it is, the second time it is the caller's
        gc.collect()
    return work()


def describe(error: BaseException) -> str:
    """An error as one line: our own messages as they are, others with their type."""
    if isinstance(error, UnderstudyError | NameTakenError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory" + (f": {error}" if str(error) else "")
    if is_out_of_memory(error):
        return f"out of memory: {type(error).__name__}: {error}"
    return f"unexpected {type(error).__name__}: {error}"


def fetch(picture: Picture, *, max_bytes: int) -> None:
    """Have the bytes of a picture here; ``picture.done`` is set where that is the end of it."""
    _timed(picture, lambda: _fetch(picture, max_bytes))


def _fetch(picture: Picture, max_bytes: int) -> None:
    def opened(n_bytes: int, stamp: int) -> None:
        picture.row = replace(picture.row, source_bytes=n_bytes, source_mtime_ns=stamp)

    try:
        picture.data = picture.file.load(max_bytes, opened)
    except NotMediaError as error:
        return picture.end(Status.SKIPPED, str(error))
    except RefusedImageError as error:
        return picture.end(Status.REFUSED, str(error))
    except OSError as error:
        return picture.end(Status.FAILED, f"cannot be read: {(error.strerror or str(error)).lower()}")
    except (UnderstudyError, MemoryError) as error:
        return picture.end(Status.FAILED, describe(error))
    return None


def prepare(job: Job, picture: Picture, *, max_bytes: int) -> None:
    """Read, decode and detect; ``picture.done`` is set where that is the end of it."""
    read(job, picture, max_bytes=max_bytes)
    detect(job, picture)


def read(codec: Codec, picture: Picture, *, max_bytes: int) -> None:
    """Read, unless the bytes are here, and decode; ``picture.done`` is set where that is the end of it."""
    _timed(picture, lambda: _read(codec, picture, max_bytes))


def _read(codec: Codec, picture: Picture, max_bytes: int) -> None:
    if picture.data is None:
        _fetch(picture, max_bytes)
    data, picture.data = picture.data, None
    if data is None:
        return
    source = _decode(codec, picture, data)
    if source is not None:
        height, width = source.view.shape[:2]
        picture.row = replace(picture.row, digest=source.digest, width=width, height=height)
        picture.source = source


def detect(replacer: Replacer, picture: Picture) -> None:
    """Find who is in a decoded picture; ``picture.done`` is set where that is the end of it."""
    source = picture.source
    if source is None or picture.done is not None:
        return
    try:
        (picture.detections,) = _timed(picture, lambda: _twice(lambda: replacer.detect([source])))
    except Exception as error:  # noqa: BLE001 - one picture never stops the run
        picture.end(Status.QUARANTINED, f"detection failed: {describe(error)}")


def _decode(job: Codec, picture: Picture, data: bytes) -> SourceImage | None:
    try:
        return _twice(lambda: job.decode(data, picture.file.image_id))
    except NotMediaError as error:
        status, text = Status.SKIPPED, str(error)
    except RefusedImageError as error:
        status, text = Status.REFUSED, str(error)
    except Exception as error:  # noqa: BLE001 - decoders raise anything
        status, text = Status.FAILED, describe(error)
    picture.row = replace(picture.row, digest=hashlib.sha256(data).digest())
    picture.end(status, text)
    return None


def replace_batch(job: Replacer, pictures: Sequence[Picture]) -> None:
    """Replace everybody in a batch; a picture that fails in company is tried once alone, then quarantined.

    A batch that fails as a whole is halved, so that one for which memory does not suffice is soon alone.
    """
    began = time.perf_counter()
    results = _replace_once(job, pictures)
    if len(pictures) > 1:
        results = _replace_in_parts(job, pictures, results)
    for picture in pictures:
        picture.seconds += (time.perf_counter() - began) / len(pictures)
    for picture, result in zip(pictures, results, strict=True):
        if isinstance(result, BaseException) and len(pictures) == 1 and not isinstance(result, UnderstudyError):
            result = _replace_alone(job, picture)
        if isinstance(result, BaseException):
            picture.end(Status.QUARANTINED, describe(result))
        else:
            picture.anonymized = result


def _replace_in_parts(
    job: Replacer, pictures: Sequence[Picture], results: list[AnonymizedImage | BaseException]
) -> list[AnonymizedImage | BaseException]:
    """The results of a batch in company, after each that failed was tried alone: it, or by halves all of them."""
    if len(pictures) == 1:
        return results
    if isinstance(results[0], AnonymizedImage) or any(result is not results[0] for result in results):
        return [
            _replace_alone(job, picture) if isinstance(result, BaseException) else result
            for picture, result in zip(pictures, results, strict=True)
        ]
    results.clear()
    gc.collect()
    half = len(pictures) // 2
    return [
        settled
        for part in (pictures[:half], pictures[half:])
        for settled in _replace_in_parts(job, part, _replace_once(job, part))
    ]


def _replace_alone(job: Replacer, picture: Picture) -> AnonymizedImage | BaseException:
    gc.collect()
    return _replace_once(job, [picture])[0]


def _replace_once(job: Replacer, pictures: Sequence[Picture]) -> list[AnonymizedImage | BaseException]:
    sources = [picture.source for picture in pictures if picture.source is not None]
    detections = [picture.detections for picture in pictures if picture.detections is not None]
    try:
        results: list[AnonymizedImage | BaseException] = list(job.replace(sources, detections))
        if len(results) != len(pictures):
            raise GenerationError(f"replace must return {len(pictures)} results, got {len(results)}")
    except Exception as error:  # noqa: BLE001 - a generator raises anything; the picture is then withheld
        return [error for _ in pictures]
    return results


def _check(picture: Picture, source: SourceImage, anonymized: AnonymizedImage) -> None:
    """A region without an outcome means that no picture is written."""
    settled = {outcome.region for outcome in anonymized.outcomes}
    missing = sorted(set(range(picture.n_regions)) - settled)
    if missing or len(settled) != len(anonymized.outcomes):
        raise GenerationError(
            f"{picture.n_regions} regions need one outcome each, got {len(anonymized.outcomes)} (none for {missing})"
        )
    if anonymized.image_id != source.image_id or anonymized.native.shape != source.native.shape:
        raise GenerationError(
            f"the result must be {source.image_id} of shape {source.native.shape}, "
            f"got {anonymized.image_id} of shape {anonymized.native.shape}"
        )


def finish(job: Codec, picture: Picture, outputs: Places) -> None:
    """Check, encode and write; ``picture.done`` is set in any case.

    Raises
    ------
    OutputError
        Where nothing more can be written at all; the picture stays without a row and is made again next time.
    """
    _timed(picture, lambda: _finish(job, picture, outputs))
    if picture.done is not None:
        picture.done = replace(picture.done, seconds=round(picture.seconds, 4))


def _finish(job: Codec, picture: Picture, outputs: Places) -> None:
    source, anonymized = picture.source, picture.anonymized
    if source is None or anonymized is None:
        return picture.end(Status.QUARANTINED, "nothing was made of it")
    try:
        _check(picture, source, anonymized)
        encoded = _encode(job, source, anonymized)
        relative, key = outputs.claim(picture.file.image_id, encoded.suffix)
        if encoded.suffix and picture.file.has_beside(relative.rpartition("/")[2]):
            raise NameTakenError(
                f"its output would be named {printable(relative)!r}, as that of the file of this name beside it: "
                "rename one of them"
            )
        outputs.write_for(picture.file, relative, encoded.data)
    except OutputError:
        raise
    except Exception as error:  # noqa: BLE001 - one picture never stops the run
        return picture.end(Status.QUARANTINED, describe(error))
    kinds = [outcome.kind for outcome in anonymized.outcomes]
    row = replace(
        picture.row,
        status=Status.DONE,
        output=relative,
        output_key=key,
        output_digest=hashlib.sha256(encoded.data).digest(),
        output_bytes=len(encoded.data),
        n_regions=len(kinds),
        n_replaced=kinds.count(OutcomeKind.REPLACED),
        n_filled=kinds.count(OutcomeKind.FILLED),
        n_obscured=kinds.count(OutcomeKind.OBSCURED),
        notes=tuple(dict.fromkeys((*source.notes, *encoded.notes))),
        regions=tuple(region_rows(anonymized)),
    )
    picture.source = picture.detections = picture.anonymized = None
    picture.done = row
    return None


def _encode(job: Codec, source: SourceImage, anonymized: AnonymizedImage) -> EncodedImage:
    """The file's bytes; one picture that cannot be encoded is no sign that nothing can be written."""
    try:
        return _twice(lambda: job.encode(source, anonymized))
    except OutputError as error:
        raise GenerationError(str(error)) from error


def copy_sidecar(picture: Picture, outputs: Places) -> None:
    """Lay the table of an image folder beside the pictures, byte for byte; any other file is left as it is.

    Raises
    ------
    OutputError
    """
    if picture.done is None or picture.done.status is not Status.SKIPPED or not is_sidecar(picture.file.image_id):
        return None
    try:
        data = picture.file.read(lambda _size, _stamp: None)
        if not holds_file_names(data):
            return None
        relative, key = outputs.claim(picture.file.image_id)
        outputs.write_for(picture.file, relative, data)
    except NameTakenError as error:
        return picture.end(Status.FAILED, str(error))
    except OSError as error:
        return picture.end(Status.FAILED, f"cannot be read: {(error.strerror or str(error)).lower()}")
    digest = hashlib.sha256(data).digest()
    picture.done = replace(
        picture.row,
        status=Status.DONE,
        output=relative,
        output_key=key,
        digest=digest,
        output_digest=digest,
        output_bytes=len(data),
        notes=("the table of an image folder: copied as it is",),
    )
    return None
