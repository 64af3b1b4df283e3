"""A scatter plot with its Pareto front as one piece of SVG: no script, readable on a phone, in print and aloud."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from understudy.compare.board import Cell, Entry, Measure, pareto_front, short

WIDTH, HEIGHT = 420, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 18, 16, 58


def pareto_plot(entries: Sequence[Entry], x: Measure, y: Measure, ident: str) -> str:
    """The plot of two measures; numbers are places on the leaderboard.

    Parameters
    ----------
    entries : sequence of Entry
        In the leaderboard's order.
    x, y : Measure
    ident : str
        Unique in the page; the title's id is made of it.

    Returns
    -------
    str
        An ``svg`` element, or a paragraph where fewer than two runs have both figures.
    """
    points = {
        number: (cx, cy)
        for number, entry in enumerate(entries, 1)
        if (cx := entry.cells.get(x.key, Cell())).value is not None
        and (cy := entry.cells.get(y.key, Cell())).value is not None
    }
    if len(points) < 2:
        return f"<p class='note'>Fewer than two runs have both {escape(x.heading)} and {escape(y.heading)}.</p>"
    across, up = (
        _Axis([c for c, _ in points.values()], _LEFT, WIDTH - _RIGHT),
        _Axis([c for _, c in points.values()], HEIGHT - _BOTTOM, _TOP),
    )
    front = _front(points, x, y)
    names = ", ".join(f"{number} {entries[number - 1].name}" for number in front)
    told = f"{len(points)} runs. On the Pareto front: {escape(names)}. All figures are in the table."
    parts = [
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-labelledby='{ident}-t {ident}-d'>",
        f"<title id='{ident}-t'>{escape(y.heading)} against {escape(x.heading)}</title>",
        f"<desc id='{ident}-d'>{told}</desc>",
        *_axes(across, up, x, y),
        _line([(across(points[n][0].value), up(points[n][1].value)) for n in front]),
    ]
    for number, (cx, cy) in points.items():
        parts.append(_point(number, cx, cy, across, up, number in front))
    return "".join([*parts, "</svg>"])


def _front(points: Mapping[int, tuple[Cell, Cell]], x: Measure, y: Measure) -> list[int]:
    costs = {str(n): (_cost(cx.value, x), _cost(cy.value, y)) for n, (cx, cy) in points.items()}
    return [int(name) for name in pareto_front(costs)]


def _cost(value: float | None, measure: Measure) -> float:
    """A figure so that less is better."""
    number = math.inf if value is None else value
    return {"lower": number, "higher": -number, "zero": abs(number)}[measure.better]


class _Axis:
    """A linear scale that holds every figure with its interval."""

    def __init__(self, cells: Sequence[Cell], start: float, end: float) -> None:
        known = [v for c in cells for v in (c.value, c.ci_low, c.ci_high) if v is not None]
        low, high = min(known), max(known)
        self.step = _nice((high - low or abs(high) or 1.0) / 4)
        self.low = math.floor(low / self.step) * self.step
        self.high = max(math.ceil(high / self.step) * self.step, self.low + self.step)
        self._start, self._end = start, end

    def __call__(self, value: float | None) -> float:
        share = ((value or 0.0) - self.low) / (self.high - self.low)
        return round(self._start + share * (self._end - self._start), 1)

    def ticks(self) -> list[float]:
        count = round((self.high - self.low) / self.step)
        return [self.low + i * self.step for i in range(count + 1)]


def _nice(step: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * (1 - 1e-9))


def _axes(across: _Axis, up: _Axis, x: Measure, y: Measure) -> list[str]:
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = [f"<path class='axis' d='M{_LEFT} {_TOP}V{bottom}H{right}'/>"]
    for tick in across.ticks():
        px = across(tick)
        parts.append(f"<path class='grid' d='M{px} {_TOP}V{bottom}'/>")
        parts.append(f"<text class='tick' x='{px}' y='{bottom + 24}' text-anchor='middle'>{tick:.6g}</text>")
    for tick in up.ticks():
        py = up(tick)
        parts.append(f"<path class='grid' d='M{_LEFT} {py}H{right}'/>")
        parts.append(f"<text class='tick' x='{_LEFT - 12}' y='{py + 4}' text-anchor='end'>{tick:.6g}</text>")
    middle = (_LEFT + right) / 2
    parts.append(f"<text class='name' x='{middle}' y='{HEIGHT - 8}' text-anchor='middle'>{_axis_name(x)}</text>")
    center = (_TOP + bottom) / 2
    parts.append(
        f"<text class='name' transform='translate(13 {center}) rotate(-90)' text-anchor='middle'>{_axis_name(y)}</text>"
    )
    return parts


def _axis_name(measure: Measure) -> str:
    unit = f", {measure.unit}" if measure.unit else ""
    hint = {"lower": "less is better", "higher": "more is better", "zero": "0 is best"}[measure.better]
    return escape(f"{measure.heading}{unit} ({hint})")


def _line(corners: Sequence[tuple[float, float]]) -> str:
    if len(corners) < 2:
        return ""
    return "<path class='front' d='M" + "L".join(f"{x} {y}" for x, y in corners) + "'/>"


def _point(number: int, cx: Cell, cy: Cell, across: _Axis, up: _Axis, on_front: bool) -> str:
    x, y = across(cx.value), up(cy.value)
    parts = []
    if cx.ci_low is not None and cx.ci_high is not None:
        parts.append(f"<path class='ci' d='M{across(cx.ci_low)} {y}H{across(cx.ci_high)}'/>")
    if cy.ci_low is not None and cy.ci_high is not None:
        parts.append(f"<path class='ci' d='M{x} {up(cy.ci_low)}V{up(cy.ci_high)}'/>")
    kind = "on" if on_front else "off"
    told = f"{number}: {short(cx.value or 0.0)}, {short(cy.value or 0.0)}"
    parts.append(f"<circle class='{kind}' cx='{x}' cy='{y}' r='8.5'><title>{told}</title></circle>")
    parts.append(f"<text class='no {kind}' x='{x}' y='{y + 4}' text-anchor='middle'>{number}</text>")
    return "".join(parts)
