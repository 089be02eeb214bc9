"""Small pictures as inline SVG: a histogram, the most frequent values, and the trend over batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from secure_ml.monitoring.markup import Markup, element

__all__ = ["Bar", "Verdict", "draw_histogram", "draw_trend", "draw_values", "figure"]

Verdict = Literal["passed", "warned", "blocked"]

_WIDTH: Final = 260.0
_HEIGHT: Final = 76.0
_LINE: Final = 19.0
_MAX_LABEL: Final = 18


class Bar(NamedTuple):
    """One batch of a trend: its verdict, the share of rows that failed, and what to say of it."""

    verdict: Verdict
    share: float
    said: str


def draw_histogram(bins: Sequence[tuple[float, float, int]], label: str) -> Markup:
    """Draw bins of equal width, with the lowest and highest edge under them.

    Args:
        bins: Lower edge, upper edge, count; at least one.
        label: What the picture shows, for who cannot see it.
    """
    highest = max(count for _, _, count in bins) or 1
    width = _WIDTH / len(bins)
    parts = []
    for index, (low, high, count) in enumerate(bins):
        height = _tall(count / highest, _HEIGHT) if count else 0.0
        bar = element(
            "rect",
            x=_number(index * width + 0.5),
            y=_number(_HEIGHT - height),
            width=_number(width - 1),
            height=_number(height),
            _class="fill",
        )
        parts.append(element("g", element("title", f"{figure(low)} to {figure(high)}: {count}"), bar))
    parts.append(element("line", x1="0", x2=_number(_WIDTH), y1=_number(_HEIGHT), y2=_number(_HEIGHT), _class="axis"))
    parts.append(element("text", figure(bins[0][0]), x="0", y=_number(_HEIGHT + 14)))
    end = {"text-anchor": "end"}
    parts.append(element("text", figure(bins[-1][1]), x=_number(_WIDTH), y=_number(_HEIGHT + 14), **end))
    return _svg(_WIDTH, _HEIGHT + 18, label, parts)


def draw_values(values: Sequence[tuple[str, int]], total: int, label: str) -> Markup:
    """Draw one horizontal bar a value, with its share.

    Args:
        values: Value and count, in the order to draw.
        total: The count that is the whole.
        label: What the picture shows.
    """
    parts = []
    highest = max(count for _, count in values) or 1
    for index, (value, count) in enumerate(values):
        y = index * _LINE
        shown = value if len(value) <= _MAX_LABEL else f"{value[: _MAX_LABEL - 1]}…"
        length = _tall(count / highest, _WIDTH - 150)
        bar = element("rect", x="108", y=_number(y + 3), width=_number(length), height=_number(_LINE - 7), _class="fill")
        parts.append(element("g", element("title", f"{value}: {count}"), bar))
        parts.append(element("text", shown, x="0", y=_number(y + 13)))
        parts.append(element("text", share(count, total), x=_number(112 + length), y=_number(y + 13)))
    return _svg(_WIDTH, len(values) * _LINE, label, parts)


def draw_trend(bars: Sequence[Bar], label: str, *, small: bool = False) -> Markup:
    """Draw one bar a batch, oldest first: its height is the share of rows that failed, its colour the verdict.

    Args:
        bars: At least one.
        label: What the picture shows.
        small: For one line of text, without an axis.
    """
    width, height = (120.0, 26.0) if small else (640.0, 90.0)
    step = min(width / len(bars), 6.0 if small else 28.0)
    parts = []
    for index, bar in enumerate(bars):
        tall = _tall(bar.share, height, least=3.0)
        drawn = element(
            "rect",
            x=_number(index * step + step * 0.1),
            y=_number(height - tall),
            width=_number(step * 0.8),
            height=_number(tall),
            _class=f"fill-{bar.verdict}",
        )
        parts.append(element("g", element("title", bar.said), drawn))
    if small:
        return _svg(width, height, label, parts, "small")
    parts.append(element("line", x1="0", x2=_number(width), y1=_number(height), y2=_number(height), _class="axis"))
    return _svg(width, height + 1, label, parts)


def figure(value: float) -> str:
    """Return a number as people read it, at most five significant digits."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e7 else f"{value:.5g}"


def share(part: float, whole: float) -> str:
    """Return a share in percent; what is neither none nor all is never shown as such."""
    percent = 100.0 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "<0.1 %"
    if 99.9 < percent < 100:
        return ">99.9 %"
    return f"{percent:.3g} %"


def _svg(width: float, height: float, label: str, parts: Sequence[Markup], kind: str = "") -> Markup:
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        role="img",
        aria_label=label,
        **({"_class": kind} if kind else {}),
    )


def _tall(part: float, height: float, *, least: float = 1.0) -> float:
    return max(min(part, 1.0) * height, least)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
