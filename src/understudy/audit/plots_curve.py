"""Curves of an attacker: ROC with a logarithmic FAR axis, and CMC."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from understudy.audit.plots import WIDTH, Canvas, Plot, Span, legend, percent

SERIES = (
    ("raw", "originals", "line-before"),
    ("anonymised", "anonymised", "line-after"),
    ("retrained", "retrained", "line-retrained"),
)
"""Key, name and look of the curves."""
MOST_POINTS = 240
_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 44, WIDTH - 8, 28, 208, 246
_MARKED = (1e-2, 1e-3)

Curve = tuple[list[float], list[float]]


def roc_plot(attacker: str, data: Mapping[str, Any]) -> Plot | None:
    """Share of genuine pairs accepted against the share of impostor pairs accepted; None without any curve.

    Parameters
    ----------
    attacker : str
    data : mapping
        ``raw``, ``anonymised`` and ``retrained``, each with ``far`` and ``tar`` (same length, in [0, 1]) or None.
    """
    curves = _curves(data, ("far",), ("tar",))
    positive = [f for xs, _ in curves.values() for f in xs if f > 0]
    if not positive:
        return None
    low = 10.0 ** max(math.floor(math.log10(min(positive)) + 1e-9), -6)
    low = min(low, 0.1)
    x = Span(math.log10(low), 0, _LEFT, _RIGHT)
    y = Span(0, 1, _BOTTOM, _TOP)
    canvas = _frame(curves, y)
    for power in range(round(math.log10(low)), 1):
        canvas.line(x(power), _TOP, x(power), _BOTTOM, "grid")
        canvas.text(x(power), _BOTTOM + 16, f"{10.0**power:g}", anchor="middle" if power else "end")
    for far in _MARKED:
        if far >= low:
            canvas.line(x(math.log10(far)), _TOP, x(math.log10(far)), _BOTTOM, "marked")
    chance = [10**p for p in np.linspace(math.log10(low), 0, 60)]
    canvas.path([(x(math.log10(far)), y(far)) for far in chance], "line-chance")
    for key, _, look in SERIES:
        if key in curves:
            points = [(f, t) for f, t in zip(*curves[key], strict=True) if f >= low]
            canvas.path([(x(math.log10(far)), y(tar)) for far, tar in _thin(points)], look)
    canvas.text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, "false accept rate (FAR), logarithmic", "legend", "middle")
    marks = [10.0**p for p in range(round(math.log10(low)), 1)]
    rows = [[f"{far:g}", *(percent(_at(curves[key], far)) for key, _, _ in SERIES if key in curves)] for far in marks]
    said = "; ".join(
        f"{name} {percent(_at(curves[key], far))} at FAR {far:g}"
        for far in _MARKED
        if far >= low
        for key, name, _ in SERIES
        if key in curves
    )
    description = f"Share of true pairs that {attacker} accepts against its false accept rate, one line each: {said}."
    note = "Lower is better; the dotted line is guessing. Vertical lines mark the FAR of the table."
    columns = ["FAR", *(f"accepted, {name}" for key, name, _ in SERIES if key in curves)]
    return canvas.plot(f"Verification by {attacker} (ROC)", description, columns, rows, note)


def cmc_plot(attacker: str, data: Mapping[str, Any]) -> Plot | None:
    """Share of faces whose person is among the nearest k of the gallery; None without any curve.

    Parameters
    ----------
    attacker : str
    data : mapping
        ``raw``, ``anonymised`` and ``retrained``, each with ``rank`` and ``rate`` (same length), or the rates alone
        from rank 1 on, or None; ``gallery_size`` draws the line of guessing.
    """
    curves = _curves(data, ("rank", "ranks"), ("rate", "rates", "share"))
    if not curves:
        return None
    top = max(max(xs) for xs, _ in curves.values())
    x = Span(0, math.log10(max(top, 2)), _LEFT, _RIGHT)
    y = Span(0, 1, _BOTTOM, _TOP)
    canvas = _frame(curves, y)
    ranks = [rank for rank in (1, 2, 5, 10, 20, 50, 100, 1000) if rank <= top]
    for rank in ranks:
        canvas.line(x(math.log10(rank)), _TOP, x(math.log10(rank)), _BOTTOM, "grid")
        canvas.text(x(math.log10(rank)), _BOTTOM + 16, str(rank), anchor="middle")
    size = data.get("gallery_size")
    if size:
        guesses = range(1, int(top) + 1)
        canvas.path([(x(math.log10(k)), y(min(k / size, 1))) for k in guesses], "line-chance")
    for key, _, look in SERIES:
        if key in curves:
            points = _thin(list(zip(*curves[key], strict=True)))
            canvas.path([(x(math.log10(max(rank, 1))), y(rate)) for rank, rate in points], look)
    canvas.text((_LEFT + _RIGHT) / 2, _HEIGHT - 6, "rank, logarithmic", "legend", "middle")
    shown = [(key, name) for key, name, _ in SERIES if key in curves]
    rows = [[str(rank), *(percent(_at(curves[key], rank)) for key, _ in shown)] for rank in ranks]
    said = ", ".join(f"{name} {percent(_at(curves[key], 1))}" for key, name in shown)
    description = f"Share of faces whose person {attacker} ranks among the nearest k, one line each. At rank 1: {said}."
    note = "Lower is better." + (" The dotted line is guessing." if size else "")
    columns = ["rank", *(name for _, name in shown)]
    return canvas.plot(f"Search by {attacker} (CMC)", description, columns, rows, note)


def _frame(curves: Mapping[str, Curve], y: Span) -> Canvas:
    canvas = Canvas(_HEIGHT)
    legend(canvas, [(name, look, "line") for key, name, look in SERIES if key in curves])
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        canvas.line(_LEFT, y(share), _RIGHT, y(share), "grid")
        canvas.text(_LEFT - 6, y(share) + 4, percent(share, 0), anchor="end")
    canvas.line(_LEFT, _BOTTOM, _RIGHT, _BOTTOM, "axis")
    return canvas


def _curves(data: Mapping[str, Any], x_names: Sequence[str], y_names: Sequence[str]) -> dict[str, Curve]:
    """The curves that are there and whole, sorted along x."""
    found: dict[str, Curve] = {}
    for key, _, _ in SERIES:
        curve = data.get(key)
        if isinstance(curve, Mapping):
            ys = next((curve[name] for name in y_names if curve.get(name) is not None), ())
            xs = next((curve[name] for name in x_names if curve.get(name) is not None), range(1, len(ys) + 1))
        else:
            ys = curve or ()
            xs = range(1, len(ys) + 1)
        points = sorted((float(a), float(b)) for a, b in zip(xs, ys, strict=True) if a is not None and b is not None)
        if points:
            found[key] = [a for a, _ in points], [b for _, b in points]
    return found


def _at(curve: Curve, place: float) -> float | None:
    """Height of a step curve: at the last point that is no farther than the place."""
    inside = [y for x, y in zip(*curve, strict=True) if x <= place * (1 + 1e-9)]
    return inside[-1] if inside else None


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``MOST_POINTS`` of the points, first and last among them, as evenly along log x as they come."""
    if len(points) <= MOST_POINTS:
        return list(points)
    logs = np.log10(np.maximum([x for x, _ in points], 1e-12))
    wanted = np.linspace(logs[0], logs[-1], MOST_POINTS)
    chosen = sorted({0, len(points) - 1, *np.clip(np.searchsorted(logs, wanted), 0, len(points) - 1).tolist()})
    return [points[i] for i in chosen]
