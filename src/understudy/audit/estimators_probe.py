"""The attribute probe as an estimator of the audit: for comparison, since the policy reads with it too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.attributes.bins import (
    AGE_GROUPS,
    EXPRESSIONS,
    GENDER_EXPRESSIONS,
    age_group,
    gender_expression_group,
)
from understudy.attributes.probe import FLAGS, NUMBERS, PROBE, AttributeProbe
from understudy.audit.estimators import Reading

UNITS = {"perceived_age": "years", "perceived_gender_expression": "0 to 1", "ita": "deg", "yaw": "deg", "pitch": "deg"}
ABSENT_OR_THERE = ("no", "yes")


class ProbeEstimator:
    """Perceived attributes as the attribute probe reads them.

    Where a policy carried what the same network read, agreement of source and output is in part the network agreeing
    with itself; so this is no default.

    Parameters
    ----------
    weights, n_threads
        As in ``AttributeProbe``.
    """

    name = "probe"
    used_by_policy = True

    def __init__(self, weights: str = PROBE, *, n_threads: int = 1) -> None:
        self.probe = AttributeProbe(weights, n_threads=n_threads)

    def read(
        self,
        views: Sequence[NDArray[np.uint8]],
        xyxy: NDArray[np.floating],
        keypoints: NDArray[np.floating],
        visibility: NDArray[np.floating],
        embeddings: NDArray[np.floating] | None = None,  # noqa: ARG002 - the protocol's
    ) -> tuple[Reading, ...]:
        """The five numbers, age group, gender expression, expression, glasses and beard, each called ``probe_...``."""
        found = [self.probe.read(*face) for face in zip(views, xyxy, keypoints, visibility, strict=True)]
        numbers = np.array([reading.numbers for reading in found]).reshape(len(found), len(NUMBERS))
        flags = np.array([reading.flags for reading in found]).reshape(len(found), len(FLAGS))
        age, gender = numbers[:, NUMBERS.index("perceived_age")], numbers[:, NUMBERS.index(NUMBERS[1])]
        readings = [Reading.numbers(f"probe_{name}", UNITS[name], numbers[:, i]) for i, name in enumerate(NUMBERS)]
        readings += [
            Reading.codes("probe_age_group", AGE_GROUPS, [age_group(v) for v in age]),
            Reading.codes("probe_gender_group", GENDER_EXPRESSIONS, [gender_expression_group(v) for v in gender]),
            Reading.codes("probe_expression", EXPRESSIONS, [int(reading.expression.argmax()) for reading in found]),
        ]
        for i, name in enumerate(FLAGS):
            readings.append(Reading.codes(f"probe_{name}", ABSENT_OR_THERE, (flags[:, i] > 0.5).astype(np.int64)))
        return tuple(readings)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the network in use."""
        return self.probe.digests()
