"""Checkpoints of other programs as files: how they were saved, what fits a net and what does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from importing import SETTINGS, open_named, opened
from programs.backbones import Bottleneck, MobileNet, ResNetClassifier, drawn
from programs.deeplab import CLASSES, Rloss
from torch import nn

import rlossctl
from rlossctl.converters import importers
from rlossctl.errors import UsageError, WeightsError
from rlossctl.weights.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow  # whole networks


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, torch.Tensor]:
    """The rloss program's smallest state_dict."""
    return drawn(lambda: Rloss("mobilenet")).state_dict()


@pytest.mark.parametrize("stride", ["4", "eight"])
def test_another_output_stride_is_refused(mobilenet, tmp_path, stride):
    torch.save(mobilenet, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="does not have a net with this output stride") as caught:
        rlossctl.convert(tmp_path / "w.pth", None, tmp_path / "o.pt", placeholders={"OUTPUT_STRIDE": stride})
    assert caught.value.found == stride


def test_the_command_line_needs_the_checkpoint_only(mobilenet, tmp_path):
    """Names of DataParallel, the net that comes with rlossctl, its classes from the tensors."""
    wrapped = {f"module.{name}": tensor for name, tensor in mobilenet.items()}
    torch.save({"state_dict": wrapped, "best_pred": np.float64(0.7)}, tmp_path / "best.pth.tar")
    result = rlossctl.convert(tmp_path / "best.pth.tar", None, tmp_path / "net.caffemodel")
    lines = "\n".join(result.lines())
    assert "deeplabv3plus_mobilenet/test" in lines and "saved under state_dict" in lines
    assert "blobs equal bit for bit" in lines
    implied, _ = opened(tmp_path / "best.pth.tar")
    net = rlossctl.load_net(
        implied.origin.prototxt, tmp_path / "net.caffemodel", **implied.origin.placeholders
    )
    np.testing.assert_array_equal(
        net.params["decoder.last_conv.8"][0].detach(), mobilenet["decoder.last_conv.8.weight"]
    )


def test_a_checkpoint_of_the_programs_time(mobilenet, tmp_path):
    """PyTorch before 1.6 wrote no zip; the tensors are the same."""
    new, old = tmp_path / "new.pth.tar", tmp_path / "old.pth.tar"
    for path, zipped in ((new, True), (old, False)):
        content = {"state_dict": mobilenet, "best_pred": np.float64(0.7)}
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        rlossctl.convert(path, None, path.with_suffix(".caffemodel"))
    assert new.with_suffix(".caffemodel").read_bytes() == old.with_suffix(".caffemodel").read_bytes()


def test_statistics_go_on_as_pytorch_would(mobilenet, tmp_path, build):
    """One training pass over a batch moves the stored mean by a tenth, as momentum 0.1 does."""
    torch.save(mobilenet, tmp_path / "w.pth")
    _, source = opened(tmp_path / "w.pth")
    total, _, weight = source.net.params["backbone.features.0.1"]
    np.testing.assert_allclose(total / weight, mobilenet["backbone.features.0.1.running_mean"], rtol=1e-6)
    text = """
      input: "x" input_shape { dim: 2 dim: 32 dim: 3 dim: 3 }
      layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y"
        batch_norm_param { moving_average_fraction: 0.9 } }
    """
    net = build(text)
    for blob, value in zip(net.params["bn"], source.net.params["backbone.features.0.1"], strict=True):
        blob.data.copy_(value)
    twin = nn.BatchNorm2d(32)
    twin.load_state_dict({k: mobilenet[f"backbone.features.0.1.{k}"] for k in twin.state_dict()})
    x = torch.randn(2, 32, 3, 3, generator=torch.Generator().manual_seed(0))
    net(x=x)
    twin.train()(x)
    mean, variance, weight = net.params["bn"]
    torch.testing.assert_close(mean / weight, twin.running_mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(variance / weight, twin.running_var, rtol=1e-5, atol=1e-6)


def test_all_that_does_not_fit_is_named_at_once(mobilenet, tmp_path):
    tensors = dict(mobilenet)
    del tensors["backbone.features.3.conv.1.running_var"]
    tensors["aspp.conv9.weight"] = torch.zeros(2)
    tensors["decoder.bn1.bias"] = torch.zeros(49)
    torch.save({"state_dict": tensors}, tmp_path / "w.pth.tar")
    with pytest.raises(WeightsError, match="does not fit the net") as caught:
        rlossctl.convert(tmp_path / "w.pth.tar", None, tmp_path / "out.caffemodel")
    assert "missing backbone.features.3.conv.1.running_var" in caught.value.found
    assert "unexpected aspp.conv9.weight" in caught.value.found
    assert "decoder.bn1.bias is 49 in the file, 48 in the net" in caught.value.found
    assert not (tmp_path / "out.caffemodel").exists()


def test_another_number_of_classes(mobilenet, tmp_path):
    torch.save({"state_dict": mobilenet}, tmp_path / "w.pth")
    implied, _ = opened(tmp_path / "w.pth")
    settings = {**implied.origin.placeholders, "NUM_LABELS": 21}
    with pytest.raises(WeightsError) as caught:
        rlossctl.convert(
            implied.origin.prototxt, tmp_path / "w.pth", tmp_path / "o.pt", placeholders=settings
        )
    assert f"{CLASSES}x256x1x1 in the file, 21x256x1x1 in the net" in caught.value.found


def test_a_copy_that_differs(mobilenet, tmp_path):
    tensors = dict(mobilenet)
    tensors["backbone.low_level_features.0.0.weight"] = tensors["backbone.features.0.0.weight"] + 1
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"low_level_features\.0\.0\.weight' differs from"):
        rlossctl.convert(tmp_path / "w.pth", None, tmp_path / "out.caffemodel")


@pytest.mark.parametrize("kind", ["resnet101", "mobilenet"])
def test_a_classifier_starts_a_backbone(kind, tmp_path):
    """torchvision's weights in a training net: the backbone is filled, the rest keeps its fillers."""
    make = MobileNet if kind == "mobilenet" else lambda: ResNetClassifier(Bottleneck, [3, 4, 23, 3])
    state = drawn(make).state_dict()
    torch.save(state, tmp_path / "w.pth")
    net = f"deeplabv3plus_{kind}/test"
    source = open_named(net, tmp_path / "w.pth", {**SETTINGS, "NUM_LABELS": 21})
    notes = " ".join(source.notes)
    assert "keep their fillers: aspp.aspp1.atrous_conv" in notes
    assert "not used: " + ("features.18.0" if kind == "mobilenet" else "backbone.fc") in notes.replace(
        "backbone.features", "features"
    )
    name = "features.0.0" if kind == "mobilenet" else "conv1"
    np.testing.assert_array_equal(
        source.net.params[f"backbone.{name}"][0].detach(), state[f"{name}.weight"].flip(1)
    )


def test_a_classifier_starts_an_encoder(tmp_path):
    """In segmentation_models.pytorch a backbone is called so."""
    state = drawn(lambda: ResNetClassifier(Bottleneck, [3, 4, 6, 3])).state_dict()
    torch.save(state, tmp_path / "w.pth")
    source = open_named("unet_resnet50_smp/test", tmp_path / "w.pth", {**SETTINGS, "NUM_LABELS": 21})
    assert "keep their fillers: decoder." in " ".join(source.notes)
    np.testing.assert_array_equal(
        source.net.params["encoder.conv1"][0].detach(), state["conv1.weight"].flip(1)
    )


def test_a_layer_for_the_image_that_is_not_found_is_refused(tmp_path, monkeypatch):
    """Else the net would read blue for red without a word."""
    torch.save(drawn(lambda: ResNetClassifier(Bottleneck, [3, 4, 6, 3])).state_dict(), tmp_path / "w.pth")
    moved = replace(importers.recognise(load_checkpoint(tmp_path / "w.pth")), first="conv0")
    monkeypatch.setattr(importers, "recognise", lambda file: moved)
    with pytest.raises(WeightsError, match="does not fit") as caught:
        open_named("unet_resnet50_smp/test", tmp_path / "w.pth", {**SETTINGS, "NUM_LABELS": 21})
    assert "no layer that reads the image is called conv0" in caught.value.found


def test_a_deeper_classifier_is_refused(tmp_path):
    torch.save(drawn(lambda: ResNetClassifier(Bottleneck, [3, 4, 24, 3])).state_dict(), tmp_path / "w.pth")
    net = "deeplabv3plus_resnet101/test"
    with pytest.raises(WeightsError, match="does not fit") as caught:
        open_named(net, tmp_path / "w.pth", {**SETTINGS, "NUM_LABELS": 21})
    assert "unexpected backbone.layer3.23.conv1.weight" in caught.value.found


def test_an_unknown_program(tmp_path):
    torch.save({"encoder.weight": torch.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="from an unknown program") as caught:
        rlossctl.convert(tmp_path / "w.pth", None, tmp_path / "o.caffemodel")
    assert "encoder.weight" in caught.value.found and "rloss" in caught.value.expected
