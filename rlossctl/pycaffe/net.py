"""caffe.Net: a net as pycaffe's scripts use it (python/caffe/pycaffe.py, _caffe.cpp)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import numpy as np

from rlossctl.net.build import build_phase
from rlossctl.net.pycaffe import Blob, UserCodeError
from rlossctl.net.saved import hdf5_layers, layer_records
from rlossctl.prototxt import load_net_file
from rlossctl.prototxt.messages import Phase
from rlossctl.pycaffe import mode
from rlossctl.pycaffe.age_2014 import Net2014
from rlossctl.pycaffe.arguments import NetArguments, Path, checked_file
from rlossctl.pycaffe.consent import consented
from rlossctl.pycaffe.kept import Callback, KeptNet
from rlossctl.pycaffe.named import Named
from rlossctl.weights import load_weights, write_caffemodel, write_caffemodel_h5


class Net(Net2014):
    """A net in one phase.

        Net("deploy.prototxt", "net.caffemodel", caffe.TEST)
        Net("deploy.prototxt", caffe.TEST, level=0, stages=["deploy"], weights="net.caffemodel")

    `blobs[name].data` and `.diff` are arrays that may be written; on the CPU they are the memory that the
    layers compute on.

    Raises:
        RuntimeError: a file cannot be opened.
        RlossError: it cannot be used.
    """

    def __init__(self, *args: Any, **keywords: Any) -> None:
        given = NetArguments.read(*args, **keywords)
        model = checked_file(given.model)
        with user_errors(), consented():
            built = build_phase(
                load_net_file(model), Phase.Name(given.phase), level=given.level, stages=given.stages
            )
        self._set(KeptNet(built))
        if given.weights is not None:
            self.copy_from(checked_file(given.weights))

    @classmethod
    def of(cls, kept: KeptNet) -> Net:
        """A built net, such as a solver's."""
        net = cls.__new__(cls)
        net._set(kept)
        return net

    def _set(self, kept: KeptNet) -> None:
        wiring = kept.wiring
        names = [run.place.name for run in wiring.runs]
        self._net = kept
        self.phase = int(Phase.Value(kept.phase))
        self._blob_names = list(wiring.names)
        self._blobs = list(wiring.blobs)
        self._blob_loss_weights = wiring.weights()
        self._layer_names = names
        self._inputs = list(wiring.inputs)
        self._outputs = list(wiring.outputs)
        self.layers = [run.shown for run in wiring.runs]
        self.blobs: Named[Blob] = Named(zip(self._blob_names, self._blobs, strict=True))
        self.blob_loss_weights = Named(zip(self._blob_names, self._blob_loss_weights, strict=True))
        self.layer_dict = Named(zip(names, self.layers, strict=True))
        self.params = Named(
            (name, layer.blobs) for name, layer in self.layer_dict.items() if len(layer.blobs)
        )
        self.inputs = [self._blob_names[index] for index in self._inputs]
        self.outputs = [self._blob_names[index] for index in self._outputs]
        self.top_names = self._names(wiring.tops)
        self.bottom_names = self._names(wiring.bottoms)

    def forward(
        self,
        blobs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> dict[str, np.ndarray]:
        """Runs layers `start` to `end`, by default all.

        Args:
            blobs: returned besides the outputs, or besides the tops of `end`.
            inputs: all inputs by name, if any; they replace what the blobs hold.

        Returns:
            Blob name -> its `data`.
        """
        self._fill(inputs, self.inputs, "data", "Input blob arguments do not match net inputs.", "Input")
        first = 0 if start is None else self._layer_names.index(start)
        last = len(self.layers) - 1 if end is None else self._layer_names.index(end)
        self._forward(first, last)
        names = self.outputs if end is None else self.top_names[end]
        return {name: self.blobs[name].data for name in (*names, *(blobs or ()))}

    def backward(
        self,
        diffs: Sequence[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **given: Any,
    ) -> dict[str, np.ndarray]:
        """Runs the backward passes of layers `start` down to `end`, by default of all.

        Args:
            diffs: returned besides the gradients of the inputs, or besides those of the bottoms of `end`.
            given: gradients of all outputs by name, if any.

        Returns:
            Blob name -> its `diff`.
        """
        self._fill(given, self.outputs, "diff", "Top diff arguments do not match net outputs.", "Diff")
        first = len(self.layers) - 1 if start is None else self._layer_names.index(start)
        last = 0 if end is None else self._layer_names.index(end)
        self._backward(first, last)
        names = self.inputs if end is None else self.bottom_names[end]
        return {name: self.blobs[name].diff for name in (*names, *(diffs or ()))}

    def forward_all(self, blobs: Sequence[str] | None = None, **inputs: Any) -> dict[str, np.ndarray]:
        """`forward` over any number of rows, batch by batch; the last batch is filled up with zeros."""
        rows = len(next(iter(inputs.values())))
        return self._collect((self.forward(blobs, **batch) for batch in self._batch(inputs)), rows)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **given: Any
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """`forward` and `backward` over any number of rows; `given` are inputs and gradients of outputs."""
        rows = len(next(iter(given.values())))
        into = list(self._batch({name: given[name] for name in self.inputs if name in given}))
        back = list(self._batch({name: given[name] for name in self.outputs if name in given}))
        all_blobs, all_diffs = [], []
        nothing: dict[str, Any] = {}
        for inputs, gradients in zip_longest(into, back, fillvalue=nothing):
            all_blobs.append(_copied(self.forward(blobs, **inputs)))
            all_diffs.append(_copied(self.backward(diffs, **gradients)))
        return self._collect(all_blobs, rows), self._collect(all_diffs, rows)

    def reshape(self) -> None:
        """Gives all blobs the shapes that follow from those of the inputs."""
        with user_errors():
            self._net.reshape_all()

    def copy_from(self, weights: Path) -> None:
        """Copies weights by layer name from a caffemodel.

        Raises:
            RuntimeError: the file cannot be opened.
            WeightsError: it does not fit.
        """
        name = checked_file(weights)
        self._net.write_back()
        self._net.copy_model(load_weights(name), name)
        self._net.weights_changed()

    def load_hdf5(self, weights: Path) -> None:
        """As `copy_from`, from an HDF5 file."""
        self.copy_from(weights)

    def share_with(self, other: Net) -> None:
        """Layers with the same names use the other net's weights from here on (ShareTrainedLayersWith)."""
        other._net.write_back()
        self._net.share_with(other._net)

    def save(self, filename: Path) -> None:
        """Writes a binary caffemodel."""
        self._net.write_back()
        write_caffemodel(filename, self._net.name, layer_records(self._net))

    def save_hdf5(self, filename: Path) -> None:
        """Writes an HDF5 caffemodel."""
        self._net.write_back()
        write_caffemodel_h5(filename, hdf5_layers(self._net))

    def clear_param_diffs(self) -> None:
        """Sets the gradients of the learned blobs, to which backward passes add, to 0."""
        self._net.clear_param_diffs()

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """The next batches of a net whose first layer is MemoryData.

        Raises:
            RuntimeError: it is another layer.
        """
        first = self._net.layers[0] if self._net.layers else None
        if first is None or first.type != "MemoryData":
            raise RuntimeError("set_input_arrays may only be called if the first layer is a MemoryDataLayer")
        self._net.sources[first.name].feed(data, labels)  # type: ignore[attr-defined]

    def before_forward(self, callback: Callback) -> None:
        """Calls a function with a layer's number before the layer's forward pass."""
        self._net.callbacks.before_forward.append(callback)

    def after_forward(self, callback: Callback) -> None:
        """Calls a function with a layer's number after the layer's forward pass."""
        self._net.callbacks.after_forward.append(callback)

    def before_backward(self, callback: Callback) -> None:
        """Calls a function with a layer's number before the layer's backward pass."""
        self._net.callbacks.before_backward.append(callback)

    def after_backward(self, callback: Callback) -> None:
        """Calls a function with a layer's number after the layer's backward pass."""
        self._net.callbacks.after_backward.append(callback)

    def _forward(self, start: int, end: int) -> float:
        """Runs layers by number, both ends included; returns their loss."""
        self._net.move(mode.device())
        self._net.write_back()
        self._net.forward_from_to(start, end)
        return self._net.loss(start, end)

    def _backward(self, start: int, end: int) -> None:
        self._net.move(mode.device())
        self._net.write_back()
        self._net.backward_from_to(start, end)

    def _bottom_ids(self, layer: int) -> list[int]:
        return list(self._net.wiring.bottoms[layer])

    def _top_ids(self, layer: int) -> list[int]:
        return list(self._net.wiring.tops[layer])

    def _fill(
        self, given: Mapping[str, np.ndarray], names: Sequence[str], kind: str, mismatch: str, what: str
    ) -> None:
        if not given:
            return
        if set(given) != set(names):
            raise Exception(mismatch)
        for name, values in given.items():
            blob = self.blobs[name]
            if values.shape[0] != blob.shape[0]:
                raise Exception(f"{what} is not batch sized")
            getattr(blob, kind)[...] = values

    def _batch(self, blobs: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
        """Rows in batches of the net's size; the last one is filled up with zeros."""
        if not blobs:
            return
        size = self._blobs[0].shape[0]
        for start in range(0, len(next(iter(blobs.values()))), size):
            yield {name: _filled(values[start : start + size], size) for name, values in blobs.items()}

    @staticmethod
    def _collect(batches: Iterable[Mapping[str, np.ndarray]], rows: int) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {}
        for batch in batches:
            for name, values in batch.items():
                found.setdefault(name, []).extend(values.copy())
        return {name: np.asarray(values[:rows]) for name, values in found.items()}

    def _names(self, numbers: Sequence[Sequence[int]]) -> OrderedDict[str, list[str]]:
        rows = ([self._blob_names[index] for index in each] for each in numbers)
        return Named(zip(self._layer_names, rows, strict=True))


@contextmanager
def user_errors() -> Iterator[None]:
    """An exception of a Python layer's code is what the script sees, as in Caffe."""
    try:
        yield
    except UserCodeError as error:
        assert error.__cause__ is not None
        raise error.__cause__ from None


def _filled(values: np.ndarray, size: int) -> np.ndarray:
    values = np.asarray(values)
    padding = np.zeros((size - len(values), *values.shape[1:]))
    return np.concatenate([values, padding]) if len(padding) else values


def _copied(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in arrays.items()}
