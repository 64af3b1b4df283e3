"""Readings that are kept by digest."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
from tests.unit.audit_stand_ins import draw, stand_ins

from understudy.audit.cache import Cache
from understudy.audit.faces import PictureFaces, read_picture
from understudy.audit.pairs import NUMBERS, PairReadings


def test_what_is_kept_comes_back_and_is_counted(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "c", {"detector": "a"})
    key = cache.key("faces", "digest")
    assert cache.get(key) is None
    cache.put(key, {"x": np.arange(3)})
    found = cache.get(key)
    assert found is not None
    np.testing.assert_array_equal(found["x"], [0, 1, 2])
    assert (cache.n_hits, cache.n_misses) == (1, 1)


def test_another_reader_and_another_picture_have_other_keys(tmp_path: Path) -> None:
    one, two = Cache(tmp_path, {"weights": "1"}), Cache(tmp_path, {"weights": "2"})
    assert len({one.key("p"), one.key("q"), two.key("p"), one.key("p", "q")}) == 4


def test_a_damaged_entry_is_read_anew(tmp_path: Path) -> None:
    cache = Cache(tmp_path, {})
    key = cache.key("p")
    cache.put(key, {"x": np.zeros(2)})
    next(tmp_path.rglob("*.npz")).write_bytes(b"PK\x03\x04 torn")
    assert cache.get(key) is None


def test_the_folder_is_for_its_owner_alone_and_names_no_picture(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    cache = Cache(folder, {})
    cache.put(cache.key("faces", "0123abcd"), {"x": np.zeros(1)})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / ".gitignore").read_text() == "*\n"
    assert not [path for path in folder.rglob("*") if "0123abcd" in path.name]


def test_without_a_folder_nothing_is_kept() -> None:
    cache = Cache(None, {})
    cache.put("key", {"x": np.zeros(1)})
    assert cache.get("key") is None


def test_faces_come_back_as_they_were(tmp_path: Path) -> None:
    faces = read_picture(draw(1), stand_ins(), control_seed=3)
    cache = Cache(tmp_path, {})
    cache.put("aa", faces.pack())
    packed = cache.get("aa")
    assert packed is not None
    again = PictureFaces.unpack(packed)
    assert again.size == faces.size
    np.testing.assert_array_equal(again.keypoints, faces.keypoints)
    np.testing.assert_array_equal(again.embeddings["colours"], faces.embeddings["colours"])
    np.testing.assert_array_equal(again.control["colours"], faces.control["colours"])
    assert [info for info, _ in again.readings] == [info for info, _ in faces.readings]
    assert not any("pixels" in name or "view" in name for name in packed)


def test_pairs_come_back_as_they_were() -> None:
    numbers = dict(zip(NUMBERS, range(len(NUMBERS)), strict=True))
    features, own = np.ones((2, 3), np.float32), np.zeros((2, 0), np.float32)
    pair = PairReadings(numbers, np.array([1.0, np.nan]), np.zeros(0), True, features, own)
    again = PairReadings.unpack(pair.pack())
    assert again.numbers == pair.numbers
    np.testing.assert_array_equal(again.change, pair.change)
    assert again.resized
    np.testing.assert_array_equal(again.features, features)
    assert again.own_features.shape == (2, 0)
