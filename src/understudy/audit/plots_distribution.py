"""Distributions before, in the null edit and after: bars for categories, outlines for numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from understudy.audit.plots import WIDTH, Canvas, Plot, Span, legend, number, percent, shorten, ticks
from understudy.errors import InvalidInputError

STAGES = (("before", "before"), ("null", "null edit"), ("after", "after"))
"""What is drawn, and what it is called."""
_LABEL_WIDTH = 108
_VALUE_WIDTH = 96
_BAR = 8


def distribution_plot(attribute: str, data: Mapping[str, Any]) -> Plot | None:
    """The plot of an attribute, or None where nothing was counted.

    Parameters
    ----------
    attribute : str
        As readers see it.
    data : mapping
        ``kind`` ("categorical" or "numeric"), ``categories`` (K,) or ``edges`` (K + 1,), and counts (K,) under
        ``before``, ``null`` (may be None) and ``after``; ``unit`` may name the unit of the edges.

    Raises
    ------
    InvalidInputError
        Where there are not as many counts as categories.
    """
    numeric = data.get("kind") == "numeric"
    labels = [float(edge) for edge in data["edges"]] if numeric else [str(name) for name in data["categories"]]
    n_bins = len(labels) - 1 if numeric else len(labels)
    shares: dict[str, list[float]] = {}
    totals: dict[str, int] = {}
    for stage, _ in STAGES:
        counts = data.get(stage)
        if counts is None:
            continue
        if len(counts) != n_bins:
            raise InvalidInputError(f"distribution of {attribute}: {n_bins} bins and {len(counts)} counts in {stage}")
        totals[stage] = int(sum(counts))
        if totals[stage]:
            shares[stage] = [count / totals[stage] for count in counts]
    if not shares or n_bins < 1:
        return None
    if numeric:
        return _numeric(attribute, [float(edge) for edge in data["edges"]], shares, totals, str(data.get("unit", "")))
    return _categorical(attribute, [str(name) for name in labels], shares, totals)


def _sizes(totals: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {totals[stage]:,}" for stage, name in STAGES if stage in totals)


def _rows(names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> list[list[str]]:
    return [[name, *(percent(shares[s][i]) for s, _ in STAGES if s in shares)] for i, name in enumerate(names)]


def _columns(first: str, shares: Mapping[str, Sequence[float]]) -> list[str]:
    return [first, *(name for stage, name in STAGES if stage in shares)]


def _largest_move(names: Sequence[str], shares: Mapping[str, Sequence[float]]) -> str:
    if "before" not in shares or "after" not in shares:
        return ""
    moves = [b - a for a, b in zip(shares["before"], shares["after"], strict=True)]
    i = max(range(len(moves)), key=lambda k: abs(moves[k]))
    before, after = percent(shares["before"][i]), percent(shares["after"][i])
    return f" The largest move is that of {names[i]}: {before} before and {after} after."


def _categorical(
    attribute: str, names: Sequence[str], shares: Mapping[str, Sequence[float]], totals: Mapping[str, int]
) -> Plot:
    stages = [(stage, name) for stage, name in STAGES if stage in shares]
    block = len(stages) * (_BAR + 1) + 11
    canvas = Canvas(34 + block * len(names) + 20)
    legend(canvas, [(name, f"fill-{stage}", "bar") for stage, name in stages])
    top = max(max(values) for values in shares.values()) or 1.0
    scale = Span(0, top, _LABEL_WIDTH, WIDTH - _VALUE_WIDTH)
    bottom = 34 + block * len(names) - 6
    for tick in ticks(0, top, 3):
        canvas.line(scale(tick), 26, scale(tick), bottom, "grid")
        canvas.text(scale(tick), bottom + 14, percent(tick, 0), anchor="middle")
    for i, name in enumerate(names):
        y = 34 + block * i
        for row, (stage, _) in enumerate(stages):
            canvas.rect(scale(0), y + row * (_BAR + 1), scale(shares[stage][i]) - scale(0), _BAR, f"fill-{stage}")
        middle = y + block / 2 - 2
        canvas.text(_LABEL_WIDTH - 8, middle, shorten(name, 17), "label", "end")
        if "before" in shares and "after" in shares:
            change = f"{percent(shares['before'][i], 0)} \u2192 {percent(shares['after'][i], 0)}"
            canvas.text(WIDTH, middle, change, "label", "end")
    canvas.line(scale(0), 26, scale(0), bottom, "axis")
    what = f"Share of faces in each of {len(names)} categories of {attribute}, as horizontal bars."
    description = what + _largest_move(names, shares)
    note = f"Share of faces; at the right, before \u2192 after. Faces read: {_sizes(totals)}."
    return canvas.plot(
        f"Distribution of {attribute}", description, _columns("category", shares), _rows(names, shares), note
    )


def _numeric(
    attribute: str, edges: Sequence[float], shares: Mapping[str, Sequence[float]], totals: Mapping[str, int], unit: str
) -> Plot:
    height, left, bottom = 212, 40, 178
    canvas = Canvas(height)
    looks = {"before": "bar", "null": "line", "after": "line"}
    legend(
        canvas,
        [
            (name, f"fill-{stage}" if looks[stage] == "bar" else f"line-{stage}", looks[stage])
            for stage, name in STAGES
            if stage in shares
        ],
    )
    top = max(max(values) for values in shares.values()) * 1.05 or 1.0
    x, y = Span(edges[0], edges[-1], left, WIDTH - 8), Span(0, top, bottom, 26)
    for tick in ticks(0, top, 4):
        canvas.line(left, y(tick), WIDTH - 8, y(tick), "grid")
        canvas.text(left - 6, y(tick) + 4, percent(tick, 0), anchor="end")
    for tick in ticks(edges[0], edges[-1], 6):
        canvas.line(x(tick), bottom, x(tick), bottom + 4, "axis")
        canvas.text(x(tick), bottom + 16, number(tick), anchor="middle")
    for stage, _ in STAGES:
        if stage not in shares:
            continue
        points = []
        for i, share in enumerate(shares[stage]):
            points += [(x(edges[i]), y(share)), (x(edges[i + 1]), y(share))]
        if stage == "before":
            canvas.path([(x(edges[0]), y(0)), *points, (x(edges[-1]), y(0))], "fill-before area", closed=True)
        else:
            canvas.path(points, f"line-{stage}")
    canvas.line(left, bottom, WIDTH - 8, bottom, "axis")
    canvas.text((left + WIDTH) / 2, height - 3, f"{attribute}{f' ({unit})' if unit else ''}", "legend", "middle")
    names = [f"{number(a)} to {number(b)}" for a, b in pairwise(edges)]
    description = (
        f"Histogram of {attribute} in {len(names)} bins: share of faces before as an area, after as a line."
        + _largest_move(names, shares)
    )
    note = f"Share of faces in each bin. Faces read: {_sizes(totals)}."
    return canvas.plot(f"Distribution of {attribute}", description, _columns("bin", shares), _rows(names, shares), note)
