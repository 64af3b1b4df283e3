"""Drawing for the report: small SVG pictures whose colours come from the page's style sheet, each with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360
"""Units of every plot's view box: about one CSS pixel on a phone, so that text of 11 units can be read there."""
MINUS = "\u2212"
THIN = "\u202f"  # narrow space between a number and its unit that no line break may split


@dataclass(frozen=True)
class Plot:
    """A picture, what it says in words, and the numbers in it."""

    title: str
    description: str
    """For those who do not see the picture: what is drawn and the main thing that it shows."""
    svg: str
    """Elements inside the ``svg`` element, escaped."""
    width: int
    height: int
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The first cell of each row is its heading."""
    note: str = ""


@dataclass(frozen=True)
class Span:
    """A linear scale from data to view box units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Place of a value, held inside the scale."""
        width = (self.high - self.low) or 1.0
        share = min(max((value - self.low) / width, 0.0), 1.0)
        return self.start + share * (self.end - self.start)


class Canvas:
    """SVG elements, one after the other; all text and attributes are escaped here and nowhere else.

    Parameters
    ----------
    height : float
        In view box units.
    """

    def __init__(self, height: float) -> None:
        self.height = math.ceil(height)
        self._parts: list[str] = []

    @property
    def svg(self) -> str:
        """The elements so far."""
        return "".join(self._parts)

    def element(self, name: str, look: str, attributes: Mapping[str, float | str], text: str | None = None) -> None:
        """Add an element with a class of the style sheet."""
        written = "".join(f' {key}="{escape(_attribute(value))}"' for key, value in attributes.items())
        inside = "/>" if text is None else f">{escape(text)}</{name}>"
        self._parts.append(f'<{name} class="{escape(look)}"{written}{inside}')

    def text(self, x: float, y: float, text: str, look: str = "tick", anchor: str = "start") -> None:
        """A line of text; y is its baseline."""
        self.element("text", look, {"x": x, "y": y, "text-anchor": anchor}, text)

    def line(self, x1: float, y1: float, x2: float, y2: float, look: str) -> None:
        """A straight line."""
        self.element("line", look, {"x1": x1, "y1": y1, "x2": x2, "y2": y2})

    def rect(self, x: float, y: float, width: float, height: float, look: str) -> None:
        """A rectangle; one without width is drawn as none."""
        if width > 0 and height > 0:
            self.element("rect", look, {"x": x, "y": y, "width": width, "height": height})

    def cell(self, x: float, y: float, side: tuple[float, float], share: float) -> None:
        """A cell of a heat map, the fuller the larger the share."""
        size = {"x": x, "y": y, "width": side[0], "height": side[1]}
        self.element("rect", "cell", {**size, "fill-opacity": round(0.04 + 0.7 * share, 3)})

    def path(self, points: Sequence[tuple[float, float]], look: str, *, closed: bool = False) -> None:
        """A line through points."""
        if points:
            moves = " ".join(f"{_attribute(x)},{_attribute(y)}" for x, y in points)
            self.element("polygon" if closed else "polyline", look, {"points": moves})

    def mark(self, x: float, y: float, look: str, *, square: bool = False) -> None:
        """A dot or a square of about 8 units."""
        if square:
            self.rect(x - 3.5, y - 3.5, 7, 7, look)
        else:
            self.element("circle", look, {"cx": x, "cy": y, "r": 4})

    def plot(
        self,
        title: str,
        description: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        note: str = "",
    ) -> Plot:
        """The finished picture."""
        cells = tuple(tuple(row) for row in rows)
        return Plot(title, description, self.svg, WIDTH, self.height, tuple(columns), cells, note)


def _attribute(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def shorten(text: str, length: int) -> str:
    """A label that fits; its full form stands in the table beside the plot."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: max(length - 1, 1)].rstrip() + "\u2026"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits, a true minus and no exponent where it can be helped."""
    if value is None or math.isnan(value):
        return "\u2013"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= digits:
        text = f"{value:,.0f}"
    elif size < -4:
        text = f"{value:.{digits - 1}e}"
    else:
        text = f"{value:.{max(digits - 1 - size, 0)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", MINUS)


def fixed(value: float, decimals: int) -> str:
    """A number with so many digits after the point, and a true minus where it is not 0."""
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text.replace("-", MINUS)


def percent(share: float | None, digits: int | None = None) -> str:
    """A share in per cent; digits after the point follow from its size where they are not given."""
    if share is None or math.isnan(share):
        return "\u2013"
    if digits is None:
        digits = share_digits(share)
    if share in (0, 1):
        digits = 0  # none and all are said without digits, so that they are told from nearly none and nearly all
    return f"{fixed(100 * share, digits)}{THIN}%"


def share_digits(*shares: float | None) -> int:
    """Digits after the point with which shares in per cent are told apart: more for those near 0 or near all."""
    digits = 0
    for share in shares:
        if share is None or math.isnan(share):
            continue
        room = min(abs(share), abs(1 - abs(share))) * 100
        digits = max(digits, 0 if room == 0 else 1 if room >= 1 else 2)
    return max(digits, 1) if any(share not in (0, 1, None) for share in shares) else digits


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """About n round numbers between two others (steps of 1, 2 or 5 times a power of ten)."""
    if not high > low:
        return [low]
    raw = (high - low) / max(n, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def legend(canvas: Canvas, entries: Sequence[tuple[str, str, str]], x: float = 0, y: float = 12) -> None:
    """Names of what is drawn, side by side: (name, look, "bar" or "line")."""
    for name, look, kind in entries:
        if kind == "bar":
            canvas.rect(x, y - 8, 12, 8, look)
        else:
            canvas.line(x, y - 4, x + 20, y - 4, look)
        start = x + (17 if kind == "bar" else 25)
        canvas.text(start, y, name, "legend")
        x = start + 6.2 * len(name) + 14
