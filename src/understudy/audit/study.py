"""All readings of an audit side by side: a row for each face of before, with what became of it after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.audit.cache import Cache
from understudy.audit.faces import PictureFaces, Readers, embed_in_place, read_picture, seed_of
from understudy.audit.folders import Collection
from understudy.audit.pairing import FacePairing, PicturePairing, pair_faces, pair_pictures
from understudy.audit.pairs import PairReadings, read_pair, region_mask, seen_mask
from understudy.errors import InvalidInputError, UnderstudyError
from understudy.imaging import decode

Progress = Callable[[int, int], None]
"""Called with (pairs done, pairs in all)."""


@dataclass(frozen=True)
class PairFiles:
    """Where one picture lies in each folder."""

    name: str
    before: Path
    after: Path
    after_name: str
    null: Path | None


@dataclass(frozen=True)
class PairRecord:
    """What was read of one picture before, after and in the null edit."""

    files: PairFiles
    before: PictureFaces
    after: PictureFaces
    null: PictureFaces | None
    pair: PairReadings
    null_pair: PairReadings | None
    faces: FacePairing
    null_faces: FacePairing | None
    placed: Mapping[str, NDArray[np.float32]]
    """By attacker, (N, D): embeddings after in the place where the face was before, of faces that were not found."""
    digests: tuple[str, str, str]
    """SHA-256 of the files before, after and in the null edit ("" without)."""


@dataclass(frozen=True)
class Unreadable:
    """A pair that could not be read."""

    name: str
    reason: str


@dataclass(frozen=True)
class Pairings:
    """Which pictures belong together."""

    files: tuple[PairFiles, ...]
    after: PicturePairing
    null: PicturePairing | None


def pair_collections(before: Collection, after: Collection, null: Collection | None) -> Pairings:
    """Match pictures by name.

    Raises
    ------
    InvalidInputError
        Not one picture of before has a partner.
    """
    pairing = pair_pictures(before.pictures, after.pictures)
    if not pairing.pairs:
        raise InvalidInputError(
            f"no picture of before has a partner in after: before holds {before.pictures[0]!r} and "
            f"{len(before.pictures) - 1} more, after holds {after.pictures[0]!r} and {len(after.pictures) - 1} more; "
            "pictures are matched by their path below the folder"
        )
    null_pairing = None if null is None else pair_pictures(before.pictures, null.pictures)
    still = dict(null_pairing.pairs) if null_pairing is not None else {}
    files = tuple(
        PairFiles(
            name,
            before.path(name),
            after.path(partner),
            partner,
            null.path(still[name]) if null is not None and name in still else None,
        )
        for name, partner in pairing.pairs
    )
    return Pairings(files, pairing, null_pairing)


class PairReader:
    """Reads pairs of pictures, or takes them from the cache; may be called from several threads at once.

    Parameters
    ----------
    readers : Readers
    cache : Cache
    regions : mapping or None
        Boxes that the anonymiser says it replaced, by the picture's path in after; None without a manifest.
    max_pixels : int
        Larger pictures are refused.
    """

    def __init__(
        self,
        readers: Readers,
        cache: Cache,
        regions: Mapping[str, NDArray[np.float64]] | None,
        *,
        max_pixels: int,
    ) -> None:
        self.readers, self.cache, self.regions, self.max_pixels = readers, cache, regions, max_pixels

    def __call__(self, files: PairFiles) -> PairRecord | Unreadable:
        """Read one pair."""
        try:
            pictures = [_Picture(path, files.name, self.max_pixels) for path in (files.before, files.after)]
            still = None if files.null is None else _Picture(files.null, files.name, self.max_pixels)
            before = self._faces(pictures[0], control=True)
            after = self._faces(pictures[1])
            null = None if still is None else self._faces(still)
            pair, null_pair = self._pair(files, pictures, still, before)
            matched = _match(before, after)
            placed = self._placed(pictures, before, after, matched.lost)
        except UnderstudyError as error:
            return Unreadable(files.name, str(error).removeprefix(f"{files.name}: "))
        except OSError as error:
            return Unreadable(files.name, f"cannot be read: {(error.strerror or str(error)).lower()}")
        return PairRecord(
            files,
            before,
            after,
            null,
            pair,
            null_pair,
            matched,
            None if null is None else _match(before, null),
            placed,
            (pictures[0].digest, pictures[1].digest, "" if still is None else still.digest),
        )

    def _faces(self, picture: _Picture, *, control: bool = False) -> PictureFaces:
        key = self.cache.key("faces", picture.digest, "with control" if control else "")
        packed = self.cache.get(key)
        if packed is not None:
            return PictureFaces.unpack(packed)
        faces = read_picture(picture.view, self.readers, control_seed=seed_of(picture.digest) if control else None)
        self.cache.put(key, faces.pack())
        return faces

    def _placed(
        self, pictures: Sequence[_Picture], before: PictureFaces, after: PictureFaces, lost: NDArray[np.int64]
    ) -> dict[str, NDArray[np.float32]]:
        """What attackers read where somebody points out the faces that were not found."""
        if not len(lost):
            return {}
        key = self.cache.key("placed", pictures[0].digest, pictures[1].digest)
        packed = self.cache.get(key)
        if packed is None:
            packed = dict(embed_in_place(pictures[1].view, self.readers.attacks, before, after.size, lost))
            self.cache.put(key, packed)
        return {name: np.asarray(values, np.float32) for name, values in packed.items()}

    def _pair(
        self, files: PairFiles, pictures: Sequence[_Picture], still: _Picture | None, before: PictureFaces
    ) -> tuple[PairReadings, PairReadings | None]:
        regions = before.xyxy if self.regions is None else self.regions.get(files.after_name, np.zeros((0, 4)))
        said = hashlib.sha256(np.ascontiguousarray(regions, np.float64).tobytes()).hexdigest()
        parts = ("pair", pictures[0].digest, pictures[1].digest, said)
        keys = [self.cache.key(*parts), None if still is None else self.cache.key(*parts, still.digest)]
        kept = [None if key is None else self.cache.get(key) for key in keys]
        if kept[0] is not None and (still is None or kept[1] is not None):
            return PairReadings.unpack(kept[0]), None if kept[1] is None else PairReadings.unpack(kept[1])
        first, second = pictures[0].view, pictures[1].view
        expected = region_mask(regions, before.xyxy, before.keypoints, before.size)
        replaced = seen_mask(first, second, expected) if first.shape == second.shape else expected
        whole = (self.readers.extractor, self.readers.perceptual)
        masks = (before.xyxy, before.second_xyxy, expected, replaced, *whole)
        pair = read_pair(first, second, *masks)
        self.cache.put(str(keys[0]), pair.pack())
        if still is None:
            return pair, None
        null_pair = read_pair(first, still.view, *masks, own=False)
        self.cache.put(str(keys[1]), null_pair.pack())
        return pair, null_pair


class _Picture:
    """A file, its digest, and its pixels once somebody asks for them."""

    def __init__(self, path: Path, name: str, max_pixels: int) -> None:
        self._data, self._name, self._max_pixels = path.read_bytes(), name, max_pixels
        self.digest = hashlib.sha256(self._data).hexdigest()
        self._view: NDArray[np.uint8] | None = None

    @property
    def view(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 sRGB, upright."""
        if self._view is None:
            self._view = decode(self._data, self._name, max_pixels=self._max_pixels).view
        return self._view


def _match(before: PictureFaces, after: PictureFaces) -> FacePairing:
    return pair_faces(before.xyxy, after.xyxy, before_size=before.size, after_size=after.size)


def read_all(
    files: Sequence[PairFiles], read: PairReader, *, n_workers: int, progress: Progress | None = None
) -> Iterator[PairRecord | Unreadable]:
    """Read all pairs with several threads, in order, holding few pictures at a time.

    Parameters
    ----------
    files : sequence of PairFiles
    read : PairReader
    n_workers : int
    progress : callable, optional
    """
    n_ahead = 2 * n_workers
    with ThreadPoolExecutor(n_workers) as pool:
        todo = iter(files)
        waiting = [pool.submit(read, item) for item in islice(todo, n_ahead)]
        done = 0
        try:
            while waiting:
                record = waiting.pop(0).result()
                waiting.extend(pool.submit(read, item) for item in islice(todo, 1))
                done += 1
                if progress is not None:
                    progress(done, len(files))
                yield record
        finally:
            for future in waiting:
                future.cancel()
