"""A batch of trees level by level, for plain torch operations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Levels:
    """The pixels of all images by their number of steps from the root.

    Attributes:
        pixels: for each level, numbers of pixels; those of image n start at n times the pixels of an image.
        parents: for each level, where each pixel's parent is in the level before (the first level has none).
        back: where each pixel is when the levels are joined.
    """

    def __init__(self, order: Tensor, parent: Tensor) -> None:
        images, pixels = order.shape
        starts = np.arange(images)[:, None] * pixels
        above = (parent.cpu().numpy() + starts).ravel()
        depth = np.zeros(images * pixels, np.int64)
        for column in (order.cpu().numpy() + starts).T[1:]:  # one pixel of every image
            depth[column] = depth[above[column]] + 1
        joined = np.argsort(depth, kind="stable")
        ends = np.cumsum(np.bincount(depth))
        back = np.empty_like(joined)
        back[joined] = np.arange(len(joined))
        self.back = torch.from_numpy(back).to(order.device)
        parts = np.split(joined, ends[:-1])
        first = [0, *ends[:-1]]
        self.pixels = [torch.from_numpy(part).to(order.device) for part in parts]
        self.parents = [torch.from_numpy(parts[0]).to(order.device)]
        for number, part in enumerate(parts[1:]):
            place = back[above[part]] - first[number]
            self.parents.append(torch.from_numpy(place).to(order.device))
