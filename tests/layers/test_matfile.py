"""MatWrite and MatRead: names, layout of the files, refusals."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from rlossctl.errors import DataError, NetError

scipy_io = pytest.importorskip("scipy.io", reason="MatWrite needs scipy")

WRITE = """
input: "x" input_shape {{ dim: 1 dim: 2 dim: 3 dim: 4 }}
layer {{ name: "w" type: "MatWrite" bottom: "x" mat_write_param {{ prefix: "{folder}/a_" {param} }} }}
"""
READ = """
layer {{ name: "r" type: "MatRead" top: "x" mat_read_param {{ prefix: "{folder}/a_" {param} }} }}
"""


def blob(start: int = 0) -> torch.Tensor:
    return torch.arange(start, start + 24, dtype=torch.float32).reshape(1, 2, 3, 4)


@pytest.mark.proves("MatWrite")
def test_layout_is_width_height_channels_number(build, tmp_path):
    net = build(WRITE.format(folder=tmp_path, param=""))
    assert not list(tmp_path.iterdir())  # building writes nothing
    net(x=blob())
    data = scipy_io.loadmat(tmp_path / "a_iter_0_blob_0.mat")["data"]
    assert data.dtype == np.float32 and data.shape[:3] == (4, 3, 2)
    assert data.reshape(4, 3, 2)[1, 2, 1] == blob()[0, 1, 2, 1]
    head = (tmp_path / "a_iter_0_blob_0.mat").read_bytes()
    assert head.startswith(b"MATLAB 5.0") and head[128:132] == b"\x0e\x00\x00\x00"  # miMATRIX: uncompressed


def test_names_from_a_list_every_second_pass(build, tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("one.jpg one.png\ntwo.jpg\nthree.jpg\n")
    net = build(WRITE.format(folder=tmp_path, param=f'source: "{names}" strip: 4 period: 2'))
    for start in range(3):
        net(x=blob(start))
    assert sorted(path.name for path in tmp_path.glob("*.mat")) == ["a_one_blob_0.mat", "a_three_blob_0.mat"]
    net(x=blob())
    with pytest.raises(DataError, match="fewer lines than passes") as caught:
        net(x=blob())
    assert caught.value.where == str(names) and "3 names" in caught.value.found


@pytest.mark.proves("MatRead")
def test_read_is_the_inverse_and_begins_again(build, tmp_path):
    writer = build(WRITE.format(folder=tmp_path, param=""))
    for start in range(3):
        writer(x=blob(start))
    names = tmp_path / "names.txt"
    names.write_text("iter_0\niter_1\niter_2\n")
    net = build(READ.format(folder=tmp_path, param=f'source: "{names}" batch_size: 2'))
    assert net.shapes["x"] == (2, 2, 3, 4)
    torch.testing.assert_close(net()["x"], torch.cat([blob(0), blob(1)]))
    state = net.sources["r"].state()
    torch.testing.assert_close(net()["x"], torch.cat([blob(2), blob(0)]))
    net.sources["r"].restore(state)
    torch.testing.assert_close(net()["x"], torch.cat([blob(2), blob(0)]))


def test_without_a_list_the_passes_are_counted(build, tmp_path):
    writer = build(WRITE.format(folder=tmp_path, param=""))
    writer(x=blob(5))
    net = build(READ.format(folder=tmp_path, param=""))
    torch.testing.assert_close(net()["x"], blob(5))
    with pytest.raises(DataError, match="not a MATLAB file") as caught:
        net()
    assert caught.value.where.endswith("a_iter_1_blob_0.mat")


def test_a_file_of_another_shape(build, tmp_path):
    build(WRITE.format(folder=tmp_path, param=""))(x=blob())
    scipy_io.savemat(tmp_path / "a_iter_1_blob_0.mat", {"data": np.zeros((4, 3), np.float32)})
    net = build(READ.format(folder=tmp_path, param=""))
    net()
    with pytest.raises(DataError, match="wrong shape") as caught:
        net()
    assert caught.value.found == (1, 1, 3, 4)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 40, None])
def test_files_that_are_no_blob(build, tmp_path, content):
    path = tmp_path / "a_iter_0_blob_0.mat"
    if content is None:
        scipy_io.savemat(path, {"data": "text"})
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="not a MATLAB file"):
        build(READ.format(folder=tmp_path, param=""))


def test_names_shorter_than_what_is_stripped(build, tmp_path):
    (tmp_path / "names.txt").write_text("long.jpg\nab\n")
    net = build(WRITE.format(folder=tmp_path, param=f'source: "{tmp_path}/names.txt" strip: 2'))
    with pytest.raises(DataError, match="too short to strip") as caught:
        net(x=blob())
    assert caught.value.where == f"{tmp_path}/names.txt:2"


def test_says_what_is_missing_without_scipy(build, tmp_path, monkeypatch):
    net = build(WRITE.format(folder=tmp_path, param=""))
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(NetError, match="need scipy") as caught:
        net(x=blob())
    assert "rlossctl[mat]" in caught.value.advice


def test_five_axes_and_no_prefix(build, tmp_path):
    with pytest.raises(NetError, match="more than 4 axes"):
        build(WRITE.format(folder=tmp_path, param="").replace("dim: 4", "dim: 4 dim: 1"))
    with pytest.raises(NetError, match="needs a prefix"):
        build(WRITE.format(folder=tmp_path, param="").replace(f'prefix: "{tmp_path}/a_"', ""))
