"""Hostile safetensors files, PyTorch checkpoints and ONNX models: refused with the reason, nothing is run."""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from rlossctl.errors import WeightsError
from rlossctl.inspection import inspect
from rlossctl.net.origin import NetOrigin
from rlossctl.weights import load_caffemodel, load_weights
from rlossctl.weights.caffemodel_frame import read_skeleton
from rlossctl.weights.onnxfile import load_onnx, tensor_values


def safetensors(header: object, data: bytes = bytes(16)) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


# file -> what the library says (its versions spell it differently)
HEADERS = {
    "overlap": (safetensors({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}), "offset|Offset"),
    "beyond the end": (safetensors({"a": entry(0, 4000, [1000])}), "incomplete metadata|IncompleteBuffer"),
    "gap": (safetensors({"a": entry(0, 4, [1]), "b": entry(8, 16, [2])}), "offset|Offset"),
    "backwards": (safetensors({"a": entry(8, 0, [2])}), "offset|Offset"),
    "shape too large": (safetensors({"a": entry(0, 16, [10**6])}), "invalid shape|InvalidInfo"),
    "overflow": (safetensors({"a": entry(0, 16, [2**62, 2**62])}), "overflow|Overflow"),
    "negative": (safetensors({"a": entry(0, 16, [-4])}), "JSON|Deserialization"),
    "header length of 2 GB": (
        struct.pack("<Q", 2**31 - 1) + b'{"a": 1}' + bytes(1000),
        "header too large|HeaderTooLarge",
    ),
    "no JSON": (safetensors(b'{"a" 1}'), "JSON|Deserialization"),
    "left over": (safetensors({"a": entry(0, 8, [2])}), "not fully covered|IncompleteBuffer"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_safetensors(case, tmp_path):
    data, reason = HEADERS[case]
    file = tmp_path / "w.safetensors"
    file.write_bytes(data)
    with pytest.raises(WeightsError, match="safetensors file") as caught:
        load_weights(file)
    assert caught.value.where == str(file) and caught.value.advice
    assert re.search(reason, caught.value.found)


class Bomb:
    """What a pickle could do when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_code(tmp_path, zipped):
    file, mark = tmp_path / "w.pt", tmp_path / "mark"
    content = {"state_dict": {"a": torch.zeros(2)}, "epoch": Bomb(mark)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match="could run code") as caught:
        load_weights(file)
    assert not mark.exists() and "mkdir" in caught.value.found


def test_a_plain_pickle_that_would_run_code(tmp_path):
    file, mark = tmp_path / "w.pth", tmp_path / "mark"
    file.write_bytes(pickle.dumps(Bomb(mark), protocol=2))
    with pytest.raises(WeightsError):
        load_weights(file)
    assert not mark.exists()


def test_numbers_of_numpy_are_let_through(tmp_path):
    """Training scripts keep a best score so; under NumPy 1 its function lay in another module."""
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        content = {"state_dict": {"a/0": torch.zeros(2)}, "best": np.float64(0.25), "n": np.int64(3)}
        torch.save(content, tmp_path / "w.pt")
        raw = (tmp_path / "w.pt").read_bytes()
        names = [name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray") if name in raw]
        assert len(names) == 1
        file = tmp_path / "old.pt"
        with zipfile.ZipFile(tmp_path / "w.pt") as old, zipfile.ZipFile(file, "w") as new:
            for item in old.infolist():
                new.writestr(item.filename, old.read(item).replace(names[0] + b"\n", module.encode() + b"\n"))
        assert load_weights(file).others == {"best": "0.25", "n": "3"}


def test_compressed_entries(tmp_path):
    file = tmp_path / "w.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    with pytest.raises(WeightsError, match="compressed entries") as caught:
        load_weights(file)
    assert "1000000" in caught.value.found


def test_a_tensor_larger_than_its_storage(tmp_path):
    file = tmp_path / "w.pt"
    torch.save({"a/0": torch.zeros(1).expand(1 << 20, 1 << 18)}, file)
    with pytest.raises(WeightsError, match="larger than its stored data") as caught:
        load_weights(file)
    assert "'a/0'" in caught.value.where


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(100), b"\x80\x02}q\x00.", b"\x80\x02garbage"])
def test_damaged_checkpoints(content, tmp_path):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_weights(tmp_path / "w.pth")
    assert caught.value.advice


def test_no_tensors(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds no tensors") as caught:
        load_weights(tmp_path / "w.pth")
    assert "epoch" in caught.value.found


def test_a_zip_is_no_caffemodel(tmp_path):
    torch.save({"a/0": torch.zeros(1)}, tmp_path / "w.caffemodel")
    with pytest.raises(WeightsError, match="another kind of file") as caught:
        load_caffemodel(tmp_path / "w.caffemodel")
    assert "zip archive" in caught.value.found


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/../../x", "C:\\x", "..\\x", "link/x", ""])
def test_onnx_data_outside_of_its_folder(place, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=place)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [tensor])
    (folder / "m.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(WeightsError, match="outside the model's folder") as caught:
        inspect(NetOrigin(folder / "m.onnx"))
    assert caught.value.found == repr(place)


def test_what_is_no_onnx_model(tmp_path):
    for content in (b"\x08\x01", b"\xff" * 20, onnx.ModelProto(ir_version=8).SerializeToString()):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(WeightsError, match="ONNX model"):
            inspect(NetOrigin(tmp_path / "m.onnx"))


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        '{"skeleton": "!", "values": []}',
        '{"skeleton": "AAAA", "values": [[9, "a", 0, 1, 4, -1]]}',
        '{"skeleton": "AAAA", "values": [[0, "a", 0, -1, 4, -1]]}',
        '{"skeleton": "AAAA", "values": [[2, "a", 0, 1, 4, -1], [1, "a", 0, 1, 4, -1]]}',
        '{"skeleton": "AAAA", "values": [["0", "a", 0, 1, 4, -1]]}',
    ],
)
def test_a_damaged_skeleton(text):
    with pytest.raises(WeightsError, match="caffemodel inside is damaged"):
        read_skeleton(text, "w.safetensors")


class Zip:
    """The parts of a checkpoint, to be written again after damage."""

    def __init__(self, content: object) -> None:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        with zipfile.ZipFile(buffer) as archive:
            self.parts = {name: archive.read(name) for name in archive.namelist()}

    def with_pickle(self, content: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, part in self.parts.items():
                archive.writestr(name, content if name.endswith("data.pkl") else part)
        return buffer.getvalue()


# What follows the head of a pickle (protocol 2), and what the unpickler makes of it.
PICKLES = {
    "a number cut off": b"G\0\0",  # struct.error
    "two bytes cut off": b"M\0",
    "a text that is not one": b"X\x02\0\0\0\xff\xfe.",  # UnicodeDecodeError
    "a global without a name": b"c\x80\n\x80\n.",
    "nothing on the stack": b"R.",  # IndexError
    "a storage of nothing": b"U\x03abcQ.",
    "a memo that is not there": b"h\x07.",  # KeyError
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("case", PICKLES)
def test_damaged_pickles(case, zipped, tmp_path):
    data = b"\x80\x02" + PICKLES[case]
    (tmp_path / "w.pt").write_bytes(Zip({"a": torch.zeros(1)}).with_pickle(data) if zipped else data)
    with pytest.raises(WeightsError, match=r"is damaged|could run code") as caught:
        load_weights(tmp_path / "w.pt")
    assert caught.value.where == str(tmp_path / "w.pt") and caught.value.found


def test_a_zip_with_a_name_that_is_not_text(tmp_path):
    data = Zip({"a": torch.zeros(1)}).with_pickle(b"\x80\x02}.")
    name = next(name for name in Zip({}).parts if name.endswith("data.pkl")).encode()
    damaged = data.replace(name, b"\x80" + name[1:])
    flagged = re.sub(rb"PK\x01\x02(.{4})..", lambda head: head[0][:8] + b"\0\x08", damaged, flags=re.DOTALL)
    (tmp_path / "w.pt").write_bytes(flagged)
    with pytest.raises(WeightsError, match="the zip archive is damaged"):
        load_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("source", [torch.zeros(1), [], 3, "[]", '{"weights": []}', "{"])
def test_a_checkpoint_of_ours_with_another_source(source, tmp_path):
    torch.save({"state_dict": {"a/0": torch.zeros(2)}, "source": source}, tmp_path / "w.pt")
    assert "an unknown file" in inspect(NetOrigin(tmp_path / "w.pt")).as_text()


def external(folder: Path, *, dims: tuple[int, ...] = (4,), **keys: str) -> Path:
    """A model with a tensor in a file of 16 bytes beside it."""
    (folder / "w.bin").write_bytes(bytes(16))
    tensor = TensorProto(name="w", dims=dims, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "w.bin", **keys}.items():
        tensor.external_data.add(key=key, value=value)
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
    model = helper.make_model(helper.make_graph([constant], "g", ends[:1], ends[1:], []))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("name", ["w\0.bin", "w\n.bin", "../w.bin"])
def test_names_of_external_data_inside_of_nodes(name, tmp_path):
    with pytest.raises(WeightsError, match="external data") as caught:
        load_onnx(external(tmp_path, location=name))
    assert caught.value.found == repr(name) and "'w'" in caught.value.where


@pytest.mark.parametrize("key", ["offset", "length"])
@pytest.mark.parametrize("value", ["-1", "x", "1e3", "", "\u0663"])
def test_places_in_external_data(key, value, tmp_path):
    with pytest.raises(WeightsError, match=f"the {key} of a tensor's external data is not a number"):
        load_onnx(external(tmp_path, **{key: value}))


@pytest.mark.parametrize("key", ["offset", "length"])
def test_places_beyond_external_data(key, tmp_path):
    path = external(tmp_path, **{key: str(2**62)})
    (tensor,) = (attribute.t for node in load_onnx(path).graph.node for attribute in node.attribute)
    with pytest.raises(WeightsError, match="values cannot be read"):
        tensor_values(path, tensor)


def test_negative_sizes_of_onnx_tensors(tmp_path):
    with pytest.raises(WeightsError, match="a tensor has a negative size"):
        load_onnx(external(tmp_path, dims=(-1,)))


@pytest.mark.parametrize(
    ("text", "what"),
    [(b"Constant", "op_type of a NodeProto"), (b"w.bin", "value of a StringStringEntryProto")],
)
def test_an_onnx_name_that_is_not_text(text, what, tmp_path):
    path = external(tmp_path)
    path.write_bytes(path.read_bytes().replace(text, b"\xff" * len(text)))
    with pytest.raises(WeightsError, match=f"the {what} is not text"):
        load_onnx(path)
