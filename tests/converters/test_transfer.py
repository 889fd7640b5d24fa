"""One weights file into another without a net: every way in the table, and back without a changed bit."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

import rlossctl
from rlossctl.cli import cli
from rlossctl.converters.formats.transfer import TRANSFERS
from rlossctl.errors import UsageError, WeightsError
from rlossctl.weights import kinds, load_caffemodel, load_weights, write_caffemodel
from rlossctl.weights.encode import blob_pieces, framed
from rlossctl.weights.kinds import CAFFEMODEL, CAFFEMODEL_H5, CHECKPOINT, SAFETENSORS
from rlossctl.weights.wire import encode_bytes, encode_int

NAN = np.array([0x7FC12345, 0x00000001, 0xFF800000], "<u4").view("<f4")  # a payload, a denormal, -infinity


def layer(name: str, *blobs: list) -> bytes:
    head = encode_bytes(1, name.encode()) + encode_bytes(2, b"Convolution")
    return b"".join(map(bytes, framed(100, [head, *(piece for blob in blobs for piece in framed(7, blob))])))


def unpacked(values: np.ndarray) -> bytes:
    return b"".join(b"\x2d" + value.tobytes() for value in values)


@pytest.fixture
def odd(tmp_path):
    """A caffemodel with everything that files of all ages have: legacy shapes, doubles, values that are not
    packed or in pieces, gradients, a repeated name, unknown fields, NaNs."""
    ones = np.arange(6, dtype="<f4")
    double = encode_bytes(8, np.array([1 / 3, 1e300]).tobytes()) + encode_bytes(7, encode_bytes(1, b"\x02"))
    pieces = (
        encode_bytes(5, ones[:2].tobytes()) + unpacked(ones[2:]) + encode_bytes(7, encode_bytes(1, b"\x06"))
    )
    path = tmp_path / "odd.caffemodel"
    path.write_bytes(
        encode_bytes(1, b"odd")
        + layer("a", blob_pieces(ones.reshape(1, 1, 2, 3), legacy=True), blob_pieces(NAN))
        + layer("b/c", blob_pieces(ones, diff=-ones), [double])
        + layer("relu")
        + layer("a", [pieces], blob_pieces(np.float32(7)))
        + encode_int(3000, 12)
    )
    return path


@pytest.fixture
def lenet(golden):
    """A binary caffemodel that Caffe wrote, in V1 form."""
    return golden / "legacy" / "v1_small.in.caffemodel"


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth.tar"])
@pytest.mark.parametrize("which", ["odd", "lenet"])
def test_there_and_back_is_byte_for_byte(which, suffix, request, tmp_path):
    source = request.getfixturevalue(which)
    rlossctl.convert(source, None, tmp_path / f"w{suffix}")
    rlossctl.convert(tmp_path / f"w{suffix}", None, tmp_path / "back.caffemodel")
    assert (tmp_path / "back.caffemodel").read_bytes() == source.read_bytes()


def test_tensors_have_the_blobs_names_shapes_and_bits(odd, tmp_path):
    rlossctl.convert(odd, None, tmp_path / "w.safetensors")
    tensors = load_file(tmp_path / "w.safetensors")
    assert {name: (array.shape, str(array.dtype)) for name, array in tensors.items()} == {
        "a/0": ((1, 1, 2, 3), "float32"),
        "a/1": ((3,), "float32"),
        "b/c/0": ((6,), "float32"),
        "b/c/0.diff": ((6,), "float32"),
        "b/c/1": ((2,), "float64"),
        "a#2/0": ((6,), "float32"),
        "a#2/1": ((), "float32"),
    }
    assert tensors["a/1"].tobytes() == NAN.tobytes() and tensors["b/c/1"][1] == 1e300


def test_changed_values_go_into_the_caffemodel(odd, tmp_path):
    rlossctl.convert(odd, None, tmp_path / "w.safetensors")
    tensors = load_file(tmp_path / "w.safetensors")
    metadata = dict(load_weights(tmp_path / "w.safetensors").metadata)
    tensors["a#2/0"] = tensors["a#2/0"] + 1
    save_file(tensors, tmp_path / "w.safetensors", metadata)
    rlossctl.convert(tmp_path / "w.safetensors", None, tmp_path / "w.caffemodel")
    blob = load_caffemodel(tmp_path / "w.caffemodel").layers[3].blobs[0]
    np.testing.assert_array_equal(blob.array(), np.arange(1, 7))
    del tensors["a/0"]
    save_file(tensors, tmp_path / "w.safetensors", metadata)
    with pytest.raises(WeightsError, match="does not fit the caffemodel inside") as caught:
        rlossctl.convert(tmp_path / "w.safetensors", None, tmp_path / "w.caffemodel")
    assert "'a/0'" in caught.value.where


@pytest.fixture
def samples(tmp_path):
    """A weights file of each kind, of one small net."""
    records = [(encode_bytes(1, b"conv"), [np.ones((2, 3), "f4"), np.zeros(2, "f4")])]
    files = {kind: tmp_path / f"sample{kinds.SUFFIXES[kind][0]}" for kind in kinds.WEIGHTS}
    write_caffemodel(files[CAFFEMODEL], "small", records)
    for kind in kinds.WEIGHTS[1:]:
        rlossctl.convert(files[CAFFEMODEL], None, files[kind])
    return files


@pytest.mark.parametrize("start", kinds.WEIGHTS)
@pytest.mark.parametrize("end", kinds.WRITTEN)
def test_every_pair_is_in_the_table_or_asks_for_a_net(start, end, samples, tmp_path):
    out = tmp_path / f"out{kinds.SUFFIXES[end][0]}"
    upgraded = start == CAFFEMODEL and end in (CAFFEMODEL, kinds.PROTOTXT)
    if (start, end) not in TRANSFERS and not upgraded:
        with pytest.raises(UsageError, match="a net is missing"):
            rlossctl.convert(samples[start], None, out)
        return
    lines = rlossctl.convert(samples[start], None, out).lines()
    assert lines[0].startswith(f"wrote {out}") and lines[1].startswith("verified: ")
    if end != kinds.PROTOTXT:
        found = {each.name: [blob.array() for blob in each.blobs] for each in load_weights(out).layers}
        assert list(found) == ["conv"]
        np.testing.assert_array_equal(found["conv"][0], np.ones((2, 3)))
        np.testing.assert_array_equal(found["conv"][1], np.zeros(2))


def test_legacy_shapes_in_hdf5_are_todays(tmp_path):
    message = encode_bytes(4, b"ip") + encode_int(5, 14)
    blobs = [
        blob_pieces(np.ones((1, 1, 2, 3), "f4"), legacy=True),
        blob_pieces(np.ones((1, 1, 1, 2), "f4"), legacy=True),
    ]
    body = message + b"".join(bytes(piece) for blob in blobs for piece in framed(6, blob))
    (tmp_path / "v1.caffemodel").write_bytes(encode_bytes(2, body))
    rlossctl.convert(tmp_path / "v1.caffemodel", None, tmp_path / "w.h5")
    assert [blob.shape for blob in load_weights(tmp_path / "w.h5").layers[0].blobs] == [(2, 3), (2,)]


def test_a_net_inside_a_safetensors_file_is_used(material, tmp_path):
    """From a net and weights to safetensors, and on without naming the net again."""
    first, second = tmp_path / "first.caffemodel", tmp_path / "second.caffemodel"
    rlossctl.convert(material.test, material.weights, first, placeholders=material.settings)
    rlossctl.convert(
        material.test, material.weights, tmp_path / "w.safetensors", placeholders=material.settings
    )
    result = rlossctl.convert(tmp_path / "w.safetensors", None, second)
    assert first.read_bytes() == second.read_bytes()
    assert "the one inside" in " ".join(result.lines())
    rlossctl.convert(tmp_path / "w.safetensors", None, tmp_path / "w.h5")
    layers = {each.name: each.blobs for each in load_weights(tmp_path / "w.h5").layers}
    assert layers["twin_a"] and not layers["twin_b"]  # shared: under its owner only


def test_weights_of_every_format_fill_a_net(material, tmp_path):
    """The blobs that a net gets are the same whichever file they come from."""
    expected = rlossctl.load_net(material.test, material.weights, **material.settings).params
    for suffix in (".safetensors", ".pt", ".h5"):
        out = tmp_path / f"w{suffix}"
        rlossctl.convert(material.test, material.weights, out, placeholders=material.settings)
        found = rlossctl.load_net(material.test, out, **material.settings).params
        for name, blobs in expected.items():
            for blob, other in zip(blobs, found[name], strict=True):
                torch.testing.assert_close(blob, other, rtol=0, atol=0)


def test_content_decides_without_a_suffix_and_options_override(lenet, tmp_path):
    shutil.copy(lenet, tmp_path / "weights")
    rlossctl.convert(tmp_path / "weights", None, tmp_path / "a", target_format=SAFETENSORS)
    rlossctl.convert(tmp_path / "a", None, tmp_path / "b", target_format=CHECKPOINT)
    rlossctl.convert(tmp_path / "b", None, tmp_path / "c", target_format=CAFFEMODEL_H5)
    assert [kinds.kind_of(tmp_path / name) for name in ("weights", "a", "b", "c")] == [
        CAFFEMODEL,
        SAFETENSORS,
        CHECKPOINT,
        CAFFEMODEL_H5,
    ]
    shutil.copy(tmp_path / "a", tmp_path / "a.pt")
    rlossctl.convert(tmp_path / "a.pt", None, tmp_path / "d.caffemodel", source_format=SAFETENSORS)
    assert (tmp_path / "d.caffemodel").read_bytes() == lenet.read_bytes()


@pytest.mark.slow
def test_streams(lenet, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rlossctl", "convert", "-", "-o", "-", "--to", "safetensors"],
        input=lenet.read_bytes(),
        capture_output=True,
    )
    assert done.returncode == 0 and b"wrote standard output" in done.stderr
    (tmp_path / "w.safetensors").write_bytes(done.stdout)
    rlossctl.convert(tmp_path / "w.safetensors", None, tmp_path / "w.caffemodel")
    assert (tmp_path / "w.caffemodel").read_bytes() == lenet.read_bytes()


def test_errors_name_the_streams(tmp_path):
    """Not the temporary files behind them."""
    runner = CliRunner()
    result = runner.invoke(cli, ["convert", "-", "-o", str(tmp_path / "a.safetensors")], input=b"")
    assert str(result.exception).startswith("standard input: the file is empty")
    assert result.exception.where == "standard input"
    result = runner.invoke(cli, ["convert", "-", "-o", "-"], input=b"x")
    assert str(result.exception).startswith("standard output: unknown format")
    result = runner.invoke(cli, ["convert", "-", "-", "-o", "a.onnx"], input=b"x")
    assert isinstance(result.exception, UsageError) and "cannot be two files" in str(result.exception)


def test_net_and_weights_the_other_way_round(lenet, tmp_path):
    with pytest.raises(UsageError, match="are swapped") as refused:
        rlossctl.convert(lenet, tmp_path / "net.prototxt", tmp_path / "a.onnx")
    assert str(refused.value).endswith(f"write {tmp_path / 'net.prototxt'} {lenet}")


def test_a_caffemodel_of_today_is_copied_byte_for_byte(odd, golden, tmp_path):
    new = golden / "legacy" / "v1_small.out.caffemodel"
    for source in (odd, new):
        result = rlossctl.convert(source, None, tmp_path / "copy.caffemodel")
        assert (tmp_path / "copy.caffemodel").read_bytes() == source.read_bytes()
        assert "byte for byte" in " ".join(result.lines())


def test_a_part_of_a_shared_layer_needs_the_net(tmp_path):
    save_file({"a/1": np.ones(2, "f4")}, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="only the net says"):
        rlossctl.convert(tmp_path / "w.safetensors", None, tmp_path / "w.caffemodel")


def test_layers_of_one_name_do_not_fit_into_hdf5(odd, tmp_path):
    with pytest.raises(UsageError, match="share a name") as caught:
        rlossctl.convert(odd, None, tmp_path / "w.h5")
    assert caught.value.found == "a" and not (tmp_path / "w.h5").exists()


def test_what_is_not_written(lenet, tmp_path):
    for name in ("w.solverstate", "w.tflite", "w"):
        with pytest.raises(UsageError, match="unknown format"):
            rlossctl.convert(lenet, None, tmp_path / name)


def test_the_source_travels_with_the_tensors(lenet, tmp_path):
    rlossctl.convert(lenet, None, tmp_path / "w.safetensors")
    metadata = load_weights(tmp_path / "w.safetensors").metadata
    assert json.loads(metadata["source"])["weights"]["name"] == lenet.name
    assert metadata["prototxt"].startswith("name:")


def test_values_that_are_not_finite_are_copied_and_named(odd, tmp_path):
    notes = rlossctl.convert(odd, None, tmp_path / "w.safetensors").notes
    (warning,) = [note for note in notes if note.startswith("warning")]
    assert "layer 'a' blob 1: 2 of 3 values (NaN first, at [0])" in warning
