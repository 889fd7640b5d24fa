"""The Python layer: the user's code in a net, and SpatialDropout, which ENet's fork ships as such code."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from rlossctl.errors import NetError
from rlossctl.net import pycaffe
from rlossctl.net.layer import DataLayer, GuessedShape, Layer, Setup, Shape
from rlossctl.net.permission import BUILT_IN, check_permission
from rlossctl.net.registry import register
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.trust import allows_python_layers

IMAGES = ("data", "image", "images", "color", "hha")  # of FCN's and Fast R-CNN's data layers
BOXES = ("gt_boxes", "rois")


@register("Python", bottoms=(0, None), tops=(0, None))
class Python(Layer):
    """Runs the class `layer` of the user's `module` on numpy arrays, as pycaffe does (python_layer.hpp).

    The module is a program. It is loaded only with permission (--allow-python-layers, or with
    rlossctl.python_layers_allowed()), from PYTHONPATH, the prototxt's folder or the working directory, in
    this order. It may `import caffe`, which has Layer, TRAIN and TEST. Without bottoms it is a data layer. If
    the caller gives image_shape but no permission, such a layer does not run: its tops get shapes by their
    names (see `FedData`) and are fed like an Input layer's. Never exported. ENet's spatial_dropout is built
    in and needs no permission: whole channels are dropped with probability p; phase and p come from
    param_str, and TEST also multiplies by 1 / (1 - p). Not reproduced: ENet's gradient of every image goes to
    the channels that the batch's last image kept.
    """

    def __new__(cls, setup: Setup) -> Any:  # one of the classes below
        param = setup.message.python_param
        if (param.module, param.layer) == BUILT_IN:
            return SpatialDropout(setup)
        if setup.bottoms:
            return UserLayer(setup)
        fed = setup.options.get("image_shape") and not allows_python_layers()
        return FedData(setup) if fed else UserData(setup)


class SpatialDropout(Layer):
    """See `Python`."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if len(setup.bottoms) != 1 or setup.tops != 1 or len(setup.bottoms[0]) != 4:
            raise setup.error("needs one 4-D bottom and one top", found=setup.bottoms)
        text = setup.message.python_param.param_str
        try:
            param = ast.literal_eval(text)
            self.ratio, self.drops = float(param["p"]), param["phase"] == "TRAIN"
        except (ValueError, SyntaxError, KeyError, TypeError):
            self.ratio = 0.0
        if not 0 < self.ratio < 1:
            raise setup.error(
                "its param_str does not say what to drop",
                found=repr(text),
                expected="{'phase': 'TRAIN' or 'TEST', 'p': a number between 0 and 1}",
            )
        if self.drops:
            self.unexportable = "its param_str says TRAIN, so it draws at random"

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.ratio, training=True) if self.drops else x / (1 - self.ratio)


class UserLayer(Layer):
    """A Python layer with bottoms: the user's forward and backward are one autograd step."""

    compilable = False
    unexportable = "it runs the user's code, which cannot be part of a converted model"

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.code = UserCode(setup)
        for blob in self.code.blobs:
            self.add_blob(blob.shape, _copier(blob.data))

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if bottoms[0].is_meta:
            shapes = self.code.reshape([tuple(bottom.shape) for bottom in bottoms])
            return tuple(torch.empty(shape, device="meta") for shape in shapes)
        return _Run.apply(self.code, len(bottoms), *bottoms, *self.blobs)


class UserData(DataLayer):
    """A Python layer without bottoms: the user's forward supplies the batches."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.source: UserCode = UserCode(setup)
        if self.source.blobs:
            raise setup.error("learns blobs, which a layer without bottoms cannot", found="self.blobs")

    def shapes(self) -> list[Shape]:
        return self.source.reshape([])


class FedData(DataLayer):
    """A Python layer without bottoms that is not run: its tops are given from outside, like Input's.

    The first top is the image, (1, C, H, W) as image_shape says, and so is every top with an image's name.
    The names that public nets use give the shapes of other tops: im_info (1, 3), boxes (1, 5). All other tops
    count as labels, (1, 1, H, W) or the shape that the loss reading them needs.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        shape = setup.options.get("image_shape")
        assert shape is not None  # see Python.__new__
        channels, *size = shape
        known = {**dict.fromkeys(IMAGES, (1, channels, *size)), "im_info": (1, 3)}
        known |= dict.fromkeys(BOXES, (1, 5))
        tops = list(setup.message.top)
        self.sizes: list[Shape] = [known.get(top, GuessedShape((1, 1, *size))) for top in tops]
        self.sizes[:1] = [(1, channels, *size)] if tops else []

    def shapes(self) -> list[Shape]:
        return self.sizes


class UserCode:
    """An object of the user's class with its blobs, called as Caffe calls it. Also a source of batches.

    Attributes:
        layer: the object, derived from caffe.Layer.
        passes: how often its forward has run.
    """

    def __init__(self, setup: Setup) -> None:
        self._error = setup.error
        self.layer = _load(setup)
        self._bottoms = [pycaffe.Blob(shape) for shape in setup.bottoms]
        self._tops = [pycaffe.Blob() for _ in range(setup.tops)]
        self.passes = 0
        self._call("setup", self._bottoms, self._tops)

    @property
    def blobs(self) -> Sequence[pycaffe.Blob]:
        """The learned blobs that the user's setup made."""
        return self.layer.blobs

    def reshape(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Shapes of the tops for these shapes of the bottoms."""
        for bottom, shape in zip(self._bottoms, shapes, strict=True):
            bottom.reshape(*shape)
        self._call("reshape", self._bottoms, self._tops)
        return [top.shape for top in self._tops]

    def forward(self, bottoms: Sequence[np.ndarray], blobs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Runs one pass and returns the tops."""
        self.passes += 1
        for blob, values in zip(self.blobs, blobs, strict=True):
            blob.data[...] = values
        for bottom, values in zip(self._bottoms, bottoms, strict=True):
            bottom.reshape(*values.shape)
            bottom.data[...] = values
        self._call("reshape", self._bottoms, self._tops)
        self._call("forward", self._bottoms, self._tops)
        return [top.data.copy() for top in self._tops]

    def backward(self, number: int, diffs: Sequence[np.ndarray], down: list[bool]) -> list[np.ndarray]:
        """Gradients of the bottoms and blobs from the tops' gradients, after pass `number`."""
        if number != self.passes:
            raise self._error(
                "a second forward pass came before the backward pass of the first",
                found=f"pass {self.passes}",
                expected=f"pass {number}: the user's code remembers only its last pass",
            )
        for top, diff in zip(self._tops, diffs, strict=True):
            top.diff[...] = diff
        targets = [*self._bottoms, *self.blobs]
        for blob in targets:
            blob.diff[...] = 0
        self._call("backward", self._tops, down, self._bottoms)
        return [blob.diff.copy() for blob in targets]

    def next_batch(self) -> list[np.ndarray]:
        """The tops of a layer without bottoms."""
        return self.forward([], [])

    def state(self) -> dict[str, object]:
        """Empty: the state of the user's code is unknown; a resumed run starts it again, as in Caffe."""
        return {}

    def restore(self, state: dict[str, object]) -> None:
        """Nothing to restore."""

    def _call(self, method: str, *arguments: object) -> None:
        try:
            getattr(self.layer, method)(*arguments)
        except Exception as error:  # whatever the user's code raises
            failed = self._error(f"the user's code failed in {method}", found=_told(error))
            raise _of_user(failed) from error


class _Run(torch.autograd.Function):
    """The user's forward and backward; tensors pass through the CPU's memory."""

    @staticmethod
    def forward(ctx: Any, code: UserCode, bottoms: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = [tensor.detach().cpu().numpy() for tensor in tensors]
        tops = code.forward(arrays[:bottoms], arrays[bottoms:])
        ctx.code, ctx.number, ctx.device = code, code.passes, tensors[0].device
        ctx.down = list(ctx.needs_input_grad[2 : 2 + bottoms])
        return tuple(torch.from_numpy(top).to(ctx.device) for top in tops)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *diffs: Tensor) -> tuple[Tensor | None, ...]:
        found = ctx.code.backward(ctx.number, [diff.cpu().numpy() for diff in diffs], ctx.down)
        return None, None, *(torch.from_numpy(array).to(ctx.device) for array in found)


def _load(setup: Setup) -> Any:
    """An object of the class that the layer names, if the user allows it."""
    param = setup.message.python_param
    what = f"the class {param.layer} of the Python module {param.module}"
    check_permission([(setup.message, setup.where)])
    folders = [Path(setup.where.rpartition(":")[0]).resolve().parent, Path.cwd()]
    try:
        layer = _made(getattr(pycaffe.import_module(param.module, folders), param.layer), setup.message)
        layer.param_str = layer.param_str_ = param.param_str
        layer.phase = pycaffe.TRAIN if setup.phase == "TRAIN" else pycaffe.TEST
        if not hasattr(layer, "blobs"):  # a class whose __init__ does not call caffe.Layer's
            layer.blobs = pycaffe.BlobVec()
    except Exception as error:  # whatever the user's code raises
        failed = setup.error(
            f"{what} cannot be loaded",
            found=_told(error),
            expected="a class derived from caffe.Layer",
            advice="set PYTHONPATH to the module's folder; port Python 2 code to Python 3",
        )
        raise _of_user(failed) from error
    return layer


def _made(kind: Callable[..., Any], message: LayerParameter) -> Any:
    """An object of the user's class, which may take the layer's message, as Caffe gives it."""
    try:
        inspect.signature(kind).bind(message)
    except TypeError:
        return kind()
    return kind(message)


def _of_user(error: NetError) -> pycaffe.UserCodeError:
    return pycaffe.UserCodeError(
        error.message, where=error.where, found=error.found, expected=error.expected, advice=error.advice
    )


def _copier(values: np.ndarray) -> Callable[[Tensor], object]:
    start = torch.from_numpy(values.copy())
    return lambda blob: blob.copy_(start)


def _told(error: Exception) -> str:
    """An exception from the user's code in one line, with file and line."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        place = f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError):
        place = ""  # its text has one
    return f"{type(error).__name__}: {error}{place}"
