"""Damaged and foreign files: each is answered with its place, what was found and what to do."""

from __future__ import annotations

import random
import zipfile

import numpy as np
import pytest

from rlossctl.errors import WeightsError
from rlossctl.weights import load_caffemodel, load_solverstate
from rlossctl.weights.wire import encode_bytes, encode_head, encode_int, encode_varint


def net(*layer_fields: bytes) -> bytes:
    return encode_bytes(1, b"net") + encode_bytes(100, encode_bytes(1, b"conv1") + b"".join(layer_fields))


def blob(*fields: bytes) -> bytes:
    return net(encode_bytes(7, b"".join(fields)))


def shape(*dims: int) -> bytes:
    return encode_bytes(7, encode_bytes(1, b"".join(encode_varint(dim) for dim in dims)))


SIX = encode_bytes(5, np.arange(6, dtype="<f4").tobytes())
# file bytes -> words of the error
DAMAGED = {
    "empty": (b"", ["the file is empty", "0 bytes"]),
    "truncated": (blob(SIX, shape(2, 3))[:-7], ["the file is truncated", "field 100", "is incomplete"]),
    "length of 2 GB": (
        encode_bytes(1, b"net") + encode_head(100, 2**31 - 1) + bytes(1000),
        ["byte 5", "the file is truncated", "field 100 of 2147483647 bytes, 1000 bytes left", "file of 1012"],
    ),
    "length of 2^63": (encode_bytes(1, b"n") + b"\xa2\x06" + encode_varint(2**63), ["truncated", f"{2**63}"]),
    "length in a layer": (
        net(encode_head(7, 500)) + encode_bytes(8, bytes(600)),
        [
            "runs past the end of its message",
            "layer number 1",
            "field 7 of 500 bytes, 0 bytes left",
            "byte 15",
        ],
    ),
    "cut 32-bit value": (blob(b"\x2d\0\0"), ["runs past the end", "layer 'conv1', blob 0", "field 5 of 4"]),
    "endless varint": (b"\xff" * 30, ["byte 0", "a number is too long", "at most 10 bytes"]),
    "cut varint": (encode_bytes(1, b"n") + b"\xa2", ["byte 3", "a number is cut off", "incomplete"]),
    "cut varint inside": (net(b"\xb8") + encode_bytes(8, b""), ["a number is cut off", "is damaged"]),
    "group": (net(b"\x0b"), ["field 1 has wire type 3", "group start", "layer number 1"]),
    "wire type 7": (encode_bytes(1, b"n") + b"\x0f", ["wire type 7", "an undefined wire type"]),
    "field 0": (encode_bytes(1, b"n") + b"\x02\x00", ["illegal field number", "found:    0"]),
    "huge field number": (encode_varint(2**40), ["illegal field number"]),
    "negative dims": (blob(SIX, shape(-2, -3)), ["a dimension is negative", "shape (-2, -3)", "conv1"]),
    "negative legacy": (blob(encode_int(1, -1), SIX), ["a dimension is negative", "shape (-1, 0, 0, 0)"]),
    "overflowing dims": (blob(SIX, shape(2**62, 2**62)), ["the shape is too large", "2147483647 values"]),
    "overflow beside 0": (blob(shape(0, 2**40)), ["the shape is too large", "(0, 1099511627776)"]),
    "too many axes": (blob(SIX, shape(*[1] * 5000)), ["too many axes", "at most 32"]),
    "too few values": (
        blob(SIX, shape(7)),
        ["does not match the shape", "6 values", "7 values for shape (7,)"],
    ),
    "no values": (blob(shape(4)), ["0 values", "4 values"]),
    "odd packed length": (blob(encode_bytes(5, b"12345"), shape(1)), ["cut off", "5 bytes", "multiple of 4"]),
    "data as varint": (
        blob(encode_int(5, 1), shape(1)),
        ["field 5 is not a list of numbers", "32-bit value"],
    ),
    "shape as varint": (blob(encode_int(7, 1)), ["field 7 is not a BlobShape"]),
    "blob as varint": (net(encode_int(7, 1)), ["field 7 is not a blob", "found:    number"]),
    "layer as varint": (encode_int(100, 1) * 9, ["is not a name or layer", "byte 0"]),
    "type as varint": (net(encode_int(2, 1)), ["field 2 is not a layer type"]),
    "both kinds": (net() + encode_bytes(2, b""), ["holds both old and new layers"]),
    "no layers": (encode_bytes(1, b"net\x00"), ["holds no layers"]),
    "solver state": (encode_int(1, 13) + encode_bytes(2, b"x"), ["field 1 is a number", ".solverstate"]),
    "V1 type as string": (encode_bytes(2, encode_bytes(5, b"x")), ["field 5 is not a layer type"]),
    "V0 damaged": (encode_bytes(2, encode_bytes(1, b"\x0a\x09")), ["runs past", "layer number 1"]),
}
FOREIGN = {
    "pickle": (b"\x80\x02}q\x00.", ["a Python pickle", "convert it"]),
    "gzip": (b"\x1f\x8b\x08\x00abc", ["a gzip archive", "gunzip"]),
    "numpy": (b"\x93NUMPY\x01\x00", ["a NumPy array"]),
    "tar": (b"a".ljust(257, b"\0") + b"ustar\0", ["a tar archive", "tar xf"]),
    "safetensors": (b'\x10\0\0\0\0\0\0\0{"a":1}', ["a safetensors file"]),
    "prototxt": (b'name: "net"\nlayer {\n}\n', ["text beginning", "name:", "prototxt"]),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", ["Git LFS", "git lfs pull"]),
    "web page": (b"<!DOCTYPE html><html>", ["a web page", "download failed"]),
}


def error_of(read, path) -> str:
    with pytest.raises(WeightsError) as caught:
        read(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    for part in ("found: ", "expected: ", "do: "):
        assert part in text
    return text


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged(tmp_path, name):
    data, words = DAMAGED[name]
    path = tmp_path / "bad.caffemodel"
    path.write_bytes(data)
    text = error_of(lambda path: load_caffemodel(path).layers, path)
    for word in words:
        assert word in text


@pytest.mark.parametrize("read", [load_caffemodel, load_solverstate])
@pytest.mark.parametrize("name", FOREIGN)
def test_foreign(tmp_path, name, read):
    data, words = FOREIGN[name]
    path = tmp_path / "bad.caffemodel"
    path.write_bytes(data)
    text = error_of(read, path)
    assert "is another kind of file" in text
    for word in words:
        assert word in text


def test_zip(tmp_path):
    path = tmp_path / "net.caffemodel"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    assert "a zip archive (PyTorch checkpoints" in error_of(load_caffemodel, path)


def test_missing_file_and_folder(tmp_path):
    assert "No such file" in error_of(load_caffemodel, tmp_path / "none.caffemodel")
    assert "check the path" in error_of(load_caffemodel, tmp_path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            encode_bytes(1, b"n\0t") + encode_bytes(100, b""),
            ["field 1 is not the iteration of a SolverState"],
        ),
        (encode_int(1, 5) + encode_head(3, 100), ["truncated", "field 3 of 100 bytes"]),
        (encode_int(1, 5) + encode_bytes(3, SIX + shape(5)), ["history blob 0", "5 values for shape (5,)"]),
        (encode_int(1, 5) + encode_int(2, 1), ["field 2 is not the weights file's name"]),
    ],
)
def test_damaged_state(tmp_path, data, words):
    path = tmp_path / "bad.solverstate"
    path.write_bytes(data)
    text = error_of(load_solverstate, path)
    for word in words:
        assert word in text


@pytest.mark.parametrize("name", ["rloss_sgd", "v0", "v1", "segnet"])
def test_every_prefix_and_random_damage_end_in_a_weights_error_or_a_model(golden, tmp_path, name):
    data = (golden / "weights" / f"{name}.caffemodel").read_bytes()
    draw = random.Random(0)
    cases = [data[:length] for length in range(0, len(data), 3)]
    for _ in range(300):
        case = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            case[draw.randrange(len(case))] = draw.randrange(256)
        cases.append(bytes(case))
    path = tmp_path / "bad.caffemodel"
    refused = 0
    for case in cases:
        path.write_bytes(case)
        try:
            model = load_caffemodel(path)
            arrays = [blob.array() for layer in model.layers for blob in layer.blobs]
        except WeightsError:
            refused += 1
        else:
            assert sum(array.nbytes for array in arrays) <= 2 * len(case)
            assert model.to_bytes() == case
        path.unlink()  # a mapped file must not be shortened in place
    assert refused > len(cases) // 3
