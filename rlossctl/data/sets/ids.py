"""Tools to turn the label files of data sets into label images: other ids, .mat files, thresholds."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rlossctl.data.sets.laying_out import Convert
from rlossctl.errors import DataError
from rlossctl.optional import needed

if TYPE_CHECKING:
    import numpy as np

Read = Callable[[bytes, str], "np.ndarray"]  # a file's content and place to ids [H, W] of any integer type


def label_image(content: bytes, where: str) -> np.ndarray:
    """A picture of ids, as data layers read it."""
    from rlossctl.data.images import decode_label

    return decode_label(content, where)


def grey_image(content: bytes, where: str) -> np.ndarray:
    """A picture of ids whose three channels are equal, or that has one channel."""
    import numpy as np

    from rlossctl.data.images import open_picture

    with open_picture(content, where) as image:
        if image.mode != "RGB":
            return label_image(content, where)
        pixels = np.asarray(image)
    if (pixels != pixels[:, :, :1]).any():
        raise DataError(
            "the label is a picture of colours",
            where=where,
            found="red, green and blue that differ",
            expected="ids, as one channel or three equal ones",
            advice="convert it with rlossctl data labels --palette",
        )
    return np.ascontiguousarray(pixels[:, :, 0])


def bright(content: bytes, where: str) -> np.ndarray:
    """1 where a grey level is at least 128, else 0: masks of 0 and 255 that JPEG has blurred."""
    from rlossctl.data.images import decode_image, edge_ids

    return edge_ids(decode_image(content, where, color=False)[:, :, 0])


def matlab(variable: str, *fields: str) -> Read:
    """Makes a reader of .mat files (up to version 7) for an array, or a field of a 1 x 1 structure."""

    def read(content: bytes, where: str) -> np.ndarray:
        import numpy as np

        scipy = needed(
            "scipy.io",
            "MATLAB files need scipy",
            where,
            error=DataError,
            otherwise="name a source with PNG labels instead",
        )
        try:
            found: Any = scipy.loadmat(io.BytesIO(content), variable_names=[variable])[variable]
            for name in fields:
                found = found[0, 0][name]
        except Exception as error:  # scipy raises many types
            raise _not_matlab(variable, fields, where, str(error)) from error
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "iu" or found.ndim != 2:
            raise _not_matlab(variable, fields, where, getattr(found, "dtype", type(found).__name__))
        return found

    return read


def _not_matlab(variable: str, fields: tuple[str, ...], where: str, found: object) -> DataError:
    return DataError(
        "the label file cannot be read",
        where=where,
        found=found,
        expected=f"a MATLAB file with ids in {'.'.join((variable, *fields))}",
        advice="fetch the archive again",
    )


def renumbered(ids: Mapping[int, int], expected: str, advice: str = "", read: Read = label_image) -> Convert:
    """Makes a function for `copy` that writes other ids, as a PNG with one channel.

    Args:
        ids: maps each id of the file to the id to write; a file with another id is an error.
        expected, advice: for that error.
        read: reads the file.
    """

    def convert(content: bytes, where: str) -> bytes:
        import numpy as np

        label = read(content, where)
        present = _present(label)
        unknown = [one for one in present if one not in ids]
        if unknown:
            raise DataError(
                "label ids out of range",
                where=where,
                found=f"id {unknown[-1]}",
                expected=expected,
                advice=advice or "use the label files as they were published",
            )
        table = np.zeros(max(present) + 1, np.uint8)
        table[present] = [ids[one] for one in present]
        return _png(table[label])

    return convert


def _present(label: np.ndarray) -> list[int]:
    import numpy as np

    if label.dtype == np.uint8:  # counting is several times faster than sorting
        return [int(one) for one in np.flatnonzero(np.bincount(label.ravel()))]
    return [int(one) for one in np.unique(label)]


def _png(label: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, format="PNG")
    return buffer.getvalue()
