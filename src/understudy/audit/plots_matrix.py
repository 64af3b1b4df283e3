"""Transition matrices as heat maps: which category became which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.audit.plots import WIDTH, Canvas, Plot, percent, shorten
from understudy.errors import InvalidInputError

_LEFT = 104
_TOP = 74
_MOST_WITH_TEXT = 12
_PX_PER_CHARACTER = 5.2
"""How far to the right a character of a slanted name reaches, at most."""


def transition_plot(attribute: str, data: Mapping[str, Any]) -> Plot | None:
    """The heat map of an attribute, or None where nothing was counted.

    Parameters
    ----------
    attribute : str
        As readers see it.
    data : mapping
        ``categories`` (K,) and ``counts`` (K, K): faces by category of the reference (rows) and after (columns).

    Raises
    ------
    InvalidInputError
        Where the counts are not K by K.
    """
    names = [str(name) for name in data["categories"]]
    counts = np.asarray(data["counts"], np.float64)
    if counts.shape != (len(names), len(names)):
        raise InvalidInputError(f"transitions of {attribute}: {len(names)} categories, counts of shape {counts.shape}")
    if not counts.sum():
        return None
    totals = counts.sum(axis=1)
    shares = np.divide(counts, totals[:, None], out=np.zeros_like(counts), where=totals[:, None] > 0)
    width = (WIDTH - _LEFT - _right(names)) / len(names)
    height = float(np.clip(width, 18, 34))
    canvas = Canvas(_TOP + height * len(names) + 4)
    canvas.text(_LEFT - 8, 14, "before \u2193", "legend", "end")
    canvas.text(WIDTH - 2, 14, "after \u2192", "legend", "end")
    for k, name in enumerate(names):
        x = _LEFT + width * (k + 0.5)
        place: dict[str, float | str] = {"x": x, "y": _TOP - 8, "transform": f"rotate(-40 {x:.1f} {_TOP - 8})"}
        canvas.element("text", "label", place, shorten(name, 11))
        middle = _TOP + height * (k + 0.5) + 4
        canvas.text(_LEFT - 8, middle, f"{shorten(name, 12)} ({totals[k]:.0f})", "label", "end")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            x, y = _LEFT + width * j, _TOP + height * i
            canvas.cell(x + 0.5, y + 0.5, (width - 1, height - 1), float(share))
            if counts[i, j] and len(names) <= _MOST_WITH_TEXT:
                canvas.text(x + width / 2, y + height / 2 + 4, f"{100 * share:.0f}", "label", "middle")
        canvas.rect(_LEFT + width * i + 1, _TOP + height * i + 1, width - 2, height - 2, "diagonal")
    kept = float(np.trace(counts) / counts.sum())
    description = (
        f"Heat map of {attribute}: rows are the category before, columns the category after, in per cent of the row. "
        f"{percent(kept)} of {counts.sum():.0f} faces lie on the diagonal, that is, kept their category."
    )
    rows = [[f"{name} (n = {totals[i]:.0f})", *(_cell(counts[i, j], shares[i, j]) for j in range(len(names)))]
            for i, name in enumerate(names)]  # fmt: skip
    note = (
        f"Per cent of each row, with its number of faces in brackets; outlined: unchanged ({percent(kept)} of all). "
        "Where there is a null edit, rows are its readings."
    )
    return canvas.plot(
        f"What became of each category of {attribute}", description, ["before \\ after", *names], rows, note
    )


def _right(names: Sequence[str]) -> float:
    """What is left free at the right for the slanted names of the last columns, px."""
    whole, needed = WIDTH - _LEFT, [2.0]
    for k, name in enumerate(names):
        share = (len(names) - k - 0.5) / len(names)  # of the columns' width, from the name's start to their end
        needed.append((_PX_PER_CHARACTER * len(shorten(name, 11)) - whole * share) / (1 - share))
    return max(needed)


def _cell(count: float, share: float) -> str:
    return f"{count:.0f} ({percent(share, 0)})" if count else "0"
