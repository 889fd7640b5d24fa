"""The objects of the synthetic scenes: outline, relief and paint of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rlossctl.data.scenes.noise import fractal

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Thing:
    """An object's look before light falls on it.

    Attributes:
        inside: float [H, W], positive within the outline, 1 at the thickest point.
        colour: float [H, W, 3] RGB, 0..1.
        bumps: float [H, W], fine relief, about -1..1.
        gloss: strength of the highlight, 0..1.
    """

    inside: np.ndarray
    colour: np.ndarray
    bumps: np.ndarray
    gloss: float


def stone(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> Thing:
    """A rounded, somewhat angular stone, grey to brown, speckled and veined."""
    flat = rng.uniform(0.55, 0.95)
    radius = _wavy_radius(rng, u, v / flat, (2, 3, 4, 5), 0.09)
    power = rng.uniform(2.0, 2.8)
    inside = radius - (np.abs(u) ** power + np.abs(v / flat) ** power) ** (1 / power)
    grain = fractal(rng, u.shape, (20, 20), octaves=3, gain=0.8)
    patches = fractal(rng, u.shape, (4, 4), octaves=3)
    veins = np.exp(-((fractal(rng, u.shape, (3, 3), octaves=3) / 0.06) ** 2))
    base = _pick(rng, [(0.50, 0.49, 0.47), (0.42, 0.40, 0.38), (0.55, 0.48, 0.40), (0.36, 0.38, 0.41)])
    shade = 1 + 0.16 * grain + 0.16 * patches + rng.uniform(0, 0.22) * veins
    tint = patches[..., None] * np.array([0.035, 0.01, -0.03])
    return Thing(inside, base * shade[..., None] + tint, 0.6 * grain + 0.8 * patches, 0.05)


def fruit(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> Thing:
    """A round fruit, red, orange, yellow or green, smooth, with a blush and a highlight."""
    radius = _wavy_radius(rng, u, v, (1, 2, 3), 0.05)
    dent = 0.12 * np.exp(-(((u - 0.05) / 0.22) ** 2)) * (v < 0)
    inside = radius - dent - np.hypot(u, v * rng.uniform(0.92, 1.12))
    palette = [
        (0.68, 0.13, 0.10),
        (0.86, 0.45, 0.10),
        (0.85, 0.68, 0.18),
        (0.47, 0.60, 0.18),
        (0.52, 0.12, 0.22),
    ]
    base, blush = _pick(rng, palette), _pick(rng, palette)
    side = _sigmoid(
        3.0 * (u * np.cos(t := rng.uniform(0, 6.28)) + v * np.sin(t)) + fractal(rng, u.shape, (4, 4))
    )
    freckles = fractal(rng, u.shape, (24, 24), octaves=2)
    colour = base + (blush - base) * (rng.uniform(0.1, 0.6) * side)[..., None]
    colour = colour * (1 + 0.06 * np.maximum(freckles, 0) + 0.05 * fractal(rng, u.shape, (6, 6)))[..., None]
    stalk = np.exp(-((np.hypot(u - 0.05, v + 0.78) / 0.13) ** 2))[..., None]
    return Thing(inside, colour * (1 - 0.6 * stalk), 0.12 * freckles, rng.uniform(0.25, 0.6))


def leaf(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> Thing:
    """A sprig of pointed leaves, green to autumn yellow, with ribs."""
    count = int(rng.integers(2, 5))
    first, spread = rng.uniform(0, 6.28), rng.uniform(0.8, 1.5)
    inside = np.full(u.shape, -1.0)
    ribs = np.zeros(u.shape)
    bend = 0.10 * fractal(rng, u.shape, (3, 3), octaves=2)
    for index in range(count):
        angle = first + spread * index + rng.normal(0, 0.15)
        along = u * np.cos(angle) + v * np.sin(angle) + bend
        aside = v * np.cos(angle) - u * np.sin(angle) + 0.6 * bend
        length = rng.uniform(0.85, 1.05)
        t = np.clip(along / length, 0, 1)
        half = rng.uniform(0.26, 0.38) * np.sin(np.pi * t**0.8) ** 0.8 + 0.012
        one = np.where((along > -0.04) & (along < length), (half - np.abs(aside)) / 0.33, -1.0)
        above = one > np.maximum(inside, 0)
        vein = np.exp(-((aside / 0.022) ** 2))
        vein += (
            0.55
            * np.exp(-(((((along - 0.6 * np.abs(aside)) * 9) % 1 - 0.5) / 0.12) ** 2))
            * (np.abs(aside) < half)
        )
        ribs = np.where(above, vein, ribs)
        inside = np.maximum(inside, one)
    base = _pick(rng, [(0.20, 0.40, 0.13), (0.32, 0.48, 0.16), (0.14, 0.33, 0.17), (0.58, 0.50, 0.15)])
    mottle = fractal(rng, u.shape, (7, 7), octaves=4)
    colour = base * (1 + 0.17 * mottle + 0.30 * np.clip(ribs, 0, 1))[..., None]
    return Thing(inside, colour, 0.35 * mottle - 0.5 * np.clip(ribs, 0, 1), 0.12)


def animal(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> Thing:
    """A four-legged animal from the side: body, head, ears, legs and tail, with patchy fur."""
    u = u * (1 if rng.random() < 0.5 else -1)
    lean, height = rng.uniform(0.8, 1.15), rng.uniform(0.30, 0.55)
    limbs = [(-0.42, 0.0, 0.34, -0.02, 0.29 * lean, 0.27 * lean), (0.40, -0.12, 0.60, -0.36, 0.20, 0.17)]
    limbs += [(0.60, -0.36, 0.82, -0.29, 0.17, 0.09), (0.55, -0.45, 0.52, -0.66, 0.07, 0.04)]
    limbs += [(0.66, -0.45, 0.69, -0.65, 0.07, 0.04)]
    for x in (-0.52, -0.36, 0.26, 0.44):
        limbs.append((x, 0.15, x + rng.normal(0, 0.10), 0.2 + height, 0.12, 0.075))
    curl = rng.uniform(-0.4, 0.3)
    limbs += [(-0.58, -0.08, -0.74, -0.06 + 0.4 * curl, 0.09, 0.07)]
    limbs += [(-0.74, -0.06 + 0.4 * curl, -0.88, -0.04 + curl, 0.07, 0.06)]
    field = np.full(u.shape, -1.0)
    for limb in limbs:
        field = _smooth_maximum(field, _limb(u, v, *limb), 0.25)
    field = field + 0.05 * fractal(rng, u.shape, (5, 5), octaves=3)
    fur = fractal(rng, u.shape, (26, 11), octaves=3, gain=0.8)
    patches = _sigmoid(6 * (fractal(rng, u.shape, (4, 4), octaves=3) + rng.uniform(-0.9, 0.5)))
    coats = [
        (0.46, 0.31, 0.18),
        (0.80, 0.76, 0.70),
        (0.17, 0.15, 0.14),
        (0.62, 0.47, 0.29),
        (0.45, 0.42, 0.40),
    ]
    first, second = (coats[index] for index in rng.permutation(len(coats))[:2])
    colour = np.array(first) + (np.array(second) - np.array(first)) * patches[..., None]
    return Thing(field, colour * (1 + 0.26 * fur)[..., None], 0.7 * fur, 0.03)


KINDS: tuple[Callable[[np.random.Generator, np.ndarray, np.ndarray], Thing], ...] = (
    stone,
    fruit,
    leaf,
    animal,
)


def _pick(rng: np.random.Generator, colours: list[Colour]) -> np.ndarray:
    """One of the colours, slightly varied: kinds overlap in colour, as real things do."""
    colour = np.asarray(colours[int(rng.integers(len(colours)))])
    return np.clip(colour * rng.uniform(0.85, 1.18) + rng.normal(0, 0.025, 3), 0.02, 0.98)


def _wavy_radius(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, waves: tuple[int, ...], strength: float
) -> np.ndarray:
    angle = np.arctan2(v, u)
    radius = np.full(u.shape, 0.95)
    for wave in waves:
        radius += rng.normal(0, strength / wave**0.5) * np.cos(wave * angle + rng.uniform(0, 6.28))
    return radius


def _limb(
    u: np.ndarray, v: np.ndarray, u0: float, v0: float, u1: float, v1: float, r0: float, r1: float
) -> np.ndarray:
    """Field of a limb from (u0, v0) to (u1, v1) whose radius goes from r0 to r1; 0 at the outline."""
    du, dv = u1 - u0, v1 - v0
    along = np.clip(((u - u0) * du + (v - v0) * dv) / (du * du + dv * dv), 0, 1)
    away = np.hypot(u - u0 - along * du, v - v0 - along * dv)
    return (r0 + (r1 - r0) * along - away) / 0.3


def _smooth_maximum(first: np.ndarray, second: np.ndarray, softness: float) -> np.ndarray:
    blend = np.clip(0.5 + 0.5 * (first - second) / softness, 0, 1)
    return second + (first - second) * blend + softness * blend * (1 - blend)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
