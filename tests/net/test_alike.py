"""Layers that are alike are worked out once; what makes a difference is worked out again."""

from __future__ import annotations

import pytest

from rlossctl.net.alike import once_if_alike

NET = """input: "x" input_shape { dim: 1 dim: 4 dim: 9 dim: 9 }
layer { name: "a" type: "Convolution" bottom: "x" top: "a"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layer { name: "b" type: "Convolution" bottom: "a" top: "b" param { lr_mult: 0 }
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
"""


@pytest.fixture
def asked():
    """A function of a layer, with the names that it was asked for."""
    names = []

    @once_if_alike
    def find(layer):
        names.append(layer.setup.message.name)
        return layer.setup.message.type

    return find, names


def layers(net):
    return [node.module for node in net.layers]


def test_names_and_rates_make_no_difference(build, asked):
    find, names = asked
    assert [find(layer) for layer in layers(build(NET))] == ["Convolution"] * 2
    assert names == ["a"]


@pytest.mark.parametrize(
    "other",
    [
        NET.replace("pad: 1", "pad: 2", 1),
        NET.replace("dim: 9", "dim: 8", 1),
        NET.replace("type: \"Convolution\"", "phase: TEST type: \"Convolution\"", 1),
        NET.replace("Convolution\"", "Deconvolution\"", 1),
    ],
)  # fmt: skip
def test_parameters_sizes_phase_and_type_do(build, asked, other):
    find, names = asked
    first, _ = layers(build(NET))
    find(first)
    find(layers(build(other))[0])
    assert names == ["a", "a"]


def test_a_python_layer_is_asked_each_time(build, asked):
    find, names = asked
    drop = """layer { name: "d" type: "Python" bottom: "x" top: "d" python_param { module: "spatial_dropout"
      layer: "SpatialDropoutLayer" param_str: "{'phase': 'TEST', 'p': 0.1}" } }"""
    (layer,) = layers(build(NET.partition("layer")[0] + drop))
    assert [find(layer), find(layer)] == ["Python", "Python"] and names == ["d", "d"]
