"""The 5 and 68 keypoints as vertices of the template, and where they show in a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.people.body import Body
from understudy.people.camera import Camera
from understudy.people.fields import Floats
from understudy.people.shape import Head

Ints = NDArray[np.int64]

JAW_YZ = (
    (-0.074, 0.722), (-0.075, 0.701), (-0.075, 0.681), (-0.077, 0.661), (-0.084, 0.643), (-0.099, 0.630),
    (-0.117, 0.623),
)  # fmt: skip
"""Of the left contour from the ear down: depth and height; x is the skin's widest there."""
CHIN_XZ = ((0.018, 0.6215), (0.0, 0.6195))
BROW_XZ = ((0.012, 0.7435), (0.022, 0.7475), (0.032, 0.7495), (0.042, 0.7485), (0.052, 0.7425))
BRIDGE_Z = (0.729, 0.718, 0.706)
NOSTRIL_XZ = ((0.0145, 0.6865), (0.0075, 0.6835), (0.0, 0.6825))
OUTER_LIP_X = (0.016, 0.0065, 0.0)
LOWER_LIP_X = (0.016, 0.008, 0.0)
INNER_LIP_X = (0.009, 0.0)
LID_X = (0.026, 0.0365)
TOLERANCE_M = 0.004
"""How far behind what is seen at its place a keypoint may lie and still count as seen."""
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)


def _front(body: Body, x: float, z: float) -> int:
    """The foremost vertex of the skin near (x, z)."""
    away = np.hypot(body.surface[:, 0] - x, body.surface[:, 2] - z)
    near = np.where((away < 0.0022) & (body.regions["inside_mouth"] < 0.5))[0]
    return int(near[np.argmin(body.surface[near, 1] + away[near])])


def _widest(body: Body, y: float, z: float) -> int:
    """The outermost vertex of the left half near (y, z), off the ear."""
    away = np.hypot(body.surface[:, 1] - y, body.surface[:, 2] - z)
    bare = (body.regions["ears"] < 0.5) & (body.regions["inside_mouth"] < 0.5) & (body.surface[:, 0] > 0.02)
    return int(np.argmin(np.where(bare, away - 0.3 * body.surface[:, 0], np.inf)))


def _rims(body: Body, moved: Floats, chosen: NDArray[np.bool_], x: float) -> tuple[int, int]:
    """The vertices over and under the widest gap in height near x, among ``chosen``: rims of lids or lips."""
    column = np.where(chosen & (np.abs(body.surface[:, 0] - x) < 0.0014))[0]
    order = column[np.argsort(moved[column, 2])]
    gap = int(np.argmax(np.diff(moved[order, 2])))
    return int(order[gap + 1]), int(order[gap])


def _mouth(body: Body) -> tuple[list[int], list[int], list[int], list[int], int, int]:
    """Left half: outer upper, outer lower, inner upper, inner lower, outer corner, inner corner."""
    opened = (
        body.subdivide
        @ (body.template + body.targets[body.index["facial_action:jawOpen"]].reshape(-1, 3))[body.surface_vertices]
    )
    lips = (body.regions["lips"] > 0.45) & (body.surface[:, 1] < -0.125)
    x, _, z = body.surface.T
    seen = lips & (body.regions["inside_mouth"] < 0.5)

    def edge(at: float, upper: bool) -> int:
        column = np.where(seen & (np.abs(x - at) < 0.0014))[0]
        return int(column[np.argmax(z[column]) if upper else np.argmin(z[column])])

    inner = [_rims(body, opened, lips, at) for at in INNER_LIP_X]
    left = np.where(seen & (x > 0))[0]
    corner = int(left[np.argmax(x[left])])
    inner_corner = _front(body, float(x[corner]) - 0.003, float(z[corner]))
    return (
        [edge(at, True) for at in OUTER_LIP_X],
        [edge(at, False) for at in LOWER_LIP_X],
        [pair[0] for pair in inner],
        [pair[1] for pair in inner],
        corner,
        inner_corner,
    )


def _eye(body: Body) -> tuple[int, int, list[int], list[int]]:
    """Left eye: inner corner, outer corner, upper and lower rim from the inner side."""
    ball = body.template[body.group_vertices("helper-l-eye")]
    center = (ball.max(axis=0) + ball.min(axis=0)) / 2
    radius = np.linalg.norm(ball - center, axis=1).mean()
    rel = body.surface - center
    lid = (body.regions["eyelids"] > 0.2) & (np.abs(np.linalg.norm(rel, axis=1) - radius) < 0.0016)
    lid &= -rel[:, 1] > 0.2 * radius
    rims = [_rims(body, body.surface, lid, at) for at in LID_X]
    corners = np.where(lid & (np.abs(rel[:, 2]) < 0.004))[0]
    inner = int(corners[np.argmin(body.surface[corners, 0])])
    outer = int(corners[np.argmax(body.surface[corners, 0])])
    return inner, outer, [pair[0] for pair in rims], [pair[1] for pair in rims]


def landmark_vertices(body: Body) -> Ints:
    """Vertices (68,) of the iBUG 300-W keypoints: the subject's right comes first.

    Sagonas et al. 2013, doi:10.1109/ICCVW.2013.59.
    """
    from scipy.spatial import cKDTree

    tree = cKDTree(body.surface)

    def mirror(indices: list[int]) -> list[int]:
        return [int(i) for i in tree.query(body.surface[indices] * np.array([-1, 1, 1]))[1]]

    jaw = [_widest(body, y, z) for y, z in JAW_YZ] + [_front(body, *CHIN_XZ[0])]
    brow = [_front(body, x, z) for x, z in BROW_XZ]
    tip = np.where((np.abs(body.surface[:, 0]) < 0.001) & (np.abs(body.surface[:, 2] - 0.695) < 0.015))[0]
    nose = [*(_front(body, 0.0, z) for z in BRIDGE_Z), int(tip[np.argmin(body.surface[tip, 1])])]
    wing = [_front(body, x, z) for x, z in NOSTRIL_XZ]
    inner, outer, upper_lid, lower_lid = _eye(body)
    upper, lower, inner_upper, inner_lower, corner, inner_corner = _mouth(body)
    left_eye = [inner, *upper_lid, outer, *lower_lid[::-1]]
    right_eye = mirror([outer, *upper_lid[::-1], inner, *lower_lid])
    return np.array(
        [
            *mirror(jaw), _front(body, *CHIN_XZ[1]), *jaw[::-1],
            *mirror(brow[::-1]), *brow,
            *nose,
            *mirror(wing[:2]), wing[2], *wing[1::-1],
            *right_eye, *left_eye,
            *mirror([corner, *upper[:2]]), upper[2], *upper[1::-1], corner,
            *lower[:2], lower[2], *mirror(lower[1::-1]),
            *mirror([inner_corner, inner_upper[0]]), inner_upper[1], inner_upper[0], inner_corner,
            inner_lower[0], inner_lower[1], *mirror([inner_lower[0]]),
        ],
        np.int64,
    )  # fmt: skip


def five_from_68(points: Floats) -> Floats:
    """Eyes, nose tip and mouth corners (5, ...) of the 68; the subject's right eye first."""
    return np.stack([points[RIGHT_EYE].mean(axis=0), points[LEFT_EYE].mean(axis=0), points[30], points[48], points[54]])


def seen_points(points: Floats, depth_m: Floats, depth: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which points (K, 2) px at depths (K,) lie in the picture and no deeper than the depth map (H, W) there.

    The deepest of the 3 x 3 pixels around counts, since contours sit on the edge of what is behind.
    """
    height, width = depth.shape
    column, row = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    seen = np.zeros(len(points), bool)
    for i in np.where(inside)[0]:
        window = depth[max(row[i] - 1, 0) : row[i] + 2, max(column[i] - 1, 0) : column[i] + 2]
        seen[i] = depth_m[i] <= window.max() + TOLERANCE_M
    return seen


def project_landmarks(head: Head, camera: Camera, vertices: Ints) -> tuple[Floats, Floats]:
    """Pixels (68, 2) and depths (68,) of the keypoints; eyes lie on the ball, which the lids cover by a millimetre."""
    return camera.project(head.vertices[vertices])
