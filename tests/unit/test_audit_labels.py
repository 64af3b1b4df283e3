"""Labels that people gave, read from the tables of known data sets and joined with faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.audit.labels import LabelFormat, Labels, join_labels, read_labels
from understudy.config.compose import compose_config
from understudy.config.parts import PartBuilder
from understudy.config.read import read
from understudy.config.schema import Audit
from understudy.errors import ConfigError, InvalidInputError

FACE = np.array([[10.0, 10.0, 50.0, 60.0]])


def ready(name: str) -> LabelFormat:
    """A format as its YAML gives it."""
    settings = read(
        compose_config("audit", ["before=a", "after=b", "output=c", f"label_format={name}"]), Audit, "audit"
    )
    made = PartBuilder()(settings.label_format, "label_format")
    assert isinstance(made, LabelFormat)
    return made


def written(folder: Path, text: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def column(labels: Labels, name: str) -> list[object]:
    found = next(c for c in labels.columns if c.name == name)
    return list(found.values)


def test_a_plain_csv_gives_each_other_column_as_an_attribute(tmp_path: Path) -> None:
    path = written(tmp_path, "picture,hair,age\na.jpg,dark,31\nb.jpg,,44\nc.jpg,light,50\n")
    labels = read_labels(path, ready("plain"))
    assert labels.pictures == ("a.jpg", "b.jpg", "c.jpg")
    assert column(labels, "hair") == ["dark", "", "light"]
    assert column(labels, "age") == [31.0, 44.0, 50.0]
    assert {c.name: c.kind for c in labels.columns} == {"hair": "categorical", "age": "numeric"}


def test_fairface_is_read_with_its_ages_in_order(tmp_path: Path) -> None:
    rows = ["val/1.jpg,more than 70,Male,East Asian,True", "val/2.jpg,3-9,Female,Black,False"]
    text = "\n".join(["file,age,gender,race,service_test", *rows])
    labels = read_labels(written(tmp_path, text), ready("fairface"))
    ages = next(c for c in labels.columns if c.name == "age_range")
    assert ages.categories == ("3-9", "70 and over")
    assert ages.values == ("70 and over", "3-9")
    assert column(labels, "race") == ["East Asian", "Black"]
    assert not labels.self_reported


def test_celeba_is_read_from_its_text_file_without_a_name_for_the_first_column(tmp_path: Path) -> None:
    names = "Male Young Eyeglasses Smiling No_Beard Attractive Pale_Skin"
    text = f"2\n{names}\n000001.jpg -1  1 -1  1  1  1 -1\n000002.jpg  1 -1 -1 -1 -1 -1 -1\n"
    labels = read_labels(written(tmp_path, text, "list_attr_celeba.txt"), ready("celeba"))
    assert labels.pictures == ("000001.jpg", "000002.jpg")
    assert column(labels, "male") == ["no", "yes"]
    assert column(labels, "smiling") == ["yes", "no"]


def test_fhibe_is_read_with_boxes_people_and_bins_of_age(tmp_path: Path) -> None:
    header = "filepath,subject_id,pronoun,ancestry,age,natural_skin_color,apparent_skin_color,face_bbox"
    lists = """\"['1. She/her/hers']\",\"['1. Africa', '0. Asia']\""""
    text = f'{header}\ndata/raw/a.png,s1,{lists},34,"[136, 105, 81]",x,"[10, 10, 40, 50]"\n'
    labels = read_labels(written(tmp_path, text), ready("fhibe"))
    assert labels.subjects == ("s1",)
    assert labels.boxes is not None
    np.testing.assert_array_equal(labels.boxes, [[10, 10, 50, 60]])
    assert column(labels, "ancestry") == ["0. Asia + 1. Africa"]
    assert column(labels, "age_group") == ["30 to 40"]
    assert column(labels, "age") == [34.0]
    assert labels.self_reported


def test_a_parquet_file_says_the_same_as_the_csv(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"picture": ["a.jpg", "b.jpg"], "hair": ["dark", None]}), tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet", LabelFormat())
    assert column(labels, "hair") == ["dark", ""]


def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = written(tmp_path, "file,age\na.jpg,3\n")
    with pytest.raises(InvalidInputError, match=r"no column 'picture': its columns are file, age; choose label_format"):
        read_labels(path, LabelFormat())


def test_a_column_of_names_is_left_out_and_said(tmp_path: Path) -> None:
    rows = "\n".join(f"{i}.jpg,name {i}" for i in range(40))
    labels = read_labels(written(tmp_path, f"picture,who\n{rows}\n"), LabelFormat())
    assert labels.columns == ()
    assert "40 different values" in labels.left_out["who"]


def test_faces_are_joined_by_picture_and_by_box() -> None:
    labels = Labels(
        ("a.jpg", "b.jpg", "b.jpg", "c.jpg"),
        None,
        np.array([[np.nan] * 4, [0, 0, 20, 20], [60, 0, 90, 30], [0, 0, 5, 5]]),
        (),
        {},
        False,
    )
    faces = np.array([0, 1, 1])
    xyxy = np.array([[5.0, 5, 25, 25], [62, 2, 91, 30], [1, 0, 21, 20]])
    joined = join_labels(labels, ["a.jpg", "b.jpg"], faces, xyxy)
    assert joined.row.tolist() == [-1, 2, 1]
    assert (joined.n_unused, joined.n_unlabelled) == (2, 1)


def test_without_boxes_the_only_row_belongs_to_the_largest_face() -> None:
    labels = Labels(("x/a.jpg",), ("anna",), None, (), {}, False)
    xyxy = np.array([[0.0, 0, 10, 10], [0, 0, 50, 50]])
    joined = join_labels(labels, ["deep/a.jpg"], np.array([0, 0]), xyxy)
    assert joined.row.tolist() == [-1, 0]
    assert joined.subjects == ("", "anna")


def test_two_rows_of_one_picture_without_boxes_are_ambiguous_and_belong_to_nobody() -> None:
    labels = Labels(("a.jpg", "a.jpg"), None, None, (), {}, False)
    assert join_labels(labels, ["a.jpg"], np.array([0]), FACE).row.tolist() == [-1]


def test_labels_of_other_pictures_are_refused_with_an_example() -> None:
    labels = Labels(("p/1.jpg",), None, None, (), {}, False)
    with pytest.raises(InvalidInputError, match=r"speak of 'p/1.jpg', the pictures are called 'a.jpg'"):
        join_labels(labels, ["a.jpg"], np.array([0]), FACE)


def test_a_box_of_three_columns_is_no_box() -> None:
    with pytest.raises(ConfigError, match="one column or four"):
        LabelFormat(box=("x", "y", "w"))
