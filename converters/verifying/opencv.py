"""OpenCV's Caffe importer as a third opinion: it shares no code with PyTorch, ONNX Runtime or this package.

Trust it for convolution, pooling, LRN, BatchNorm with Scale, softmax, Eltwise, Crop and Interp by zoom or
size. Do not trust it for Interp that shrinks or pads, pooling with a kernel below its stride, ArgMax, and
losses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rlossctl.converters.verifying.blob_streams import Feed, Shape
from rlossctl.converters.verifying.index_blobs import Blob
from rlossctl.data.preprocess import Preprocess
from rlossctl.errors import NetError
from rlossctl.net import Net
from rlossctl.net.deploy import Deploy
from rlossctl.net.saved import layer_records
from rlossctl.net.values import named_values
from rlossctl.optional import needed
from rlossctl.prototxt import to_text
from rlossctl.prototxt.messages import NetParameter
from rlossctl.weights import write_caffemodel


class OpenCvModel:
    """The deployed part of a net, written as prototxt and caffemodel and run by OpenCV's `dnn`.

    Raises:
        NetError: OpenCV is not installed, or it cannot read the net.
    """

    preprocess: Preprocess | None = None

    def __init__(self, net: Net) -> None:
        cv2 = needed(
            "cv2",
            "--runtime opencv needs OpenCV",
            net.file.path,
            error=NetError,
            otherwise="leave out --runtime (OpenCV 5 has no Caffe importer: opencv-python-headless<5)",
        )
        if not hasattr(cv2.dnn, "readNetFromCaffe"):
            raise NetError(
                "this OpenCV cannot read Caffe nets",
                found=f"OpenCV {cv2.__version__}",
                expected="OpenCV 4",
                advice="pip install 'opencv-python-headless<5'",
            )
        self._errors = cv2.error
        deploy = Deploy(net)
        self._net = self._read(cv2, net, deploy)
        self.label = f"OpenCV {cv2.__version__}"
        values = [value for value in named_values(deploy) if value.top == 0]
        self.values = {value.name: value.layer for value in values}
        self.outputs = list(deploy.output_names)
        self.input_shape: Shape = (None, deploy.input_shape[1], *deploy.input_shape[2:])

    def blobs(self, image: Feed, names: Collection[str]) -> Iterator[Blob]:
        """See BlobModel. OpenCV names a layer's output after the layer."""
        for name, layer in self.values.items():
            if name in names:
                try:
                    self._net.setInput(image)
                    yield Blob(name, self._net.forward(layer))
                except self._errors as error:
                    raise NetError(
                        "OpenCV cannot run the net", where=layer, found=str(error).strip().splitlines()[0]
                    ) from error

    def _read(self, cv2: Any, net: Net, deploy: Deploy) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            prototxt, weights = Path(folder) / "net.prototxt", Path(folder) / "net.caffemodel"
            write_deployed(net, deploy, prototxt, weights)
            try:
                model = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
            except cv2.error as error:
                raise NetError(
                    "OpenCV cannot read the net",
                    where=net.file.path,
                    found=str(error).strip().splitlines()[0],
                    expected="layers that OpenCV knows",
                ) from error
        model.enableFusion(False)
        return model


def write_deployed(net: Net, deploy: Deploy, prototxt: Path, weights: Path) -> None:
    """Writes the deployed part as a prototxt with its own input, and all of the net's weights."""
    kept = {id(layer.message) for layer in deploy.layers}
    param = NetParameter()
    param.name = net.param.name
    param.input.append(deploy.input_name)
    param.input_shape.add().dim.extend(deploy.input_shape)
    param.layer.extend(layer.message for layer in net.layers if id(layer.message) in kept)
    prototxt.write_text(to_text(param))
    write_caffemodel(weights, net.name, layer_records(net))
