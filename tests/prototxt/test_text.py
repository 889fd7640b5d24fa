"""Reading prototxt files, and what is said of those that cannot be read."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import load_net_file, load_net_parameter, load_solver_parameter, parse_net, to_text
from rlossctl.prototxt.text import layer_lines, load_prototxt, parse_solver, top_level_fields
from rlossctl.prototxt.unset import Placeholders

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


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + NET.encode(),
        NET.encode("utf-16"),
        b"\xfe\xff" + NET.encode("utf-16-be"),
        "# r\u00e9seau\n".encode("latin-1") + NET.encode(),
        "# \u8bad\u7ec3\u7f51\u7edc {\n".encode("gbk") + NET.encode(),
        NET.encode().replace(b"\n", b"\r\n"),
    ],
    ids=["UTF-8 mark", "UTF-16 LE", "UTF-16 BE", "Latin-1 comment", "GBK comment", "CR LF"],
)
def test_marks_and_comments_of_any_encoding_do_not_matter(tmp_path, data: bytes):
    path = tmp_path / "net.prototxt"
    path.write_bytes(data)
    assert [layer.name for layer in load_net_file(path).param.layer] == ["c", "layer { r", "d"]


def test_a_name_that_is_not_utf_8_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_bytes(b"# r\xe9seau\nlayer {\n  name: 'r\xe9seau' }")
    with pytest.raises(PrototxtError, match=f"{path}:3: has a string that is not UTF-8"):
        load_net_file(path)


@pytest.mark.parametrize(
    "text, found",
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", "Git LFS pointer"),
        ("\n<!DOCTYPE html>\n<html></html>", "web page"),
        ("<?xml version='1.0'?><Error/>", "web page or XML"),
        ("404: Not Found", "no such file"),
        ('{\n  "message": "Not Found"}', "no such file"),
    ],
)
def test_what_a_download_leaves_in_place_of_a_file_is_named(tmp_path, text: str, found: str):
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(PrototxtError, match="is another kind of file") as caught:
        load_net_file(path)
    assert found in caught.value.found


def test_the_odd_block_of_a_mixture_has_its_line():
    text = "layers { type: RELU }\nlayers { type: RELU }\n\nlayer { type: 'ReLU' }\n"
    with pytest.raises(PrototxtError) as caught:
        parse_net(text, "net.prototxt")
    assert caught.value.where == "net.prototxt:4"
    assert caught.value.found == "1 `layer` and 2 `layers`; `layer` in line 4"
    assert "layers { type: CONVOLUTION }" in caught.value.advice


def test_braces_of_defaults_are_not_a_layers():
    text = 'name: "${NET:-a}"\nlayer { name: "x${N:-1}" }\nlayer { top: "${B:-b}" }\n'
    assert layer_lines(text) == [2, 3]
    assert top_level_fields('max_iter: ${MAX_ITER:-10}\ntype: "Adam"') == ["max_iter", "type"]


@pytest.mark.slow
@pytest.mark.parametrize("quote", ['"', "'"])
def test_a_string_of_megabytes_takes_a_few_times_its_length(tmp_path, quote):
    length = 1_000_000
    text = f"name: {quote}{'x' * length}{quote}\n" + 'layer { type: "${KIND}" }\n'
    (tmp_path / "net.prototxt").write_text(text)
    load_prototxt(tmp_path / "net.prototxt", Placeholders({}))  # what is imported or compiled once
    tracemalloc.start()
    try:
        assert load_prototxt(tmp_path / "net.prototxt", Placeholders({})).lines == (2,)
        assert tracemalloc.get_traced_memory()[1] < 20 * length
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        'name: "' + "x" * 1_000_000,
        "input_dim: " + "1" * 1_000_000,
        "\n" * 300_000 + "max_iter: x",
    ],
)
def test_a_word_or_number_of_megabytes_is_refused_quickly_and_briefly(tmp_path, text):
    """The time was quadratic: minutes for these."""
    (tmp_path / "net.prototxt").write_text(text)
    before = time.process_time()
    with pytest.raises(PrototxtError) as caught:
        load_prototxt(tmp_path / "net.prototxt", Placeholders({}))
    assert time.process_time() - before < 10 and len(str(caught.value)) < 10_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["layer {" * 100_000, "[" * 100_000, "net_param { " * 20_000, "layer <" * 20_000]
)
def test_depth_without_end_is_refused(text):
    with pytest.raises(PrototxtError):
        parse_net(text)
    with pytest.raises(PrototxtError):
        parse_solver(text, "f")


@pytest.mark.parametrize("name", [r"\ud800", r"\377", r"\xff"])
def test_a_string_that_is_not_text(name):
    with pytest.raises(PrototxtError):
        parse_net(f'name: "{name}"')
