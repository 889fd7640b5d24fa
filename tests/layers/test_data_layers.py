"""Data layers in nets: shapes, options of the caller, dialects. What they read is tested in tests/data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from rlossctl.errors import DataError
from rlossctl.prototxt import load_net_parameter

REST = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 9 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def head(kind, param, more=""):
    return f'layer {{ name: "in" type: "{kind}" top: "data" top: "label" {param} {more} }}'


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(4):
        Image.fromarray(rng.integers(0, 256, (6, 5, 3)).astype(np.uint8)).save(tmp_path / f"im {index}.png")
    (tmp_path / "list.txt").write_text("".join(f"im {index}.png {index}\n" for index in range(4)))
    (tmp_path / "words.txt").write_text("im 0\n")
    return tmp_path


@pytest.mark.proves("ImageData")
def test_a_net_on_image_data(build, folder):
    """type: "ImageData" with the caller's source, root, seed and workers."""
    text = head("ImageData", "image_data_param { batch_size: 2 shuffle: true }") + REST
    options = {"source": str(folder / "list.txt"), "root": f"{folder}/", "seed": 3, "workers": 2}
    net = build(text, data=options)
    assert net.shapes["data"] == (2, 3, 6, 5) and net.shapes["label"] == (2,) and net.inputs == []
    source = net.sources["in"]
    assert (source.seed, source.source) == (3, options["source"])
    state = source.state()
    first = net.run(keep=True).blobs
    assert torch.isfinite(first["loss"])
    source.restore(state)
    again = build(text, data={**options, "workers": 0}).run(keep=True).blobs
    assert torch.equal(first["data"], again["data"]) and torch.equal(first["label"], again["label"])
    source.close()


def test_image_data_of_a_fork_splits_into_words(build, folder):
    fork = 'layer { name: "up" type: "Interp" bottom: "data" top: "up" interp_param { height: 2 width: 2 } }'
    data = {"source": str(folder / "list.txt"), "root": f"{folder}/"}
    text = head("ImageData", "image_data_param { batch_size: 1 }") + fork
    with pytest.raises(DataError, match="no other space"):
        build(text, data=data)


def test_crops_tell_the_shapes_without_files(build):
    for kind, param, more, size in (
        ("Data", "data_param { batch_size: 2 }", "transform_param { crop_size: 9 }", (3, 9, 9)),
        ("ImageData", "image_data_param { batch_size: 2 }", "transform_param { crop_size: 9 }", (3, 9, 9)),
        ("WindowData", "window_data_param { batch_size: 2 }", "transform_param { crop_size: 9 }", (3, 9, 9)),
        ("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 4 width: 3 }", "", (1, 4, 3)),
    ):
        net = build(head(kind, param, more) + REST)
        assert net.shapes["data"] == (2, *size) and net.shapes["label"] == (2,)
        assert net(data=torch.zeros(2, *size), label=torch.zeros(2))["loss"] > 0


@pytest.mark.proves("MemoryData")
def test_memory_data_is_fed(build):
    net = build(
        head("MemoryData", "memory_data_param { batch_size: 2 channels: 1 height: 4 width: 3 }") + REST
    )
    with pytest.raises(DataError, match="nothing was fed"):
        net.run()
    net.sources["in"].feed(np.ones((4, 1, 4, 3)), np.arange(4))
    net.run()
    assert net.run(keep=True).blobs["label"].tolist() == [2, 3]


@pytest.mark.proves("HDF5Data")
def test_hdf5_data_has_tops_of_any_shape(build, tmp_path):
    """type: "HDF5Data" """
    h5py = pytest.importorskip("h5py", reason="the extra hdf5 is not installed")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"], file["label"] = np.ones((3, 4)), np.zeros((3, 1))
    (tmp_path / "list.txt").write_text("a.h5\n")
    param = "hdf5_data_param { batch_size: 5 }"
    net = build(head("HDF5Data", param) + REST, data={"source": tmp_path / "list.txt", "root": tmp_path})
    assert net.shapes["data"] == (5, 4) and net.shapes["label"] == (5, 1)
    assert torch.isfinite(net.run().loss)


def test_errors_name_the_prototxt(build):
    for kind, param in (
        ("Data", "data_param"),
        ("ImageData", "image_data_param"),
        ("MemoryData", "python_param"),
    ):
        with pytest.raises(DataError, match=rf"layer 'in' \({kind}\)") as caught:
            build(head(kind, f"{param} {{ }}"))
        assert str(caught.value.where).startswith("net.prototxt:1")


def test_an_image_shape_builds_nets_without_their_data(build, shared):
    """The original nets name lists and databases of their authors' machines."""
    for name, kind, shape, sizes in (
        ("bvlc_legacy/lenet_v1_real.upgraded_noblobs", "Data", (1, 28, 28), [(64, 1, 28, 28), (64,)]),
        ("segnet/segnet_train", "DenseImageData", (3, 360, 480), [(4, 3, 360, 480), (4, 1, 360, 480)]),
    ):
        path = shared / "prototxt" / f"{name}.prototxt"
        layer = next(layer for layer in load_net_parameter(path).layer if layer.type == kind)
        layer.include.clear()
        net = build(f"layer {{ {layer} }}", data={"image_shape": shape})
        assert [net.shapes[top] for top in layer.top] == sizes
    seg = 'layer { name: "in" type: "ImageSegData" top: "data" image_data_param { batch_size: 2 } }'
    assert build(seg, data={"image_shape": (3, 7, 8)}).shapes["data"] == (2, 3, 7, 8)


def test_edge_maps_have_a_shape_without_their_files(build):
    text = 'layer { name: "in" type: "ImageLabelmapData" top: "data" top: "label" '
    text += 'image_data_param { source: "gone.lst" batch_size: 2 } }'
    net = build(text, data={"image_shape": (3, 20, 30)})
    assert net.shapes == {"data": (2, 3, 20, 30), "label": (2, 1, 20, 30)} and net.dialect == "fcn"
    with pytest.raises(DataError, match="the list cannot be read") as caught:
        build(text)
    assert str(caught.value.where).startswith("gone.lst") and "--image-shape" in caught.value.advice
