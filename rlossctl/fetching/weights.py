"""Weights that `rlossctl fetch` gets: those that the experiments and the networks of configs/ start from."""

from __future__ import annotations

from rlossctl.data.sets.registry import Download

_DEEPLAB = "https://liangchiehchen.com/projects/released"
_TORCHVISION = "https://download.pytorch.org/models"
_TERMS = "https://github.com/pytorch/vision#pre-trained-model-license"

# Item -> the folder of its caffemodel below the data set's folder, as the experiments' prototxts name it.
MODELS = "VOC2012/pascal_scribble/model"
PLACES = {
    "vgg16_20M": f"{MODELS}/deeplab_largeFOV",
    "deeplab_vgg16": f"{MODELS}/deeplab_vgg16",
    "resnet-101": f"{MODELS}/resnet-101",
}
# The authors' page of the paper's trained models. No stable file names are known.
RELEASED = "https://cs.uwaterloo.ca/~m62tang/rloss/"


def _torchvision(name: str, digits: str) -> Download:
    """ImageNet weights; torchvision puts the first digits of the SHA-256 into the file's name."""
    file = f"{name}-{digits}.pth"
    item = f"torchvision_{name}"
    return Download(
        item,
        file,
        (f"{_TORCHVISION}/{file}",),
        sha256=digits,
        what=f"torchvision's {name}, ImageNet",
        terms=_TERMS,
    )


WEIGHTS = (
    Download(
        "vgg16_20M",
        "vgg16_20M.caffemodel",
        tuple(
            f"https://{place}/init_models/vgg16_20M.caffemodel"
            for place in ("www.cs.jhu.edu/~alanlab/ccvl", "ccvl.stat.ucla.edu/ccvl")
        ),
        what="initial weights of DeepLab-LargeFOV",
    ),
    Download(
        "deeplab_vgg16",
        "deeplab_aspp_vgg16.zip",
        (f"{_DEEPLAB}/deeplab_aspp_vgg16/prototxt_and_model.zip",),
        what="DeepLab v2 on VGG-16",
    ),
    Download(
        "resnet-101",
        "deeplab_aspp_resnet101.zip",
        (f"{_DEEPLAB}/deeplab_aspp_resnet101/prototxt_and_model.zip",),
        what="DeepLab v2 on ResNet-101",
    ),
    _torchvision("resnet18", "f37072fd"),
    _torchvision("resnet34", "b627a593"),
    _torchvision("resnet50", "0676ba61"),
    _torchvision("resnet101", "63fe2227"),
    _torchvision("resnet152", "394f9c45"),
    _torchvision("mobilenet_v2", "b0353104"),
)
