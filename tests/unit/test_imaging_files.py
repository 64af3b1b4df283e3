"""Atomic writes and names at the edge of what a file system takes."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from understudy.errors import OutputError
from understudy.imaging import files, is_temporary, name_with_suffix, write_atomic


def test_file_is_written_and_nothing_else(tmp_path):
    """The data are there under the name, in folders that are made, and no temporary file stays."""
    path = tmp_path / "a" / "b" / "c.jpg"
    write_atomic(path, b"data")
    assert path.read_bytes() == b"data"
    assert os.listdir(path.parent) == ["c.jpg"]


def test_old_file_is_replaced_whole(tmp_path):
    """A file that is there is replaced, not appended to or mixed with."""
    path = tmp_path / "c.jpg"
    path.write_bytes(b"a longer content than the new one")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_permissions_follow_the_umask(tmp_path):
    """The file has the permissions that any new file has here."""
    (tmp_path / "plain").touch()
    write_atomic(tmp_path / "ours", b"")
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_name_of_255_bytes_is_writable(tmp_path):
    """The temporary name does not grow with the file's name."""
    name = "é" * 125 + "a.jpg"
    assert len(os.fsencode(name)) == 255
    write_atomic(tmp_path / name, b"data")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, number):
    """On a full or broken disk the old file stays, the temporary one goes, and the error names path and reason."""
    path = tmp_path / "c.jpg"
    path.write_bytes(b"old")

    def fail(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OutputError, match=os.strerror(number)) as raised:
        write_atomic(path, b"new")
    assert str(path) in str(raised.value)
    assert "start the same command again" in str(raised.value)
    assert os.listdir(tmp_path) == ["c.jpg"]
    assert path.read_bytes() == b"old"


def test_interrupt_leaves_no_temporary_file(tmp_path, monkeypatch):
    """Ctrl-C in the middle of a write leaves nothing behind."""

    def interrupt(_source: object, _target: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "c.jpg", b"new")
    assert os.listdir(tmp_path) == []


def test_unwritable_place_is_an_output_error(tmp_path):
    """A folder that cannot be made, as a file has its name, is an output error."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write"):
        write_atomic(tmp_path / "file" / "c.jpg", b"new")


def test_temporary_names_are_told_from_others(tmp_path, monkeypatch):
    """What a killed process leaves behind is recognised by its name, and hidden."""
    seen: list[str] = []
    monkeypatch.setattr(files.os, "replace", lambda source, _target: seen.append(source.name))
    write_atomic(tmp_path / "c.jpg", b"new")
    assert is_temporary(seen[0])
    assert seen[0].startswith(".")
    assert not is_temporary("c.jpg")
    assert not is_temporary("holiday.part")


def test_suffix_is_appended():
    """A short name only gets the suffix."""
    assert name_with_suffix("a.gif", ".png") == "a.gif.png"
    assert name_with_suffix("a.gif", "") == "a.gif"


def test_long_names_are_shortened_and_stay_two():
    """Names that would be over 255 bytes are cut between characters, and names that differ stay different."""
    first, second = ("ü" * 125 + tail + ".gif" for tail in ("x", "y"))
    names = [name_with_suffix(name, ".png") for name in (first, second)]
    assert all(len(os.fsencode(name)) <= 255 for name in names)
    assert all(name.endswith(".png") for name in names)
    assert names[0] != names[1]
