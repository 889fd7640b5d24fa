"""Label pictures as people have them: colour-coded, with a palette, of 8 or 16 bits."""

from __future__ import annotations

import numpy as np

from rlossctl.data.images import open_picture
from rlossctl.data.labelling.idmaps import IdMap, ids_of_colours
from rlossctl.data.palette import Palette
from rlossctl.errors import DataError


def read_picture(data: bytes, where: str, palette: Palette | None, ids: IdMap) -> np.ndarray:
    """The ids in a picture, uint8 [H, W].

    Args:
        palette: colours to ids, for colour pictures and for pictures with a palette; without it, the latter
            give their indices.
        ids: maps the ids found.

    Raises:
        DataError: the picture cannot be read, is a JPEG file or a colour picture without a palette, or holds
            colours or ids that have no place.
    """
    with open_picture(data, where) as image:
        if image.format == "JPEG":
            raise _refused(where, "a JPEG file, whose compression changes ids and colours", "PNG or TIFF")
        colour = image.mode in ("RGB", "RGBA", "RGBX") or (image.mode in ("P", "PA") and palette is not None)
        if colour and palette is None:
            raise _refused(
                where, f"a colour picture (mode {image.mode})", "--palette NAME, which gives colours ids"
            )
        if colour and palette is not None:
            found = ids_of_colours(np.asarray(image.convert("RGB")), palette, ids, where)
        elif image.mode in ("L", "P", "1", "I") or image.mode.startswith("I;16"):
            found = np.asarray(image).astype(np.int64)
        else:
            raise _refused(where, f"a picture of mode {image.mode}", "one channel of ids, or colours")
    return ids.apply(found, where)


def _refused(where: str, found: str, expected: str) -> DataError:
    return DataError(
        "this picture does not tell class ids",
        where=where,
        found=found,
        expected=expected,
        advice="use the original annotation",
    )
