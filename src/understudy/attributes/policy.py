"""Which coarse attributes may travel from a person to the understudy, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.head_pose import estimate_yaw_deg, yaw_bin
from understudy.attributes.skin_tone import ita_bin, measure_ita
from understudy.errors import ConfigError
from understudy.types import Attributes

READABLE = ("skin_tone", "head_pose")
"""Attributes that this version can read; the others of ``Attributes`` wait for the attribute probe."""


class AttributePolicy:
    """Reads the attributes that the policy keeps, each as a bin of a small closed set, and nothing else.

    Parameters
    ----------
    keep : sequence of str
        Any of ``READABLE``; empty carries nothing.
    keypoints : bool
        Whether the five keypoints may travel too.

    Raises
    ------
    ConfigError
        For a name that is not in ``READABLE``.
    """

    def __init__(self, keep: Sequence[str] = READABLE, keypoints: bool = True) -> None:
        unknown = sorted(set(keep) - set(READABLE))
        if unknown:
            raise ConfigError(
                f"attributes.keep names {unknown}, which cannot be read yet: "
                f"choose from {list(READABLE)}, or [] for nothing"
            )
        self.keep = tuple(sorted(keep))
        self.keypoints = keypoints

    def read(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> Attributes:
        """Bins of one face.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        keypoints : (5, 2) px
        visibility : (5,), 0 = absent
        """
        skin_tone = head_pose = None
        if "skin_tone" in self.keep:
            ita = measure_ita(view, xyxy, keypoints, visibility)
            skin_tone = ita_bin(ita) if np.isfinite(ita) else None
        if "head_pose" in self.keep:
            yaw = estimate_yaw_deg(keypoints, visibility, xyxy)
            head_pose = None if yaw is None else yaw_bin(yaw)
        return Attributes(skin_tone=skin_tone, head_pose=head_pose)
