"""Published models as ONNX: each is converted, and every blob compared."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import rlossctl
from rlossctl.converters import OnnxOptions
from rlossctl.data.preprocess import Preprocess
from rlossctl.evaluation import Predictor
from rlossctl.evaluation.running.torch_runner import TorchRunner

MODELS = {
    "wechat_sr": ("wechat_sr/sr.prototxt", "wechat_sr/sr.caffemodel"),
    "det1": ("mtcnn_det1/det1.prototxt", "mtcnn_det1/det1.caffemodel"),
    "lenet_v1": ("lenet_v1/lenet.prototxt", "lenet_v1/lenet_iter_10000"),
    "lenet": ("lenet/lenet.prototxt", "lenet/lenet_iter_10000.caffemodel"),
    "cifar10": (
        "cifar10_quick/cifar10_quick.prototxt",
        "cifar10_quick/cifar10_quick_iter_5000.caffemodel.h5",
    ),
    "resnet50_stem": ("resnet50_stem/test.prototxt", "resnet50_stem/test.caffemodel"),
}
ENET = ("enet_cityscapes/enet_deploy_final.prototxt", "enet_cityscapes/cityscapes_weights.caffemodel")
PHOTO = "enet_cityscapes/munich_000000_000019_leftImg8bit.png"


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_blob_is_the_nets(shared, tmp_path, name):
    prototxt, weights = (shared / "data/models" / file for file in MODELS[name])
    options = OnnxOptions(fold=True)
    found = rlossctl.convert(prototxt, weights, tmp_path / "m.onnx", onnx_options=options)
    assert found.worst.error < 1e-5
    assert len({entry.blob for entry in found.comparisons}) >= 3


@pytest.mark.slow
def test_enet_answers_a_photo_with_the_labels_that_eval_predicts(shared, tmp_path):
    models = shared / "data/models"
    prototxt, weights = (models / file for file in ENET)
    out = tmp_path / "enet.onnx"
    options = OnnxOptions(preprocessing=True, mean=(0.0, 0.0, 0.0))
    rlossctl.convert(prototxt, weights, out, onnx_options=options)
    with Image.open(models / PHOTO) as picture:
        rgb = np.asarray(picture.convert("RGB").resize((1024, 512)))
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (labels,) = session.run(None, {session.get_inputs()[0].name: rgb[None]})
    runner = TorchRunner(rlossctl.load_net(prototxt, weights), "cpu")
    expected = (
        Predictor(runner, Preprocess(crop=(512, 1024))).predict(np.ascontiguousarray(rgb[:, :, ::-1])).labels
    )
    # Where two values of a pooling window differ by rounding only, Upsample's place is chance.
    assert (labels[0] == expected).mean() > 0.9999
