"""Names for every tensor of a pass."""

from __future__ import annotations

import torch

from rlossctl.net.deploy import Deploy
from rlossctl.net.values import named_values

NET = """
input: "x" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "c" type: "Convolution" bottom: "x" top: "y"
  convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "r" type: "ReLU" bottom: "y" top: "y" }
layer { name: "drop" type: "Dropout" bottom: "y" top: "y" }
layer { name: "pool" type: "Pooling" bottom: "y" top: "p" top: "mask"
  pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "split" type: "Split" bottom: "p" top: "a" top: "b" }
"""


def test_each_tensor_has_one_name_and_layers_that_hand_it_on_have_none(build):
    deploy = Deploy(build(NET, "TEST"), ["b", "mask"]).eval()
    values = named_values(deploy)
    assert [(value.name, value.layer) for value in values] == [
        ("y@c", "c"),
        ("y", "r"),
        ("b", "pool"),
        ("mask", "pool"),
    ]
    assert values[1].names == ("y@r", "y") and values[2].names == ("p", "a", "b")


def test_a_pass_goes_on_with_what_is_put_in_place_of_a_top(build):
    deploy = Deploy(build(NET, "TEST"), ["b"]).eval()
    seen = []
    for step in deploy.walk(torch.zeros(1, 3, 8, 8)):
        seen.append(step.tops[0])
        if len(seen) == 2:
            step.replace(0, torch.full_like(step.tops[0], 7.0))
    assert (seen[-1] == 7).all()
