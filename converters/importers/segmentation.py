"""pytorch-segmentation (by yassouali; the RankDice program builds on it).

Keys of a `.pth`: arch, epoch, state_dict, optimizer, monitor_best, config.
"""

from __future__ import annotations

from collections.abc import Callable

from rlossctl.converters.importers.program import (
    IMAGENET,
    NO_LAYER,
    Colours,
    Facts,
    Fit,
    Program,
    labels,
    resnet_depth,
    strided,
)

LAST = "decoder.output.7.weight"
DENSENETS = {(24, 16): 121, (36, 24): 161, (32, 32): 169, (48, 32): 201}
DATA_SET = "DATA_SET"  # the placeholder for the data set, which an old file does not name
# The program's own colours, by the type of its data loaders.
COLOURS = {
    "VOC": Colours((0.45734706, 0.43338275, 0.40058118), (0.23965294, 0.23532275, 0.2398498)),
    "COCO": Colours((0.43931922, 0.41310471, 0.37480941), (0.24272706, 0.23649098, 0.23429529)),
    "CityScapes": Colours((0.28689529, 0.32513294, 0.28389176), (0.17613647, 0.18099176, 0.17772235)),
    "ADE20K": Colours((0.48897059, 0.46548275, 0.4294), (0.22861765, 0.22948039, 0.24054667)),
}


def _colours(facts: Facts) -> Colours:
    """Each data set has its own colours; a file with only a state_dict does not say which were used."""
    name = facts.given.get(DATA_SET) or facts.lookup("config", "train_loader", "type")
    if isinstance(name, str) and name in COLOURS:
        return COLOURS[name]._replace(words=f"colours normalised as for {name}")
    found = f"the data set {name!r} is unknown" if name else "the file does not name its data set"
    names = ", ".join(COLOURS)
    return IMAGENET._replace(
        words=f"note: {found}: colours normalised as for ImageNet; or --set {DATA_SET}=... ({names})"
    )


def _deeplab(facts: Facts) -> Fit:
    backbone = "xception"
    if "backbone.block1.skip.weight" not in facts.tensors:
        backbone = f"resnet{resnet_depth(facts.tensors, 'backbone.', known=(101, 50))}"
    network = f"deeplabv3plus_{backbone}_segmentation"
    return strided(facts, network, labels(facts.tensors, LAST), "config", "arch", "args", "output_stride")


def _on_resnet(name: str, last: str, prefix: str, *known: int) -> Callable[[Facts], Fit]:
    """A network on ResNets of several depths, whose stages are under `prefix`."""

    def config(facts: Facts) -> Fit:
        depth = resnet_depth(facts.tensors, prefix, known)
        return Fit(f"{name}_resnet{depth}_segmentation", labels(facts.tensors, last))

    return config


def _densenet(facts: Facts) -> Fit:
    """The layers of a DenseNet's third and fourth block distinguish the depths; 161 has more channels."""
    third, fourth = (
        len({name.split(".")[1] for name in facts.tensors if name.startswith(f"block{number}.")})
        for number in (3, 4)
    )
    depth = DENSENETS.get((third, fourth), 201)
    return Fit(f"pspnet_densenet{depth}_segmentation", labels(facts.tensors, "master_branch.1.weight"))


def _other(network: str, last: str, axis: int = 0) -> Callable[[Facts], Fit]:
    """A network with one variant; its classifier's weights show the number of classes."""
    return lambda facts: Fit(f"{network}_segmentation", labels(facts.tensors, last, axis))


def _duc_hdc(facts: Facts) -> Fit:
    classes = labels(facts.tensors, "decoder.output.7.weight")
    more = {f"{name}_16": 16 * count for name, count in classes.items()}
    words = "output stride 8 and the smaller dilations assumed, since tensors do not show them"
    return Fit("deeplab_duc_hdc_segmentation", {**classes, **more}, words)


DEEP_STEM = (
    (r"initial\.0\.(\d)", r"backbone.conv1.\1"),
    (r"initial\.1", "backbone.bn1"),
    (r"(layer\d\..*)", r"backbone.\1"),
)
STEM = (
    (r"backbone\.initial\.0", "backbone.conv1"),
    (r"backbone\.initial\.1", "backbone.bn1"),
)
ASPP = (
    (r"backbone\.layer0\.0", "backbone.conv1"),
    (r"backbone\.layer0\.1", "backbone.bn1"),
    (r"ASSP\.aspp(\d)\.0", r"aspp.aspp\1.atrous_conv"),
    (r"ASSP\.aspp(\d)\.1", r"aspp.aspp\1.bn"),
    (r"ASSP\.avg_pool\.(\d)", r"aspp.global_avg_pool.\1"),
    (r"ASSP\.(conv1|bn1)", r"aspp.\1"),
    (r"decoder\.output\.0", "decoder.last_conv.0"),
    (r"decoder\.output\.1", "decoder.last_conv.1"),
    (r"decoder\.output\.3", "decoder.last_conv.4"),
    (r"decoder\.output\.4", "decoder.last_conv.5"),
    (r"decoder\.output\.7", "decoder.last_conv.8"),
)
UNET = ("down1.down_conv.0.weight", "up1.up.weight", "final_conv.weight")
GCN = ("gcn1.conv11.weight", "br9.conv2.weight", "backbone.initial.0.weight")
OWN_RESNET = "backbone.layer3.0.gcn.conv11.weight"  # cannot run in the program: its stage 4 does not fit
UNUSED_NORMS = (r"br\d\.bn\d",)
PROGRAMS = (
    Program(
        "pytorch-segmentation",
        "DeepLab v3+ of pytorch-segmentation",
        ("ASSP.aspp1.0.weight", LAST),
        _deeplab,
        first=r"backbone\.conv1",
        colours=_colours,
        absent=("DUC_out.conv.weight",),
        rename=ASPP,
    ),
    Program(
        "pytorch-segmentation-duc-hdc",
        "DeepLab with DUC and HDC of pytorch-segmentation",
        ("ASSP.aspp6.0.weight", "decoder.DUC.conv.weight", "DUC_out.conv.weight"),
        _duc_hdc,
        first=r"backbone\.conv1",
        colours=_colours,
        rename=ASPP,
    ),
    Program(
        "pytorch-segmentation-pspnet",
        "PSPNet of pytorch-segmentation",
        ("master_branch.0.stages.0.1.weight", "initial.0.6.weight", "layer4.0.conv3.weight"),
        _on_resnet("pspnet", "master_branch.1.weight", "", 50, 101, 152),
        first=r"backbone\.conv1\.0",
        colours=_colours,
        rename=DEEP_STEM,
    ),
    Program(
        "pytorch-segmentation-pspnet-densenet",
        "PSPNet on a DenseNet of pytorch-segmentation",
        ("master_branch.0.stages.0.1.weight", "block4.denselayer1.conv2.weight", "transition2.2.weight"),
        _densenet,
        first=r"block0\.0",
        colours=_colours,
        absent=("block0.3.weight",),  # the stem of a training from scratch
    ),
    Program(
        "pytorch-segmentation-fcn8",
        "FCN8 of pytorch-segmentation",
        ("pool3.0.weight", "adj_pool3.weight", "output.6.weight"),
        _other("fcn8_vgg16", "output.6.weight"),
        first=r"pool3\.0",
        colours=_colours,
        diagonal=("up_output", "up_pool4_out", "up_final"),
    ),
    Program(
        "pytorch-segmentation-unet",
        "UNet of pytorch-segmentation until October 2020",
        UNET,
        _other("unet", "final_conv.weight"),
        first=r"down1\.down_conv\.0",
        colours=_colours,
        absent=("start_conv.0.weight",),
    ),
    Program(
        "pytorch-segmentation-unet-2020",
        "UNet of pytorch-segmentation since October 2020",
        ("start_conv.0.weight", *UNET),
        _other("unet_2020", "final_conv.weight"),
        first=r"start_conv\.0",
        colours=_colours,
    ),
    Program(
        "pytorch-segmentation-unet-resnet",
        "UNet on a ResNet of pytorch-segmentation",
        ("upconv1.weight", "conv7.weight", "initial.0.6.weight"),
        _on_resnet("unet", "conv7.weight", "", 50, 101, 152),
        first=r"backbone\.conv1\.0",
        colours=_colours,
        rename=DEEP_STEM,
    ),
    Program(
        "pytorch-segmentation-segnet",
        "SegNet of pytorch-segmentation",
        ("stage1_encoder.0.weight", "stage5_decoder.6.weight"),
        _other("segnet", "stage5_decoder.6.weight"),
        first=r"stage1_encoder\.0",
        colours=_colours,
    ),
    Program(
        "pytorch-segmentation-segnet-resnet",
        "SegNet on a ResNet of pytorch-segmentation",
        ("first_conv.0.weight", "decoder.0.2.downsample.0.weight", "last_conv.1.weight"),
        _other("segnet_resnet50", "last_conv.1.weight"),
        first=r"backbone\.conv1",
        colours=_colours,
        rename=(
            (r"first_conv\.0", "backbone.conv1"),
            (r"first_conv\.1", "backbone.bn1"),
            *((rf"encoder\.{n}\.(.*)", rf"backbone.layer{n + 1}.\1") for n in range(4)),
        ),
    ),
    Program(
        "pytorch-segmentation-gcn",
        "Global Convolutional Network of pytorch-segmentation",
        GCN,
        _on_resnet("gcn", "final_conv.weight", "backbone.", 50, 18, 34, 101, 152),
        first=r"backbone\.conv1",
        colours=_colours,
        absent=("decon1.weight", OWN_RESNET),
        rename=STEM,
        idle=UNUSED_NORMS,
    ),
    Program(
        "pytorch-segmentation-gcn-deconv",
        "Global Convolutional Network of pytorch-segmentation with deconvolutions",
        (*GCN, "decon1.weight"),
        _on_resnet("gcn_deconv", "final_conv.weight", "backbone.", 50, 18, 34, 101, 152),
        first=r"backbone\.conv1",
        colours=_colours,
        absent=(OWN_RESNET,),
        rename=STEM,
        idle=UNUSED_NORMS,
    ),
    Program(
        "pytorch-segmentation-upernet",
        "UperNet of pytorch-segmentation",
        ("PPN.stages.0.1.weight", "FPN.smooth_conv.0.weight", "head.weight"),
        _other("upernet_resnet101", "head.weight"),
        first=r"backbone\.conv1",
        colours=_colours,
        rename=STEM,
        aliases=((r"FPN\.smooth_conv\.[12]\.(.*)", r"FPN.smooth_conv.0.\1"),),
    ),
    Program(
        "pytorch-segmentation-enet",
        "ENet of pytorch-segmentation",
        ("initial.conv.weight", "bottleneck10.conv1.weight", "fullconv.weight"),
        _other("enet", "fullconv.weight", axis=1),
        first=NO_LAYER,
        colours=_colours,
    ),
)
