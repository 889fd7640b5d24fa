"""Checkpoints of other programs: our prototxt with imported weights computes what the program's module does.

The modules are written anew in `programs/`, with random weights: no released checkpoint is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from importing import SETTINGS, compare, images, open_named, opened, save
from PIL import Image
from programs.backbones import Basic, Bottleneck, MobileNet, ResNetClassifier, drawn
from programs.decoders import FCN8, GCN, ENet, SegNet, SegResNet, UNet, UNet2020, UNetResnet
from programs.deeplab import CLASSES, DenseDeepLab, Gated, Rloss, Segmentation
from programs.pyramids import PSPDenseNet, PSPNet, UperNet
from programs.smp import FPN, DeepLabV3Plus, SmpPSPNet, Unet
from programs.torchvision import LRASPP, DilatedResNet, MobileNetV3, Simple, deeplab, fcn
from torch import nn

import rlossctl
from rlossctl.cli import cli
from rlossctl.converters.nets.implied_net import implied_net
from rlossctl.errors import WeightsError
from rlossctl.net import NetOrigin
from rlossctl.net.deploy import Deploy
from rlossctl.prototxt.text import read_text

pytestmark = pytest.mark.slow  # whole networks

# name -> (module, net, size of the image)
PROGRAMS = {
    "rloss mobilenet": (lambda: Rloss("mobilenet"), "deeplabv3plus_mobilenet/test", 97),
    "rloss resnet": (lambda: Rloss("resnet101"), "deeplabv3plus_resnet101/test", 97),
    "rloss xception": (lambda: Rloss("xception"), "deeplabv3plus_xception/test", 97),
    "rloss drn": (lambda: Rloss("drn"), "deeplabv3plus_drn/test", 65),
    "rloss without dropout": (
        lambda: Rloss("mobilenet", dropout=False),
        "deeplabv3plus_mobilenet/test",
        65,
    ),
    "segmentation resnet": (
        lambda: Segmentation("resnet101"),
        "deeplabv3plus_resnet101_segmentation/test",
        65,
    ),
    "segmentation xception": (
        lambda: Segmentation("xception"),
        "deeplabv3plus_xception_segmentation/test",
        65,
    ),
    "segmentation resnet50": (
        lambda: Segmentation("resnet50"),
        "deeplabv3plus_resnet50_segmentation/test",
        65,
    ),
    "segmentation resnet50, any size": (
        lambda: Segmentation("resnet50"),
        "deeplabv3plus_resnet50_segmentation/test",
        76,
    ),
    "segmentation duc hdc": (DenseDeepLab, "deeplab_duc_hdc_segmentation/test", 76),
    "segmentation unet": (UNet, "unet_segmentation/test", 32),
    "segmentation unet 2020": (UNet2020, "unet_2020_segmentation/test", 64),
    "segmentation unet 2020, any size": (UNet2020, "unet_2020_segmentation/test", 75),
    "segmentation unet resnet": (UNetResnet, "unet_resnet50_segmentation/test", 91),
    "segmentation segnet": (SegNet, "segnet_segmentation/test", 64),
    "segmentation unet resnet101": (lambda: UNetResnet(101), "unet_resnet101_segmentation/test", 64),
    "segmentation segnet resnet": (SegResNet, "segnet_resnet50_segmentation/test", 64),
    "segmentation gcn": (GCN, "gcn_resnet50_segmentation/test", 91),
    "segmentation gcn resnet34": (lambda: GCN(34), "gcn_resnet34_segmentation/test", 91),
    "segmentation gcn deconvolutions": (
        lambda: GCN(18, deconvolutions=True),
        "gcn_deconv_resnet18_segmentation/test",
        96,
    ),
    "segmentation upernet": (UperNet, "upernet_resnet101_segmentation/test", 91),
    "segmentation enet": (ENet, "enet_segmentation/test", 72),
    "segmentation pspnet": (lambda: PSPNet(50), "pspnet_resnet50_segmentation/test", 85),
    "segmentation pspnet densenet": (
        lambda: PSPDenseNet((6, 12, 24, 16)),
        "pspnet_densenet121_segmentation/test",
        85,
    ),
    "segmentation pspnet densenet161": (
        lambda: PSPDenseNet((6, 12, 36, 24), 48, 96),
        "pspnet_densenet161_segmentation/test",
        64,
    ),
    "gatedcrf resnet34": (lambda: Gated(34), "deeplabv3plus_resnet34_gatedcrf/test", 91),
    "gatedcrf resnet50": (lambda: Gated(50), "deeplabv3plus_resnet50_gatedcrf/test", 64),
    "torchvision resnet18": (
        lambda: ResNetClassifier(Basic, [2, 2, 2, 2]),
        "imagenet/resnet18",
        75,
    ),
    "torchvision resnet50": (
        lambda: ResNetClassifier(Bottleneck, [3, 4, 6, 3]),
        "imagenet/resnet50",
        64,
    ),
    "torchvision mobilenet": (MobileNet, "imagenet/mobilenet_v2", 70),
    "torchvision fcn": (lambda: Simple(DilatedResNet(50), fcn(2048)), "fcn_resnet50_torchvision/test", 65),
    "torchvision deeplab": (
        lambda: Simple(DilatedResNet(50), deeplab(2048), auxiliary=True),
        "deeplabv3_resnet50_torchvision/test",
        66,
    ),
    "torchvision deeplab resnet101": (
        lambda: Simple(DilatedResNet(101), deeplab(2048)),
        "deeplabv3_resnet101_torchvision/test",
        66,
    ),
    "torchvision deeplab mobilenet": (
        lambda: Simple(MobileNetV3(), deeplab(960)),
        "deeplabv3_mobilenet_v3_large_torchvision/test",
        91,
    ),
    "smp unet": (Unet, "unet_resnet18_smp/test", 64),
    "smp unet resnet50": (lambda: Unet(Bottleneck, (3, 4, 6, 3)), "unet_resnet50_smp/test", 64),
    "smp fpn": (FPN, "fpn_resnet18_smp/test", 64),
    "smp fpn resnet50": (lambda: FPN(Bottleneck, (3, 4, 6, 3)), "fpn_resnet50_smp/test", 64),
    "smp pspnet": (SmpPSPNet, "pspnet_resnet18_smp/test", 64),
    "smp pspnet resnet50": (lambda: SmpPSPNet(Bottleneck, (3, 4, 6, 3)), "pspnet_resnet50_smp/test", 64),
    "smp deeplab": (DeepLabV3Plus, "deeplabv3plus_resnet50_smp/test", 64),
    "torchvision lraspp": (LRASPP, "lraspp_mobilenet_v3_large_torchvision/test", 91),
}
# the same at output stride 8, which the user has to say
STRIDE_8 = {
    "rloss mobilenet": (lambda: Rloss("mobilenet", stride=8), "deeplabv3plus_mobilenet_os8"),
    "rloss resnet": (lambda: Rloss("resnet101", stride=8), "deeplabv3plus_resnet101_os8"),
    "rloss xception": (lambda: Rloss("xception", stride=8), "deeplabv3plus_xception_os8"),
    "segmentation resnet": (
        lambda: Segmentation("resnet50", stride=8),
        "deeplabv3plus_resnet50_segmentation_os8",
    ),
    "segmentation xception": (
        lambda: Segmentation("xception", stride=8),
        "deeplabv3plus_xception_segmentation_os8",
    ),
}


# These differ from others of the table in depth or in the image's size alone.
VARIANTS = (
    "segmentation resnet",
    "segmentation resnet50",
    "segmentation unet 2020",
    "segmentation unet resnet101",
    "segmentation gcn resnet34",
    "segmentation pspnet densenet161",
    "torchvision resnet50",
    "torchvision deeplab resnet101",
    "smp unet resnet50",
    "smp fpn resnet50",
    "smp pspnet resnet50",
)
VARIANTS_AT_8 = ("rloss resnet", "rloss xception", "segmentation xception")


def marked(names: Iterable[str], variants: Iterable[str]) -> list:
    return [pytest.param(name, marks=pytest.mark.full if name in variants else ()) for name in names]


@pytest.mark.parametrize("program", marked(PROGRAMS, VARIANTS))
def test_the_net_computes_what_the_module_does(program, tmp_path):
    make, config, size = PROGRAMS[program]
    module = drawn(make)
    implied, source = opened(save(module, tmp_path / "checkpoint.pth.tar"))
    assert implied.origin.prototxt == config
    compare(source.net, module, size)


@pytest.mark.parametrize("program", marked(STRIDE_8, VARIANTS_AT_8))
def test_output_stride_8_is_what_the_user_says(program, tmp_path):
    make, folder = STRIDE_8[program]
    module = drawn(make)
    path = save(module, tmp_path / "checkpoint.pth.tar")
    implied, source = opened(path, OUTPUT_STRIDE="8")
    assert implied.reason == f"{folder}/test"
    compare(source.net, module, 41)
    with implied_net(NetOrigin(path)) as assumed:
        assert assumed.reason.endswith(
            "(output stride 16 assumed, since tensors do not show it; or --set OUTPUT_STRIDE=8)"
        )


VOC = {
    "mean": (0.45734706, 0.43338275, 0.40058118),
    "std": (0.23965294, 0.23532275, 0.2398498),
}


def test_what_the_files_own_config_says(tmp_path):
    """pytorch-segmentation keeps its settings in the file: output stride, and whose colours."""
    module = drawn(lambda: Segmentation("resnet50", stride=8))
    config = {"arch": {"args": {"output_stride": 8}}, "train_loader": {"type": "VOC"}}
    implied, source = opened(save(module, tmp_path / "best_model.pth", config=config))
    assert "_os8" in implied.reason and "from the file's config" in implied.reason
    assert "colours normalised as for VOC" in source.notes
    compare(source.net, module, 41, **VOC)


@pytest.fixture(scope="module")
def pspnet(tmp_path_factory) -> tuple[nn.Module, Path]:
    module = drawn(lambda: PSPNet(50))
    return module, save(module, tmp_path_factory.mktemp("pspnet") / "state.pth")


@pytest.mark.parametrize(
    ("make", "network"),
    [pytest.param(UNet, "unet", marks=pytest.mark.full), (UNet2020, "unet_2020")],
)
def test_both_unets_work_by_name(make, network, tmp_path):
    """inspect and convert tell them apart; eval takes the weights with the network's name."""
    module, name = drawn(make), f"{network}_segmentation/test"
    path = save(module, tmp_path / "best_model.pth")
    assert network == run("inspect", path).split("_segmentation")[0].rpartition(" ")[2]
    weights = tmp_path / "unet.caffemodel"
    assert name in run("convert", path, "-o", weights)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (33, 40, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((33, 40), np.uint8)).save(tmp_path / "label.png")
    (tmp_path / "val.txt").write_text("/a.png /label.png\n")
    words = ("--data", tmp_path / "val.txt", "--root", tmp_path, "--set", f"NUM_LABELS={CLASSES}")
    assert "mIoU" in run("eval", name, weights, *words)


def run(*words: object) -> str:
    done = CliRunner().invoke(cli, [str(word) for word in words], prog_name="rlossctl")
    assert done.exit_code == 0, done.output + str(done.exception)
    return done.output


def test_the_user_names_the_data_set(pspnet):
    module, path = pspnet
    implied, source = opened(path, DATA_SET="VOC")
    assert "OUTPUT_STRIDE" not in implied.reason  # it has one alone
    compare(source.net, module, 41, **VOC)
    note = next(note for note in opened(path)[1].notes if "colours" in note)
    assert "ImageNet" in note and "--set DATA_SET=" in note


def test_a_net_that_cannot_have_another_mean(pspnet, tmp_path):
    text = read_text("pspnet_resnet50_segmentation/test")
    start = text.index('name: "scaled"')
    old = text[:start] + text[start:].replace("    bias_term: true\n", "", 1)
    old = old.replace("  param { lr_mult: 0 decay_mult: 0 }\n", "", 1)
    (tmp_path / "old.prototxt").write_text(old)
    settings = {**SETTINGS, "NUM_LABELS": CLASSES}
    source = open_named(tmp_path / "old.prototxt", pspnet[1], settings)  # with ImageNet's
    compare(source.net, pspnet[0], 41)
    with pytest.raises(WeightsError, match="cannot normalise colours"):
        open_named(tmp_path / "old.prototxt", pspnet[1], {**settings, "DATA_SET": "VOC"})


def test_the_auxiliary_branch_is_kept(pspnet, tmp_path):
    """For training only: the test net holds its weights, an ONNX file does not."""
    module, path = pspnet
    rgb, bgr = images(33)
    _, source = opened(path)
    with torch.no_grad():
        module(rgb)
        found = Deploy(source.net, ["auxiliary"]).eval()(bgr)[0]
    torch.testing.assert_close(found, module.auxiliary, rtol=1e-3, atol=1e-4)
    assert not any(layer.name.startswith("auxiliary") for layer in source.deploy().layers)


def test_one_slope_for_all_channels_is_written_and_read_back(tmp_path):
    """ENet's PReLUs: blobs without an axis."""
    state = drawn(lambda: ENet()).state_dict()
    torch.save(state, tmp_path / "w.pth")
    result = rlossctl.convert(tmp_path / "w.pth", None, tmp_path / "enet.caffemodel")
    implied, _ = opened(tmp_path / "w.pth")
    net = rlossctl.load_net(implied.origin.prototxt, result.out, **implied.origin.placeholders)
    (slope,) = net.params["bottleneck11.prelu1"]
    assert slope.shape == () and slope == state["bottleneck11.prelu1.weight"][0]


def test_fcn8_computes_what_the_module_does(tmp_path):
    """With 64 channels in place of 4096, whose weights are half a gigabyte."""
    module = drawn(lambda: FCN8(width=64))
    text = read_text("fcn8_vgg16_segmentation/test")
    (tmp_path / "narrow.prototxt").write_text(text.replace("num_output: 4096", "num_output: 64"))
    path, settings = save(module, tmp_path / "w.pth"), {**SETTINGS, "NUM_LABELS": CLASSES}
    compare(open_named(tmp_path / "narrow.prototxt", path, settings).net, module, 37)
    with pytest.raises(WeightsError, match="FCN8 of pytorch-segmentation") as caught:
        opened(path)  # takes the net that comes with rlossctl
    assert "output.0.weight is 64x512x7x7 in the file, 4096x512x7x7 in the net" in caught.value.found


def test_fixed_zooms_mix_no_channels(tmp_path):
    state = {
        "pool3.0.weight": torch.zeros(64, 3, 3, 3),
        "adj_pool3.weight": torch.zeros(CLASSES, 256, 1, 1),
        "output.6.weight": torch.zeros(CLASSES, 4096, 1, 1),
        "up_final.weight": torch.ones(CLASSES, CLASSES, 16, 16),
    }
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"'up_final.weight' mixes channels"):
        rlossctl.convert(tmp_path / "w.pth", None, tmp_path / "fcn8.caffemodel")
