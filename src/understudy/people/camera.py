"""The camera of a view, projection, and the head's pose as the camera sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.people.body import Body
from understudy.people.fields import Floats, unit
from understudy.people.persona import View
from understudy.people.shape import Head

WORLD_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Camera:
    """A pinhole with a square picture; it looks along its own -z."""

    position: Floats  # (3,) m
    axes: Floats  # (3, 3), rows: right, up, backward
    field_of_view: float  # radians
    shift: tuple[float, float]  # of the frame to the right and up, shares of its side
    size_px: int

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """Pixels (N, 2), origin top left, and depths along the view (N,) in metres."""
        local = (points - self.position) @ self.axes.T
        depth = -local[:, 2]
        focal = 0.5 / np.tan(self.field_of_view / 2)
        x = 0.5 - self.shift[0] + focal * local[:, 0] / depth
        y = 0.5 + self.shift[1] - focal * local[:, 1] / depth
        return np.stack([x, y], axis=-1) * self.size_px, depth

    def matrix(self) -> Floats:
        """World from camera, (4, 4)."""
        world = np.eye(4)
        world[:3, :3] = self.axes.T
        world[:3, 3] = self.position
        return world


def aim(
    body: Body, head: Head, view: View, size_px: int, rng: np.random.Generator, fill: tuple[float, float]
) -> Camera:
    """A camera that sees the head at the view's angles.

    Parameters
    ----------
    fill : (low, high)
        Height of the head over the picture's side.
    """
    skull = head.vertices[(body.radius_m < 0.125) & (body.surface[:, 2] > 0.62)]
    center = 0.5 * skull.mean(axis=0) + 0.25 * (skull.max(axis=0) + skull.min(axis=0))
    height = float(skull[:, 2].max() - skull[:, 2].min())
    field_of_view = float(np.radians(rng.uniform(9, 26)))
    distance = height / rng.uniform(*fill) / 2 / np.tan(field_of_view / 2)
    yaw, pitch, roll = np.radians([view.yaw_deg, view.pitch_deg, view.roll_deg])
    toward = np.array([-np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    backward = head.to_world(toward)
    right = unit(np.cross(WORLD_UP, backward))
    up = np.cross(backward, right)
    axes = np.stack([np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right, backward])
    shift = (float(rng.normal(0, 0.02)), float(-0.03 + rng.normal(0, 0.02)))
    return Camera(center + distance * backward, axes, field_of_view, shift, size_px)


def head_pose_deg(head: Head, camera: Camera) -> tuple[float, float, float]:
    """Yaw, pitch and roll of the head against the camera, degrees.

    Yaw is positive where the face turns to the right of the picture, pitch where it looks up, roll where the top of
    the head leans to the right.
    """
    toward = head.rotation.T @ camera.axes[2]
    top = camera.axes @ head.rotation[:, 2]
    yaw = np.degrees(np.arctan2(-toward[0], -toward[1]))
    pitch = np.degrees(np.arcsin(np.clip(-toward[2], -1, 1)))
    return float(yaw), float(pitch), float(np.degrees(np.arctan2(top[0], top[1])))


def gaze_rotation(head: Head, camera: Camera, at_camera: bool, rng: np.random.Generator) -> Floats:
    """Rotation (3, 3) that takes an eye's -y to its gaze: at the camera where the lids allow it, or elsewhere."""
    wander = np.radians(rng.normal(0, 8, 2))
    front = np.array([np.sin(wander[0]), -1.0, 0.5 * np.sin(wander[1])])
    toward = head.rotation.T @ camera.axes[2]
    across, rise = np.degrees(np.arctan2(toward[0], -toward[1])), np.degrees(np.arcsin(toward[2]))
    if at_camera and abs(across) < 38 and abs(rise) < 18:
        front = toward + np.array([0.03, 0, 0.02]) * rng.normal(size=3)
    gaze = unit(head.to_world(front))
    side = unit(np.cross(head.rotation[:, 2], gaze))
    return np.stack([side, -gaze, np.cross(side, -gaze)], axis=1)
