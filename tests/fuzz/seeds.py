"""Small files of every format, written by the programs that usually write them."""

from __future__ import annotations

import io
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rlossctl.data.modelcard import ModelCard
from rlossctl.data.preprocess import Preprocess
from rlossctl.evaluation.scoring.record import Record
from rlossctl.evaluation.scoring.tally import Tally
from rlossctl.prototxt.messages import Datum

from .bounds import GOLDEN

STATE = {"conv/0": torch.arange(12.0).reshape(3, 4), "conv/1": torch.ones(3)}


def checkpoints(zipped: bool) -> list[bytes]:
    """PyTorch files: a state_dict, and what a training script keeps beside it."""
    half = {"backbone.conv1.weight": torch.zeros(2, 3, 1, 1).half(), "fc.bias": torch.zeros(5).bfloat16()}
    contents = [
        STATE,
        {"state_dict": half, "epoch": 3, "best": np.float64(0.5), "lr": [0.1, 0.2], "name": "net"},
        {"model": {"a": torch.zeros(4).long(), "b": torch.zeros(2, 2).t()}, "optimizer": {"state": {}}},
    ]
    return [_saved(content, zipped) for content in contents]


def _saved(content: object, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def safetensors() -> list[bytes]:
    from safetensors.numpy import save

    arrays = {name: tensor.numpy() for name, tensor in STATE.items()}
    return [
        save(arrays),
        save(arrays, {"prototxt": "name: 'n'", "shared": "{}"}),
        save({"x": np.zeros(3, "<i8")}),
    ]


def onnx_models() -> list[bytes]:
    """Two nodes; weights as raw bytes, as numbers, and in a file beside the model."""
    from onnx import TensorProto, helper

    raw = TensorProto(name="w", dims=[2, 1, 1, 1], data_type=TensorProto.FLOAT, raw_data=bytes(8))
    plain = helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0])
    beside = TensorProto(name="e", dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "values.bin"), ("offset", "0"), ("length", "8")):
        beside.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"]), helper.make_node("Add", ["c", "e"], ["y"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, 4, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [raw, plain, beside])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, {"classes": "a,b"})
    return [model.SerializeToString()]


def hdf5_models() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("weights/*.caffemodel.h5"))]


def hdf5_states() -> list[bytes]:
    return [path.read_bytes() for path in sorted(GOLDEN.glob("weights/*.solverstate.h5"))]


def pictures() -> list[bytes]:
    """Photos and label images in the formats that lists name, and some that they might."""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (16, 20, 3), np.uint8))
    ids = Image.fromarray(rng.integers(0, 3, (16, 20), np.uint8))
    palette = ids.convert("P")
    exif = Image.Exif()
    exif[0x0112] = 6
    saved = [(photo, "JPEG", {"exif": exif}), (photo, "JPEG", {"progressive": True}), (photo, "PNG", {})]
    saved += [(photo, kind, {}) for kind in ("BMP", "TIFF", "GIF", "WEBP", "PPM", "TGA", "ICO")]
    saved += [
        (ids, "PNG", {}),
        (palette, "PNG", {}),
        (ids.convert("1"), "PNG", {}),
        (ids.convert("I"), "TIFF", {}),
    ]
    saved += [
        (photo.convert("RGBA"), "PNG", {}),
        (ids, "TIFF", {"compression": "tiff_lzw"}),
        (ids, "PCX", {}),
    ]
    return [_encoded(image, kind, options) for image, kind, options in saved]


def matlab() -> list[bytes]:
    """Label files of SBD (a structure) and PASCAL Context (an array), packed or not; none without scipy."""
    try:
        import scipy.io as scipy
    except ImportError:
        return []
    ids = np.arange(12, dtype=np.uint16).reshape(3, 4)
    found = []
    for packed in (False, True):
        for content in ({"LabelMap": ids}, {"GTcls": {"Boundaries": 0, "Segmentation": ids}}):
            buffer = io.BytesIO()
            scipy.savemat(buffer, content, do_compression=packed)
            found.append(buffer.getvalue())
    return found


def _encoded(image: Image.Image, kind: str, options: dict[str, object]) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


SCRIBBLE = b"""<?xml version="1.0"?>
<annotation><filename>a.jpg</filename><size><width>30</width><height>20</height><depth>3</depth></size>
<polygon><tag>cat</tag><point><X>3</X><Y>4</Y></point><point><X>12.5</X><Y>9</Y></point></polygon>
<polygon><tag>background</tag><point><X>0</X><Y>0</Y></point></polygon></annotation>
"""
CLICKS = [
    b'{"2007_000032": [{"x": 81.5, "y": 120, "cls": 1, "rank": 0}, {"x": 3, "y": 4, "cls": 0}], "b": []}',
    b'{"a": [{"x": 1e3, "y": -5, "cls": 19}]}',
    b'{"a": [{"x": [1, 9, 9], "y": [2, 2, 7.5], "cls": 1, "filled": true}]}',
    b'{"a": [{"x": [3], "y": [4], "cls": 255, "width": 7}, {"x": [0, 1e2], "y": [0, 1], "cls": 0}]}',
]
LISTS = [
    b"img/a.jpg lab/a.png\nimg/b.jpg lab/b.png\n",
    b'"my photos/a.jpg" "my photos/a.png"\r\nb.jpg 3\r\n',
    b"2007_000033\n2007_000032\n",
    "\ufeffb\u00fccher.jpg lab.png\n".encode("utf-16"),
]


# Of two images of 30 x 20; one of a class, and two of the background.
WINDOWS = [
    "# 0\nphoto.png\n3\n20\n30\n2\n1 0.9 2 3 20 15\n0 0.1 0 0 9 9\n# 1\nphoto.png\n3\n20\n30\n1\n"
    "0 0 25 5 29 19\n"
]
CARDS = [
    ModelCard(
        input="data",
        output="score",
        preprocess=Preprocess((104.0, 117.0, 123.0), crop=(65, 65)),
        num_classes=2,
        classes=["ground", "cat"],
        palette=[[0, 0, 0], [255, 0, 0]],
        losses=["SoftmaxWithLoss"],
        blobs={"c": "conv"},
        largest_photo=(100, 200),
    ).to_json(),
    "{}",
]


def databases() -> list[bytes]:
    """An LMDB of five raw pictures and a large one; none if the library that writes them is not installed."""
    try:
        import lmdb
    except ImportError:
        return []
    sizes = [(6, 5)] * 5 + [(60, 50)]
    with tempfile.TemporaryDirectory() as folder:
        with lmdb.open(folder, map_size=1 << 20) as environment, environment.begin(write=True) as content:
            for index, (height, width) in enumerate(sizes):
                values = bytes(range(1, 91)) * (height * width // 30)
                datum = Datum(channels=3, height=height, width=width, data=values, label=index)
                content.put(b"%d" % index, datum.SerializeToString())
        return [Path(folder, "data.mdb").read_bytes()]


def evaluation_states(tally: Tally, key: dict[str, object]) -> list[bytes]:
    """The state of an evaluation, as it is saved and without compression."""
    packed = Record(tally).packed(key).to_bytes()
    plain = io.BytesIO()
    np.savez(plain, **dict(np.load(io.BytesIO(packed))))
    return [packed, plain.getvalue()]


def zips(packing: int) -> list[bytes]:
    """Annotations in a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name in ("a", "b"):
            archive.writestr(f"scribbles/{name}.xml", SCRIBBLE)
        archive.writestr("__MACOSX/x.xml", b"resource fork")
    return [buffer.getvalue()]


def tars() -> list[bytes]:
    """The same in tar archives of every compression."""
    return [
        _tar(mode, form)
        for mode in ("w", "w:gz", "w:bz2", "w:xz")
        for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    ]


def _tar(mode: str, form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:
        for name in ("a.xml", "scribbles/" + "b" * 120 + ".xml"):
            member = tarfile.TarInfo(name)
            member.size = len(SCRIBBLE)
            archive.addfile(member, io.BytesIO(SCRIBBLE))
    return buffer.getvalue()


def layer_nets() -> list[str]:
    """A net of one layer for every recorded case."""
    return [str(np.load(path)["prototxt"]) for path in sorted(GOLDEN.glob("layers/*.npz"))]
