"""Resizing as skimage did when Caffe's scripts were written: no smoothing, and 0 outside of the image.

Later versions of skimage smooth before they shrink, unless told otherwise, so they give other numbers.
"""

from __future__ import annotations

import numpy as np

from rlossctl.optional import needed


def resized(image: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    """skimage.transform.resize(image, size, order=order, mode="constant", anti_aliasing=False).

    Args:
        image: [H, W, C] of floats.
        size: height and width of the result.
        order: 0 takes the nearest pixel, 1 interpolates linearly; others need SciPy.

    Returns:
        float64 [height, width, C], within the image's least and greatest value.
    """
    if order in (0, 1):
        return _axis(_axis(image.astype(np.float64), 0, size[0], order), 1, size[1], order)
    return np.clip(_splines(image, size, order), image.min(), image.max())


def zoomed(image: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    """scipy.ndimage.zoom to a size: the corners stay where they are.

    Args:
        image: [H, W, C].
    """
    scale = [new / old for new, old in zip(size, image.shape, strict=False)]
    found: np.ndarray = _ndimage().zoom(image, (*scale, 1), order=order)
    return found


def _axis(image: np.ndarray, axis: int, size: int, order: int) -> np.ndarray:
    """One axis; pixel `i` of the result lies at (i + 0.5) * old / size - 0.5."""
    old = image.shape[axis]
    places = (np.arange(size) + 0.5) * (old / size) - 0.5
    if order == 0:
        return np.take(image, np.clip(np.floor(places + 0.5).astype(int), 0, old - 1), axis)
    before = np.floor(places).astype(int)
    share = (places - before).reshape([-1 if number == axis else 1 for number in range(image.ndim)])
    padding = [(1, 1) if number == axis else (0, 0) for number in range(image.ndim)]
    padded = np.pad(image, padding)
    low, high = np.take(padded, before + 1, axis), np.take(padded, before + 2, axis)
    found: np.ndarray = low * (1 - share) + high * share
    return found


def _splines(image: np.ndarray, size: tuple[int, int], order: int) -> np.ndarray:
    rows, columns = (
        (np.arange(new) + 0.5) * (old / new) - 0.5 for new, old in zip(size, image.shape, strict=False)
    )
    grid = np.meshgrid(rows, columns, indexing="ij")
    channels = [
        _ndimage().map_coordinates(
            image[..., channel].astype(np.float64), grid, order=order, mode="grid-constant"
        )
        for channel in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


def _ndimage():  # type: ignore[no-untyped-def]
    return needed(
        "scipy.ndimage",
        "this way of resizing needs SciPy",
        "caffe.io.resize_image",
        otherwise="resize images of 1 or 3 channels with interp_order 0 or 1",
    )
