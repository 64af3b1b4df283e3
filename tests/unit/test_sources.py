"""Which files a run reads, in what order, under what names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from understudy.batch.inputs import open_inputs
from understudy.batch.sources import MARKER, InputFile, printable
from understudy.errors import InvalidInputError

NASTY = [
    "a,b=c(1)'\".jpg",
    "with space.jpg",
    "star*and[brackets]?.jpg",
    "$HOME.jpg",
    "${oc.env:HOME}.jpg",
    "new\nline.jpg",
    "tab\t.jpg",
    "back\\slash.jpg",
    "-rf.jpg",
    "#hash.jpg",
    "%41.jpg",
    "a:b;c&d|e.jpg",
    "e\u0301.jpg",
    "\u00e9.jpg",
    "\u65e5\u672c\u8a9e.jpg",
    "\U0001f600.jpg",
    "\u202egpj.exe.jpg",
    "x" * 251 + ".jpg",
    os.fsdecode(b"byte\xff.jpg"),
    "UPPER.JPG",
    "upper.jpg",
]


def make(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def ids(spec: str | os.PathLike[str]) -> list[str]:
    return [file.image_id for file in open_inputs(spec) if not file.problem]


def problems(spec: str | os.PathLike[str]) -> dict[str, str]:
    return {file.image_id: f"{file.status}: {file.problem}" for file in open_inputs(spec) if file.problem}


def test_a_folder_is_listed_recursively_by_name_depth_first(tmp_path: Path) -> None:
    make(tmp_path, "b/2.jpg", "b/10.jpg", "a.jpg", "c.jpg", "b/a/z.jpg")
    assert ids(tmp_path) == ["a.jpg", "b/10.jpg", "b/2.jpg", "b/a/z.jpg", "c.jpg"]


def test_a_name_that_begins_another_comes_first(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg.png", "a", "a.jpg")
    assert ids(tmp_path) == ["a", "a.jpg", "a.jpg.png"]


def test_one_file_is_a_collection_of_one(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "b.jpg")
    assert list(open_inputs(tmp_path / "a.jpg")) == [InputFile("a.jpg", tmp_path / "a.jpg")]


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_is_listed_as_it_is_and_leads_to_its_file(tmp_path: Path, name: str) -> None:
    make(tmp_path, name)
    (in_folder,) = open_inputs(tmp_path)
    (alone,) = open_inputs(tmp_path / name)
    assert in_folder == alone == InputFile(name, tmp_path / name)
    assert in_folder.path.read_bytes() == b"x"
    printable(name).encode("utf-8")


def test_all_nasty_names_together_stay_distinct(tmp_path: Path) -> None:
    make(tmp_path, *NASTY)
    assert sorted(ids(tmp_path)) == sorted(NASTY)


def test_an_undecodable_byte_is_printed_as_an_escape(tmp_path: Path) -> None:
    assert printable(os.fsdecode(b"a\xffb\nc")) == "a\\xffb\\nc"


def test_hidden_files_and_folders_are_not_read(tmp_path: Path) -> None:
    make(tmp_path, ".hidden.jpg", ".folder/a.jpg", "seen.jpg")
    assert ids(tmp_path) == ["seen.jpg"]


def test_an_output_folder_is_never_read_as_input(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", f"out/{MARKER}", "out/images/a.jpg")
    assert ids(tmp_path) == ["a.jpg"]
    for inside in ("out", "out/images", "out/images/a.jpg", "out/images/*.jpg"):
        with pytest.raises(InvalidInputError, match="output folder"):
            open_inputs(tmp_path / inside)


def test_a_link_into_an_output_folder_is_not_read(tmp_path: Path) -> None:
    make(tmp_path, f"out/{MARKER}", "out/images/a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "out/images/a.jpg")
    (tmp_path / "folder").symlink_to(tmp_path / "out/images")
    assert ids(tmp_path) == []
    assert problems(tmp_path) == {
        "link.jpg": "skipped: link leads into an output folder",
        "folder": "skipped: link leads into an output folder",
    }


def test_links_inside_the_tree_are_followed_and_those_that_lead_out_are_not(tmp_path: Path) -> None:
    make(tmp_path, "in/real/a.jpg", "secret/s.jpg", "in-too/t.jpg")
    (tmp_path / "in/file.jpg").symlink_to("real/a.jpg")
    (tmp_path / "in/folder").symlink_to("real")
    (tmp_path / "in/out.jpg").symlink_to(tmp_path / "secret/s.jpg")
    (tmp_path / "in/outs").symlink_to(tmp_path / "in-too")
    assert ids(tmp_path / "in") == ["file.jpg", "folder/a.jpg", "real/a.jpg"]
    assert problems(tmp_path / "in") == {
        "out.jpg": "skipped: link leads out of the input folder",
        "outs": "skipped: link leads out of the input folder",
    }


def test_loops_of_links_end(tmp_path: Path) -> None:
    make(tmp_path, "a/x.jpg", "b/y.jpg")
    (tmp_path / "a/self").symlink_to(".")
    (tmp_path / "a/up").symlink_to("..")
    (tmp_path / "a/b").symlink_to("../b")
    (tmp_path / "b/a").symlink_to("../a")
    (tmp_path / "round").symlink_to("round")
    assert ids(tmp_path) == ["a/b/y.jpg", "a/x.jpg", "b/a/x.jpg", "b/y.jpg"]
    assert problems(tmp_path)["a/self"] == "skipped: link leads back to a folder that it lies in"
    assert problems(tmp_path)["round"] == "failed: link leads nowhere, or in circles"


def test_a_broken_link_is_failed_not_forgotten(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    assert problems(tmp_path) == {"gone.jpg": "failed: link leads nowhere, or in circles"}


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert problems(tmp_path) == {"pipe.jpg": "skipped: neither a file nor a folder"}


def test_a_folder_that_cannot_be_listed_is_failed_not_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "locked/a.jpg", "b.jpg")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert ids(tmp_path) == ["b.jpg"]
    assert problems(tmp_path) == {"locked": "failed: folder cannot be listed: permission denied"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jp*g", ["a.jpg", "b.jpeg"]),
        ("**/*.jp*g", ["a.jpg", "b.jpeg", "d/c.jpg", "d/e/f.jpg"]),
        ("**", ["a.jpg", "b.jpeg", "d/c.jpg", "d/e/f.jpg", "d/e/g.png"]),
        ("*/*", ["d/c.jpg"]),
        ("**/e/**/*.jpg", ["d/e/f.jpg"]),
        ("**/**/f.jpg", ["d/e/f.jpg"]),
        ("[ab].*", ["a.jpg", "b.jpeg"]),
        ("?.jpg", ["a.jpg"]),
    ],
)
def test_a_glob_lists_each_match_once_with_ids_relative_to_its_fixed_part(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    make(tmp_path, "a.jpg", "b.jpeg", "d/c.jpg", "d/e/f.jpg", "d/e/g.png", ".h/i.jpg")
    assert ids(tmp_path / pattern) == expected


def test_a_glob_over_two_folders_keeps_equal_names_apart(tmp_path: Path) -> None:
    make(tmp_path, "x/a.jpg", "y/a.jpg")
    assert ids(tmp_path / "*" / "a.jpg") == ["x/a.jpg", "y/a.jpg"]


def test_an_existing_name_with_wildcards_is_taken_literally(tmp_path: Path) -> None:
    make(tmp_path, "a[1].jpg", "a1.jpg")
    assert ids(tmp_path / "a[1].jpg") == ["a[1].jpg"]


def test_a_folder_whose_name_holds_wildcards_is_no_pattern(tmp_path: Path) -> None:
    make(tmp_path, "trip [1]/a.jpg", "trip 1/b.jpg")
    assert ids(tmp_path / "trip [1]" / "*.jpg") == ["a.jpg"]


def test_a_glob_without_a_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="matches no file"):
        open_inputs(tmp_path / "*.jpg")
    with pytest.raises(InvalidInputError, match="there is no folder"):
        open_inputs(tmp_path / "no" / "*.jpg")


def test_a_list_is_relative_to_its_folder_keeps_its_order_and_drops_repeats(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "d/a.jpg")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfd/a.jpg\r\n\nb.jpg\nd/../b.jpg\nnone.jpg\nd\n")
    assert ids(tmp_path / "list.txt") == ["d/a.jpg", "b.jpg"]
    assert problems(tmp_path / "list.txt") == {
        "none.jpg": "failed: cannot be read: no such file or directory",
        "d": "failed: is a folder: list its files",
    }


def test_a_list_that_reaches_outside_its_folder_takes_the_shared_folder_as_root(tmp_path: Path) -> None:
    make(tmp_path, "one/a.jpg", "two/a.jpg")
    (tmp_path / "one" / "list.txt").write_text(f"a.jpg\n{tmp_path / 'two' / 'a.jpg'}\n")
    assert ids(tmp_path / "one" / "list.txt") == ["one/a.jpg", "two/a.jpg"]


def test_a_list_never_reads_hidden_files_or_outputs(tmp_path: Path) -> None:
    make(tmp_path, ".h.jpg", f"out/{MARKER}", "out/images/a.jpg")
    (tmp_path / "list.txt").write_text(".h.jpg\nout/images/a.jpg\n")
    assert problems(tmp_path / "list.txt") == {
        ".h.jpg": "skipped: hidden files are not read",
        "out/images/a.jpg": "skipped: lies in an output folder",
    }


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_list_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(InvalidInputError, match="names no file"):
        open_inputs(tmp_path / "list.txt")


def test_an_input_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"missing\.jpg' does not exist"):
        open_inputs(tmp_path / "missing.jpg")


def test_listing_begins_before_the_folder_tree_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    visited = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: visited.append(Path(path).name) or scandir(path))
    listing = iter(open_inputs(tmp_path))
    assert next(listing).image_id == "a/1.jpg"
    assert visited == [tmp_path.name, "a"]


def test_inputs_can_be_counted_and_listed_again(tmp_path: Path) -> None:
    inputs = open_inputs(make(tmp_path, "a.jpg", "b/c.jpg"))
    assert inputs.count() == 2
    assert [file.image_id for file in inputs] == [file.image_id for file in inputs]


def test_a_large_folder_is_sorted_in_runs_on_disk_and_listed_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, *NASTY, "folder/b.jpg", "folder/a.jpg")
    whole = [file.image_id for file in open_inputs(tmp_path)]
    monkeypatch.setattr("understudy.batch.sources.RUN_LENGTH", 3)
    assert [file.image_id for file in open_inputs(tmp_path)] == whole
    (tmp_path / MARKER).touch()
    with pytest.raises(InvalidInputError, match="output folder"):
        open_inputs(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("label,path\n0,b.jpg\n1,d/a.jpg\n", ["b.jpg", "d/a.jpg"]),
        ('\ufeffFile_Name,label\n"d/a.jpg",0\n', ["d/a.jpg"]),
        ("b.jpg\nd/a.jpg\n", ["b.jpg", "d/a.jpg"]),
        ("image\nd/a.jpg\n\nb.jpg\nb.jpg\n", ["d/a.jpg", "b.jpg"]),
    ],
)
def test_a_csv_list_has_a_column_of_paths_or_one_column(tmp_path: Path, content: str, expected: list[str]) -> None:
    make(tmp_path, "b.jpg", "d/a.jpg")
    (tmp_path / "list.csv").write_text(content)
    assert ids(tmp_path / "list.csv") == expected


def test_a_table_without_a_known_column_is_an_error_that_names_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInputError, match="has the columns a, b: one of them must be called path"):
        open_inputs(tmp_path / "list.csv")


def test_a_parquet_list_names_files_with_absolute_and_relative_paths(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    make(tmp_path, "b.jpg", "d/a.jpg")
    pq.write_table(pa.table({"n": [1, 2], "path": ["d/a.jpg", str(tmp_path / "b.jpg")]}), tmp_path / "list.parquet")
    assert ids(tmp_path / "list.parquet") == ["d/a.jpg", "b.jpg"]


def test_a_file_address_is_the_path_and_a_mixture_of_kinds_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    assert ids(f"file://{tmp_path}") == ["a.jpg"]
    (tmp_path / "list.txt").write_text("a.jpg\ns3://bucket/b.jpg\n")
    with pytest.raises(InvalidInputError, match="paths and addresses"):
        open_inputs(tmp_path / "list.txt")


def test_an_address_whose_driver_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from understudy.batch import address
    from understudy.errors import MissingExtraError

    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    address.file_system.cache_clear()
    with pytest.raises(MissingExtraError, match=r"understudy\[s3\]"):
        open_inputs("s3://bucket/folder")


def test_any_address_of_fsspec_is_listed(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("/c/b/2.jpg", "/c/a.jpg", "/c/.hidden/x.jpg"):
        memory.pipe_file(name, b"x")
    assert ids("memory://c") == ["a.jpg", "b/2.jpg"]
    assert ids("memory://c/*/*.jpg") == ["b/2.jpg"]
    memory.rm("/c", recursive=True)
