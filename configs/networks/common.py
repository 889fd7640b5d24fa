"""Parts that the networks share: data layers, rates and fillers, losses and evaluation."""

from __future__ import annotations

from typing import Any

from rlossctl.prototxt.netspec import L, NetSpec, Top

MEAN_BGR = [104.008, 116.669, 122.675]
IGNORE_LABEL = 255
TRAIN_ONLY = {"phase": "TRAIN"}
TEST_ONLY = {"phase": "TEST"}
VALIDATION = "validation"  # the stage of test nets in the tests of a solver's run


def preset(name: str, value: object) -> str:
    """A placeholder with a default."""
    return f"${{{name}:-{value}}}"


EXP = "${EXP}"
DATA_ROOT = preset("DATA_ROOT", "./")
FC8 = f"fc8_{EXP}"  # the classifier's name contains EXP, so that it is learnt anew for another data set


def train_data(
    n: NetSpec, *, batch_size: int | str, data_dim: bool = False, exp: str = EXP, **transform: object
) -> None:
    """Random crops (321 x 321), mirrored at random; `transform` gives further transform_param fields."""
    tops = _image_seg_data(
        ntop=3 if data_dim else 2,
        include=TRAIN_ONLY,
        transform={"mirror": True, "crop_size": 321, "mean_value": MEAN_BGR, **transform},
        source=f"{exp}/list/{preset('TRAIN_SET', 'train')}.txt",
        batch_size=batch_size,
        shuffle=True,
    )
    n.data, n.label = tops[:2]
    if data_dim:
        n.data_dim = tops[2]


def test_data(n: NetSpec, *, exp: str = EXP, **transform: object) -> None:
    """Whole images, padded (to 513 x 513), one at a time; `transform` as for training."""
    n.data, n.label, n.data_dim = _image_seg_data(
        ntop=3,
        include=TEST_ONLY,
        transform={"mirror": False, "crop_size": 513, "mean_value": MEAN_BGR, **transform},
        source=f"{exp}/list/{preset('TEST_SET', 'val')}.txt",
        batch_size=1,
    )


def _image_seg_data(*, ntop: int, include: dict, transform: dict, **image_data: object) -> tuple[Top, ...]:
    return L.ImageSegData(
        ntop=ntop,
        name="data",
        include=include,
        transform_param=transform,
        root_folder=DATA_ROOT,
        label_type="PIXEL",
        **image_data,
    )


def rates(rate: int | None) -> dict[str, object]:
    """Learning rate `rate` for the weights; twice that, and no decay, for the bias. None in test nets."""
    if rate is None:
        return {}
    return {"param": [{"lr_mult": rate, "decay_mult": 1}, {"lr_mult": 2 * rate, "decay_mult": 0}]}


def gaussian(std: float) -> dict[str, object]:
    """Gaussian weights and zero bias."""
    return {
        "weight_filler": {"type": "gaussian", "std": std},
        "bias_filler": {"type": "constant", "value": 0},
    }


def shrink(n: NetSpec, name: str, blob: Top, factor: int) -> None:
    """Every `factor`-th pixel of the label map: exact if factor divides (size - 1), as it does for 321."""
    n[name] = L.Interp(blob, shrink_factor=factor, pad_beg=0, pad_end=0)


def cross_entropy(n: NetSpec, name: str, score: Top, label: Top, **fields: Any) -> None:
    """The mean cross-entropy over the labelled pixels of the batch, as an unnamed output."""
    n[name] = L.SoftmaxWithLoss(score, label, ntop=0, include=TRAIN_ONLY, **fields, ignore_label=IGNORE_LABEL)


def train_accuracy(n: NetSpec, name: str, score: Top, label: Top) -> None:
    """Pixel accuracy, mean recall and mIoU of each training batch."""
    n[name] = L.SegAccuracy(score, label, ignore_label=IGNORE_LABEL)


def test_accuracy(n: NetSpec, top: str, score: Top) -> None:
    """Scores against the full labels.

    Caffe's, accumulated over the images, as in the original nets; in a solver's tests, those of the list.
    """
    n[top] = L.SegAccuracy(
        score,
        n.label,
        name="accuracy",
        exclude={"stage": VALIDATION},
        ignore_label=IGNORE_LABEL,
        reset=False,
    )
    n.mIoU, n.pixel_accuracy, n.mean_accuracy, n.fwIoU, n.mDice, n.IoU = L.SegmentationScores(
        score, n.label, name="scores", ntop=6, include={"stage": VALIDATION}, ignore_label=IGNORE_LABEL
    )


def validation(interval: int) -> dict[str, object]:
    """Solver fields: a test on the whole list every `interval` iterations; the best weights are kept.

    PATIENCE is the number of tests without gain that end a run; 0, the default, for never.
    """
    return {
        "test_net": "test.prototxt",
        "test_state": {"stage": VALIDATION},
        "test_interval": preset("TEST_INTERVAL", interval),
        "test_initialization": False,
        "monitor": "max mIoU",
        "patience": preset("PATIENCE", 0),
        "snapshot_best": True,
    }


def densecrf_loss(
    n: NetSpec,
    blob: str,
    *,
    xy: int | str,
    rgb: int | str,
    weight: str = "1e-8",
    ignore_label: bool = True,
) -> None:
    """The DenseCRF loss on the softmax of a full-resolution score map.

    `weight` is the default of DENSECRF_LOSS_WEIGHT. The layer ignores loss_param, but three of the original
    networks set it.
    """
    softmax = f"{blob}_softmax"
    n[softmax] = L.Softmax(n[blob])
    n.densecrf_loss = L.DenseCRFLoss(
        n.data,
        n[softmax],
        propagate_down=[False, True],
        loss_weight=preset("DENSECRF_LOSS_WEIGHT", weight),
        **({"loss_param": {"ignore_label": IGNORE_LABEL}} if ignore_label else {}),
        bi_xy_std=xy,
        bi_rgb_std=rgb,
    )


def solver(
    net: str,
    net_id: str,
    *,
    exp: str = EXP,
    seed: int | None = None,
    weight_decay: float = 0.0005,
    **fields: Any,
) -> dict[str, object]:
    """A solver of the experiments: SGD with momentum on the GPU, a snapshot and a test every 1000 iterations.

    Snapshots go to a folder named after the net, `net_id`.
    """
    return {
        "train_net": f"{net}.prototxt",
        **validation(1000),
        **fields,
        "momentum": 0.9,
        "weight_decay": weight_decay,
        **({} if seed is None else {"random_seed": seed}),
        "snapshot": 1000,
        "snapshot_prefix": f"{exp}/model/{net_id}/{net}",
        "solver_mode": "GPU",
    }
