"""The drawing of a net: every layer is in it, nothing overlaps, repeats are drawn once."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from rlossctl.drawing import draw_net
from rlossctl.drawing.boxes import Box, net_boxes
from rlossctl.drawing.layout import arrange
from rlossctl.drawing.repeats import fold

INPUT = 'input: "x" input_shape { dim: 1 dim: 4 dim: 9 dim: 9 }\n'
CONV = 'layer {{ name: "{0}" type: "Convolution" bottom: "{1}" top: "{0}" convolution_param {{ {2} }} }}\n'
SUM = 'layer {{ name: "{0}" type: "Eltwise" bottom: "{1}" bottom: "{2}" top: "{0}" }}\n'
RELU = 'layer {{ name: "{0}_relu" type: "ReLU" bottom: "{0}" top: "{0}" }}\n'
SAME = "num_output: 4 kernel_size: 3 pad: 1"


def residual(blocks: int) -> str:
    text, x = INPUT, "x"
    for number in range(blocks):
        a, b, s = f"a{number}", f"b{number}", f"s{number}"
        text += CONV.format(a, x, SAME) + RELU.format(a) + CONV.format(b, a, SAME) + SUM.format(s, x, b)
        x = s
    return text + CONV.format("last", x, "num_output: 7 kernel_size: 1 dilation: 2")


def test_a_box_says_what_matters(build):
    boxes = net_boxes(build(residual(1)))
    assert [box.title for box in boxes] == ["x", "a0", "b0", "s0", "last"]
    assert boxes[1].kinds == ["Convolution 4 k3", "ReLU"] and boxes[1].shape == "1 x 4 x 9 x 9"
    assert boxes[3].sources == [0, 2] and boxes[4].kinds == ["Convolution 7 k1 d2"]


def test_repeats_are_drawn_once(build):
    boxes = fold(net_boxes(build(residual(30))))
    assert [(box.title, box.times) for box in boxes] == [("x", 1), ("a0 ... s29", 30), ("last", 1)]
    assert boxes[1].kinds == ["Convolution 4 k3, ReLU", "Convolution 4 k3", "Eltwise"]
    assert boxes[2].sources == [1]


def test_a_short_net_is_drawn_whole(build):
    boxes = net_boxes(build(residual(4)))
    assert fold(boxes) == boxes


def test_nothing_overlaps_and_lines_go_down(build):
    drawing = arrange(net_boxes(build(residual(8))))
    boxes = [place for place in drawing.places if place.box is not None]
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            beside = abs(one.x - other.x) >= (one.width + other.width) / 2
            below = abs(one.y - other.y) >= (one.height + other.height) / 2
            assert beside or below, (one.box.title, other.box.title)
        assert one.x - one.width / 2 >= 0 and one.x + one.width / 2 <= drawing.width
    for line in drawing.lines:
        heights = [drawing.places[index].y for index in line]
        assert heights == sorted(heights) and len(set(heights)) == len(heights)


@pytest.mark.parametrize("boxes", [[], [Box("a", ["ReLU"], "", "layer")]])
def test_nets_of_hardly_a_layer(boxes):
    assert len(arrange(boxes).places) == len(boxes)


def test_the_picture_is_xml_with_every_layer(build, tmp_path):
    net = build(residual(2).replace('"last"', '"last & <least>"'))
    draw_net(net.draft, tmp_path / "net.svg")
    root = ET.fromstring((tmp_path / "net.svg").read_text())
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"x", "a0", "b1", "s1", "last & <least>", "Convolution 4 k3", "ReLU"} <= texts
