"""`rlossctl convert --fold-bn`: SegNet's BN with the statistics of a list of images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import rlossctl
from rlossctl.cli import cli
from rlossctl.converters.folding.bn_statistics import fold_bn
from rlossctl.errors import UsageError
from rlossctl.net.build import load_inference_net
from rlossctl.net.origin import DataOverrides, NetOrigin
from rlossctl.net.saved import layer_records
from rlossctl.weights import load_caffemodel, write_caffemodel

NET = """
layer { name: "data" type: "ImageSegData" top: "data" top: "label" transform_param { crop_size: 9 }
  image_data_param { source: "absent.txt" batch_size: %d label_type: NONE } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "msra" } } }
layer { name: "bn" type: "BN" bottom: "conv" top: "conv"
  bn_param { scale_filler { value: 1.5 } shift_filler { value: 0.25 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score"
  convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: "msra" } } }
layer { name: "bn2" type: "BN" bottom: "score" top: "score" bn_param { scale_filler { value: 1 } } }
"""


@pytest.fixture
def images(tmp_path):
    generator = np.random.default_rng(0)
    for name in "abcd":
        pixels = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "list.txt").write_text("a.png\nb.png\nc.png\nd.png\n")
    return DataOverrides(str(tmp_path / "list.txt"), f"{tmp_path}/")


def load(tmp_path, images, batch: int):
    path = tmp_path / "train.prototxt"
    path.write_text(NET % batch)
    torch.manual_seed(0)
    return load_inference_net(NetOrigin(path), images)


def test_folded_by_one_batch_gives_that_batch_what_learning_gave(tmp_path, images):
    net = load(tmp_path, images, batch=4)
    data = torch.from_numpy(net.sources["data"].next_batch()[0])
    before = net.run({"data": data}, until=["score"]).blobs["score"].detach()
    note = fold_bn(net)
    after = net.run({"data": data}, until=["score"]).blobs["score"]
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert note == ("folded 2 BN layers, using 4 images in batches of 4",)
    alone = net.run({"data": data[:1]}, until=["score"]).blobs["score"]
    torch.testing.assert_close(alone, after[:1])  # no longer of the batch


def test_statistics_are_means_over_batches(tmp_path, images):
    net = load(tmp_path, images, batch=2)
    first = [torch.from_numpy(net.sources["data"].next_batch()[0]) for _ in range(2)]
    seen = [net.layer("conv").module(batch)[0].detach().double() for batch in first]
    pairs = [torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True) for x in seen]
    variance, mean = (sum(pair[index] for pair in pairs) / 2 for index in (0, 1))
    net = load(tmp_path, images, batch=2)
    fold_bn(net)
    scale, shift = (blob.detach().double() for blob in net.params["bn"])
    torch.testing.assert_close(scale, 1.5 / torch.sqrt(variance + 1e-9), rtol=1e-5, atol=0)
    torch.testing.assert_close(shift, 0.25 - mean * scale, rtol=1e-5, atol=1e-5)


def test_the_command_writes_a_net_that_says_inference(tmp_path, images):
    net = load(tmp_path, images, batch=2)
    weights, out = tmp_path / "w.caffemodel", tmp_path / "folded.caffemodel"
    write_caffemodel(weights, net.name, layer_records(net))
    options = ["--fold-bn", images.list, "--root", images.root, "-o", str(out), "--dialect", "segnet"]
    result = CliRunner().invoke(cli, ["convert", str(tmp_path / "train.prototxt"), str(weights), *options])
    assert result.exit_code == 0, result.output
    assert "folded 2 BN layers, using 4 images in batches of 2" in result.output
    text = tmp_path / "net.prototxt"
    rlossctl.convert(out, None, text)
    assert text.read_text().count("bn_mode: INFERENCE") == 2
    with pytest.raises(UsageError, match="nothing to fold"):
        fold_bn(load_inference_net(NetOrigin(text), images))


@pytest.mark.slow
def test_segnet_basic_folds_to_the_recorded_scales(shared, tmp_path, monkeypatch):
    """The weights after step 3 are the recorded folded ones with the recorded statistics taken out again."""
    monkeypatch.chdir(shared / "data" / "segnet_basic")
    recorded, statistics = load_caffemodel("bnfolded_step3.caffemodel"), np.load("inference.npz")
    net = rlossctl.load_net("train.prototxt")
    for layer in recorded.layers:
        arrays = [blob.array().astype(np.float64) for blob in layer.blobs]
        if layer.type == "BN":
            mean, variance = (
                statistics[f"{kind}/{layer.name}"].reshape(1, -1, 1, 1) for kind in ("mean", "var")
            )
            arrays = [arrays[0] * np.sqrt(variance + 1e-9), arrays[1] + mean * arrays[0]]
        for blob, array in zip(net.params.get(layer.name, []), arrays, strict=True):
            blob.detach().copy_(torch.from_numpy(array).reshape(blob.shape))
    weights, out = tmp_path / "step3.caffemodel", tmp_path / "folded.caffemodel"
    write_caffemodel(weights, net.name, layer_records(net))
    rlossctl.convert("train.prototxt", weights, out, fold_bn="list.txt", root="camvid")
    folded = {layer.name: layer.blobs for layer in load_caffemodel(out).layers}
    for layer in recorded.layers:
        for ours, theirs in zip(folded.get(layer.name, []), layer.blobs, strict=True):
            array = theirs.array()
            difference = np.abs(ours.array().reshape(array.shape) - array).max() / np.abs(array).max()
            assert difference < 1e-3, layer.name  # pooling switches: 2e-4 after four of them
    check_inference(out, statistics)


def check_inference(weights, recorded) -> None:
    pixels = np.asarray(Image.open("camvid/train/0001TP_006690.png").convert("RGB"))
    data = np.ascontiguousarray(pixels[:, :, ::-1].transpose(2, 0, 1)[None], dtype=np.float32)
    with torch.no_grad():
        scores = next(
            iter(rlossctl.load_net("inference.prototxt", weights)(data=torch.from_numpy(data)).values())
        )
    found = scores[0].numpy()
    assert (found.argmax(0) != recorded["argmax"]).mean() < 1e-3
    assert np.percentile(np.abs(found[:, ::8, ::8] - recorded["prob_sub8"]), 98) < 1e-3
