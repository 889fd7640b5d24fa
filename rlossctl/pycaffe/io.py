"""caffe.io: images, their preprocessing, and arrays as messages (python/caffe/io.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from rlossctl.pycaffe.proto import caffe_pb2
from rlossctl.pycaffe.resizing import resized, zoomed

# The weights of red, green and blue in a grey value (skimage's rgb2gray).
GREY = np.array([0.2125, 0.7154, 0.0721])


def blobproto_to_array(blob: Any, return_diff: bool = False) -> np.ndarray:
    """The values of a BlobProto, or its gradients, in its shape.

    Raises:
        ValueError: the number of values is not that of the shape.
    """
    values = np.array(blob.diff if return_diff else blob.data)
    if any(blob.HasField(name) for name in ("num", "channels", "height", "width")):
        return values.reshape(blob.num, blob.channels, blob.height, blob.width)
    return values.reshape(tuple(blob.shape.dim))


def array_to_blobproto(arr: np.ndarray, diff: np.ndarray | None = None) -> Any:
    """An array as a BlobProto; `diff`, if given, has the same shape."""
    blob = caffe_pb2.BlobProto()
    blob.shape.dim.extend(arr.shape)
    blob.data.extend(arr.astype(float).flat)
    if diff is not None:
        blob.diff.extend(diff.astype(float).flat)
    return blob


def arraylist_to_blobprotovector_str(arraylist: Iterable[np.ndarray]) -> bytes:
    """Arrays as a serialized BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.blobs.extend(array_to_blobproto(array) for array in arraylist)
    found: bytes = vector.SerializeToString()
    return found


def blobprotovector_str_to_arraylist(text: bytes) -> list[np.ndarray]:
    """The arrays of a serialized BlobProtoVector."""
    vector = caffe_pb2.BlobProtoVector()
    vector.ParseFromString(text)
    return [blobproto_to_array(blob) for blob in vector.blobs]


def array_to_datum(arr: np.ndarray, label: int | None = None) -> Any:
    """An array [C, H, W] as a Datum: uint8 as bytes, other types as floats.

    Raises:
        ValueError: it does not have three axes.
    """
    if arr.ndim != 3:
        raise ValueError("Incorrect array shape.")
    datum = caffe_pb2.Datum()
    datum.channels, datum.height, datum.width = arr.shape
    if arr.dtype == np.uint8:
        datum.data = arr.tobytes()
    else:
        datum.float_data.extend(arr.astype(float).flat)
    if label is not None:
        datum.label = label
    return datum


def datum_to_array(datum: Any) -> np.ndarray:
    """The array [C, H, W] of a Datum; its label is datum.label."""
    shape = (datum.channels, datum.height, datum.width)
    if len(datum.data):
        return np.frombuffer(datum.data, dtype=np.uint8).reshape(shape).copy()
    return np.array(datum.float_data).astype(float).reshape(shape)


class Transformer:
    """Prepares images for the inputs of a net, each step only where it was set.

    Args:
        inputs: input name -> its shape (N, C, H, W).
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def preprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """An image [H', W', C] as the net's input: resize, transpose, swap channels, times raw_scale, minus
        the mean, times input_scale. Returns float32."""
        self._check(in_)
        found = data.astype(np.float32, copy=False)
        size = tuple(self.inputs[in_][2:])
        if found.shape[:2] != size:
            found = resize_image(found, size)
        if in_ in self.transpose:
            found = found.transpose(self.transpose[in_])
        if in_ in self.channel_swap:
            found = found[list(self.channel_swap[in_]), :, :]
        # As in Caffe, the steps below write into the array: into the caller's, if no step before made a copy.
        if in_ in self.raw_scale:
            found *= self.raw_scale[in_]
        if in_ in self.mean:
            found -= self.mean[in_]
        if in_ in self.input_scale:
            found *= self.input_scale[in_]
        return found

    def deprocess(self, in_: str, data: np.ndarray) -> np.ndarray:
        """The image of a net's input: the steps of `preprocess` backwards, but for the resizing."""
        self._check(in_)
        found = data.copy().squeeze()
        if in_ in self.input_scale:
            found /= self.input_scale[in_]
        if in_ in self.mean:
            found += self.mean[in_]
        if in_ in self.raw_scale:
            found /= self.raw_scale[in_]
        if in_ in self.channel_swap:
            found = found[np.argsort(self.channel_swap[in_]), :, :]
        if in_ in self.transpose:
            found = found.transpose(np.argsort(self.transpose[in_]))
        return found

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """The order of the axes: (2, 0, 1) makes [C, H, W] of [H, W, C]."""
        self._check(in_)
        if len(order) != len(self.inputs[in_]) - 1:
            raise Exception("Transpose order needs to have the same number of dimensions as the input.")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """The order of the channels, after the transposition: (2, 1, 0) makes BGR of RGB."""
        self._check(in_)
        if len(order) != self.inputs[in_][1]:
            raise Exception("Channel swap needs to have the same number of dimensions as the input channels.")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """What is multiplied before the mean is subtracted: 255 for a net of pixels 0 to 255."""
        self._check(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: np.ndarray) -> None:
        """What is subtracted: a value per channel, or an array [C, H, W], resized to the input's size.

        Raises:
            ValueError: it has other channels, or other axes.
        """
        self._check(in_)
        channels, *size = self.inputs[in_][1:]
        if mean.ndim == 1:
            if len(mean) != channels:
                raise ValueError("Mean channels incompatible with input.")
            mean = mean[:, np.newaxis, np.newaxis]
        else:
            shape = (1, *mean.shape) if mean.ndim == 2 else mean.shape
            if len(shape) != 3:
                raise ValueError("Mean shape invalid")
            if shape != (channels, *size):
                mean = resize_image(mean.reshape(shape).transpose(1, 2, 0), size).transpose(2, 0, 1)
        self.mean[in_] = mean

    def set_input_scale(self, in_: str, scale: float) -> None:
        """What is multiplied after everything else."""
        self._check(in_)
        self.input_scale[in_] = scale

    def _check(self, in_: str) -> None:
        if in_ not in self.inputs:
            raise Exception(f"{in_} is not one of the net inputs: {self.inputs}")


def load_image(filename: Any, color: bool = True) -> np.ndarray:
    """A photo as float32 [H, W, 3] in RGB, 0 to 1; without `color` [H, W, 1]."""
    with Image.open(filename) as file:
        pixels = _pixels(file)
    image = pixels / np.float64(65535 if pixels.dtype != np.uint8 else 255)
    if image.ndim == 3 and not color:
        image = image[..., :3] @ GREY
    image = image.astype(np.float32)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
        return np.tile(image, (1, 1, 3)) if color else image
    return image[:, :, :3]


def resize_image(im: np.ndarray, new_dims: Sequence[int] | np.ndarray, interp_order: int = 1) -> np.ndarray:
    """An image [H, W, C] in another height and width, as float32.

    One or three channels are resized as skimage did without smoothing (see `resizing`), other numbers with
    scipy.ndimage.zoom. Caffe does the same.
    """
    size = (int(new_dims[0]), int(new_dims[1]))
    if im.shape[-1] not in (1, 3):
        return zoomed(im, size, interp_order).astype(np.float32)
    low, high = im.min(), im.max()
    if high <= low:
        return np.full((*size, im.shape[-1]), low, np.float32)
    scaled = resized((im - low) / (high - low), size, interp_order)
    found: np.ndarray = (scaled * (high - low) + low).astype(np.float32)
    return found


def oversample(images: Sequence[np.ndarray], crop_dims: Sequence[int] | np.ndarray) -> np.ndarray:
    """Ten crops of each image [H, W, C]: the corners and the centre, then their mirror images.

    Returns:
        float32 (10 * N, height, width, C).
    """
    height, width = (int(size) for size in crop_dims)
    rows, columns = images[0].shape[0] - height, images[0].shape[1] - width
    # Caffe computes the centre's corner as a float and cuts its fraction off.
    centre = (int(images[0].shape[0] / 2.0 - height / 2.0), int(images[0].shape[1] / 2.0 - width / 2.0))
    corners = [(0, 0), (0, columns), (rows, 0), (rows, columns), centre]
    crops = [
        [image[row : row + height, column : column + width] for row, column in corners] for image in images
    ]
    ten = [each for five in crops for each in (*five, *(crop[:, ::-1] for crop in five))]
    return np.asarray(ten, dtype=np.float32)


def _pixels(file: Image.Image) -> np.ndarray:
    """uint8 or 16-bit pixels [H, W] or [H, W, C]; colours of a palette as RGB."""
    if file.mode == "P":
        file = file.convert("RGBA" if "transparency" in file.info else "RGB")
    elif file.mode in ("1", "LA", "CMYK", "YCbCr"):
        file = file.convert({"1": "L", "LA": "RGBA"}.get(file.mode, "RGB"))
    return np.asarray(file)
