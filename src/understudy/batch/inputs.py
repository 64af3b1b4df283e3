"""From what the user wrote to a collection: a file, a folder, a glob, a list, here or at an address."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from understudy.batch.containers import has_pictures
from understudy.batch.items import Inputs
from understudy.batch.lists import LIST_SUFFIXES, names_files, open_list, open_remote_list
from understudy.batch.remote import is_address, local_path, open_address, open_remote
from understudy.batch.sources import is_glob, open_file, open_folder, open_glob, printable
from understudy.errors import InvalidInputError


def open_inputs(spec: str | os.PathLike[str]) -> Inputs:
    """Find out what ``spec`` names: an existing file or folder, a list of paths, a glob, or any of them at an address.

    Parameters
    ----------
    spec : str or path
        An existing path is taken as it is, whatever characters it holds. A glob knows ``*``, ``?``, ``[...]`` and
        ``**`` (any number of folders); its ids are relative to the part before the first wildcard. A list (``.txt``
        with one path a line; ``.csv`` or ``.parquet`` with a column of paths) holds paths that are absolute or
        relative to the list's folder, or addresses; its ids are relative to that folder where all paths lie in it,
        else to the folder that all of them share. An address (``s3://bucket/folder``, ``gs://``, or any other that
        fsspec knows) names a file, a folder, a glob or a list in the same way.

    Returns
    -------
    Inputs
        Nothing is listed before it is iterated, but for a glob's first match.

    Raises
    ------
    InvalidInputError
        Where there is nothing, where a glob has no match, or where it lies in an output folder.
    MissingExtraError
        An address needs a package that is not installed.
    """
    text = os.fspath(spec)
    if is_address(text):
        here = local_path(text)
        if here is not None:
            return open_inputs(here)
        return open_remote_list(text) if _is_remote_list(text) else open_remote(text)
    path = Path(os.path.abspath(text))
    if os.path.exists(path):
        if path.is_dir():
            return open_folder(text, path)
        return open_list(text, path) if _is_list(path) else open_file(text, path)
    if is_glob(text):
        return open_glob(text, path)
    raise InvalidInputError(f"input {printable(text)!r} does not exist: give a file, a folder, a glob or a list")


def _is_list(path: Path) -> bool:
    """A Parquet file may be a list, or hold pictures itself."""
    suffix = path.suffix.lower()
    if suffix != ".parquet":
        return suffix in LIST_SUFFIXES
    with path.open("rb") as file:
        if has_pictures(file):
            return False
    with path.open("rb") as file:
        return names_files(file, str(path))


def _is_remote_list(text: str) -> bool:
    suffix = posixpath.splitext(text)[1].lower()
    if is_glob(text) or suffix not in LIST_SUFFIXES:
        return False
    if suffix != ".parquet":
        return True
    with open_address(text) as file:
        if has_pictures(file):
            return False
    with open_address(text) as file:
        return names_files(file, text)
