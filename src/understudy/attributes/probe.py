"""The attribute probe: layers of a face detector, read out by a matrix that was fitted on renders alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.attributes.bins import AGE_CUTS_YEARS, GENDER_CUTS
from understudy.attributes.proportions import N_PROPORTIONS, proportions
from understudy.errors import ConfigError, MissingWeightsError
from understudy.geometry import crop_frame, cut_crop, face_shape
from understudy.runtime.onnx import CPU, open_session

PROBE = "understudy_probe"
"""Name of the weights in the registry."""
CONTEXT = 0.95
"""Side of the probe's window over the longer side of the face's region."""
NUMBERS = ("perceived_age", "perceived_gender_expression", "ita", "yaw", "pitch")
"""Years; 0 (masculine) to 1 (feminine); degrees, positive to the subject's left and upwards. The outputs' order."""
FLAGS = ("glasses", "beard")


@dataclass(frozen=True)
class ProbeReading:
    """What the probe says of one face. Scales are standard deviations, calibrated on held-out rendered heads.

    On photographs the probe is less sure than it says: see the model's card.
    """

    numbers: NDArray[np.float64]  # (5,) in the order of NUMBERS
    scales: NDArray[np.float64]  # (5,) in the same units
    expression: NDArray[np.float64]  # (4,) probabilities in the order of EXPRESSIONS
    flags: NDArray[np.float64]  # (2,) probabilities in the order of FLAGS

    def number(self, name: str) -> float:
        """One of ``NUMBERS`` by name."""
        return float(self.numbers[NUMBERS.index(name)])

    def age_groups(self) -> NDArray[np.float64]:
        """Probability of each of the five age groups."""
        return self._bins("perceived_age", AGE_CUTS_YEARS)

    def gender_expressions(self) -> NDArray[np.float64]:
        """Probability of each of the three bins of gender expression."""
        return self._bins("perceived_gender_expression", GENDER_CUTS)

    def _bins(self, name: str, cuts: Sequence[float]) -> NDArray[np.float64]:
        i = NUMBERS.index(name)
        return normal_bins(float(self.numbers[i]), float(self.scales[i]), cuts)


def normal_bins(mean: float, scale: float, cuts: Sequence[float]) -> NDArray[np.float64]:
    """Mass of a normal distribution in each interval between the cuts; the two outer ones are open.

    Parameters
    ----------
    mean, scale : float
        The scale is above 0.
    cuts : sequence of float
        Ascending.

    Returns
    -------
    (len(cuts) + 1,) float64
    """
    under = [0.5 * (1 + math.erf((cut - mean) / (scale * math.sqrt(2)))) for cut in cuts]
    return np.diff(np.array([0.0, *under, 1.0]))


class AttributeProbe:
    """The probe on onnxruntime; may be shared by threads.

    Parameters
    ----------
    weights : str
        Registry name, or path of an ONNX file of the same form.
    providers, n_threads
        As in ``open_session``.

    Raises
    ------
    ConfigError
        The weights are not on this machine, or are no probe.
    """

    def __init__(self, weights: str = PROBE, *, providers: Sequence[str] = (CPU,), n_threads: int = 1) -> None:
        try:
            self._path = registry.resolve(weights)
        except MissingWeightsError as error:
            raise ConfigError(
                f"the attribute probe cannot be loaded: {error}; or leave out what it reads: "
                "attributes.keep=[skin_tone,head_pose]"
            ) from error
        self._session = open_session(self._path, providers=providers, n_threads=n_threads)
        shapes = dict(zip(self._session.input_names, self._session.input_shapes, strict=True))
        outputs = ("numbers", "scales", "expression", "flags")
        if set(shapes) != {"crops", "proportions"} or self._session.output_names != outputs:
            raise ConfigError(
                f"{self._path} is no attribute probe: it must map 'crops' and 'proportions' to {outputs}, "
                f"got {sorted(shapes)} to {self._session.output_names}"
            )
        self.crop_size = int(shapes["crops"][1] or 0)

    def cut(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> NDArray[np.uint8]:
        """What the probe sees of a face: upright, grey where it leaves the view.

        Parameters
        ----------
        view : (H, W, 3) uint8 sRGB
        xyxy : (4,) px
        keypoints : (5, 2) px, in the order of ``FACE_KEYPOINTS``
        visibility : (5,), 0 = absent

        Returns
        -------
        (crop_size, crop_size, 3) uint8
        """
        frame = crop_frame(face_shape(xyxy, keypoints, visibility), self.crop_size, CONTEXT)
        return cut_crop(view, np.zeros(view.shape[:2], np.bool_), frame, self.crop_size).pixels

    def read(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> ProbeReading:
        """Reading of one face of a picture; see ``cut``."""
        shown = bool((np.asarray(visibility)[:5] > 0).all()) and len(visibility) >= 5
        shape = proportions(xyxy, keypoints) if shown else np.full(N_PROPORTIONS, np.nan)
        return self._read_one(self.cut(view, xyxy, keypoints, visibility), shape)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use."""
        return {self._path.name: registry.file_digest(self._path)}

    def _read_one(self, crop: NDArray[np.uint8], shape: NDArray[np.float64]) -> ProbeReading:
        """Mean over the crop and its mirror image, in which only the yaw has the other sign; no proportions: NaN."""
        both = np.ascontiguousarray(np.stack([crop, crop[:, ::-1]]))
        inputs = {"crops": both, "proportions": np.stack([shape, shape]).astype(np.float32)}
        numbers, scales, expression, flags = (np.asarray(v, np.float64) for v in self._session.run(inputs))
        numbers[1, NUMBERS.index("yaw")] *= -1
        if not all(np.isfinite(v).all() for v in (numbers, scales, expression, flags)):
            raise ConfigError(f"{self._path} gives values that are not finite: it is damaged or no attribute probe")
        return ProbeReading(numbers.mean(axis=0), scales.mean(axis=0), expression.mean(axis=0), flags.mean(axis=0))
