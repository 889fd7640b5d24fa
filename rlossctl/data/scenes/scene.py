"""Photo-like scenes with exact masks: textured ground, lit objects, shadows, a camera."""

from __future__ import annotations

import numpy as np

from rlossctl.data.scenes.noise import blur, fractal
from rlossctl.data.scenes.shapes import KINDS, Thing
from rlossctl.data.sets.scenes import CLASSES

# Scenes are drawn at twice the size and averaged, so that outlines blend as on a camera's sensor.
_OVERSAMPLE = 2
_SMALLEST_SHARE = 0.008


def draw_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one scene.

    Args:
        size: (height, width) in pixels.

    Returns:
        uint8 [H, W, 3] RGB photo, and uint8 [H, W] mask with ids into CLASSES; every pixel has a class.
    """
    shape = (size[0] * _OVERSAMPLE, size[1] * _OVERSAMPLE)
    light = _light(rng)
    picture = _ground(rng, shape).astype(np.float32)
    ids = np.zeros(shape, dtype=np.uint8)
    for depth in np.sort(rng.uniform(0, 1, int(rng.integers(2, 6)))):
        kind = int(rng.integers(len(KINDS)))
        thing, box, part = _place(rng, shape, kind, float(depth))
        inside = thing.inside[part] > 0
        if inside.sum() < _SMALLEST_SHARE * ids.size:
            continue
        placed = np.zeros(shape, dtype=np.float32)
        placed[box] = inside
        picture *= _shadow(rng, placed, light)[..., None]
        picture[box][inside] = _lit(thing, light)[part][inside]
        ids[box][inside] = kind + 1
    return _camera(rng, picture, size), _shrink_ids(ids, size)


def _light(rng: np.random.Generator) -> np.ndarray:
    """Unit vector (right, down, towards the viewer) to the light, from above."""
    angle = rng.uniform(-2.6, -0.5)
    direction = np.array([np.cos(angle), np.sin(angle), rng.uniform(0.6, 1.3)])
    return direction / np.linalg.norm(direction)


def _ground(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Background of one of several kinds, float [H, W, 3]: ground to the frame, or up to a horizon."""
    slant = np.linspace(0, 1, shape[0]) ** rng.uniform(0.5, 1.0)
    ground = _material(rng, shape, slant)
    down = np.linspace(0, 1, shape[0])[:, None]
    ground *= (1 + rng.uniform(-0.15, 0.25) * (down - 0.5))[..., None]
    if rng.random() < 0.45:
        skyline = rng.uniform(0.1, 0.3) + 0.04 * fractal(rng, (1, shape[1]), (1, 3))
        far = _far(rng, shape)
        ground = np.where((down < skyline)[..., None], far, ground)
    return ground


def _material(rng: np.random.Generator, shape: tuple[int, int], rows: np.ndarray) -> np.ndarray:
    kind = int(rng.integers(5))
    patches = fractal(rng, shape, (3, 3), octaves=4, rows=rows)
    if kind == 0:  # grass
        blades = fractal(rng, shape, (18, 40), octaves=3, gain=0.8, rows=rows)
        colour = _mix((0.24, 0.37, 0.12), (0.45, 0.47, 0.20), 0.5 + 0.35 * patches)
        return colour * (1 + 0.26 * blades)[..., None]
    if kind == 1:  # sand or soil
        grain = fractal(rng, shape, (60, 50), octaves=2, gain=0.9, rows=rows)
        base = np.array([0.62, 0.52, 0.38]) * rng.uniform(0.55, 1.1)
        return base * (1 + 0.10 * grain + 0.13 * patches)[..., None]
    if kind == 2:  # pavement
        grain = fractal(rng, shape, (70, 70), octaves=2, gain=0.9, rows=rows)
        base = np.array([0.50, 0.50, 0.51]) * rng.uniform(0.7, 1.15)
        return base * (1 + 0.09 * grain + 0.10 * patches)[..., None]
    if kind == 3:  # wood
        rings = fractal(rng, shape, (26, 2), octaves=3, gain=0.7, rows=rows)
        wave = np.sin(14 * rows[:, None] * 6.28 * 0.4 + 4 * fractal(rng, shape, (3, 1), octaves=2))
        return np.array([0.52, 0.36, 0.22]) * (1 + 0.14 * rings + 0.07 * wave + 0.08 * patches)[..., None]
    folds = fractal(rng, shape, (4, 6), octaves=2)  # cloth
    thread = fractal(rng, shape, (90, 90), octaves=1)
    base = rng.uniform(0.2, 0.75) + rng.normal(0, 0.06, 3)
    return np.clip(base, 0.05, 0.9) * (1 + 0.22 * folds + 0.05 * thread)[..., None]


def _far(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """The view beyond the ground, out of focus: sky with clouds, or a hedge."""
    soft = fractal(rng, shape, (4, 3), octaves=4)
    if rng.random() < 0.6:
        colour = _mix((0.50, 0.64, 0.82), (0.88, 0.89, 0.90), 0.45 + 0.4 * soft)
    else:
        colour = (
            np.array([0.20, 0.30, 0.14]) * (1 + 0.35 * soft + 0.2 * fractal(rng, shape, (14, 14)))[..., None]
        )
    return blur(colour.astype(np.float32), 2.0)


def _place(
    rng: np.random.Generator, shape: tuple[int, int], kind: int, depth: float
) -> tuple[Thing, tuple[slice, slice], tuple[slice, slice]]:
    """An object somewhere in the scene; nearer ones are lower and larger.

    Returns the object, drawn in its own square, the part of the picture that the square covers, and the part
    of the square that is inside the picture.
    """
    radius = min(shape) * rng.uniform(0.14, 0.26) * (0.75 + 0.5 * depth) * (1.25 if kind == 3 else 1.0)
    middle = (shape[0] * (0.34 + 0.46 * depth + rng.normal(0, 0.06)), shape[1] * rng.uniform(0.1, 0.9))
    side = int(3.0 * radius)
    corner = [int(centre - side / 2) for centre in middle]
    rows, columns = (_overlap(start, side, size) for start, size in zip(corner, shape, strict=True))
    box, part = (rows[0], columns[0]), (rows[1], columns[1])
    axis = np.linspace(-1.5, 1.5, side, dtype=np.float32)
    dx, dy = axis[None, :], axis[:, None]
    turn = rng.normal(0, 0.18) if kind in (1, 3) else rng.uniform(0, 6.28)
    u = dx * np.cos(turn) + dy * np.sin(turn) + 0.05 * fractal(rng, (side, side), (6, 6), octaves=3)
    v = dy * np.cos(turn) - dx * np.sin(turn) + 0.05 * fractal(rng, (side, side), (6, 6), octaves=3)
    return KINDS[kind](rng, u.astype(np.float32), v.astype(np.float32)), box, part


def _overlap(start: int, side: int, size: int) -> tuple[slice, slice]:
    """What of an axis of `size` a side from `start` on covers, and which part of the side that is."""
    first = max(0, start)
    last = max(0, min(size, start + side))
    return slice(first, last), slice(first - start, max(first, last) - start)


def _lit(thing: Thing, light: np.ndarray) -> np.ndarray:
    """The object's colours under the light, float [H, W, 3]."""
    inside = np.clip(thing.inside, 0, 1)
    relief = np.sqrt(1 - (1 - inside) ** 2) * 0.15 * inside.shape[0] + 0.9 * thing.bumps
    down, right = np.gradient(blur(relief.astype(np.float32), 1.5))
    length = np.sqrt(1 + down**2 + right**2)
    facing = np.clip((-right * light[0] - down * light[1] + light[2]) / length, 0, 1)
    mirror = np.clip(2 * facing / length - light[2], 0, 1) ** 18
    return thing.colour * (0.34 + 0.80 * facing)[..., None] + (thing.gloss * mirror)[..., None]


def _shadow(rng: np.random.Generator, placed: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Brightness factor of the scene under an object: its cast shadow and the dark rim at its foot."""
    reach = 0.10 * min(placed.shape)
    shift = np.round(-light[1::-1] * reach).astype(int)
    margin = int(np.abs(shift).max()) + 1
    cast = np.roll(np.pad(placed, margin), shift, axis=(0, 1))[margin:-margin, margin:-margin]
    strength = rng.uniform(0.15, 0.5)
    return 1 - strength * blur(cast, rng.uniform(2.5, 8.0)) - 0.25 * blur(placed, 3.0)


def _camera(rng: np.random.Generator, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Exposure, white balance, vignette, lens blur, averaging to pixels, noise: uint8 [H, W, 3]."""
    height, width = size
    y, x = np.mgrid[-1 : 1 : picture.shape[0] * 1j, -1 : 1 : picture.shape[1] * 1j]
    picture = picture * (1 - rng.uniform(0, 0.22) * (x**2 + y**2) / 2)[..., None]
    picture = picture * (rng.uniform(0.8, 1.15) * (1 + rng.normal(0, 0.05, 3)))
    picture = blur(np.clip(picture, 0, 1.2).astype(np.float32), rng.uniform(0.6, 1.2))
    pixels = picture.reshape(height, _OVERSAMPLE, width, _OVERSAMPLE, 3).mean(axis=(1, 3))
    pixels = np.clip(pixels, 0, 1) ** rng.uniform(0.8, 1.15)
    noise = rng.normal(0, rng.uniform(0.008, 0.025), pixels.shape) * (0.5 + pixels)
    return np.round(np.clip(pixels + noise, 0, 1) * 255).astype(np.uint8)


def _shrink_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The class that fills most of each pixel; on a tie, the lower id."""
    blocks = ids.reshape(size[0], _OVERSAMPLE, size[1], _OVERSAMPLE)
    votes = np.stack([(blocks == number).sum(axis=(1, 3)) for number in range(len(CLASSES))])
    return votes.argmax(axis=0).astype(np.uint8)


def _mix(first: tuple[float, ...], second: tuple[float, ...], share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(first) * (1 - share) + np.asarray(second) * share
