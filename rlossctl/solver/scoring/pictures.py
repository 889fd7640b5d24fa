"""Pictures of a few fixed photos, to see what a net learns: photo, labels, prediction side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from rlossctl.data.lists import Sample
from rlossctl.data.palette import voc_palette
from rlossctl.data.sources.imageseg import PIXEL, ImageSegSource
from rlossctl.net import Net
from rlossctl.net.best_class import best_classes
from rlossctl.net.deploy import Deploy, preprocess_of
from rlossctl.solver.scoring.whole_list import PhotoSource, WholePhotos, list_metrics, whole_photos

SHOWN = 4  # photos of each list, evenly spread
GAP = 4  # pixels between two pictures


class Pictures:
    """Draws photos of the validation list (photo, truth, prediction) and of the training list (photo,
    supervision, prediction).

    Args:
        net: the training net.
        test_net: the net that predicts; nothing is drawn unless it counts the scores of whole photos.
    """

    def __init__(self, net: Net, test_net: Net) -> None:
        self._lists: dict[str, WholePhotos] = {}
        validation = whole_photos(test_net)
        if validation is None:
            return
        self._deploy = Deploy(test_net, list_metrics(test_net)[0][0].bottoms[:1])
        self._device = test_net.device
        self._lists["validation"] = validation
        preprocess = preprocess_of(test_net, self._deploy)
        for source in net.sources.values():
            labelled = not isinstance(source, ImageSegSource) or source.label_type == PIXEL
            if isinstance(source, PhotoSource) and labelled and preprocess is not None:
                self._lists["training"] = WholePhotos(source, preprocess, validation.padding)

    def draw(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and picture, uint8 [H, W, 3], red first, of each photo.

        Raises:
            DataError: a photo or its label cannot be read.
        """
        for name, photos in self._lists.items():
            for sample in _spread(photos.source.samples):
                yield f"{name}/{Path(sample.image).stem}", self._strip(photos, sample)

    @torch.no_grad()
    def _strip(self, photos: WholePhotos, sample: Sample) -> np.ndarray:
        item = photos.load(sample)
        rows, columns = item.photo.shape[:2]
        (scores,) = self._deploy(torch.from_numpy(item.pixels)[None].to(self._device))
        found = best_classes(scores.float(), item.label.shape)[0].cpu().numpy()
        table = voc_palette()
        labels = (table[label[:rows, :columns]] for label in (item.label, found))
        parts = [item.photo[:, :, ::-1], *labels]
        gap = np.full((rows, GAP, 3), 255, np.uint8)
        return np.concatenate([part for one in parts for part in (one, gap)][:-1], axis=1)


def _spread(samples: Sequence[Sample]) -> list[Sample]:
    count = min(len(samples), SHOWN)
    return [samples[index] for index in np.linspace(0, len(samples) - 1, count).round().astype(int)]
