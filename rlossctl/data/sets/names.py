"""Class names, from a known data set or from a file."""

from __future__ import annotations

from rlossctl.data.sets.registry import data_sets
from rlossctl.errors import DataError
from rlossctl.files import LARGEST_LISTING, read_regular


def class_names(text: str | None) -> list[str] | None:
    """Class names of "voc" or "camvid", or from a text file with one name per line; None gives None.

    Raises:
        DataError: the file does not exist or is not text.
    """
    known = data_sets()
    if text is None:
        return None
    if text in known:
        return list(known[text].classes)
    try:
        lines = read_regular(text, LARGEST_LISTING).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "the class names cannot be read",
            where=text,
            found=str(error),
            expected=f"{', '.join(known)}, or a text file with one name per line",
            advice="check the file's name",
        ) from error
    return [line.strip() for line in lines if line.strip()]
