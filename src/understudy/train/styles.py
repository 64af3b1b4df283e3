"""First styles of the rendered subjects: principal components of their mean faces, which training then changes."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.train.data import CropBank

SIDE = 32


def initial_styles(bank: CropBank, n_channels: int) -> NDArray[np.float32]:
    """Whitened principal components, (n_subjects, n_channels), of what lies under the mask in a subject's crops.

    Crops are upright and centred on the face already. Each is brought to one mean lightness first, so that a style says
    more of the face than of the light; a channel beyond the number of components is 0.
    """
    n_subjects = len(bank.subjects)
    sums = np.zeros((n_subjects, SIDE, SIDE, 3))
    counts = np.zeros((n_subjects, SIDE, SIDE, 1))
    for i, subject in enumerate(bank.subject):
        inside = (bank.replace_mask[i] & bank.known[i]).astype(np.float32)
        if inside.sum() < 1:
            continue
        pixels = bank.pixels[i].astype(np.float32)
        middle = float((pixels.mean(axis=2) * inside).sum() / inside.sum())
        weighted = cv2.resize((pixels - middle) * inside[..., None], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        weight = cv2.resize(inside, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., None]
        sums[subject] += weighted + weighted[:, ::-1]
        counts[subject] += weight + weight[:, ::-1]
    faces = (sums / np.maximum(counts, 1e-3)).reshape(n_subjects, -1)
    left, values, _ = np.linalg.svd(faces - faces.mean(axis=0), full_matrices=False)
    n = min(n_channels, int((values > 1e-6 * max(values[0], 1e-12)).sum()))
    styles = np.zeros((n_subjects, n_channels), np.float32)
    styles[:, :n] = left[:, :n] * np.sqrt(n_subjects)
    return styles
