"""Pooling's nodes against its forward, over kernels, strides, paddings and sizes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from rlossctl.converters.onnx.export import export
from rlossctl.converters.verifying.blob_streams import OnnxModel
from rlossctl.net import load_net
from rlossctl.net.deploy import Deploy

SQUARE = [
    f"kernel_size: {kernel} stride: {stride} pad: {pad}{rounding}"
    for kernel, stride, rounding in product((1, 2, 3, 5), (1, 2, 3), ("", " round_mode: FLOOR"))
    for pad in range(kernel)
]
WINDOWS = [
    *SQUARE,
    "kernel_h: 3 kernel_w: 1 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 0",
    "kernel_h: 5 kernel_w: 2 stride: 2 pad_h: 3 pad_w: 1",
]
FAR = "kernel_size: 1 stride: 3 pad: 0"  # its last window may start beyond the image's end
KINDS = {"max": ("MAX", 1), "mask": ("MAX", 2), "mean": ("AVE", 1)}


def pools(tmp_path, kind: str, windows: list[str]) -> Deploy:
    """A net with one pooling of the image for each window."""
    pool, tops = KINDS[kind]
    text = 'name: "pools" input: "data" input_shape { dim: 1 dim: 2 dim: 9 dim: 8 }\n'
    for number, fields in enumerate(windows):
        mask = f'top: "mask{number}" ' if tops == 2 else ""
        text += (
            f'layer {{ name: "p{number}" type: "Pooling" bottom: "data" top: "y{number}" {mask}'
            f"pooling_param {{ pool: {pool} {fields} }} }}\n"
        )
    prototxt = tmp_path / "pools.prototxt"
    prototxt.write_text(text)
    return Deploy(load_net(prototxt)).eval()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("varies", [False, True], ids=["one size", "all sizes"])
def test_every_window_gives_caffes_values(tmp_path, kind, varies):
    windows = [fields for fields in WINDOWS if not (varies and kind == "mean" and fields == FAR)]
    deploy = pools(tmp_path, kind, windows)
    model, _ = export(deploy, [(16, 13), (21, 19)] if varies else [(9, 8)])
    assert not model.functions and len(model.graph.output) == KINDS[kind][1] * len(windows)
    names = {output.name: "" for output in model.graph.output}
    runner = OnnxModel(model, names)
    for size in ((5, 8), (6, 7)) if varies else ((9, 8),):
        image = torch.randn(2, 2, *size, generator=torch.Generator().manual_seed(0))
        expected = dict(zip(deploy.output_names, deploy(image), strict=True))
        for name, array in ((blob.name, blob.array) for blob in runner.blobs(image.numpy(), names)):
            np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("kind", "value"), [("max", -3.4028235e38), ("mask", -1.0), ("mean", 0.0)])
def test_a_window_that_misses_the_image_has_caffes_value(tmp_path, kind, value):
    """Windows start at 0, 5 and 10 of nine rows and eight columns (pooling_layer.cpp: 0 / -1 for a mean)."""
    deploy = pools(tmp_path, kind, ["kernel_size: 1 stride: 5"])
    blobs = dict(zip(deploy.output_names, deploy(torch.ones(1, 2, 9, 8)), strict=True))
    found = blobs["mask0" if kind == "mask" else "y0"]
    assert found.shape == (1, 2, 3, 3)
    assert (found[:, :, 2] == value).all() and (found[..., 2] == value).all()
    assert (found[:, :, :2, :2] != value).all()
