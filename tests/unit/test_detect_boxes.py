"""The user's own boxes: read, mapped from the stored to the upright picture, and refused with the line's number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from understudy.detect.base import Found
from understudy.detect.boxes import detection_line, read_boxes, upright
from understudy.errors import InvalidInputError
from understudy.types import Detections


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_boxes_without_confidence_or_keypoints_are_certain_and_have_none(tmp_path: Path) -> None:
    path = write(tmp_path / "b.jsonl", {"image_id": "a.jpg", "faces": [{"xyxy": [1, 2, 3, 4]}]}, "")
    found = read_boxes(path).detections("a.jpg", height=10, width=10)
    assert found is not None
    assert found.xyxy.tolist() == [[1, 2, 3, 4]]
    assert found.confidence.tolist() == [1]
    assert found.visibility.sum() == 0


def test_a_picture_without_a_line_is_none_and_one_without_faces_is_empty(tmp_path: Path) -> None:
    boxes = read_boxes(write(tmp_path / "b.jsonl", {"image_id": "a.jpg", "faces": []}))
    assert boxes.detections("b.jpg", height=10, width=10) is None
    empty = boxes.detections("a.jpg", height=10, width=10)
    assert empty is not None
    assert len(empty) == 0
    assert boxes.without_line(["a.jpg", "b.jpg"]) == ("b.jpg",)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    keypoints = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    keypoints[0, 2] = np.nan
    there = Detections.faces(np.array([[1.5, 2, 30, 40]]), np.array([0.25]), keypoints)
    line = detection_line("päth/a b.jpg", there, height=50, width=60)
    back = read_boxes(write(tmp_path / "b.jsonl", line)).detections("päth/a b.jpg", height=50, width=60)
    assert back is not None
    assert back.xyxy.tolist() == there.xyxy.tolist()
    assert back.confidence.tolist() == there.confidence.tolist()
    assert back.keypoints.tolist() == there.keypoints.tolist()
    assert back.visibility.tolist() == there.visibility.tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_raw_boxes_go_where_exif_puts_the_pixels(orientation: int) -> None:
    raw = np.zeros((20, 30, 3), np.uint8)
    raw[4:9, 12:25] = 255
    image = Image.fromarray(raw)
    image.getexif()[0x0112] = orientation
    turned = np.asarray(ImageOps.exif_transpose(image))
    rows, columns = np.nonzero(turned[..., 0])
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    found = Found(np.array([[12, 4, 25, 9]], np.float32), np.ones(1, np.float32), np.zeros((1, 5, 2), np.float32))
    assert upright(found, orientation, height=turned.shape[0], width=turned.shape[1]).xyxy[0].tolist() == expected


def test_a_box_that_reaches_over_the_border_is_cut_and_one_outside_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "b.jsonl",
        {"image_id": "over.jpg", "faces": [{"xyxy": [-5, 2, 8, 40]}]},
        {"image_id": "out.jpg", "faces": [{"xyxy": [50, 50, 60, 60]}]},
    )
    boxes = read_boxes(path)
    over = boxes.detections("over.jpg", height=20, width=20)
    assert over is not None
    assert over.xyxy.tolist() == [[0, 2, 8, 20]]
    with pytest.raises(InvalidInputError, match=r"1 of 1 boxes of out\.jpg lie outside its 20x20 px"):
        boxes.detections("out.jpg", height=20, width=20)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"),
        ("[]", "expected an object"),
        ({"image_id": "a"}, '"faces" must be a list'),
        ({"image_id": "a", "faces": [{"xyxy": [1, 2, 3]}]}, "a face must be"),
        ({"image_id": "a", "faces": [{"xyxy": [5, 2, 3, 9]}]}, "x1 > x0"),
        ('{"image_id": "a", "faces": [{"xyxy": [0, 0, NaN, 9]}]}', "x1 > x0"),
        ({"image_id": "a", "faces": [{"xyxy": [0, 0, 1, 1], "confidence": 2}]}, "confidence must lie"),
        ({"image_id": "a", "faces": [{"xyxy": [0, 0, 1, 1], "keypoints": [[1, 2]]}]}, "keypoints must be 5"),
        ({"image_id": "first", "faces": []}, "a second line for first"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, line: object, words: str) -> None:
    path = write(tmp_path / "b.jsonl", {"image_id": "first", "faces": []}, line)
    with pytest.raises(InvalidInputError, match="line 2") as caught:
        read_boxes(path)
    assert words in str(caught.value)


def test_a_missing_file_and_an_unknown_frame_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInputError, match=r"none\.jsonl' cannot be read: no such file or directory\. Give a file"
    ):
        read_boxes(tmp_path / "none.jsonl")
    (tmp_path / "picture.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InvalidInputError, match=r"picture\.jpg' cannot be read: it is no UTF-8 text\. Give a file"):
        read_boxes(tmp_path / "picture.jpg")
    with pytest.raises(InvalidInputError, match="'upright' or 'raw', got 'rotated'"):
        read_boxes(tmp_path / "none.jsonl", "rotated")  # type: ignore[arg-type]
