"""Each type that maps blobs to blobs is exported: the ONNX column of docs/layers.md rests on this.

The nets below have the types in company. The examples that tests of single types give are found by themselves
(@pytest.mark.proves in tests/conftest.py), so that a new type needs no line here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import rlossctl
from rlossctl.converters.onnx.export import export
from rlossctl.converters.verifying.blob_streams import OnnxModel
from rlossctl.converters.verifying.trials import Trial, compare_models
from rlossctl.net import load_net, registry
from rlossctl.net.deploy import Deploy
from rlossctl.net.saved import layer_records
from rlossctl.weights import write_caffemodel

HEAD = 'name: "all" input: "data" input_shape { dim: 1 dim: 3 dim: 17 dim: 21 }\n'
CONVOLUTIONS = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 pad: 2 dilation: 2 weight_filler { type: "msra" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "scale"
  scale_param { bias_term: true bias_filler { value: 0.5 } } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "relu" relu_param { negative_slope: 0.1 } }
layer { name: "max" type: "Pooling" bottom: "relu" top: "max"
  pooling_param { kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "ave" type: "Pooling" bottom: "relu" top: "ave"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layer { name: "floor" type: "Pooling" bottom: "relu" top: "floor"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 round_mode: FLOOR } }
layer { name: "drop" type: "Dropout" bottom: "ave" top: "drop" }
layer { name: "top" type: "Eltwise" bottom: "max" bottom: "drop" top: "top" eltwise_param { operation: MAX } }
layer { name: "both" type: "Concat" bottom: "top" bottom: "ave" top: "both" }
layer { name: "up" type: "Interp" bottom: "both" top: "up" interp_param { zoom_factor: 2 } }
layer { name: "bins" type: "AdaptivePooling" bottom: "up" top: "bins"
  adaptive_pooling_param { output_size: 3 } }
layer { name: "back" type: "Interp" bottom: "bins" bottom: "data" top: "back"
  interp_param { align_corners: false } }
layer { name: "map" type: "Convolution" bottom: "up" top: "map"
  convolution_param { num_output: 1 kernel_size: 1 weight_filler { value: 1e-4 } bias_filler { value: 1 } } }
layer { name: "times" type: "SpatialProduct" bottom: "up" bottom: "map" top: "times" }
layer { name: "soft" type: "Softmax" bottom: "times" top: "soft" }
"""
ELEMENTS = """
layer { name: "small" type: "Power" bottom: "data" top: "small" power_param { scale: 0.01 shift: 0.1 } }
layer { name: "abs" type: "AbsVal" bottom: "small" top: "abs" }
layer { name: "square" type: "Power" bottom: "small" top: "square" power_param { power: 2 } }
layer { name: "exp" type: "Exp" bottom: "small" top: "exp" exp_param { base: 2 scale: 0.5 } }
layer { name: "log" type: "Log" bottom: "abs" top: "log" log_param { base: 10 shift: 1 } }
layer { name: "clip" type: "Clip" bottom: "small" top: "clip" clip_param { min: -0.5 max: 0.25 } }
layer { name: "threshold" type: "Threshold" bottom: "small" top: "threshold" }
layer { name: "prelu" type: "PReLU" bottom: "small" top: "prelu" }
layer { name: "elu" type: "ELU" bottom: "small" top: "elu" elu_param { alpha: 0.7 } }
layer { name: "sigmoid" type: "Sigmoid" bottom: "small" top: "sigmoid" }
layer { name: "tanh" type: "TanH" bottom: "small" top: "tanh" }
layer { name: "bnll" type: "BNLL" bottom: "small" top: "bnll" }
layer { name: "swish" type: "Swish" bottom: "small" top: "swish" swish_param { beta: 2 } }
layer { name: "selu" type: "SELU" bottom: "small" top: "selu" }
layer { name: "selu2" type: "SeLU" bottom: "small" top: "selu2" }
layer { name: "selu3" type: "SeLu" bottom: "small" top: "selu3" selu_param { alpha: 2 } }
layer { name: "nearest" type: "Upsample" bottom: "small" top: "nearest" }
layer { name: "bias" type: "Bias" bottom: "small" top: "bias" bias_param { filler { value: 0.5 } } }
layer { name: "across" type: "LRN" bottom: "small" top: "across" lrn_param { local_size: 3 alpha: 0.5 } }
layer { name: "within" type: "LRN" bottom: "small" top: "within"
  lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL } }
layer { name: "mvn" type: "MVN" bottom: "small" top: "mvn" }
"""
SHAPES = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 stride: 2 weight_filler { type: "msra" } } }
layer { name: "split" type: "Split" bottom: "conv" top: "left" top: "right" }
layer { name: "slice" type: "Slice" bottom: "left" top: "first" top: "second" }
layer { name: "cut" type: "Slice" bottom: "data" top: "one" top: "two" slice_param { slice_point: 1 } }
layer { name: "up" type: "Deconvolution" bottom: "first" top: "up"
  convolution_param { num_output: 2 group: 2 kernel_size: 4 stride: 2 pad: 1
    weight_filler { type: "msra" } } }
layer { name: "crop" type: "Crop" bottom: "data" bottom: "second" top: "crop" crop_param { offset: 1 } }
layer { name: "flatten" type: "Flatten" bottom: "right" top: "flatten" flatten_param { axis: 2 } }
layer { name: "reshape" type: "Reshape" bottom: "right" top: "reshape"
  reshape_param { shape { dim: 0 dim: 2 dim: 4 dim: -1 } } }
layer { name: "tile" type: "Tile" bottom: "right" top: "tile" tile_param { tiles: 2 } }
layer { name: "columns" type: "Im2col" bottom: "data" top: "columns"
  convolution_param { kernel_size: 3 stride: 2 pad: 1 dilation: 2 } }
layer { name: "mean" type: "Reduction" bottom: "right" top: "mean"
  reduction_param { operation: MEAN axis: 1 } }
layer { name: "factors" type: "Parameter" top: "factors" parameter_param { shape { dim: 8 } } }
layer { name: "product" type: "Scale" bottom: "right" bottom: "factors" top: "product" }
layer { name: "best" type: "ArgMax" bottom: "right" top: "best" argmax_param { axis: 1 } }
layer { name: "ranks" type: "ArgMax" bottom: "right" top: "ranks" argmax_param { axis: 1 top_k: 3 } }
layer { name: "embed" type: "Embed" bottom: "best" top: "embed"
  embed_param { input_dim: 8 num_output: 2 weight_filler { type: "gaussian" } } }
layer { name: "zero" type: "Power" bottom: "mean" top: "zero" power_param { scale: 0 } }
layer { name: "again" type: "BatchReindex" bottom: "right" bottom: "zero" top: "again" }
layer { name: "one" type: "Pooling" bottom: "right" top: "one_each"
  pooling_param { pool: AVE global_pooling: true } }
layer { name: "axpy" type: "Axpy" bottom: "one_each" bottom: "right" bottom: "product" top: "axpy" }
layer { name: "prior" type: "PriorBox" bottom: "right" bottom: "data" top: "prior"
  prior_box_param { min_size: 4 max_size: 7 aspect_ratio: 2 } }
layer { name: "filter" type: "Filter" bottom: "right" bottom: "mean" top: "chosen" }
"""
ONE_SIZE = """
layer { name: "more" type: "Interp" bottom: "data" top: "more" interp_param { factor: 1.5 at_least: 5 } }
layer { name: "fewer" type: "AdaptivePooling" bottom: "more" top: "fewer"
  adaptive_pooling_param { factor: 0.3 at_least: 5 } }
layer { name: "drop" type: "Python" bottom: "data" top: "kept" python_param { module: "spatial_dropout"
  layer: "SpatialDropoutLayer" param_str: "{\'phase\': \'TEST\', \'p\': 0.1}" } }
layer { name: "bn" type: "BN" bottom: "data" top: "bn"
  bn_param { scale_filler { value: 1.5 } shift_filler { value: 0.5 } } }
layer { name: "small" type: "Pooling" bottom: "bn" top: "small" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "large" type: "Upsample" bottom: "small" bottom: "mask" top: "large"
  upsample_param { upsample_h: 17 upsample_w: 21 } }
layer { name: "large2" type: "Unpooling" bottom: "small" bottom: "mask" top: "large2"
  unpooling_param { kernel_size: 2 stride: 2 unpool_h: 17 unpool_w: 21 } }
layer { name: "tiles" type: "Unpooling" bottom: "small" top: "tiles"
  unpooling_param { unpool: TILE kernel_size: 3 stride: 2 unpool_h: 17 unpool_w: 21 } }
layer { name: "bn4" type: "BN" bottom: "large2" top: "bn4"
  bn_param { slope_filler { value: 0.5 } bias_filler { value: 0.1 } } }
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "large" bottom: "bn4" bottom: "tiles" top: "sum" }
layer { name: "inner" type: "InnerProduct" bottom: "sum" top: "inner"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "spp" type: "SPP" bottom: "data" top: "spp" spp_param { pyramid_height: 3 } }
layer { name: "average" type: "SPP" bottom: "data" top: "average" spp_param { pyramid_height: 2 pool: AVE } }
"""
NETS = {"convolutions": CONVOLUTIONS, "elements": ELEMENTS, "shapes": SHAPES, "one_size": ONE_SIZE}


EXAMPLES = """
layer { name: "x" type: "Convolution" bottom: "data" top: "x"
  convolution_param { num_output: 12 kernel_size: 3 weight_filler { type: "msra" } } }
"""


def examples(proofs: list) -> str:
    """One layer for each proof of a type that is exported, all of them on blob "x" (1, 12, 15, 19)."""
    text = EXAMPLES
    for number, proof in enumerate(proofs):
        kind = registry.kinds()[proof.type]
        if kind.exported and proof.fields is not None:
            bottoms = 'bottom: "x" ' * max(1, kind.bottoms[0])
            tops = "".join(f'top: "y{number}_{index}" ' for index in range(max(1, kind.tops[0])))
            text += f'layer {{ name: "l{number}" type: "{kind.type}" {bottoms}{tops}{proof.fields} }}\n'
    return text


@pytest.fixture(scope="module")
def nets(tmp_path_factory, proofs) -> dict[str, tuple[Path, Path]]:
    """Each net above, and the examples, as a prototxt and a caffemodel."""
    folder, found = tmp_path_factory.mktemp("nets"), {}
    for name, text in {**NETS, "examples": examples(proofs)}.items():
        prototxt, weights = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
        prototxt.write_text(HEAD + text)
        net = load_net(prototxt)
        for blob in net.params.get("norm", ()):
            blob.fill_(1)
        write_caffemodel(weights, net.name, layer_records(net))
        found[name] = prototxt, weights
    return found


@pytest.mark.slow
def test_every_type_that_deploy_keeps_is_exported_and_verified(nets, tmp_path):
    kept = {kind.type for kind in registry.kinds().values() if kind.exported}
    exported = set()
    for name, (prototxt, weights) in nets.items():
        verification = rlossctl.convert(prototxt, weights, tmp_path / f"{name}.onnx")
        assert len(verification.comparisons) >= 1 and verification.worst.error <= verification.tolerance
        exported |= {layer.type for layer in Deploy(load_net(prototxt)).layers}
    missing = kept - exported
    assert not missing, "give the fields of an example to the @pytest.mark.proves of their tests"
    assert exported == kept


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NETS, "examples"])
def test_what_layers_write_is_what_torch_exports(nets, name):
    """One graph of nodes that the layers write, where they do, and one of torch's, on the same images."""
    net = load_net(nets[name][0])
    net.copy_from(nets[name][1])
    deploy = Deploy(net).eval()
    for layer in deploy.layers:
        layer.module.settle()
    sizes = [(17, 21)] if name in ("one_size", "examples") else [(64, 128), (192, 320)]
    models = []
    for by_torch in (False, True):
        model, values = export(deploy, sizes, by_torch=by_torch)
        onnx.checker.check_model(model, full_check=True)
        models.append(OnnxModel(model, {value.name: value.layer for value in values}))
    own, torchs = models
    assert list(own.values) == list(torchs.values)
    trials = [Trial(f"random {n}", np.random.default_rng(n).normal(size=(n, 3, 17, 21)).astype(np.float32))
              for n in (1, 3)]  # fmt: skip
    found = list(compare_models(torchs, own, trials))
    assert {entry.blob for entry in found} == set(own.values) and max(entry.error for entry in found) < 1e-5


def test_a_graph_of_written_layers_holds_what_a_reader_expects(nets):
    """A node for each layer, by its name; nothing but sizes and constants beside them."""
    net = load_net(nets["convolutions"][0])
    model, _ = export(Deploy(net, ["times"]).eval(), [(64, 128), (192, 320)])
    named = {node.name: node.op_type for node in model.graph.node}
    layers = {layer.name for layer in Deploy(net, ["times"]).layers} - {"drop"}  # an identity
    assert layers <= set(named)
    assert [named[name] for name in ("conv", "norm", "scale", "relu", "max", "ave", "top", "both", "up")] == [
        "Conv", "BatchNormalization", "Add", "LeakyRelu", "MaxPool", "AveragePool", "Max", "Concat", "Resize",
    ]  # fmt: skip
