"""Which format a file has, where its name does not tell."""

from __future__ import annotations

import pickle

import pytest
import torch

from rlossctl.weights import kinds

NET = b'# a net\nname: "n"\nlayer { name: "a" type: "ReLU" }\n'


@pytest.mark.parametrize("name", ["net.pt", "net.txt", "net.prototxt", "NET", "net.pth", "net.template"])
@pytest.mark.parametrize(
    "data",
    [
        NET,
        b"\xef\xbb\xbf" + NET,
        NET.decode().encode("utf-16"),
        b"# r\xe9seau\n" + NET,
        b"\n\n  layer\n{ }",
        b"layer { name: 'a' }",
        b"# " + b"-" * 600 + b"\n" + NET,
    ],
)
def test_a_prototxt_is_one_whatever_its_name(tmp_path, name: str, data: bytes):
    path = tmp_path / name
    path.write_bytes(data)
    assert kinds.kind_of(path) == kinds.PROTOTXT


def test_a_checkpoint_stays_one(tmp_path):
    path = tmp_path / "model.pt"
    state = {"weight": torch.zeros(2)}
    torch.save(state, path)
    assert kinds.kind_of(path) == kinds.CHECKPOINT
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert kinds.kind_of(path) == kinds.CHECKPOINT
    for protocol in range(4):  # protocol 0 is text, too
        path.write_bytes(pickle.dumps({"a": [1.0]}, protocol))
        assert kinds.kind_of(path) == kinds.CHECKPOINT
    path.write_bytes(b"cos\nsystem\n(S'ls'\ntR.")
    assert kinds.kind_of(path) == kinds.CHECKPOINT
    assert kinds.by_name(tmp_path / "gone.pt") == kinds.CHECKPOINT
    assert kinds.written_kind(path) == kinds.CHECKPOINT
