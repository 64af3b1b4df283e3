"""The user's own boxes, and the lines in which detections are written: one JSON object for each picture.

    {"image_id": "a/b.jpg", "width": 640, "height": 480,
     "faces": [{"xyxy": [x0, y0, x1, y1], "confidence": 0.9, "keypoints": [[x, y], null, ...]}]}

``width``, ``height``, ``confidence`` and ``keypoints`` may be left out. Where people were looked for, a line also has

    "bodies": [{"xyxy": [...], "confidence": 0.8}], "people": [{"subject": 0, "body": 0, "face": 0}]

with the place of a person's body and face in ``bodies`` and ``faces``, null where none was found. Only faces are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import N_KEYPOINTS, Found
from understudy.errors import InvalidInputError
from understudy.types import BODY_KEYPOINTS, FACE_KEYPOINTS, Detections, Kind

Frame = Literal["upright", "raw"]
Target = Literal["face", "body", "both"]


@dataclass(frozen=True)
class UserBoxes:
    """Boxes by picture, from a file of JSON lines.

    ``frame`` says whether the numbers are pixels of the upright picture or of the unrotated one, as it is stored
    before the EXIF orientation is applied.
    """

    source: str
    frame: Frame
    found: Mapping[str, Found]

    def detections(self, image_id: str, *, height: int, width: int, orientation: int = 1) -> Detections | None:
        """A picture's boxes in upright pixels, or None where the file has no line for it.

        Parameters
        ----------
        image_id : str
            Relative POSIX path of the picture.
        height, width : int
            Size of the upright picture.
        orientation : int
            EXIF orientation of the file, 1 to 8; matters in the raw frame only.

        Raises
        ------
        InvalidInputError
            A box lies outside the picture.
        """
        found = self.found.get(image_id)
        if found is None:
            return None
        if self.frame == "raw":
            found = upright(found, orientation, height=height, width=width)
        clipped = found.clipped(height, width)
        if len(clipped) < len(found):
            raise InvalidInputError(
                f"{self.source}: {len(found) - len(clipped)} of {len(found)} boxes of {image_id} lie outside its "
                f"{width}x{height} px ({self.frame} frame)"
            )
        return clipped.detections()

    def without_line(self, image_ids: Iterable[str]) -> tuple[str, ...]:
        """Pictures that the file does not mention."""
        return tuple(image_id for image_id in image_ids if image_id not in self.found)


def read_boxes(path: Path, frame: Frame = "upright") -> UserBoxes:
    """Read a file of JSON lines.

    Raises
    ------
    InvalidInputError
        The file cannot be read, a line is no such object, or two lines are about one picture; with the line's number.
    """
    if frame not in ("upright", "raw"):
        raise InvalidInputError(f"boxes_frame must be 'upright' or 'raw', got {frame!r}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InvalidInputError(
            f"boxes={str(path)!r} cannot be read: {why}. Give a file of JSON lines, "
            "as `understudy detect output=FILE.jsonl` writes it, or leave boxes out"
        ) from error
    found: dict[str, Found] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            image_id, faces = _line(json.loads(line))
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise InvalidInputError(f"{path}, line {number}: {error}") from error
        if image_id in found:
            raise InvalidInputError(f"{path}, line {number}: a second line for {image_id}")
        found[image_id] = faces
    return UserBoxes(str(path), frame, found)


def detection_line(image_id: str, detections: Detections, *, height: int, width: int, target: Target = "face") -> str:
    """One line of what was found in a picture, as ``read_boxes`` reads it where faces were looked for.

    Parameters
    ----------
    image_id : str
    detections : Detections
    height, width : int
        Size of the upright picture.
    target : "face", "body" or "both"
        Who was looked for. Without faces the line has no ``faces``, so that nobody takes it for "no face is there".
    """
    line: dict[str, object] = {"image_id": image_id, "width": width, "height": height}
    where = {kind: [i for i, entry in enumerate(detections.kind) if entry is kind] for kind in Kind}
    if target != "body":
        line["faces"] = [_entry(detections, i) for i in where[Kind.FACE]]
    if target != "face":
        line["bodies"] = [_entry(detections, i) for i in where[Kind.BODY]]
        line["people"] = _people(detections, where)
    return json.dumps(line, ensure_ascii=False)


def _entry(detections: Detections, i: int) -> dict[str, object]:
    """Box, confidence and keypoints of detection i; a body without a pose has no keypoints of its own."""
    n = len(FACE_KEYPOINTS if detections.kind[i] is Kind.FACE else BODY_KEYPOINTS)
    points = [
        [round(float(x), 2), round(float(y), 2)] if shown > 0 else None
        for (x, y), shown in zip(detections.keypoints[i, :n], detections.visibility[i, :n], strict=True)
    ]
    entry: dict[str, object] = {
        "xyxy": [round(float(v), 2) for v in detections.xyxy[i]],
        "confidence": round(float(detections.confidence[i]), 4),
        "kind": str(detections.kind[i]),
    }
    return entry if detections.kind[i] is Kind.BODY and not any(points) else {**entry, "keypoints": points}


def _people(detections: Detections, where: Mapping[Kind, list[int]]) -> list[dict[str, int | None]]:
    """Each person with the places of body and face in the line's lists."""
    people: dict[int, dict[str, int | None]] = {}
    for kind in (Kind.BODY, Kind.FACE):
        for place, i in enumerate(where[kind]):
            subject = int(detections.subject_id[i])
            people.setdefault(subject, {"subject": subject, "body": None, "face": None})[str(kind)] = place
    return [people[subject] for subject in sorted(people)]


def _line(value: object) -> tuple[str, Found]:
    """Picture and boxes of one parsed line; ValueError, TypeError or KeyError where it is none."""
    if not isinstance(value, dict) or not isinstance(value.get("image_id"), str):
        raise ValueError('expected an object with "image_id" and "faces"')
    faces = value.get("faces")
    if not isinstance(faces, list):
        raise ValueError(f'"faces" must be a list, got {faces!r} (`understudy detect target=body` looks for no faces)')
    parts = [_face(face) for face in faces]
    return value["image_id"], Found.concatenate(parts)


def _face(face: object) -> Found:
    """One box; ValueError where it is none."""
    if not isinstance(face, dict) or not isinstance(face.get("xyxy"), list) or len(face["xyxy"]) != 4:
        raise ValueError(f'a face must be an object with "xyxy": [x0, y0, x1, y1], got {face!r}')
    x0, y0, x1, y1 = (float(v) for v in face["xyxy"])
    if not all(math.isfinite(v) for v in (x0, y0, x1, y1)) or x1 <= x0 or y1 <= y0:
        raise ValueError(f"a box must have x1 > x0 and y1 > y0, got {face['xyxy']}")
    confidence = float(face.get("confidence", 1.0))
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence must lie in [0, 1], got {confidence}")
    points = face.get("keypoints") or [None] * N_KEYPOINTS
    if len(points) != N_KEYPOINTS:
        raise ValueError(f"keypoints must be {N_KEYPOINTS} of [x, y] or null, got {len(points)}")
    pairs = [[math.nan, math.nan] if p is None else [float(p[0]), float(p[1])] for p in points]
    return Found(
        np.array([[x0, y0, x1, y1]], np.float32), np.array([confidence], np.float32), np.array([pairs], np.float32)
    )


def upright(found: Found, orientation: int, *, height: int, width: int) -> Found:
    """Finds in pixels of the stored picture, in those of the upright one.

    Parameters
    ----------
    found : Found
    orientation : int
        EXIF orientation, 1 to 8.
    height, width : int
        Size of the upright picture.

    Raises
    ------
    InvalidInputError
        No such orientation.
    """
    if orientation not in _UPRIGHT_FROM_RAW:
        raise InvalidInputError(f"EXIF orientation must be 1 to 8, got {orientation}")
    xx, xy, yx, yy = _UPRIGHT_FROM_RAW[orientation]
    linear = np.array([[xx, xy], [yx, yy]], np.float32)
    shift = np.array([width * (xx + xy < 0), height * (yx + yy < 0)], np.float32)

    def move(points: NDArray[np.float32]) -> NDArray[np.float32]:
        return (points @ linear.T + shift).astype(np.float32)

    a, b = move(found.xyxy[:, :2]), move(found.xyxy[:, 2:])
    boxes = np.concatenate([np.minimum(a, b), np.maximum(a, b)], axis=1)
    return Found(boxes, found.confidence, move(found.keypoints))


_UPRIGHT_FROM_RAW = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, -1, 1, 0),
    7: (0, -1, -1, 0),
    8: (0, 1, -1, 0),
}
"""How upright x and y follow from raw x and y: (x from x, x from y, y from x, y from y), before the shift."""
