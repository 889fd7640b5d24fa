"""SSD's PriorBox and DetectionOutput: by their formulas, one box after the other, and against OpenCV."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rlossctl.errors import NetError

from . import opencv

CELLS, IMAGE = (1, 2, 3, 4), (1, 3, 60, 90)
PRIORS = [
    "min_size: 12",
    "min_size: 12 max_size: 30 aspect_ratio: 2 aspect_ratio: 3",
    "min_size: 12 min_size: 25 max_size: 20 max_size: 40 aspect_ratio: 2 flip: false clip: true",
    "min_size: 20 aspect_ratio: 1 aspect_ratio: 2 aspect_ratio: 2 variance: 0.1 variance: 0.1 variance: 0.2 "
    "variance: 0.2",
    "min_size: 16 step: 16 offset: 0 variance: 0.3",
    "min_size: 16 step_w: 20 step_h: 30",
]


def net_of(*layers: str, **inputs: tuple[int, ...]) -> str:
    text = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }}\n'
        for name, shape in inputs.items()
    )
    return text + "\n".join(layers)


def priorbox(fields: str) -> str:
    ends = 'bottom: "a" bottom: "b" top: "p"'
    layer = f'layer {{ name: "p" type: "PriorBox" {ends} prior_box_param {{ {fields} }} }}'
    return net_of(layer, a=CELLS, b=IMAGE)


@pytest.mark.parametrize("fields", PRIORS)
def test_boxes_are_opencvs(build, fields: str):
    blobs = {"a": torch.zeros(CELLS), "b": torch.zeros(IMAGE)}
    found = build(priorbox(fields)).run(blobs).blobs["p"].numpy()
    stated = fields  # OpenCV wants what SSD has defaults for
    for field in ("flip: true", "clip: false", "variance: 0.1"):
        stated += "" if field.split(":")[0] in fields else f" {field}"
    expected = opencv.run(priorbox(stated), {name: blob.numpy() for name, blob in blobs.items()})
    np.testing.assert_allclose(found, expected.reshape(found.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.proves("PriorBox")
@pytest.mark.parametrize(
    "fields, image, step",
    [
        ("", (60, 90), (20, 22.5)),
        ("img_h: 100 img_w: 200", (100, 200), (100 / 3, 50)),  # which OpenCV does not read
        ("img_size: 120 step: 16", (120, 120), (16, 16)),
    ],
)
def test_boxes_by_the_formula(build, fields: str, image: tuple[int, int], step: tuple[float, float]):
    fields += " min_size: 12.9 max_size: 30.5 aspect_ratio: 2 "
    fields += "variance: 0.1 variance: 0.2 variance: 0.3 variance: 0.4"
    found = build(priorbox(fields)).run({"a": torch.zeros(CELLS), "b": torch.zeros(IMAGE)}).blobs["p"]
    boxes = []
    for row in range(3):
        for column in range(4):
            x, y = (column + 0.5) * step[1], (row + 0.5) * step[0]
            middle = math.sqrt(12 * 30)  # SSD keeps sizes as whole numbers
            for w, h in ((12, 12), (middle, middle), (12 * 2**0.5, 12 / 2**0.5), (12 / 2**0.5, 12 * 2**0.5)):
                corners = ((x - w / 2), (y - h / 2), (x + w / 2), (y + h / 2))
                boxes.append([corner / image[1 - n % 2] for n, corner in enumerate(corners)])
    assert found.shape == (1, 2, len(boxes) * 4)
    torch.testing.assert_close(found[0, 0], torch.tensor(boxes).flatten(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[0, 1].reshape(-1, 4)[7], torch.tensor([0.1, 0.2, 0.3, 0.4]))


@pytest.mark.parametrize(
    "fields, message",
    [
        ("", "needs min_size"),
        ("min_size: 5 max_size: 4", "above its min_size"),
        ("min_size: 5 variance: 1 variance: 1", "once or four times"),
        ("min_size: 5 step: 1 step_h: 2", "step excludes"),
    ],
)
def test_what_ssd_refuses(build, fields: str, message: str):
    with pytest.raises(NetError, match=message):
        build(priorbox(fields))


COUNT, CLASSES = 24, 4
COMMON = "num_classes: 4 nms_param { nms_threshold: 0.4 top_k: 15 } confidence_threshold: 0.1"
DETECTIONS = [
    f"{COMMON} code_type: CENTER_SIZE",
    f"{COMMON} code_type: CENTER_SIZE keep_top_k: 7",
    f"{COMMON} code_type: CORNER keep_top_k: 9",
    f"{COMMON} code_type: CENTER_SIZE variance_encoded_in_target: true",
    f"{COMMON} code_type: CENTER_SIZE share_location: false background_label_id: 2",
]


def detection(fields: str, batch: int = 1) -> tuple[str, dict[str, torch.Tensor]]:
    places = CLASSES if "share_location: false" in fields else 1
    generator = torch.Generator().manual_seed(len(fields))
    corners = torch.rand(COUNT, 2, generator=generator) * 0.6
    boxes = torch.cat((corners, corners + 0.1 + torch.rand(COUNT, 2, generator=generator) * 0.3), 1)
    variances = torch.tensor([0.1, 0.1, 0.2, 0.2]).repeat(COUNT)
    scores = torch.randn(batch, COUNT, CLASSES, generator=generator).mul(2).softmax(2)
    blobs = {
        "loc": torch.randn(batch, COUNT * places * 4, generator=generator) / 4,
        "conf": scores.flatten(1),
        "prior": torch.stack((boxes.flatten(), variances))[None],
    }
    bottoms = " ".join(f'bottom: "{name}"' for name in blobs)
    param = f"detection_output_param {{ {fields} }}"
    layer = f'layer {{ name: "d" type: "DetectionOutput" {bottoms} top: "d" {param} }}'
    return net_of(layer, **{name: tuple(blob.shape) for name, blob in blobs.items()}), blobs


def stated(text: str) -> str:
    """With the fields that OpenCV wants and SSD has defaults for (with keep_top_k -1 it corrupts its memory),
    and without the variances that it does not want if they are encoded already."""
    if "variance_encoded_in_target: true" in text:
        text = text.replace("dim: 1 dim: 2 dim: 96", "dim: 1 dim: 1 dim: 96")
    for field in ("share_location: true", "background_label_id: 0", "keep_top_k: 200"):
        if field.split(":")[0] not in text:
            text = text.replace("detection_output_param {", f"detection_output_param {{ {field}")
    return text


def in_order(rows: np.ndarray) -> np.ndarray:
    """Rows by image, class and falling score: OpenCV does not keep SSD's order."""
    rows = rows.reshape(-1, 7)
    return rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]


@pytest.mark.parametrize("fields", DETECTIONS)
@pytest.mark.parametrize("batch", [1, 2])
def test_detections_are_opencvs(build, fields: str, batch: int):
    text, blobs = detection(fields, batch)
    found = build(text).run(blobs).blobs["d"].numpy()
    if "variance_encoded_in_target: true" in fields:
        blobs["prior"] = blobs["prior"][:, :1]
    expected = opencv.run(stated(text), {name: blob.numpy() for name, blob in blobs.items()})
    expected = expected[expected[..., 2] > 0]  # the rest is room that it did not need
    assert found.shape[2] > 3
    np.testing.assert_allclose(in_order(found), in_order(expected), rtol=1e-5, atol=1e-5)


def plain(
    blobs: dict[str, torch.Tensor],
    top_k: int,
    keep: int,
    *,
    threshold: float = 0.4,
    least: float = 0.1,
    eta: float = 1,
) -> list:
    """detection_output_layer.cpp for CENTER_SIZE and shared locations, one box after the other."""
    boxes, variances = blobs["prior"][0].reshape(2, COUNT, 4).tolist()
    decoded = []
    places = blobs["loc"].reshape(COUNT, 4).tolist()
    for (x1, y1, x2, y2), v, place in zip(boxes, variances, places, strict=True):
        w, h = x2 - x1, y2 - y1
        x, y = v[0] * place[0] * w + (x1 + x2) / 2, v[1] * place[1] * h + (y1 + y2) / 2
        w, h = math.exp(v[2] * place[2]) * w, math.exp(v[3] * place[3]) * h
        decoded.append((x - w / 2, y - h / 2, x + w / 2, y + h / 2))

    def overlap(a, b):
        w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        if w <= 0 or h <= 0:
            return 0
        areas = sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
        return w * h / (areas - w * h)

    rows = []
    for label in range(1, CLASSES):
        scores = blobs["conf"].reshape(COUNT, CLASSES)[:, label].tolist()
        order = [n for n in np.argsort([-score for score in scores], kind="stable") if scores[n] > least]
        kept: list[int] = []
        limit = threshold
        for n in order[:top_k]:
            if all(overlap(decoded[n], decoded[other]) <= limit for other in kept):
                kept.append(n)
                limit *= eta if limit > 0.5 else 1
        rows += [(0, label, scores[n], *decoded[n]) for n in kept]
    best = sorted(rows, key=lambda row: -row[2])[:keep]
    return sorted(best, key=lambda row: (row[1], -row[2]))


@pytest.mark.proves("DetectionOutput")
@pytest.mark.parametrize(
    "fields, settings",
    [
        (DETECTIONS[0], {"top_k": 15, "keep": 99}),
        (DETECTIONS[1], {"top_k": 15, "keep": 7}),
        (
            "num_classes: 4 code_type: CENTER_SIZE nms_param { nms_threshold: 0.9 eta: 0.6 }",
            {"top_k": 99, "keep": 99, "threshold": 0.9, "least": -1, "eta": 0.6},  # OpenCV knows no eta
        ),
    ],
)
def test_detections_by_the_formula(build, fields: str, settings: dict[str, float]):
    text, blobs = detection(fields)
    found = build(text).run(blobs).blobs["d"][0, 0]
    torch.testing.assert_close(found, torch.tensor(plain(blobs, **settings)), rtol=1e-5, atol=1e-5)


def test_without_detections_every_image_has_a_row(build):
    text, blobs = detection("num_classes: 4 confidence_threshold: 1.5 nms_param { top_k: 9 }", 2)
    assert build(text).run(blobs).blobs["d"].tolist() == [[[[0, *[-1] * 6], [1, *[-1] * 6]]]]


def test_bottoms_that_do_not_belong_together_are_refused(build):
    text, _ = detection("num_classes: 5")
    with pytest.raises(NetError, match="do not match"):
        build(text)


SSD = """
input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 8 kernel_size: 3 stride: 4 pad: 1 } }
layer { name: "norm" type: "Normalize" bottom: "c" top: "norm"
  norm_param { across_spatial: false channel_shared: false scale_filler { value: 5 } } }
layer { name: "loc" type: "Convolution" bottom: "norm" top: "loc"
  convolution_param { num_output: 16 kernel_size: 1 } }
layer { name: "locp" type: "Permute" bottom: "loc" top: "locp"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "locf" type: "Flatten" bottom: "locp" top: "locf" }
layer { name: "conf" type: "Convolution" bottom: "norm" top: "conf"
  convolution_param { num_output: 12 kernel_size: 1 } }
layer { name: "confp" type: "Permute" bottom: "conf" top: "confp"
  permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: "reshape" type: "Reshape" bottom: "confp" top: "reshape"
  reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: "softmax" type: "Softmax" bottom: "reshape" top: "softmax" softmax_param { axis: 2 } }
layer { name: "conff" type: "Flatten" bottom: "softmax" top: "conff" }
layer { name: "prior" type: "PriorBox" bottom: "norm" bottom: "data" top: "prior"
  prior_box_param { min_size: 8 max_size: 14 aspect_ratio: 2 flip: true clip: false
    variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: "out" type: "DetectionOutput" bottom: "locf" bottom: "conff" bottom: "prior" top: "out"
  detection_output_param { num_classes: 3 share_location: true background_label_id: 0
    code_type: CENTER_SIZE keep_top_k: 20 confidence_threshold: 0.3
    nms_param { nms_threshold: 0.45 top_k: 50 } } }
"""


@pytest.fixture
def ssd(build):
    """A small SSD with random weights, and an image."""
    net = build(SSD, "TEST")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for blobs in net.params.values():
            for blob in blobs:
                blob.copy_(torch.randn(blob.shape, generator=generator) / 2)
        net.params["norm"][0].abs_().add_(2)
    return net, torch.randn(1, 3, 32, 32, generator=generator)


def test_a_whole_detector_is_opencvs(ssd, tmp_path):
    net, image = ssd
    found = net.run({"data": image}).blobs["out"].numpy()
    expected = opencv.run_net(net, image, tmp_path)
    assert found.shape[2] == 20
    np.testing.assert_allclose(in_order(found), in_order(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_boxes_and_scores_are_exported_and_detections_are_not(ssd, tmp_path):
    import onnxruntime

    from rlossctl import converters
    from rlossctl.net.saved import layer_records
    from rlossctl.weights import write_caffemodel

    net, image = ssd
    write_caffemodel(tmp_path / "ssd.caffemodel", net.name, layer_records(net))
    (tmp_path / "ssd.prototxt").write_text(SSD)
    files = (tmp_path / "ssd.prototxt", tmp_path / "ssd.caffemodel", tmp_path / "ssd.onnx")
    converters.convert(*files, outputs=["locf", "conff", "prior"])
    session = onnxruntime.InferenceSession(str(files[2]), providers=["CPUExecutionProvider"])
    given = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    blobs = net.run({"data": image}, keep=True).blobs
    for values, name in zip(given, ("locf", "conff", "prior"), strict=True):
        np.testing.assert_allclose(values, blobs[name].detach().numpy(), rtol=1e-4, atol=1e-4)
    with pytest.raises(NetError, match="cannot be exported"):
        converters.convert(*files)
