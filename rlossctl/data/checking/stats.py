"""Statistics of a data set: class frequencies, labelled shares, sizes, mean colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlossctl.data.images import read_image, read_label
from rlossctl.data.label_ids import LabelIds
from rlossctl.data.lists import Sample
from rlossctl.errors import DataError
from rlossctl.progress import track
from rlossctl.words import counted


@dataclass
class Statistics:
    """Counts over a list.

    Attributes:
        pixels: [256] labelled pixels of each id.
        images_with: [256] number of images in which each id occurs.
        present: [256] labelled pixels of those images, for median frequency balancing.
        ignore: the id of unlabelled pixels.
        ids: all ids, including the ignored one.
        shares: labelled share of each image, 0..1.
        sizes: how often each (height, width) occurs.
        colour, squares: sums over all pixels of B, G, R and of their squares.
    """

    ignore: int
    ids: LabelIds = field(init=False)
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    images_with: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    present: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))
    shares: list[float] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    colour: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))

    def __post_init__(self) -> None:
        self.ids = LabelIds(self.ignore)

    def add(self, photo: np.ndarray, label: np.ndarray) -> None:
        """Counts an image: photo uint8 [H, W, 3] BGR, label uint8 [H, W]."""
        self.ids.add(label)
        counts = np.bincount(label.ravel(), minlength=256)
        counts[self.ignore] = 0
        labelled = int(counts.sum())
        self.pixels += counts
        self.images_with += counts > 0
        self.present += np.where(counts > 0, labelled, 0)
        self.shares.append(labelled / label.size)
        self.sizes[photo.shape[:2]] += 1
        flat = photo.reshape(-1, 3).astype(np.int64)
        self.colour += flat.sum(axis=0)
        self.squares += (flat**2).sum(axis=0)

    def mean_bgr(self) -> np.ndarray:
        """Mean over all pixels of all photos, [3], 0..255."""
        return self.colour / self._total()

    def std_bgr(self) -> np.ndarray:
        """Standard deviation over all pixels of all photos, [3]."""
        return np.sqrt(np.maximum(self.squares / self._total() - self.mean_bgr() ** 2, 0))

    def weights(self) -> np.ndarray:
        """Median frequency balancing, [256]; NaN for ids that do not occur.

        A class's frequency is its share of the labelled pixels in the images that contain it. Its weight is
        the median of all frequencies divided by its own (SegNet's class_weighting).
        """
        frequency = np.full(256, np.nan)
        seen = self.present > 0
        frequency[seen] = self.pixels[seen] / self.present[seen]
        return np.median(frequency[seen]) / frequency if seen.any() else frequency

    def log_weights(self, offset: float) -> np.ndarray:
        """ENet's weights, [256]: 1 / ln(offset + the class's share of all labelled pixels)."""
        return 1 / np.log(offset + self.pixels / max(1, self.pixels.sum()))

    def _total(self) -> int:
        return sum(height * width * count for (height, width), count in self.sizes.items())


def gather(samples: Sequence[Sample], *, source: str, ignore: int = 255) -> Statistics:
    """Reads every photo and label of a list.

    Raises:
        DataError: a file cannot be read, or a label and its photo differ in size.
    """
    found = Statistics(ignore)
    for sample in track(samples, len(samples), "images"):
        listed = f"{source}:{sample.line}"
        photo, label = read_image(sample.image, listed=listed), read_label(sample.label or "", listed=listed)
        if photo.shape[:2] != label.shape:
            raise DataError(
                "image and label differ in size",
                where=listed,
                found="image {1}x{0}, label {3}x{2}".format(*photo.shape[:2], *label.shape),
                expected="the same width and height",
                advice="run `rlossctl data verify` to see every such pair",
            )
        found.add(photo, label)
    return found


def to_json(found: Statistics, names: Sequence[str], offset: float | None = None) -> dict[str, Any]:
    """Plain values: shares are 0 to 1, colours 0 to 255; classes that never occur have weight null.

    Args:
        offset: adds ENet's weights with this offset, which the table then shows.
    """
    logarithmic = None if offset is None else found.log_weights(offset)
    weights, total = found.weights(), int(found.pixels.sum())
    suspicions = (*found.ids.one_class(), *found.ids.missing(names))
    return {
        "warnings": [f"{entry.kind}: {entry.found}" for entry in suspicions],
        "images": len(found.shares),
        "labelled": {
            "mean": float(np.mean(found.shares)),
            "min": min(found.shares),
            "max": max(found.shares),
            "images_without": sum(share == 0 for share in found.shares),
        },
        "classes": [
            {
                "id": index,
                "name": name,
                "pixels": int(found.pixels[index]),
                "share": int(found.pixels[index]) / total if total else 0.0,
                "images": int(found.images_with[index]),
                "median_frequency_weight": None if np.isnan(weights[index]) else float(weights[index]),
                **({} if logarithmic is None else {"log_weight": float(logarithmic[index])}),
            }
            for index, name in enumerate(names)
        ],
        "sizes": [
            {"height": height, "width": width, "images": count}
            for (height, width), count in found.sizes.most_common()
        ],
        "mean_bgr": found.mean_bgr().tolist(),
        "std_bgr": found.std_bgr().tolist(),
    }


def names_up_to(found: Statistics, names: Sequence[str] | None) -> list[str]:
    """The given names, or "class N" for every id up to the largest that occurs.

    Raises:
        DataError: an id without a name.
    """
    largest = int(np.nonzero(found.pixels)[0].max(initial=-1))
    if names is None:
        return [f"class {index}" for index in range(largest + 1)]
    if largest >= len(names):
        raise DataError(
            "label ids out of range",
            found=f"id {largest} in {found.images_with[largest]} images",
            expected=f"0..{len(names) - 1}, or {found.ignore} for unlabelled",
            advice="check --classes and --ignore",
        )
    return list(names)


def format_statistics(content: dict[str, Any]) -> str:
    """`to_json`'s content as a table."""
    warnings = [f"WARNING: {text}" for text in content["warnings"]]
    width = max([len("class"), *(len(entry["name"]) for entry in content["classes"])])
    lines = [f"{'class':<{width}}  {'pixels':>14}  {'share':>7}  {'images':>7}  {'weight':>8}"]
    for entry in content["classes"]:
        weight = entry.get("log_weight", entry["median_frequency_weight"])
        lines.append(
            f"{entry['name']:<{width}}  {entry['pixels']:>14,}  {100 * entry['share']:>6.2f}%"
            f"  {entry['images']:>7,}  {'-' if weight is None else format(weight, '8.4f'):>8}"
        )
    labelled, sizes = content["labelled"], content["sizes"]
    common = ", ".join(f"{size['width']}x{size['height']} ({size['images']})" for size in sizes[:3])
    low = [min(size[key] for size in sizes) for key in ("width", "height")]
    high = [max(size[key] for size in sizes) for key in ("width", "height")]
    colours = [" ".join(f"{value:.3f}" for value in content[key]) for key in ("mean_bgr", "std_bgr")]
    return "\n".join(
        [
            *warnings,
            *lines,
            "",
            f"images    {content['images']:,}",
            f"labelled  {labelled['mean']:.2%} of the pixels; by image {labelled['min']:.2%} to "
            f"{labelled['max']:.2%}; {counted(labelled['images_without'], 'image')} without any",
            f"sizes     {len(sizes)} different, {low[0]}x{low[1]} to {high[0]}x{high[1]}; "
            f"most often {common} (width x height)",
            f"colour    mean {colours[0]}, standard deviation {colours[1]} (B G R, 0..255)",
            *_loss_param(content["classes"]),
        ]
    )


def _loss_param(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """The weights as SegNet's loss layer reads them: without the first field it ignores the rest."""
    values = [entry.get("log_weight", entry["median_frequency_weight"]) for entry in classes]
    if None in values:
        return []
    weights = " ".join(f"class_weighting: {value:.4f}" for value in values)
    # The programs that use logarithms divide by the sum of the weights, as PyTorch does.
    divided = "normalization: WEIGHTS " if any("log_weight" in entry for entry in classes) else ""
    return ["", f"loss_param {{ weight_by_label_freqs: true {divided}{weights} }}"]
