"""Linear read-outs of dlib's face recognition network: the audit's default estimators of what people perceive.

Fitted by ridge regression on renders alone (``scripts/fit_readouts.py``); the attribute policy does not use them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy import weights as registry
from understudy.attributes.bins import (
    AGE_GROUPS,
    EXPRESSIONS,
    GENDER_EXPRESSIONS,
    age_group,
    gender_expression_group,
)
from understudy.attributes.skin_tone import measure_face_lab, tone_deg
from understudy.audit.estimators import NOT_READ, Reading
from understudy.embed.dlib_chip import aligned_chip, is_frontal
from understudy.embed.dlib_features import DlibFeatures
from understudy.errors import ConfigError
from understudy.runtime.onnx import open_session

READOUTS = "understudy_readouts"
"""Name of the weights in the registry."""
COLUMNS = ("age", "femininity", "darkness", "smile", "glasses", "beard", *EXPRESSIONS)
"""What the columns of the network's output are: years, 0 to 1 for the others."""
INPUTS = ("fine", "middle", "coarse", "last", "tone")
"""Layers of dlib's network (``FaceFeatures``), and a measured colour (``colour_angle``)."""
NO_YES = ("no", "yes")
READ_PIVOT = 20.0


class ReadoutEstimator:
    """Perceived age, gender expression, skin darkness, smile, expression, glasses and beard, by linear read-outs.

    ``perceived_darkness`` is read from the form of a face and from the colour of its skin together: a face that is
    painted lighter reads lighter, by less than ``ita`` moves (see docs/how-to/audit.md). The colour is measured on the
    pixels of the audit's ``ita``, along an angle of its own (``colour_angle``); the policy's tone lies on most of the
    same pixels.

    Faces under ``min_face_px``, turned by more than about 55 degrees, or without keypoints are not read.

    Parameters
    ----------
    weights : str
        Registry name, or path of an ONNX file of the same form.
    min_face_px : float
        Of the shorter side of the box.
    n_threads : int
        As in ``open_session``.

    Raises
    ------
    ConfigError
        The weights are of another form.
    MissingExtraError
        dlib's network is not on this machine.
    """

    name = "readouts"
    used_by_policy = False

    def __init__(self, weights: str = READOUTS, *, min_face_px: float = 32.0, n_threads: int = 1) -> None:
        self.min_face_px = min_face_px
        self._path = registry.resolve(weights)
        self._session = open_session(self._path)
        if set(self._session.input_names) != set(INPUTS):
            raise ConfigError(f"{self._path} holds no read-outs: its inputs are {self._session.input_names}")
        self._features = DlibFeatures(n_threads=n_threads)

    def read(
        self,
        views: Sequence[NDArray[np.uint8]],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,  # noqa: ARG002 - inner layers say more than the embedding
    ) -> tuple[Reading, ...]:
        """Numbers: ``perceived_age`` (years), ``perceived_femininity``, ``perceived_darkness`` and ``smile`` (0 to 1).

        Categories: ``age_group``, ``perceived_gender_expression``, ``expression``, ``glasses``, ``beard``.
        See ``Estimator.read``.
        """
        values = np.full((len(views), len(COLUMNS)), np.nan)
        for i, face in enumerate(zip(views, xyxy, keypoints, visibility, strict=True)):
            if self._readable(*face[1:]):
                values[i] = self._read_one(*face)
        age, *shares = values[:, :6].T
        age = age.clip(0, 100)
        femininity, darkness, smile, glasses, beard = (share.clip(0, 1) for share in shares)
        expressions = np.where(np.isfinite(values[:, 0]), values[:, 6:].argmax(axis=1), NOT_READ)
        return (
            Reading.numbers("perceived_age", "years", age),
            Reading.numbers("perceived_femininity", "0 to 1", femininity),
            Reading.numbers("perceived_darkness", "0 to 1", darkness),
            Reading.numbers("smile", "0 to 1", smile),
            Reading.codes("age_group", AGE_GROUPS, [age_group(v) if np.isfinite(v) else NOT_READ for v in age]),
            Reading.codes(
                "perceived_gender_expression",
                GENDER_EXPRESSIONS,
                [gender_expression_group(v) if np.isfinite(v) else NOT_READ for v in femininity],
            ),
            Reading.codes("expression", EXPRESSIONS, expressions),
            Reading.codes("glasses", NO_YES, _yes(glasses)),
            Reading.codes("beard", NO_YES, _yes(beard)),
        )

    def digests(self) -> dict[str, str]:
        """SHA-256 of the read-outs in use."""
        return {self._path.name: registry.file_digest(self._path)}

    def _readable(
        self, xyxy: NDArray[np.floating], keypoints: NDArray[np.floating], visibility: NDArray[np.floating]
    ) -> bool:
        side = min(float(xyxy[2] - xyxy[0]), float(xyxy[3] - xyxy[1]))
        return side >= self.min_face_px and is_frontal(keypoints, visibility)

    def _read_one(
        self,
        view: NDArray[np.uint8],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
    ) -> NDArray[np.float64]:
        """One row, in the order of ``COLUMNS``."""
        features = self._features(aligned_chip(view, keypoints, visibility)[None])
        tone = colour_angle(view, xyxy, keypoints, visibility)
        inputs = {name: getattr(features, name) for name in INPUTS[:-1]} | {"tone": np.array([[tone]], np.float32)}
        return np.asarray(self._session.run(inputs)[0][0], np.float64)


def colour_angle(
    view: NDArray[np.uint8],
    xyxy: NDArray[np.floating],
    keypoints: NDArray[np.floating],
    visibility: NDArray[np.floating],
) -> float:
    """Angle of a face's skin seen from a lightness of 20, arctan((L* - 20) / b*) in degrees; large is light skin.

    ITA looks from 50, so that a dark face in the sun has that of a light one. A b* under 12 counts as 12. The
    parameters and the pixels are those of ``measure_face_lab``; NaN where too little skin lies inside the picture.
    """
    lightness, _, b = measure_face_lab(view, xyxy, keypoints, visibility)
    return tone_deg(float(lightness), float(b), READ_PIVOT)


def _yes(share: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 over a half, 0 otherwise, -1 where there is no reading."""
    return np.where(np.isfinite(share), (share > 0.5).astype(np.int64), NOT_READ)
