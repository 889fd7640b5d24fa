"""`rlossctl visualize`: pictures of the gradient, and modes compared on images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from rlossctl.cli import cli
from rlossctl.errors import DataError, RlossError, UsageError
from rlossctl.losses import densecrf_loss, entropy_loss, potts_loss
from rlossctl.net.origin import NetOrigin
from rlossctl.visualize import maps
from rlossctl.visualize.gradient import Gradient, measure_gradient
from rlossctl.visualize.scores import open_scores, read_probabilities, soft_labels
from rlossctl.visualize.terms import DenseCRFTerm

HEIGHT, WIDTH = 24, 32


@pytest.fixture
def photo(tmp_path) -> Path:
    """A PNG with a dark left half and a bright right half."""
    pixels = np.full((HEIGHT, WIDTH, 3), (40, 60, 80), dtype=np.uint8)
    pixels[:, WIDTH // 2 :] = (200, 180, 160)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def probabilities() -> np.ndarray:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((3, HEIGHT, WIDTH)).astype(np.float32)
    return np.exp(scores) / np.exp(scores).sum(0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["visualize", *map(str, arguments)], catch_exceptions=False)


def test_probabilities_to_pictures(tmp_path, photo, probabilities) -> None:
    np.save(tmp_path / "p.npy", probabilities)
    (tmp_path / "names.txt").write_text("sky\ncar/van\nroad\n")
    out = tmp_path / "out"
    done = run(
        "densecrf", photo, tmp_path / "p.npy", "-o", out, "--classes", tmp_path / "names.txt",
        "--sigma-xy", 10, "--mode", "symmetric", "--weight", 1e-3,
    )  # fmt: skip
    assert done.exit_code == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "class_00_sky.png",
        "class_01_car-van.png",
        "class_02_road.png",
        "montage.png",
    ]
    image = np.asarray(Image.open(photo)).transpose(2, 0, 1).astype(np.float32)
    tensors = (torch.from_numpy(array)[None] for array in (image, probabilities))
    loss = 1e-3 * densecrf_loss(*tensors, torch.ones(1, HEIGHT, WIDTH), 10, 15, "symmetric")
    assert f"loss     {loss.item():.6g}; mode symmetric, sigma_xy 10, sigma_rgb 15" in done.output
    assert "filter   " in done.output and "p.npy, probabilities" in done.output


def test_a_label_image(tmp_path, photo) -> None:
    label = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    label[:, :4], label[:, 10:20] = 2, 255
    Image.fromarray(label).save(tmp_path / "label.png")
    done = run("densecrf", photo, tmp_path / "label.png", "-o", tmp_path / "out", "--soften", 0.3)
    assert done.exit_code == 0 and "0.3 of each pixel spread over all classes" in done.output
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_model(folder, photo) -> None:
    model = folder / "net.prototxt", folder / "w.caffemodel", "--set", "LABELS=3"
    done = run("densecrf", photo, *model, "-o", folder / "out", "--mean", "10,20,30")
    assert done.exit_code == 0
    assert "net.prototxt, run by PyTorch" in done.output and "(blue first: 10, 20, 30)" in done.output
    assert len(list((folder / "out").iterdir())) == 4
    with pytest.raises(RlossError, match="--mean B,G,R"):
        run("densecrf", photo, *model, "-o", folder / "out")


def test_the_gradients_are_those_of_the_loss(tmp_path, photo, probabilities) -> None:
    from rlossctl.losses import DenseCRFLoss

    np.savez(tmp_path / "p.npz", probabilities)
    scored = open_scores(photo, NetOrigin(tmp_path / "p.npz"))
    loss = DenseCRFLoss(0.01, 15, 10, 1.0)
    result = measure_gradient(scored, DenseCRFTerm(loss))
    scores = torch.from_numpy(probabilities).log()[None].requires_grad_()
    soft = scores.softmax(1)
    soft.retain_grad()
    image = torch.from_numpy(scored.colours)[None]
    loss(image, soft, torch.ones(1, HEIGHT, WIDTH)).backward()
    np.testing.assert_allclose(result.on_probabilities, soft.grad[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.on_scores, scores.grad[0], rtol=1e-3, atol=1e-6)
    assert isinstance(result, Gradient) and result.on_probabilities.max() <= 0


def test_scores_of_another_size_are_enlarged_and_that_is_said(tmp_path, photo) -> None:
    np.save(tmp_path / "s.npy", np.random.default_rng(0).standard_normal((1, 2, 6, 8)).astype(np.float64))
    scored = open_scores(photo, NetOrigin(tmp_path / "s.npy"))
    assert scored.probabilities.shape == (2, HEIGHT, WIDTH)
    assert "8x6" in scored.notes[0] and "softmax" in scored.origin
    np.testing.assert_allclose(scored.probabilities.sum(0), 1, rtol=1e-5)


def test_soft_labels() -> None:
    soft = soft_labels(np.array([[1, 255]], dtype=np.uint8), 4, 0.2)
    np.testing.assert_allclose(soft[:, 0, 0], [0.05, 0.85, 0.05, 0.05])
    np.testing.assert_allclose(soft[:, 0, 1], [0.25] * 4)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (np.zeros((2, 3), np.float32), "float32"),
        (np.zeros((2, 3, 4), np.int64), "int64"),
        (np.full((2, 3, 4), np.nan, np.float32), "NaN"),
        (np.array([{}], dtype=object), "pickle|Object"),
        (b"no numpy file", "no probabilities|pickle|Cannot"),
    ],
)
def test_arrays_that_are_no_probabilities(tmp_path, content, words) -> None:
    path = tmp_path / "a.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(DataError, match=words):
        read_probabilities(path)


@pytest.mark.parametrize(
    ("scores", "extra", "words"),
    [
        ("missing.npy", (), "No such file"),
        ("missing.png", (), "no such file"),
        ("photo.png", (), "colour image"),
        ("p.npy", ("more.caffemodel",), "weights belong to a prototxt"),
    ],
)
def test_refusals(tmp_path, photo, probabilities, scores, extra, words) -> None:
    np.save(tmp_path / "p.npy", probabilities)
    with pytest.raises((DataError, UsageError), match=words):
        run("densecrf", photo, tmp_path / scores, *extra, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_do_not_fit(photo, tmp_path, probabilities) -> None:
    np.save(tmp_path / "p.npy", probabilities)
    with pytest.raises(RlossError, match="names do not fit"):
        open_scores(photo, NetOrigin(tmp_path / "p.npy"), classes=["a"])


def test_colours_are_centred_at_zero() -> None:
    scale = maps.signed_scale(2.0)
    blue, white, red, beyond = scale.paint(np.array([[-2.0, 0.0, 2.0, 9.0]]))[0].astype(int)
    assert white.min() > 240 and blue[2] > blue[0] + 50 and red[0] > red[2] + 50
    assert (beyond == red).all()
    assert maps.GREY.paint(np.array([[0.0, 1.0]]))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_a_map_of_zeros_can_be_drawn() -> None:
    panel = maps.Panel.of("nothing", np.zeros((4, 5)), maps.signed_scale(0.0))
    assert maps.sheet("title", ["line"], [[panel]]).size[0] > 300


POTTS = 'type: "PottsLoss" bottom: "image" bottom: "prob" potts_loss_param { image_std: 15 }'


def test_any_loss_by_its_prototxt(tmp_path, photo, probabilities) -> None:
    np.save(tmp_path / "p.npy", probabilities)
    done = run("loss", photo, tmp_path / "p.npy", "-o", tmp_path / "out", "--loss", POTTS)
    image = torch.from_numpy(np.asarray(Image.open(photo)).transpose(2, 0, 1).astype(np.float32))[None]
    expected = potts_loss(image, torch.from_numpy(probabilities)[None], image_std=15).item()
    assert f"loss     {expected:.6g}; {POTTS}" in done.output
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_layers_of_a_file_with_labels(tmp_path, photo, probabilities) -> None:
    """Two layers behind a third, a weight, the default weight 1, and a label image."""
    label = np.full((HEIGHT, WIDTH), 255, dtype=np.uint8)
    label[3, :9] = 1
    Image.fromarray(label).save(tmp_path / "label.png")
    (tmp_path / "loss.prototxt").write_text(
        """layer { name: "scaled" type: "Power" bottom: "image" top: "scaled" power_param { scale: 0.01 } }
        layer { name: "a" type: "PottsLoss" bottom: "scaled" bottom: "prob" top: "a" loss_weight: 3
                potts_loss_param { image_std: 0.1 } }
        layer { name: "b" type: "EntropyLoss" bottom: "prob" bottom: "label" top: "b"
                entropy_loss_param { region: UNLABELLED } loss_param { ignore_label: 255 } }"""
    )
    np.save(tmp_path / "p.npy", probabilities)
    words = "loss", photo, tmp_path / "p.npy", "-o", tmp_path / "out", "--loss", tmp_path / "loss.prototxt"
    done = run(*words, "--label", tmp_path / "label.png")
    image = torch.from_numpy(np.asarray(Image.open(photo)).transpose(2, 0, 1) / np.float32(100))[None]
    prob = torch.from_numpy(probabilities)[None]
    expected = 3 * potts_loss(image, prob, image_std=0.1)
    expected += entropy_loss(prob, torch.from_numpy(label == 255).float()[None, None])
    shown = next(line.split()[1] for line in done.output.splitlines() if line.startswith("loss"))
    assert float(shown.rstrip(";")) == pytest.approx(expected.item(), rel=1e-4)
    with pytest.raises(RlossError, match="--label"):
        run(*words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (POTTS.replace("image_std", "sigma"), "sigma"),
        (POTTS.replace('"image"', '"photo"'), "'photo'"),
        (POTTS.replace('"prob"', '"image"'), "does not depend on the probabilities"),
        (POTTS.replace("PottsLoss", "PotsLoss"), "PotsLoss"),
    ],
)
def test_losses_that_cannot_be_drawn(tmp_path, photo, probabilities, text, words) -> None:
    np.save(tmp_path / "p.npy", probabilities)
    with pytest.raises(RlossError, match=words):
        run("loss", photo, tmp_path / "p.npy", "-o", tmp_path / "out", "--loss", text)


def test_probabilities_that_predict_wrote(tmp_path, probabilities) -> None:
    """Half precision, and the classes' names beside them."""
    half = probabilities.astype(np.float16)
    np.savez(tmp_path / "p.npz", probabilities=half, classes=np.array(["sky", "car", "road"]))
    read = read_probabilities(tmp_path / "p.npz")
    assert read.how == "probabilities" and read.classes == ["sky", "car", "road"]
    np.testing.assert_allclose(read.values, probabilities, atol=1e-3)


def test_modes_on_photos_and_lists(tmp_path, photo) -> None:
    label = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    label[:, 16:], label[:2] = 1, 255
    Image.fromarray(label).save(tmp_path / "label.png")
    (tmp_path / "list.txt").write_text("/photo.png /label.png\n")
    done = run("modes", photo, tmp_path / "list.txt", "--root", tmp_path, "--sigma-xy", 8, "--crop", 20)
    assert done.exit_code == 0
    rows = [line.split() for line in done.output.splitlines() if line.startswith("photo.png")]
    assert [row[1] for row in rows] == ["20x20", "20x20"] and rows[0][2] != rows[1][2]
    image = np.asarray(Image.open(photo))[2:22, 6:26].transpose(2, 0, 1).astype(np.float32)
    tensors = torch.from_numpy(np.ascontiguousarray(image))[None], torch.ones(1, 1, 20, 20)
    losses = [densecrf_loss(*tensors, tensors[1], 8, 15, mode).item() for mode in ("lattice", "exact")]
    assert float(rows[0][3]) == pytest.approx(losses[0] / losses[1], abs=1e-3)
    assert "EXACT: multiply a weight for LATTICE by 0." in done.output
