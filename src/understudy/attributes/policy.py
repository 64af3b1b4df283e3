"""Which coarse attributes may travel from a person to the understudy, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.bins import AGE_CUTS_YEARS
from understudy.attributes.head_pose import estimate_yaw_deg, yaw_bin
from understudy.attributes.probe import FLAGS, NUMBERS, PROBE, AttributeProbe, ProbeReading, normal_bins
from understudy.attributes.skin_tone import N_SKIN_TONES, measure_tone_deg, tone_bin
from understudy.errors import ConfigError, InvalidInputError
from understudy.types import Attributes

MEASURED = ("skin_tone", "head_pose")
"""Attributes that are measured on pixels and keypoints, without a network."""
PROBED = ("age_group", "expression", "perceived_gender_expression", *FLAGS)
"""Attributes that the attribute probe reads."""
READABLE = (*MEASURED, *PROBED)

AGE_SLOPE, AGE_OFFSET_YEARS = 1.17, -11.0
"""From the age that the probe reads of a photograph to what people say: fitted on renders, it takes children for young
adults and spreads grown-ups too little. Chosen on the even half of 251 portraits so that mean and spread agree."""


MIN_BEARD_PX = 32.0
"""Of a face whose box has a shorter side, no beard is carried: shadows look like one."""


class AttributePolicy:
    """Reads the attributes that the policy keeps, each as a bin of a small closed set, and nothing else.

    Parameters
    ----------
    keep : sequence of str
        Any of ``READABLE``; empty carries nothing.
    keypoints : bool
        Whether the five keypoints may travel too.
    probe : str
        Weights of the attribute probe, by registry name or path; loaded only where ``keep`` names one of ``PROBED``.
    min_probability : float
        A bin to which the probe gives less than this is not carried, in [0, 1].
    min_flag_probability : float
        The same for glasses and beard, of which one answer has half or more, in [0.5, 1].
    min_face_px : float
        Of a face whose box has a shorter side, the probe reads nothing.
    n_threads : int
        Threads of one operator of the probe.

    Raises
    ------
    ConfigError
        For a name that is not in ``READABLE``, and where the probe is needed and its weights are not there.
    """

    def __init__(
        self,
        keep: Sequence[str] = MEASURED,
        keypoints: bool = True,
        *,
        probe: str = PROBE,
        min_probability: float = 0.4,
        min_flag_probability: float = 0.6,
        min_face_px: float = 20.0,
        n_threads: int = 1,
    ) -> None:
        unknown = sorted(set(keep) - set(READABLE))
        if unknown:
            raise ConfigError(
                f"attributes.keep names {unknown}, which cannot be read: "
                f"choose from {list(READABLE)}, or [] for no attribute"
            )
        if not 0 <= min_probability <= 1:
            raise InvalidInputError(f"min_probability must lie in [0, 1], got {min_probability}")
        if not 0.5 <= min_flag_probability <= 1:
            raise InvalidInputError(f"min_flag_probability must lie in [0.5, 1], got {min_flag_probability}")
        self.keep = tuple(sorted(keep))
        self.keypoints = keypoints
        self.min_probability = min_probability
        self.min_flag_probability = min_flag_probability
        self.min_face_px = min_face_px
        self.probe = AttributeProbe(probe, n_threads=n_threads) if set(keep) & set(PROBED) else None

    def read(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> Attributes:
        """Bins of one face; None for what is not kept, cannot be read, or is too uncertain.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        keypoints : (5, 2) px
        visibility : (5,), 0 = absent
        """
        found: dict[str, int | None] = {}
        if "skin_tone" in self.keep:
            tone = measure_tone_deg(view, xyxy, keypoints, visibility)
            found["skin_tone"] = tone_bin(tone) if np.isfinite(tone) else None
        if "head_pose" in self.keep:
            yaw = estimate_yaw_deg(keypoints, visibility, xyxy)
            found["head_pose"] = None if yaw is None else yaw_bin(yaw)
        if self.probe is not None and min(xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]) >= self.min_face_px:
            likely = _likely(self.probe.read(view, xyxy, keypoints, visibility))
            found |= {name: self._likeliest(name, likely[name]) for name in PROBED if name in self.keep}
            if likely["age_group"].argmax() == 0 or min(xyxy[2] - xyxy[0], xyxy[3] - xyxy[1]) < MIN_BEARD_PX:
                found.pop("beard", None)  # a shadow on a child's chin, or on one of a few pixels
        return Attributes(**found)

    def mismatch(
        self,
        wanted: Attributes,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> float:
        """How far a face's own readings are from bins that are wanted: for each of them from 0 to 1, summed.

        Skin tone counts by how many bins it is off, what the probe reads by the probability that it gives to other
        bins; head pose is not judged, since it is given by the keypoints.

        Parameters
        ----------
        wanted : Attributes
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        keypoints : (5, 2) px
        visibility : (5,), 0 = absent
        """
        total = 0.0
        if wanted.skin_tone is not None:
            tone = measure_tone_deg(view, xyxy, keypoints, visibility)
            off = abs(tone_bin(tone) - wanted.skin_tone) if np.isfinite(tone) else N_SKIN_TONES - 1
            total += off / (N_SKIN_TONES - 1)
        if self.probe is not None:
            likely = _likely(self.probe.read(view, xyxy, keypoints, visibility))
            bins = {name: getattr(wanted, name) for name in PROBED}
            total += sum(1 - float(likely[name][index]) for name, index in bins.items() if index is not None)
        return total

    def digests(self) -> dict[str, str]:
        """SHA-256 of the probe's weights, where it is in use."""
        return {} if self.probe is None else self.probe.digests()

    def _likeliest(self, name: str, probabilities: NDArray[np.float64]) -> int | None:
        """The bin with the largest probability, unless that is too small."""
        best = int(probabilities.argmax())
        least = self.min_flag_probability if name in FLAGS else self.min_probability
        return best if probabilities[best] >= least else None


def _likely(reading: ProbeReading) -> dict[str, NDArray[np.float64]]:
    """Probability of every bin of every attribute that the probe reads."""
    return {
        "age_group": normal_bins(
            AGE_SLOPE * reading.number("perceived_age") + AGE_OFFSET_YEARS,
            AGE_SLOPE * float(reading.scales[NUMBERS.index("perceived_age")]),
            AGE_CUTS_YEARS,
        ),
        "expression": reading.expression,
        "perceived_gender_expression": reading.gender_expressions(),
        **{name: np.array([1 - share, share]) for name, share in zip(FLAGS, reading.flags, strict=True)},
    }
