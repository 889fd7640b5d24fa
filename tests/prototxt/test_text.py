"""Reading prototxt files, and what is said of those that cannot be read."""

from __future__ import annotations

import pytest

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import load_net_file, load_net_parameter, load_solver_parameter, parse_net, to_text
from rlossctl.prototxt.text import layer_lines, top_level_fields

NET = """\
# a comment with layer { in it
name: 'quoted "singly"'   # and one behind a value
layer {
  name: "c" type: "Convolution" bottom: "x" top: "c"
  convolution_param: { num_output: 4 pad: 1 pad: 2 kernel_size: 3 engine: CAFFE }
}
layer { top: "c" bottom: "c"
\ttype: "ReLU" name: "layer { r" }

layer
{
  name: "d"
}
"""


def test_the_forms_that_occur_in_the_wild_are_read():
    net = parse_net(NET, "net.prototxt")
    assert net.param.name == 'quoted "singly"'
    assert [layer.name for layer in net.param.layer] == ["c", "layer { r", "d"]
    assert list(net.param.layer[0].convolution_param.pad) == [1, 2]


def test_every_layer_knows_its_line():
    net = parse_net(NET, "net.prototxt")
    assert net.lines == (3, 7, 10)
    assert [net.where(index) for index in range(3)] == [f"net.prototxt:{line}" for line in (3, 7, 10)]


def test_a_layer_inside_a_message_is_no_layer_of_the_net():
    assert layer_lines("net_param {\n layer { }\n}\nlayer { }") == [4]


def test_text_survives_the_way_to_a_message_and_back():
    param = parse_net(NET).param
    assert parse_net(to_text(param)).param == param


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('name: "n"\nlayer {\n  nome: "c"\n}\n', 3, "nome"),
        ("layer {\n  convolution_param {\n    num_output: many\n  }\n}\n", 3, "many"),
        ("layer {\n  pooling_param { pool: MEAN }\n}\n", 2, "MEAN"),
        ("layer {\n  name: c\n}\n", 2, "c"),
    ],
)
def test_errors_name_the_file_and_the_line(tmp_path, text, line, says):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(PrototxtError) as caught:
        load_net_file(path)
    assert str(caught.value).startswith(f"{path}:{line}: cannot be read as a NetParameter")
    assert says in str(caught.value)
    assert "rlossctl." not in str(caught.value).replace(str(path), "")


def test_a_solver_given_for_a_net_leads_to_the_net():
    with pytest.raises(PrototxtError, match=r"this is a solver; give the net that it names: train\.prototxt"):
        parse_net('net: "train.prototxt"\nbase_lr: 0.1\nmax_iter: 10\n')


def test_placeholders_are_filled_on_the_way(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "fc8_${EXP}" convolution_param { num_output: ${N} } }')
    layer = load_net_parameter(path, {"EXP": "voc", "N": 21}).layer[0]
    assert (layer.name, layer.convolution_param.num_output) == ("fc8_voc", 21)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"\x0a\x04name\xa2\x06", "byte 0xa2"), (b"name: \0", "a zero byte at offset 6")],
)
def test_a_binary_file_is_refused_as_such(tmp_path, data, says):
    path = tmp_path / "weights.caffemodel"
    path.write_bytes(data)
    with pytest.raises(PrototxtError, match="is not prototxt text") as caught:
        load_net_file(path)
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PrototxtError, match="cannot be opened"):
        load_net_file(tmp_path / "absent.prototxt")


def test_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'name: "n"\r\nlayer { name: "a" }\r\nlayer { name: "b" }\r\n')
    assert load_net_file(path).lines == (2, 3)


def test_the_old_solver_type_becomes_a_name(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "n"\nsolver_type: RMSPROP\n')
    param = load_solver_parameter(path)
    assert param.type == "RMSProp"
    assert not param.HasField("solver_type")


def test_both_kinds_of_solver_type_are_refused(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('solver_type: SGD\ntype: "Adam"\n')
    with pytest.raises(PrototxtError, match="both type and solver_type"):
        load_solver_parameter(path)


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        ('name: "a\\\\b"\nlayer { name: "c:\\models" }', "f:2", 'layer { name: "c:\\models" }'),
        ('name: "\\477"', "f", "octal"),  # more than a byte
    ],
)
def test_an_escape_that_stands_for_nothing_is_refused_as_caffe_refuses_it(text, where, found):
    with pytest.raises(PrototxtError, match="unknown escape sequence") as caught:
        parse_net(text, "f")
    assert caught.value.where == where and found in caught.value.found


def test_escapes_that_stand_for_something():
    assert parse_net(r'name: "\\m\n\t\x41\101\u00e9\'"').param.name == "\\m\n\tAAé'"


def test_braces_of_defaults_are_not_a_layers():
    text = 'name: "${NET:-a}"\nlayer { name: "x${N:-1}" }\nlayer { top: "${B:-b}" }\n'
    assert layer_lines(text) == [2, 3]
    assert top_level_fields('max_iter: ${MAX_ITER:-10}\ntype: "Adam"') == ["max_iter", "type"]
