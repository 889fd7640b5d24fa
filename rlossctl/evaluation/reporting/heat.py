"""The confusion matrix as a heat map of HTML cells, in colours that everybody can read and tell apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

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


def heat_map(matrix: np.ndarray, names: Sequence[str], title: str) -> str:
    """A table of how much of each true class was predicted as each class, in percent.

    Args:
        matrix: [C, C] counts, truth in rows.
    """
    shares = _shares(matrix)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for true, name in enumerate(names):
        cells = "".join(_cell(shares[true, guess], true, guess, names) for guess in range(len(names)))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>')
    return (
        f'<section><h3>{escape(title)}</h3>\n<div class="wide" tabindex="0" role="region" '
        f'aria-label="Confusion matrix of {escape(title)}"><table class="heat">\n'
        f"<thead><tr><td></td>{head}</tr></thead>\n"
        f"<tbody>{''.join(rows)}</tbody></table></div>\n{_largest(matrix, shares, names)}</section>"
    )


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


def _shares(matrix: np.ndarray) -> np.ndarray:
    """Rows that sum to 1; NaN if a class has no pixels."""
    return ratio(matrix, matrix.sum(axis=1, keepdims=True))


def _cell(share: float, true: int, guess: int, names: Sequence[str]) -> str:
    own = " own" if true == guess else ""
    if np.isnan(share):
        return f'<td class="h0{own}">-</td>'
    text = f"{100 * share:.0f}" if share >= 0.005 else ""
    hint = f"{names[true]} predicted as {names[guess]}: {100 * share:.2f} %"
    return f'<td class="h{round(share * (STEPS - 1))}{own}" title="{escape(hint)}">{text}</td>'


def _largest(matrix: np.ndarray, shares: np.ndarray, names: Sequence[str]) -> str:
    """A list of the confusions that cost the most pixels."""
    wrong = np.where(np.eye(len(names), dtype=bool), 0, matrix)
    order = np.argsort(wrong, axis=None)[::-1][:_WORST]
    parts = [
        f"<li>{escape(names[true])} as {escape(names[guess])}: "
        f"{100 * shares[true, guess]:.1f} % of the class</li>"
        for true, guess in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[true, guess]
    ]
    if not parts:
        return ""
    title = '<p class="legend">The confusions that cost most pixels:</p>'
    return f'{title}<ol class="legend worst">{"".join(parts)}</ol>'
