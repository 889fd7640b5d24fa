"""The one way through a net's layers."""

from __future__ import annotations

import pytest
import torch

from rlossctl.errors import NetError
from rlossctl.net.deploy import Deploy
from rlossctl.net.walk import last_readers, walk

NET = """
input: "x" input_shape { dim: 1 dim: 2 dim: 3 dim: 3 }
layer { name: "a" type: "Power" bottom: "x" top: "a" power_param { scale: 2 } }
layer { name: "b" type: "Power" bottom: "a" top: "b" power_param { shift: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "s" }
layer { name: "relu" type: "ReLU" bottom: "s" top: "s" }
"""


def steps(net, **options):
    blobs = {"x": torch.ones(1, 2, 3, 3)}
    return blobs, walk(enumerate(net.layers), blobs, last_readers(net.layers), **options)


def test_a_blob_is_there_until_its_last_reader(build):
    blobs, pass_ = steps(build(NET, "TEST"))
    there = [(step.layer.name, sorted(blobs)) for step in pass_]
    assert there == [("a", ["x"]), ("b", ["a"]), ("sum", ["a", "b"]), ("relu", ["s"])]
    assert sorted(blobs) == ["s"] and (blobs["s"] == 5).all()


def test_kept_blobs_stay(build):
    blobs, pass_ = steps(build(NET, "TEST"), kept={"x", "b"})
    list(pass_)
    assert sorted(blobs) == ["b", "s", "x"]


def test_a_step_holds_nothing_once_the_pass_has_gone_on(build):
    _, pass_ = steps(build(NET, "TEST"))
    first = next(pass_)
    assert (len(first.bottoms), len(first.tops)) == (1, 1)
    next(pass_)
    assert first.bottoms == first.tops == ()


def test_a_pass_goes_on_with_a_top_in_place_of_the_layers(build):
    blobs, pass_ = steps(build(NET, "TEST"))
    for step in pass_:
        if step.layer.name == "a":
            step.replace(0, torch.zeros(1, 2, 3, 3))
    assert (blobs["s"] == 1).all()


def test_a_blob_that_is_not_there(build):
    net = build(NET, "TEST")
    with pytest.raises(NetError, match="its bottom 'a' was not given") as caught:
        list(walk(enumerate(net.layers[1:]), {"x": torch.ones(1)}, {}))
    assert caught.value.found == "x"


def test_the_deployed_part_gives_blobs_that_others_read(build):
    deploy = Deploy(build(NET, "TEST")).eval()
    a, b, s = deploy.run(torch.ones(1, 2, 3, 3), ["a", "b", "s"])
    assert [int(blob[0, 0, 0, 0]) for blob in (a, b, s)] == [2, 3, 5]
