"""Tensors are read from torch's old files without torch, and nothing else is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from understudy import weights
from understudy.errors import InvalidInputError
from understudy.runtime.torch_file import read_state_dict


@pytest.fixture
def tensors() -> dict[str, object]:
    torch = pytest.importorskip("torch")
    grid = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    return {
        "a.weight": grid,
        "a.turned": grid.permute(2, 0, 1),
        "a.part": grid[1, :, 1:3],
        "count": torch.tensor([7, -9]),
    }


@pytest.fixture
def old_file(tensors: dict[str, object], tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch")
    torch.save(tensors, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    return tmp_path / "old.pt"


def test_tensors_views_and_integers_are_what_torch_saved(tensors: dict[str, object], old_file: Path) -> None:
    read = read_state_dict(old_file)
    assert list(read) == list(tensors)
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.numpy().dtype
        assert (read[name] == tensor.numpy()).all()


@pytest.mark.weights("mtcnn_onet")
def test_the_weights_of_mtcnn_are_those_that_torch_reads() -> None:
    torch = pytest.importorskip("torch")
    path = weights.find("mtcnn_onet")
    expected = torch.load(path, map_location="cpu", weights_only=True)
    read = read_state_dict(path)
    assert list(read) == list(expected)
    assert all((read[name] == expected[name].numpy()).all() for name in expected)


class Planted:
    """Whoever unpickles this makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_planted_call_is_refused_and_not_made(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "planted.pt"
    torch.save({"a": Planted(tmp_path / "made")}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(InvalidInputError, match="posix mkdir"):
        read_state_dict(path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("cut", [0, 1, 40, 200, -1, -9])
def test_a_file_that_ends_early_is_refused(old_file: Path, cut: int) -> None:
    content = old_file.read_bytes()
    old_file.write_bytes(content[:cut])
    with pytest.raises(InvalidInputError, match=r"old\.pt is no state dict"):
        read_state_dict(old_file)


def test_bytes_after_the_last_tensor_are_refused(old_file: Path) -> None:
    old_file.write_bytes(old_file.read_bytes() + b"more")
    with pytest.raises(InvalidInputError, match="4 bytes after"):
        read_state_dict(old_file)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x80\x02]q\x00.", b"(lp0\n."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match="no state dict"):
        read_state_dict(path)


def test_a_tensor_that_reaches_out_of_its_numbers_is_refused(old_file: Path) -> None:
    content = old_file.read_bytes()
    shape = b"K\x02K\x03K\x04"  # (2, 3, 4) as the file writes it
    assert content.count(shape) == 1
    old_file.write_bytes(content.replace(shape, b"K\x02K\x03K\x09"))
    with pytest.raises(InvalidInputError, match=r"\(2, 3, 9\) reaches out of its 24 numbers"):
        read_state_dict(old_file)


def test_the_file_is_left_as_it_is(old_file: Path) -> None:
    before = old_file.read_bytes()
    read_state_dict(old_file)["a.weight"] += 1
    assert old_file.read_bytes() == before
