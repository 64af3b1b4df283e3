"""Figures by group: a dot and its interval for each group, beside the figure of everybody."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.audit.plots import WIDTH, Canvas, Plot, Span, number, percent, shorten, ticks

_LABEL_WIDTH = 132
_RIGHT = WIDTH - 8
_STEP = 24


def group_plot(
    title: str,
    groups: Sequence[Mapping[str, Any]],
    write: Callable[[float | None], str],
    *,
    everybody: float | None = None,
    unit: str = "",
    signed: bool = False,
) -> Plot | None:
    """A dot with its interval for each group; None without groups.

    Parameters
    ----------
    title : str
    groups : sequence of mappings
        ``group``, ``n``, ``value``, ``ci_low`` and ``ci_high``; a value of None is withheld or could not be measured.
    write : callable
        A number as readers see it.
    everybody : float, optional
        The figure over all groups, drawn as a line.
    unit : str
        Stands under the axis, so that its numbers can do without.
    signed : bool
        Draw a line at 0.
    """
    if not groups:
        return None
    known = [v for g in groups for v in (_get(g, "value"), _get(g, "ci_low"), _get(g, "ci_high")) if v is not None]
    known += [everybody] if everybody is not None else []
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    low, high = (min(low, 0.0), max(high, 0.0)) if signed or low >= 0 else (low, high)
    pad = (high - low) * 0.04 or 0.05
    x = Span(low - (pad if low < 0 else 0), high + pad, _LABEL_WIDTH, _RIGHT)
    bottom = 12 + _STEP * len(groups)
    canvas = Canvas(bottom + 40)
    marks = ticks(x.low, x.high, 4)
    digits = 0 if all(float(round(100 * mark, 6)).is_integer() for mark in marks) else 1
    for mark in marks:
        canvas.line(x(mark), 6, x(mark), bottom, "grid")
        text = percent(mark, digits) if unit == "share" else number(mark)
        text = f"+{text}" if signed and mark > 0 else text
        canvas.text(x(mark), bottom + 16, text, anchor="middle" if x(mark) < _RIGHT - 12 else "end")
    named = {"share": "share of faces", "": "", "deg": "degrees", "sd": "standard deviations (sd)"}.get(unit, unit)
    canvas.text((_LABEL_WIDTH + _RIGHT) / 2, bottom + 34, named, "legend", "middle")
    if signed:
        canvas.line(x(0), 6, x(0), bottom, "axis")
    if everybody is not None:
        canvas.line(x(everybody), 6, x(everybody), bottom, "everybody")
    for i, group in enumerate(groups):
        _dot(canvas, x, 6 + _STEP * (i + 0.5), group)
    rows = [
        [
            str(group["group"]),
            f"{int(group.get('n') or 0):,}",
            write(_get(group, "value")) if _get(group, "value") is not None else "withheld or not measured",
            _interval(group, write),
        ]
        for group in groups
    ]
    valued = [(float(group["value"]), str(group["group"])) for group in groups if _get(group, "value") is not None]
    said = ""
    if valued:
        least, most = min(valued), max(valued)
        said = f" Lowest: {least[1]}, {write(least[0])}; highest: {most[1]}, {write(most[0])}."
    if everybody is not None:
        said += f" Everybody: {write(everybody)}."
    description = f"A dot with its interval for each of {len(groups)} groups.{said}"
    line = f"The dashed line is everybody ({write(everybody)}). " if everybody is not None else ""
    note = f"{line}Groups without a dot are too small or could not be measured."
    note = note if len(valued) < len(groups) else line.strip()
    return canvas.plot(title, description, ["group", "n", "figure", "interval"], rows, note)


def _dot(canvas: Canvas, x: Span, y: float, group: Mapping[str, Any]) -> None:
    name, n = shorten(str(group["group"]), 15), int(group.get("n") or 0)
    canvas.text(_LABEL_WIDTH - 10, y + 4, f"{name} ({n:,})", "label", "end")
    value, low, high = (_get(group, key) for key in ("value", "ci_low", "ci_high"))
    if value is None:
        canvas.text(_LABEL_WIDTH + 4, y + 4, "too few, or not measured", "withheld")
        return
    if low is not None and high is not None:
        canvas.line(x(low), y, x(high), y, "whisker")
        for end in (low, high):
            canvas.line(x(end), y - 4, x(end), y + 4, "whisker")
    canvas.mark(x(value), y, "dot")


def _get(group: Mapping[str, Any], key: str) -> float | None:
    value = group.get(key)
    return None if value is None or math.isnan(value) else float(value)


def _interval(group: Mapping[str, Any], write: Callable[[float | None], str]) -> str:
    low, high = _get(group, "ci_low"), _get(group, "ci_high")
    return "none" if low is None or high is None else f"{write(low)} to {write(high)}"
