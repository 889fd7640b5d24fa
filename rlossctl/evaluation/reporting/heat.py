"""The confusion matrix as a heat map of HTML cells, in colours that everybody can read and tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rlossctl.counts import ratio

STEPS = 21
# From the page's background to one hue: lightness alone shows the value.
RAMPS = {"light": ((255, 255, 255), (8, 48, 107)), "dark": ((20, 24, 28), (158, 202, 255))}
_WORST = 8  # confusions listed below the map

Colour = tuple[int, int, int]


def heat_style() -> str:
    """CSS classes h0 to h20 for both themes: background, and black or white text, whichever is clearer."""
    light, dark = (list(_rules(theme)) for theme in ("light", "dark"))
    chosen = "\n".join(f':root[data-theme="dark"] {rule}' for rule in dark)
    preferred = "\n".join(f'  :root:not([data-theme="light"]) {rule}' for rule in dark)
    return "\n".join([*light, chosen, "@media (prefers-color-scheme: dark) {", preferred, "}"])


def step_colours(theme: str, step: int) -> tuple[Colour, Colour]:
    """Background and text of a step, 0..20, as RGB."""
    low, high = (np.array(end, dtype=np.float64) for end in RAMPS[theme])
    red, green, blue = (int(value) for value in np.rint(low + (high - low) * step / (STEPS - 1)))
    back, black, white = (red, green, blue), (0, 0, 0), (255, 255, 255)
    return back, max((black, white), key=lambda text: contrast(back, text))


def contrast(one: Colour, other: Colour) -> float:
    """The WCAG contrast ratio of two colours, 1 to 21."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """A matrix [C, C] of counts with rows that sum to 1; NaN if a class has no pixels."""
    return ratio(matrix, matrix.sum(axis=1, keepdims=True))


class HeatCell(NamedTuple):
    """One cell: its step of the ramp, whether it is on the diagonal, its text, and a sentence on it."""

    step: int
    own: bool
    text: str
    hint: str


class HeatMap(NamedTuple):
    """How much of each true class was predicted as each class, and the confusions that cost the most pixels.

    Attributes:
        rows: one for each true class.
        worst: sentences.
    """

    rows: list[list[HeatCell]]
    worst: list[str]


def heat_map(matrix: np.ndarray, names: Sequence[str]) -> HeatMap:
    """The map of a matrix [C, C] of counts, truth in rows."""
    shares = row_shares(matrix)
    rows = [
        [
            _cell(shares[true, guess], int(matrix[true, guess]), (row, name))
            for guess, name in enumerate(names)
        ]
        for true, row in enumerate(names)
    ]
    return HeatMap(rows, _largest(matrix, shares, names))


def _rules(theme: str) -> Iterator[str]:
    for step in range(STEPS):
        back, text = step_colours(theme, step)
        yield f".h{step} {{ background: rgb{back}; color: rgb{text}; }}"


def _luminance(colour: Colour) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _cell(share: float, pixels: int, pair: tuple[str, str]) -> HeatCell:
    true, guess = pair
    own = true == guess
    if np.isnan(share):
        return HeatCell(0, own, "-", f"no pixel is {true}")
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    hint = f"{true} predicted as {guess}: {100 * share:.2f} %, {pixels:,} pixels"
    return HeatCell(round(share * (STEPS - 1)), own, text, hint)


def _largest(matrix: np.ndarray, shares: np.ndarray, names: Sequence[str]) -> list[str]:
    """The confusions that cost the most pixels."""
    wrong = np.where(np.eye(len(names), dtype=bool), 0, matrix)
    order = np.argsort(wrong, axis=None)[::-1][:_WORST]
    return [
        f"{names[true]} as {names[guess]}: {100 * shares[true, guess]:.1f} % of the class"
        for true, guess in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, guess]
    ]
