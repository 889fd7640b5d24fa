"""Reading photos as OpenCV gives them to Caffe (BGR bytes), and label images as class ids."""

from __future__ import annotations

import errno
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image

from rlossctl import remote
from rlossctl.data.tiff import complaints
from rlossctl.errors import DataError, RlossWarning, UsageError
from rlossctl.files import require_regular

# The most pixels that a decoded picture may have: pillow's own limit, or the value of RLOSSCTL_MAX_PIXELS.
LARGEST_PICTURE = 2 * 89_478_485
MAX_PIXELS = "RLOSSCTL_MAX_PIXELS"
EDGE = 128  # the least grey level of a label map that is class 1
_ORIENTATION = 0x0112  # its EXIF tag
# What makes a photo [H, W, C] of each orientation upright.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
_ON_THE_SIDE = (5, 6, 7, 8)
# What pillow raises on files that are missing, truncated, damaged or absurdly large.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# Pillow warns above half of its limit, and of damage that it reads past. What is too large or unreadable is
# refused here; the others are fine.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")


class RotatedPhotos(RlossWarning):
    """Photos are to be turned, as their EXIF orientation says, and are not."""


class Photo(NamedTuple):
    """A photo that was read.

    Attributes:
        pixels: uint8 [H, W, 3] or [H, W, 1].
        orientation: what EXIF says of the file, 1 to 8; 1 is upright.
        turned: whether the pixels were turned by it.
    """

    pixels: np.ndarray
    orientation: int = 1
    turned: bool = False

    @property
    def rotated(self) -> bool:
        """Whether the pixels are not upright."""
        return self.orientation != 1 and not self.turned


def read_photo(
    path: str | os.PathLike[str], *, color: bool = True, upright: bool = False, listed: str | None = None
) -> Photo:
    """As `read_image`, with what EXIF says of the photo's orientation."""
    return _photo(path, _place(path, listed), color, upright)


def decode_photo(data: bytes, where: str, *, upright: bool = False) -> Photo:
    """As `read_photo`, from a file's content; `where` is the place it comes from, for the error."""
    return _photo(io.BytesIO(data), where, True, upright)


def _photo(source: str | os.PathLike[str] | io.BytesIO, where: str, color: bool, upright: bool) -> Photo:
    with _opened(source, where) as image:
        pixels = _pixels(image, color, where)
        orientation = _orientation(image)
    if not upright or orientation == 1:
        return Photo(pixels, orientation)
    return Photo(np.ascontiguousarray(_UPRIGHT[orientation](pixels)), orientation, turned=True)


def read_image(
    path: str | os.PathLike[str], *, color: bool = True, upright: bool = False, listed: str | None = None
) -> np.ndarray:
    """The photo as uint8 [H, W, 3], blue first, or [H, W, 1] grey with `color=False`.

    Like cv::imread: grey is replicated, alpha is dropped, 16 bits become 8, and colours become grey with
    the decoders' own weights. The EXIF orientation is applied where `upright` asks for it: labels have none,
    so they fit one of the two only.

    Args:
        upright: turn and mirror the photo as its EXIF orientation says.
        listed: the line that names the file (`list.txt:12`), for the error.

    Raises:
        DataError: the file is missing, truncated, damaged, too large, or not a picture.
    """
    return read_photo(path, color=color, upright=upright, listed=listed).pixels


def decode_image(data: bytes, where: str, color: bool | None = None) -> np.ndarray:
    """An encoded picture as uint8 [H, W, C], as cv::imdecode gives it to Caffe.

    Args:
        data: the file's content, such as a Datum's `data`.
        where: the place the content comes from, for the error.
        color: True for three channels, False for one, None for the file's own (blue first, alpha last).

    Raises:
        DataError: as for `read_image`.
    """
    with _opened(io.BytesIO(data), where) as image:
        if color is None and image.mode in ("RGBA", "LA", "PA"):
            return np.ascontiguousarray(np.asarray(image.convert("RGBA"))[:, :, [2, 1, 0, 3]])
        return _pixels(image, image.mode not in ("1", "L") if color is None else color, where)


def _pixels(image: Image.Image, color: bool, where: str) -> np.ndarray:
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image, dtype=np.uint16) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3 if color else 1, axis=2)
    if image.mode in ("I", "F"):
        raise DataError(
            "the pixel type is not that of a photo",
            where=where,
            found=f"mode {image.mode} (32 bits per pixel)",
            expected="8 or 16 bits per channel",
            advice="convert the file to 8-bit PNG or JPEG",
        )
    if color:
        return _blue_first(image if image.mode == "RGB" else image.convert("RGB"))
    return _grey(image)[:, :, None].copy()


def _blue_first(image: Image.Image) -> np.ndarray:
    """Reorders the channels with pillow's own packer, in half the time that numpy takes."""
    packed = np.frombuffer(image.tobytes("raw", "BGR"), np.uint8)
    return packed.reshape(image.height, image.width, 3).copy()  # the bytes are read-only


def _grey(image: Image.Image) -> np.ndarray:
    """Luminance as OpenCV's decoders compute it."""
    if image.format == "JPEG":
        image.draft("L", image.size)  # the file's own Y channel
    if image.mode in ("L", "1"):
        return np.asarray(image.convert("L"))
    weights, shift, half = (4899, 9617, 1868), 14, 1 << 13  # icvCvt_BGR2Gray
    if image.format == "PNG":
        weights, shift, half = (9798, 19235, 3735), 15, 0  # png_set_rgb_to_gray, which truncates
    colors = np.asarray(image.convert("RGB"), dtype=np.int32)
    return ((colors @ np.array(weights, dtype=np.int32) + half) >> shift).astype(np.uint8)


def read_label(path: str | os.PathLike[str], *, listed: str | None = None) -> np.ndarray:
    """The label image as uint8 [H, W] of class ids.

    A palette PNG gives its indices, a single-channel file its values. Caffe itself would turn a palette
    into grey levels (cv::imread's grey flag), which are not class ids.

    Raises:
        DataError: the file cannot be read (see `read_image`), is a colour or alpha image or a lossy JPEG, or
            holds ids over 255.
    """
    place = _place(path, listed)
    with _opened(path, place) as image:
        return _ids(image, place)


def read_map(path: str | os.PathLike[str], *, listed: str | None = None) -> np.ndarray:
    """A map of edges or objects as uint8 [H, W] of grey levels, as cv::imread's grey flag gives it.

    Raises:
        DataError: as for `read_image`.
    """
    return read_image(path, color=False, listed=listed)[:, :, 0]


def read_edges(path: str | os.PathLike[str], *, listed: str | None = None) -> np.ndarray:
    """A map of edges or objects as class ids, uint8 [H, W]; raises as `read_map` does."""
    return edge_ids(read_map(path, listed=listed))


def edge_ids(level: np.ndarray) -> np.ndarray:
    """A map's grey levels as class ids: 1 from 128 on, else 0, the nearest integer to level / 255."""
    return (level >= EDGE).astype(np.uint8)


def decode_label(data: bytes, where: str) -> np.ndarray:
    """An encoded label image as class ids; see `read_label`.

    Args:
        data: the file's content.
        where: the place the content comes from, for the error.

    Raises:
        DataError: as for `read_label`.
    """
    with _opened(io.BytesIO(data), where) as image:
        return _ids(image, where)


def _ids(image: Image.Image, where: str) -> np.ndarray:
    if image.format == "JPEG":
        raise _no_label(where, "a JPEG file: its compression changes the ids")
    if image.mode in ("P", "L"):
        return np.array(image, dtype=np.uint8)
    if image.mode == "1":
        return np.array(image).astype(np.uint8)
    if image.mode == "I" or image.mode.startswith("I;16"):
        ids = np.array(image)
        if ids.size and (ids.min() < 0 or ids.max() > 255):
            raise _no_label(where, f"ids from {ids.min()} to {ids.max()}")
        return ids.astype(np.uint8)
    raise _no_label(where, f"a colour image (mode {image.mode})")


def image_size(
    path: str | os.PathLike[str], *, upright: bool = False, listed: str | None = None
) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding it; as for `read_image` with `upright`.

    Raises:
        DataError: as for `read_image`.
    """
    with _opened(path, _place(path, listed)) as image:
        turned = upright and _orientation(image) in _ON_THE_SIDE
        return (image.width, image.height) if turned else (image.height, image.width)


def image_orientation(path: str | os.PathLike[str], *, listed: str | None = None) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) if the file has none.

    Raises:
        DataError: as for `read_image`.
    """
    with _opened(path, _place(path, listed)) as image:
        return _orientation(image)


def _orientation(image: Image.Image) -> int:
    """What EXIF says, 1 where it says nothing that can be understood, as viewers take it."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:  # the pixels may be whole though EXIF is not
        return 1
    return found if found in _UPRIGHT else 1


def check_labels(label: np.ndarray, num_classes: int, ignore: int | None, where: object) -> None:
    """Raises DataError naming `where` and the offending ids unless all are 0..num_classes-1 or `ignore`.

    Args:
        label: ids of any integer or float type and shape.
        num_classes: how many classes the net predicts.
        ignore: the id of unlabelled pixels, or None if there is no such id.
    """
    wrong = (label < 0) | (label >= num_classes)
    if ignore is not None:
        wrong &= label != ignore
    if not wrong.any():
        return
    ids = np.unique(label[wrong])
    shown = ", ".join(f"{value:g}" for value in ids[:10].tolist()) + (", ..." if ids.size > 10 else "")
    raise DataError(
        "label ids out of range",
        where=where,
        found=f"{shown} ({int(wrong.sum())} of {label.size} pixels)",
        expected=f"0..{num_classes - 1}" + ("" if ignore is None else f", or {ignore} for unlabelled"),
        advice="check the number of classes and the ignore label, or that the file holds ids, not colours",
    )


def largest_picture() -> int:
    """The most pixels a picture may have: LARGEST_PICTURE, or the value of RLOSSCTL_MAX_PIXELS.

    Raises:
        UsageError: the variable does not hold a number.
    """
    text = os.environ.get(MAX_PIXELS, str(LARGEST_PICTURE))
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(
            "the limit of pixels is not a number",
            where=f"environment variable {MAX_PIXELS}",
            found=text,
            expected="a whole number of pixels, such as 178956970",
            advice=f"set {MAX_PIXELS} to a number, or unset it",
        )
    return int(text)


def check_picture_size(height: int, width: int, where: str) -> None:
    """Refuses a picture with too many pixels before memory is allocated for it.

    Raises:
        DataError: it has more than `largest_picture()`.
    """
    largest = largest_picture()
    if height * width > largest:
        raise DataError(
            "the picture is too large",
            where=where,
            found=f"{width}x{height} (width x height), {height * width:,} pixels",
            expected=f"at most {largest:,} pixels",
            advice=f"make it smaller, or set the environment variable {MAX_PIXELS} to a larger number",
        )


@contextmanager
def open_picture(data: bytes, where: str) -> Iterator[Image.Image]:
    """An encoded picture as Pillow opens it; raises DataError as `read_image` does."""
    with _opened(io.BytesIO(data), where) as image:
        yield image


@contextmanager
def _opened(source: str | os.PathLike[str] | io.BytesIO, where: str) -> Iterator[Image.Image]:
    heard: list[str] = []
    try:
        if not isinstance(source, io.BytesIO):
            if remote.is_remote(source):
                source = io.BytesIO(remote.read(str(source)))
            else:
                require_regular(source)
        with _pillow_open(source) as image, complaints() as heard:
            check_picture_size(image.height, image.width, where)
            yield image
        if heard:
            raise OSError(errno.EIO, "damaged content")
    except _BROKEN as error:
        raise DataError(
            "the image cannot be read",
            where=where,
            found="; ".join([_reason(error), *heard[:1]]),
            expected="a whole JPEG, PNG or other picture that pillow opens",
            advice="check the root folder and the list (put names with spaces in double quotes), "
            "or fetch the file again",
        ) from error


def _pillow_open(source: str | os.PathLike[str] | io.BytesIO) -> Image.Image:
    if MAX_PIXELS in os.environ and Image.MAX_IMAGE_PIXELS is not None:
        # Pillow itself refuses pictures above twice this number.
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, (largest_picture() + 1) // 2)
    return Image.open(source)


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"


def _place(path: object, listed: str | None) -> str:
    return f"{path} (named in {listed})" if listed else str(path)


def _no_label(where: str, found: str) -> DataError:
    return DataError(
        "this is not a label image",
        where=where,
        found=found,
        expected="one channel of class ids 0..255: a palette PNG or an 8-bit grey PNG",
        advice="map the colours to class ids and save them with rlossctl.data.palette.save_label_png",
    )
