"""The descriptions of the common types: each answer is held to the layer's own pass."""

from __future__ import annotations

import pytest
import torch

from rlossctl.net import build_net, registry
from rlossctl.net.draft import described, draft_net
from rlossctl.net.outline import Top
from rlossctl.net.summary import summarize
from rlossctl.net.tops import measured_tops, tops_of
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.prototxt.text import parse_net

IMAGE = (2, 4, 13, 18)
INPUTS = {
    **dict.fromkeys(("x", "mask", "photo", "prob"), IMAGE),
    "part": (2, 4, 9, 11),
    "one": (2, 4, 1, 1),
    "y": (2, 1, 13, 18),
}
VALUES = {"photo": 9.0, "prob": 0.25}  # of blobs that a layer warns of if they are 0
PLAIN = """ReLU PReLU HardSwish HardSigmoid ReLU6 ELU SELU SeLU SeLu Sigmoid TanH BNLL Swish Softmax AbsVal
    Power Exp Threshold LRN MVN Normalize BatchNorm"""
# Type, bottoms, number of tops, fields: a line for each way in which a description answers.
LAYERS = [
    ("Convolution", "x", 1, "convolution_param { num_output: 6 kernel_h: 3 kernel_w: 5 pad: 2 stride: 2 }"),
    ("Convolution", "x", 1, "convolution_param { num_output: 6 kernel_size: 3 dilation: 2 }"),
    ("Convolution", "x part", 2, "convolution_param { num_output: 6 kernel_size: 3 group: 2 }"),
    ("Convolution", "x", 1, "convolution_param { num_output: 6 kernel_size: 3 axis: 2 }"),
    ("ConvolutionDepthwise", "x", 1, "convolution_param { kernel_size: 3 }"),
    ("DepthwiseConvolution", "x", 1, "convolution_param { kernel_size: 3 pad: 1 }"),
    ("Deconvolution", "x", 1, "convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 3 pad: 1 }"),
    ("InnerProduct", "x", 1, "inner_product_param { num_output: 5 }"),
    ("InnerProduct", "x", 1, "inner_product_param { num_output: 5 axis: -1 transpose: true }"),
    ("Pooling", "x", 2, "pooling_param { kernel_size: 3 stride: 2 pad: 1 }"),
    ("Pooling", "x", 1, "pooling_param { pool: AVE kernel_size: 2 stride: 3 }"),
    ("Pooling", "x", 1, "pooling_param { kernel_size: 4 stride: 3 round_mode: FLOOR }"),
    ("Pooling", "x", 2, "pooling_param { global_pooling: true }"),
    ("AdaptivePooling", "x", 1, "adaptive_pooling_param { factor: 0.3 at_least: 5 }"),
    ("AdaptivePooling", "x part", 1, ""),
    *((kind, "x", 1, "") for kind in PLAIN.split()),
    ("Dropout", "x", 1, ""),
    ("Dropout", "x", 1, "dropout_param { scale_train: false }"),
    ("Dropout", "x", 1, "dropout_param { sample_weights_test: true }"),
    ("Log", "x", 1, "log_param { shift: 100 }"),
    ("Clip", "x", 1, "clip_param { min: -1 max: 1 }"),
    ("Eltwise", "x mask", 1, ""),
    ("Concat", "x y", 1, ""),
    ("Concat", "x x", 1, "concat_param { axis: -2 }"),
    ("Silence", "x", 0, ""),
    ("Axpy", "one x mask", 1, ""),
    ("Split", "x", 2, ""),
    ("Slice", "x", 2, ""),
    ("Slice", "x", 3, "slice_param { axis: 3 slice_point: 2 slice_point: 7 }"),
    ("Crop", "x part", 1, "crop_param { offset: 1 offset: 2 }"),
    ("AutoCrop", "x part", 1, "crop_param { offset: 3 }"),
    ("Flatten", "x", 1, ""),
    ("Flatten", "x", 1, "flatten_param { axis: 2 end_axis: 2 }"),
    ("Reshape", "x", 1, "reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 9 } }"),
    ("Reshape", "x", 1, "reshape_param { axis: 1 num_axes: 1 shape { dim: 2 dim: 2 } }"),
    ("Tile", "x", 1, "tile_param { axis: 2 tiles: 3 }"),
    ("Permute", "x", 1, "permute_param { order: 0 order: 2 }"),
    ("PixelShuffle", "x", 1, "pixel_shuffle_param { upscale_factor: 2 }"),
    ("ShuffleChannel", "x", 1, "shuffle_channel_param { group: 2 }"),
    ("BatchNorm", "x", 1, "batch_norm_param { scale_bias: true }"),
    ("GroupNorm", "x", 1, "group_norm_param { group: 2 }"),
    ("Scale", "x", 1, "scale_param { axis: 2 num_axes: 1 bias_term: true }"),
    ("Scale", "x mask", 1, "scale_param { axis: 0 }"),
    ("Bias", "x", 1, "bias_param { num_axes: 0 }"),
    ("Interp", "x", 1, "interp_param { zoom_factor: 3 pad_beg: -1 pad_end: -2 }"),
    ("Interp", "part", 1, "interp_param { shrink_factor: 2 }"),
    ("Interp", "part x", 1, ""),
    ("BN", "x", 3, ""),
    ("BN", "x", 1, "bn_param { slope_filler { value: 1 } }"),
    ("Upsample", "x", 1, "upsample_param { scale: 3 }"),
    ("Upsample", "x mask", 1, "upsample_param { upsample_h: 26 upsample_w: 35 }"),
    ("ArgMax", "x", 1, "argmax_param { axis: 1 top_k: 3 }"),
    ("ArgMax", "x", 1, "argmax_param { top_k: 3 out_max_val: true }"),
    ("SoftmaxWithLoss", "x y", 2, ""),
    ("DenseCRFLoss", "photo prob", 1, "densecrf_loss_param { bi_xy_std: 9 bi_rgb_std: 9 }"),
    ("SegAccuracy", "x y", 1, ""),
    ("Accuracy", "x y", 2, ""),
    ("SegmentationScores", "x y", 6, ""),
]  # fmt: skip


def text_of(kind: str, bottoms: str, tops: int, fields: str) -> str:
    inputs = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in INPUTS[name])} }}\n'
        for name in dict.fromkeys(bottoms.split())
    )
    ends = "".join(f'bottom: "{name}" ' for name in bottoms.split())
    ends += "".join(f'top: "t{number}" ' for number in range(tops))
    return f'{inputs}layer {{ name: "l" type: "{kind}" {ends} {fields} }}\n'


@pytest.mark.parametrize("example", LAYERS, ids=lambda example: example[0])
def test_a_description_says_what_a_pass_gives(example):
    file = filter_net(parse_net(text_of(*example)), net_state("TEST"))
    draft = draft_net(file, described)
    outline, net = draft.layers[0].layer, build_net(file)
    assert not isinstance(outline, torch.nn.Module)
    assert summarize(draft) == summarize(net.draft)
    layer = net.layers[0].module
    assert outline.blob_shapes == [tuple(blob.shape) for blob in layer.blobs]
    tensors = {name: torch.full(INPUTS[name], VALUES.get(name, 0.0)) for name in example[1].split()}
    bottoms = [tensors[name] for name in example[1].split()]
    made = layer(*bottoms)
    tops = made if isinstance(made, tuple) else (made,)
    found = outline.sized([tuple(bottom.shape) for bottom in bottoms])
    assert found == tuple(
        Top(tuple(top.shape), next((n for n, bottom in enumerate(bottoms) if bottom is top), None))
        for top in tops
    )


def test_every_described_type_is_held_to_a_pass():
    kinds = registry.kinds().values()
    assert {example[0] for example in LAYERS} == {
        kind.type for kind in kinds if kind.outline is not None and kind.role != "data"
    }


@pytest.mark.parametrize("example", LAYERS, ids=lambda example: example[0])
def test_bottoms_of_other_sizes_are_answered_or_left_to_the_forward(example, build):
    """A description never accepts what the forward refuses, and never gives another shape."""
    layer = build(text_of(*example)).layers[0].module
    for change in (
        lambda s: (*s[:2], 31, 24),
        lambda s: (*s[:2], 1, 2),
        lambda s: s[:3],
        lambda s: (2, 3, *s[2:]),
    ):
        bottoms = tuple(change(INPUTS[name]) for name in example[1].split())
        found = layer.sized(bottoms)
        if found is not None and layer.setup.message.type not in (
            "SegAccuracy",
            "Accuracy",
            "SegmentationScores",
        ):
            assert [top.shape for top in measured_tops(layer, bottoms)] == [top.shape for top in found]
            assert tops_of(layer, bottoms) == found
