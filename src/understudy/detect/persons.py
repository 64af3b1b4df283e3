"""Faces and bodies of one picture, joined into persons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from understudy.detect.base import Detector, digests_of, require_view
from understudy.detect.overlap import box_area, intersection
from understudy.types import BODY_KEYPOINTS, FACE_KEYPOINTS, Detections, Kind, Silhouette

LEAST_INSIDE = 0.6
"""Share of a face's box that must lie in the body's box."""
CLOSE_UP = 0.3
"""Least side of a face over that of a body's box in which detectors see one person twice, in part and as a whole."""
SAME_PERSON = 0.6
"""Share of the smaller of two such boxes that lies in the other."""
LARGEST_FACE = 0.9
"""Longest side of a face over that of its body's box: a body of which little but the head is seen is still one."""

AROUND = 0.3
"""Share of the smaller of a face's and a body's box that lies in the other: such a body is around such a face."""
INNER = 0.8
"""Share of a face's width and height in which no other face has its middle."""
LARGER_HEAD = 2.0
"""Size of a face over that of another, from which on one of both is none."""


class Persons:
    """People, with the faces that are theirs.

    A face and a body of one person get one ``subject_id``. A body without a face (seen from behind) counts, and so does
    a face without a body.

    Parameters
    ----------
    bodies : Detector
        Finds bodies.
    faces : Detector, optional
        Finds faces; left out where bodies alone are wanted.
    """

    def __init__(self, bodies: Detector, faces: Detector | None = None) -> None:
        self.bodies = bodies
        self.faces = faces
        self.name = bodies.name if faces is None else f"{bodies.name}, {faces.name}"
        self.families = bodies.families | (frozenset() if faces is None else faces.families)

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Find people in a view (H, W, 3) of any size: all bodies in their order, then all faces in theirs."""
        require_view(view)
        bodies = self.bodies(view)
        return bodies if self.faces is None else join(self.faces(view), bodies)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the weights that both detectors tell of, by their names in the registry."""
        return digests_of([self.bodies] if self.faces is None else [self.bodies, self.faces])


def join(faces: Detections, bodies: Detections) -> Detections:
    """One set of detections, bodies first, in which a face has the ``subject_id`` of its body.

    Pairs are taken greedily, the best first: the face lies in the body's box, near its top and its middle (the top does
    not matter where the body lies down or the box is cut), and each belongs to one pair at most. Faces that are left
    over are subjects of their own. Two bodies around one large face are one person.
    """
    bodies = without_doubles(faces.xyxy, bodies)
    owner = match(faces.xyxy, bodies.xyxy)
    n_bodies, n_faces = len(bodies), len(faces)
    own = n_bodies + np.arange(n_faces)
    k = len(BODY_KEYPOINTS)
    points, shown = np.zeros((n_bodies + n_faces, k, 2), np.float32), np.zeros((n_bodies + n_faces, k), np.float32)
    for rows, part in ((slice(0, n_bodies), bodies), (slice(n_bodies, None), faces)):
        points[rows, : part.keypoints.shape[1]] = part.keypoints
        shown[rows, : part.keypoints.shape[1]] = part.visibility
    return Detections(
        xyxy=np.concatenate([bodies.xyxy, faces.xyxy]),
        confidence=np.concatenate([bodies.confidence, faces.confidence]),
        kind=(Kind.BODY,) * n_bodies + (Kind.FACE,) * n_faces,
        keypoints=points,
        visibility=shown,
        subject_id=np.concatenate([np.arange(n_bodies), np.where(owner >= 0, owner, own)]).astype(np.int64),
        silhouettes=(*bodies.silhouettes, *(None,) * n_faces) if bodies.silhouettes else (),
    )


def without_doubles(faces: NDArray[np.float32], bodies: Detections) -> Detections:
    """Bodies in which a close-up is one body: of two boxes around one large face, one that holds both.

    Nothing is lost: all that any of them holds is erased.
    """
    owner = match(faces, bodies.xyxy)
    boxes, masks, dropped = bodies.xyxy.copy(), list(bodies.silhouettes), set()
    for face, body in enumerate(owner.tolist()):
        for other in range(len(bodies)) if body >= 0 else ():
            if other == body or other in owner or other in dropped:
                continue
            pair = boxes[[body, other]]
            shared = intersection(pair[:1], pair[1:])[0, 0] / max(float(box_area(pair).min()), 1e-9)
            side = float((faces[face, 2:] - faces[face, :2]).max())
            inside = intersection(faces[face : face + 1], pair[1:])[0, 0] / box_area(faces[face : face + 1])[0]
            smaller = float((pair[:, 2:] - pair[:, :2]).max(axis=1).min())
            if shared > SAME_PERSON and inside > LEAST_INSIDE and side > CLOSE_UP * smaller:
                dropped.add(other)
                boxes[body] = [*pair[:, :2].min(axis=0), *pair[:, 2:].max(axis=0)]
                if masks and (masks[body] or masks[other]):
                    masks[body] = both(masks[body] or _whole(pair[0]), masks[other] or _whole(pair[1]))
    kept = np.array([i for i in range(len(bodies)) if i not in dropped], np.int64)
    if len(kept) == len(bodies):
        return bodies
    return take(replace(bodies, xyxy=boxes, silhouettes=tuple(masks)), kept)


def _whole(box: NDArray[np.float32]) -> Silhouette:
    """All of a box."""
    x0, y0, x1, y1 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    return Silhouette((x0, y0, x1, y1), np.ones((y1 - y0, x1 - x0), np.bool_))


def both(a: Silhouette, b: Silhouette) -> Silhouette:
    """What either of two silhouettes covers."""
    x0, y0 = min(a.window[0], b.window[0]), min(a.window[1], b.window[1])
    x1, y1 = max(a.window[2], b.window[2]), max(a.window[3], b.window[3])
    mask = np.zeros((y1 - y0, x1 - x0), np.bool_)
    for part in (a, b):
        left, top, right, bottom = part.window
        mask[top - y0 : bottom - y0, left - x0 : right - x0] |= part.mask
    return Silhouette((x0, y0, x1, y1), mask)


def match(faces: NDArray[np.float32], bodies: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each face (N, 4) px the body (M, 4) px that it belongs to, or -1."""
    owner = np.full(len(faces), -1, np.int64)
    if len(faces) == 0 or len(bodies) == 0:
        return owner
    score = fit(faces, bodies)
    pairs = np.argwhere(score > 0)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -score[pairs[:, 0], pairs[:, 1]]))
    taken: set[int] = set()
    for face, body in pairs[order].tolist():
        if owner[face] < 0 and body not in taken:
            owner[face] = body
            taken.add(body)
    return owner


def fit(faces: NDArray[np.float32], bodies: NDArray[np.float32]) -> NDArray[np.float64]:
    """How well each face (N, 4) lies where the head of each body (M, 4) is expected, (N, M); 0: not at all."""
    inside = intersection(faces, bodies) / box_area(faces)[:, None].clip(1e-9)
    size = (bodies[:, 2:] - bodies[:, :2]).astype(np.float64).clip(1e-9)  # (M, 2) width, height
    centre = (faces[:, :2] + faces[:, 2:]) / 2
    across = np.abs((centre[:, None, 0] - bodies[None, :, 0]) / size[None, :, 0] - 0.5)  # (N, M), 0 = in the middle
    down = np.clip((centre[:, None, 1] - bodies[None, :, 1]) / size[None, :, 1], 0, 1)  # 0 = at the top
    upright = size[None, :, 1] >= size[None, :, 0]
    face_side = (faces[:, 2:] - faces[:, :2]).max(axis=1)[:, None]
    relative = face_side / size.max(axis=1)[None, :]
    placed = np.where(upright, np.exp(-((across / 0.35) ** 2) - (down / 0.4) ** 2), np.exp(-((down / 0.8) ** 2)))
    usual = np.exp(-(np.log(relative.clip(1e-6) / 0.17) ** 2) / 2)  # a head is about a seventh of a standing person
    possible = (inside >= LEAST_INSIDE) & (relative <= LARGEST_FACE) & (~upright | (down <= 0.75))
    return np.where(possible, inside * placed * usual, 0.0)


def too_large(
    faces: NDArray[np.float32], others: NDArray[np.float32], bodies: NDArray[np.float32], heads: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether faces that belong to no body are absurdly large against the people around them.

    A head holds no other head, and is neither twice as large as the heads of the people whom it meets nor larger than
    they are. A real face (in front, of somebody whose body nobody found) may be filled for it; it is never left out.

    Parameters
    ----------
    faces : (N, 4) px
        Of nobody's body.
    others : (M, 4) px
        Faces of the bodies.
    bodies : (K, 4) px
    heads : (K,) px
        Longer side of each body's own face; 0 where it has none.

    Returns
    -------
    (N,) bool
    """
    side = (faces[:, 2:] - faces[:, :2]).max(axis=1, initial=0)
    middle = (others[:, :2] + others[:, 2:]) / 2
    inner = (faces[:, None, 2:] - faces[:, None, :2]) * (1 - INNER) / 2
    within = (middle > faces[:, None, :2] + inner) & (middle < faces[:, None, 2:] - inner)
    smaller = (others[:, 2:] - others[:, :2]).max(axis=1, initial=0)[None, :] < side[:, None] / LARGER_HEAD
    holds = (within.all(axis=2) & smaller).any(axis=1)
    area = np.minimum(box_area(faces)[:, None], box_area(bodies)[None, :]).clip(1e-9)
    around = intersection(faces, bodies) / area > AROUND  # (N, K)
    own = np.where(
        heads > 0, LARGER_HEAD * heads, LARGEST_FACE * (bodies[:, 2:] - bodies[:, :2]).max(axis=1, initial=0)
    )
    limit = np.where(around, own[None, :], 0).max(axis=1, initial=0)
    return np.asarray(holds | (around.any(axis=1) & (side > limit)))


def only(found: Detections, kind: Kind) -> Detections:
    """The detections of one kind, each a subject of its own, with as many keypoints as the kind has."""
    part = take(found, np.array([i for i, entry in enumerate(found.kind) if entry is kind], np.int64))
    n = len(FACE_KEYPOINTS if kind is Kind.FACE else BODY_KEYPOINTS)
    return replace(part, keypoints=part.keypoints[:, :n].copy(), visibility=part.visibility[:, :n].copy())


def take(found: Detections, index: NDArray[np.int64]) -> Detections:
    """Some of the detections, each a subject of its own."""
    return replace(
        found,
        xyxy=found.xyxy[index],
        confidence=found.confidence[index],
        kind=tuple(found.kind[i] for i in index),
        keypoints=found.keypoints[index],
        visibility=found.visibility[index],
        subject_id=np.arange(len(index), dtype=np.int64),
        silhouettes=tuple(found.silhouettes[i] for i in index) if found.silhouettes else (),
    )
