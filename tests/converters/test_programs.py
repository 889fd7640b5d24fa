"""Configurations of other training programs become a solver and nets; what has no counterpart is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

import rlossctl
from rlossctl.converters.programs import Translated, read
from rlossctl.errors import DataError, UsageError
from rlossctl.prototxt.text import load_net_parameter, load_solver_parameter

# As pytorch-segmentation comes, with the keys that RankDice's program adds.
CONFIG = {
    "name": "ENet",
    "n_gpu": 2,
    "use_synch_bn": True,
    "predict": {"CoI": [1, 2], "val": "rankdice"},
    "arch": {"type": "ENet", "args": {"backbone": "resnet50", "freeze_bn": False, "freeze_backbone": False}},
    "train_loader": {
        "type": "VOC",
        "args": {
            "data_dir": "data", "batch_size": 8, "base_size": 400, "crop_size": 380, "augment": True,
            "shuffle": True, "scale": True, "flip": True, "rotate": True, "blur": True, "split": "train_aug",
            "num_workers": 8,
        },
    },
    "val_loader": {"type": "VOC", "args": {"data_dir": "data", "crop_size": 480, "split": "val"}},
    "optimizer": {
        "type": "SGD", "differential_lr": True, "args": {"lr": 0.02, "weight_decay": 1e-4, "momentum": 0.8}
    },
    "loss": "CrossEntropyLoss2d",
    "ignore_index": 255,
    "lr_scheduler": {"type": "Poly", "args": {}},
    "trainer": {
        "epochs": 80, "save_dir": "saved", "save_period": 10, "monitor": "max Mean_IoU", "early_stop": 10,
        "tensorboard": True, "log_dir": "runs", "log_per_iter": 25, "val": True, "val_per_epochs": 5,
    },
}  # fmt: skip
DDD = {
    "GPUS": "0,1",
    "PRINT_FREQ": 10,
    "DATASET": {"DATASET": "voc", "FLIP": True, "ROT_FACTOR": 10, "SCALE_FACTOR": 0.5},
    "MODEL": {
        "NAME": "seg_aspp_resnet", "LEARN_PAIRWISE_TERMS": True, "FPI_ITERS": 7, "NUM_PAIRWISE_TERMS": 3,
        "IMAGE_SIZE": [513, 513], "LEARN_OUTPUT_TEMPERATURE": True,
    },
    "LOSS": {"USE_UNARY_LOSS": True, "USE_PAIRWISE_LOSS": False},
    "TRAIN": {
        "BATCH_SIZE": 8, "END_EPOCH": 50, "OPTIMIZER": "sgd", "LR": 0.007, "LR_SCHEDULER": "poly",
        "WD": 0.0002, "TRAIN_BN": True, "HEAD_LR": "10x", "NE_GAMMA_U": 2.0, "NE_GAMMA_L": 2.0,
    },
    "TEST": {"FLIP_TEST": False},
}  # fmt: skip
GATED = (
    "python -m train --log_dir l --datasets_dir d --dataset cs --batch_size 12 --aug_input_crop_size 512 "
    "--aug_geom_validation_center_crop_sts true --aug_geom_tilt_max_deg 5 --aug_geom_wiggle_max_ratio 0.1 "
    "--aug_geom_reflect no --model_encoder_name resnet50 --loss_cross_entropy_class_weights_sts true "
    "--loss_cross_entropy_modality semseg_clicks --loss_gatedcrf_sts true --loss_gatedcrf_resolution 128 "
    '--loss_gatedcrf_kernels_desc \'[{"weight": 0.5, "xy": 3, "rgb": 0.2}, {"xy": 9}]\' '
    "--loss_gatedcrf_use_after_progress_ratio 0.25 --num_batches_train_total 1000"
)


def translate(source: object, tmp_path: Path) -> Translated:
    if isinstance(source, dict):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(source))
        source = path
    done = rlossctl.convert(source, None, tmp_path / "out")
    assert isinstance(done, Translated)
    return done


def changed(config: dict, key: str, value: object) -> dict:
    out = copy.deepcopy(config)
    *folders, last = key.split("/")
    place = out
    for folder in folders:
        place = place[folder]
    place[last] = value
    return out


def nets(done: Translated):
    """Solver, training net and test net."""
    solver, train, test = done.files
    return load_solver_parameter(solver), load_net_parameter(train), load_net_parameter(test)


def layers(net, kind: str) -> list:
    return [layer for layer in net.layer if layer.type == kind]


def unread(done: Translated) -> set[str]:
    return {entry.key for entry in done.refused}


def test_pytorch_segmentation(tmp_path):
    done = translate(CONFIG, tmp_path)
    solver, train, test = nets(done)
    assert done.network == "enet_segmentation" and solver.type == "SGD" and solver.lr_ahead == 1
    assert solver.max_iter == 80 * 1323 and solver.test_interval == 5 * 1323 and solver.snapshot == 10 * 1323
    assert solver.base_lr == pytest.approx(0.02) and solver.momentum == pytest.approx(0.8)
    assert solver.sync_batch_norm and solver.patience == 10 and solver.display == 25
    data = train.layer[0]
    transform = data.transform_param
    assert (transform.base_size, transform.base_side, transform.crop_size) == (400, 1, 380)
    assert (transform.scale_min, transform.scale_max, transform.rotate, transform.blur_sigma) == (
        0.5,
        2,
        10,
        1,
    )
    assert transform.mirror and not transform.scale_factors and data.image_data_param.batch_size == 8
    assert layers(train, "SoftmaxWithLoss") and not layers(test, "SoftmaxWithLoss")
    assert unread(done) == {
        "n_gpu", "predict.CoI", "predict.val", "train_loader.args.data_dir", "train_loader.args.num_workers",
        "val_loader.args.data_dir", "val_loader.args.crop_size", "lr_scheduler.args", "trainer.save_dir",
        "trainer.tensorboard", "trainer.log_dir",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("lr_scheduler/type", "OneCycle", "lr_policy", "onecycle"),
        ("optimizer/type", "AdamW", "type", "AdamW"),
        ("optimizer/args", {"lr": 1, "nesterov": True}, "type", "Nesterov"),
        ("arch/args/freeze_bn", True, "freeze_batch_norm", True),
        ("trainer/monitor", "off", "monitor", ""),
        ("trainer/val", False, "test_interval", 0),
    ],
)
def test_settings_of_the_solver(tmp_path, key, value, field, expected):
    solver, _, _ = nets(translate(changed(CONFIG, key, value), tmp_path))
    assert getattr(solver, field) == expected


@pytest.mark.parametrize(
    ("loss", "types"),
    [
        ("LovaszSoftmax", ["LovaszLoss"]),
        ("CE_DiceLoss", ["SoftmaxWithLoss", "DiceLoss"]),
        ("BCEWithLogitsLoss2d", ["FocalLoss"]),
    ],
)
def test_losses(tmp_path, loss, types):
    done = translate(changed(CONFIG, "loss", loss), tmp_path)
    _, train, _ = nets(done)
    losses = [layer for layer in train.layer if layer.type.endswith("Loss")]
    assert [layer.type for layer in losses] == types
    assert all(layer.loss_param.ignore_label == 255 for layer in losses)
    if loss.startswith("BCE"):
        assert losses[0].focal_loss_param.gamma == 0 and losses[0].focal_loss_param.activation == 1
        assert any("--activation sigmoid" in note for note in done.notes)


def test_one_rate_and_a_frozen_backbone(tmp_path):
    config = changed(CONFIG, "arch", {"type": "GCN", "args": {"backbone": "resnet50"}})
    for number, (key, value, rate) in enumerate(
        ((None, None, 0.1), ("optimizer/differential_lr", False, 1), ("arch/args/freeze_backbone", True, 0))
    ):
        (tmp_path / str(number)).mkdir()
        _, train, _ = nets(translate(changed(config, key, value) if key else config, tmp_path / str(number)))
        rates = {
            round(param.lr_mult, 6)
            for layer in train.layer
            if layer.name.startswith("backbone.")
            for param in layer.param
        }
        assert rates == {rate}


def test_ddd(tmp_path):
    yaml = pytest.importorskip("yaml")
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(DDD))
    done = translate(tmp_path / "experiment.yaml", tmp_path)
    solver, train, test = nets(done)
    assert done.network == "deeplabv3_resnet50_ddd" and solver.max_iter == 50 * 662
    assert solver.weight_decay == pytest.approx(0.0002) and not solver.freeze_batch_norm
    for net in (train, test):
        param = layers(net, "DualDecompositionCRF")[0].dual_decomposition_crf_param
        assert (param.iterations, param.temperature, list(param.stride)) == (7, 2, [1, 2, 3])
    transform = train.layer[0].transform_param
    assert (transform.scale_min, transform.scale_max, transform.rotate, transform.crop_size) == (
        0.5,
        1.5,
        10,
        513,
    )
    rates = {layer.name: [param.lr_mult for param in layer.param] for layer in train.layer}
    assert rates["unary"] == [10, 10] and rates["crf"] == [10, 10] and not rates["backbone.conv1"]
    assert unread(done) == {"GPUS", "MODEL.LEARN_OUTPUT_TEMPERATURE", "TEST.FLIP_TEST"}


def test_the_gated_crf_program(tmp_path):
    done = translate(GATED, tmp_path)
    solver, train, _ = nets(done)
    assert done.network == "deeplabv3plus_resnet50_gatedcrf" and solver.max_iter == 1000
    loss = layers(train, "GatedCRFLoss")[0]
    kernels = [(kernel.weight, kernel.xy_std, round(kernel.image_std, 6))
               for kernel in loss.gated_crf_loss_param.kernel]  # fmt: skip
    assert kernels[0] == (0.5, 3, 0.2) and kernels[1][:2] == (1, 9)
    assert loss.loss_schedule.start_ratio == 0.25
    transform = train.layer[0].transform_param
    assert (transform.rotate, transform.mirror) == (5, False) and transform.perspective == pytest.approx(0.1)
    assert unread(done) == {
        "log_dir", "datasets_dir", "aug_geom_validation_center_crop_sts",
        "loss_cross_entropy_class_weights_sts",
    }  # fmt: skip
    plain = translate(GATED.replace("--loss_gatedcrf_sts true", "--loss_gatedcrf_sts false"), tmp_path)
    assert not layers(nets(plain)[1], "GatedCRFLoss") and "loss_gatedcrf_resolution" in unread(plain)


def test_unknown_keys_are_named_and_unknown_networks_refused(tmp_path):
    done = translate(changed(CONFIG, "surprise", 3), tmp_path)
    assert any("not honoured: surprise = 3 (unknown key)" in line for line in done.lines())
    for key, value, message in (
        ("arch", {"type": "Transformer", "args": {}}, "does not have this network"),
        ("loss", "MyLoss", "no layer computes this loss"),
        ("train_loader/type", "Mine", "does not know this data set"),
        ("optimizer/type", "LBFGS", "no solver does this"),
    ):
        with pytest.raises(UsageError, match=message):
            translate(changed(CONFIG, key, value), tmp_path)
    with pytest.raises(UsageError, match="epochs = 'many'"):
        translate(changed(CONFIG, "trainer/epochs", "many"), tmp_path)
    with pytest.raises(UsageError, match="not the configuration of a known program"):
        translate({"a": 1}, tmp_path)


def test_what_is_no_configuration(tmp_path):
    assert read(tmp_path / "net.prototxt") is None and read("w.caffemodel") is None
    for content in ("{", "[1]", "3"):
        (tmp_path / "c.json").write_text(content)
        with pytest.raises(DataError, match="configuration cannot be read"):
            read(tmp_path / "c.json")
