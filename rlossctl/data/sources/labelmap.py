"""The source behind ImageLabelmapData: photos with edge maps, as HED's fork, RCF's and DSS read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rlossctl.data.bvlc_transform import Cut
from rlossctl.data.images import EDGE, edge_ids, image_size, read_map
from rlossctl.data.lists import Sample, read_list
from rlossctl.data.resize import resize_bilinear
from rlossctl.data.sources.imagelist import ListSource, Shape
from rlossctl.data.sources.stream import Item, SourceOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rlossctl.prototxt.messages import LayerParameter


class LabelmapSource(ListSource):
    """Draws batches as ImageLabelmapData does (image_labelmap_data_layer.cpp of HED's fork).

    A label map is read as grey levels. Both files are resized bilinearly if new_height and new_width are
    given, flipped together with probability 1/2 if `mirror`, and cropped together at a random place if
    `crop_size` (both also in TEST). The photo gets (pixel - mean) * scale. The label is the grey level / 255,
    rounded: 1 from 128 on, else 0. With weak_edges, a field of ours for RCF's fork, levels below 128 stay
    fractions. If the field `normalize` of DSS is given and false, the label is the grey level itself.

    Not reproduced: the forks crash if a crop without `mirror` is drawn in TEST.

    Args:
        layer: a LayerParameter message of type ImageLabelmapData.
        phase: "TRAIN" or "TEST".
        where, seed, workers, image_shape: see `Source`.
        source, root: list file and folder to use instead of those in image_data_param.

    Raises:
        DataError: parameters that Caffe refuses too.
    """

    def __init__(self, layer: LayerParameter, phase: str, **options: Unpack[SourceOptions]) -> None:
        super().__init__(layer, layer.image_data_param, phase, **options)
        param = layer.image_data_param
        self.weak_edges = param.weak_edges
        self.levels = param.HasField("normalize") and not param.normalize
        if not self.levels:
            self.label_rule = f"a grey level from {EDGE} on is class 1"
        if self.levels and self.weak_edges:
            raise self.error(
                "label maps cannot be fractions and levels", found="weak_edges: true and normalize: false"
            )

    def read_lines(self) -> list[Sample]:
        return read_list(self.source, self.root)

    def named_files(self) -> list[Sample]:
        return self.samples

    def shapes(self) -> dict[str, Shape]:
        """data (N, C, h, w), label (N, 1, h, w). Reads the first image's header if no size is given."""
        size = self.transform.crop or self.first_size()
        shapes = (self.batch_size, self.channels, *size), (self.batch_size, 1, *size)
        return dict(zip(self.tops, shapes, strict=True))

    def label_ids(self, sample: Sample) -> np.ndarray:
        label = read_map(sample.label or "", listed=self.listed(sample))
        return label if self.levels else edge_ids(label)

    def read(self, number: int) -> Item:
        sample, rng = self.sample(number)
        place = f"{sample.image} (named in {self.listed(sample)})"
        image, rotated = self.image(sample)
        cut = self._draw(image.shape[1], image.shape[2], rng, place)
        label = np.ascontiguousarray(cut(self._label(sample, image)))
        return Item((self.transform(image, cut, place), label[None]), place, sample, rotated)

    def _label(self, sample: Sample, image: np.ndarray) -> np.ndarray:
        """float32 [H, W], of the image's size."""
        listed = self.listed(sample)
        level = read_map(sample.label or "", listed=listed)
        if self.new_size:
            self.same_size(sample, image_size(sample.image, upright=self.upright, listed=listed), level.shape)
            level = resize_bilinear(level, *self.new_size)
        else:
            self.same_size(sample, image.shape[1:], level.shape)
        if self.levels:
            return level.astype(np.float32)
        if self.weak_edges:
            return np.where(level >= EDGE, np.float32(1), level / np.float32(255))
        return edge_ids(level).astype(np.float32)

    def _draw(self, height: int, width: int, rng: np.random.Generator, place: str) -> Cut:
        """The flip, and a crop that is random in both phases."""
        cut = self.transform.draw(height, width, rng, place)
        if self.transform.phase == "TRAIN" or not self.transform.crop:
            return cut
        top = int(rng.integers(height - cut.height + 1))
        return cut._replace(top=top, left=int(rng.integers(width - cut.width + 1)))
