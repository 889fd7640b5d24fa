"""HDF5Output: what it writes, and when."""

from __future__ import annotations

import sys

import pytest
import torch

from rlossctl.errors import NetError, RlossError

h5py = pytest.importorskip("h5py", reason="HDF5Output needs h5py")

NET = """
input: "x" input_shape {{ dim: 2 dim: 3 dim: 4 dim: 5 }}
input: "t" input_shape {{ dim: 2 }}
layer {{ name: "w" type: "HDF5Output" bottom: "x" bottom: "t" hdf5_output_param {{ file_name: "{path}" }} }}
"""


@pytest.mark.proves("HDF5Output")
def test_rows_of_all_passes(build, tmp_path):
    path = tmp_path / "out.h5"
    path.write_bytes(b"what was there before")
    net = build(NET.format(path=path))
    assert path.read_bytes() == b"what was there before"  # only a pass writes
    x = torch.randn(2, 3, 4, 5)
    net(x=x, t=torch.tensor([1.0, 2.0]))
    net(x=-x, t=torch.tensor([3.0, 4.0]))
    with h5py.File(path) as file:
        assert set(file) == {"data", "label"} and file["data"].dtype == "<f4"
        torch.testing.assert_close(torch.tensor(file["data"][:]), torch.cat([x, -x]))
        assert file["label"].shape == (4, 1, 1, 1) and file["label"][:, 0, 0, 0].tolist() == [1, 2, 3, 4]


def test_refusals(build, tmp_path, monkeypatch):
    with pytest.raises(NetError, match="names no file"):
        build(NET.format(path=""))
    with pytest.raises(NetError, match="same batch size"):
        build(NET.format(path="x.h5").replace('"t" input_shape { dim: 2', '"t" input_shape { dim: 3'))
    net = build(NET.format(path=tmp_path / "absent" / "x.h5"))
    with pytest.raises(RlossError):
        net(x=torch.zeros(2, 3, 4, 5), t=torch.zeros(2))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(NetError, match="needs h5py") as caught:
        net(x=torch.zeros(2, 3, 4, 5), t=torch.zeros(2))
    assert "rlossctl[hdf5]" in caught.value.advice
