"""The arguments of the Gated CRF program's train.py."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from rlossctl.converters.programs import sets
from rlossctl.converters.programs.plan import Keys, Plan, Program, layer
from rlossctl.converters.programs.reading import ARGUMENTS, Found
from rlossctl.errors import UsageError
from rlossctl.prototxt.messages import NetParameter

SETS = {"voc": sets.VOC, "cs": sets.CITYSCAPES}
SGD = {"lr": 0.007, "momentum": 0.9, "dampening": 0, "weight_decay": 0.0001}
ADAM = {"lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0}  # PyTorch's
LISTS = {
    "semseg_dense": "full labels",
    "semseg_scribbles": "scribbles: `rlossctl data scribbles` draws them",
    "semseg_clicks": "clicks: `rlossctl data clicks` draws them",
}
VIEWS = (
    "num_batches_visualization_first",
    "num_batches_visualization_step",
    "visualize_num_samples_in_batch",
    "observe_train_ids",
    "observe_valid_ids",
    "tensorboard_img_grid_width",
)
STRIDE = 4  # of the scores that the loss sees


def _fits(found: Found) -> bool:
    return found.form == ARGUMENTS and "loss_gatedcrf_sts" in found.values


def _translate(keys: Keys) -> Plan:
    name = str(keys.take("dataset", "voc"))
    if name not in SETS:
        raise UsageError("unknown data set", where="--dataset", found=name, expected=", ".join(SETS))
    gated = keys.flag("loss_gatedcrf_sts")
    keys.refuse_unless("model_name", "deeplabv3p", "the program has no other")
    encoder = str(keys.take("model_encoder_name", "resnet34"))
    plan = Plan(f"deeplabv3plus_{encoder}_gatedcrf", "trainwithgatedcrfloss" if gated else "train")
    plan.placeholders["NUM_LABELS"] = SETS[name].classes
    _data(keys, plan, SETS[name].name)
    _optimizer(keys, plan)
    _losses(keys, plan, gated)
    for key in VIEWS:
        keys.refuse(key, "train --tensorboard chooses its own pictures")
    keys.refuse("log_dir", "train --out DIR")
    plan.refused = keys.refused()
    return plan


def _data(keys: Keys, plan: Plan, name: str) -> None:
    crop = int(keys.take("aug_input_crop_size", 256))
    plan.transform = {
        "crop_size": crop,
        "scale_min": keys.number("aug_geom_scale_min", 0.5),
        "scale_max": keys.number("aug_geom_scale_max", 2.0),
        "rotate": keys.number("aug_geom_tilt_max_deg", 0) or None,
        "perspective": keys.number("aug_geom_wiggle_max_ratio", 0) or None,
        "mirror": keys.flag("aug_geom_reflect", True),
    }
    plan.placeholders["BATCH_SIZE"] = int(keys.take("batch_size", 48))
    plan.placeholders["MAX_ITER"] = int(keys.take("num_batches_train_total", 90000))
    plan.placeholders["TEST_INTERVAL"] = int(keys.take("num_batches_validation_step", 5000))
    modality = str(keys.take("loss_cross_entropy_modality", "semseg_clicks"))
    plan.notes.append(
        f"labels: {LISTS.get(modality, modality)}; `rlossctl data prepare {name}` makes the lists"
    )
    width = int(keys.take("aug_semseg_weak_stroke_width", 1))
    if width != 1 and modality != "semseg_dense":
        plan.notes.append(f"draw strokes of width {width}: --width {width}")
    keys.refuse("datasets_dir", "a placeholder: --set DATA_ROOT=DIR")
    keys.refuse("dataset_download", f"rlossctl fetch {name}")
    keys.refuse("workers", "train --workers")
    keys.refuse("workers_validation", "train --workers counts for tests, too")
    keys.refuse("batch_size_validation", "tests take one photo at a time")
    for key in ("aug_geom_validation_center_crop_sts", "aug_geom_validation_center_crop_size"):
        keys.refuse(key, "tests take whole photos; eval --protocol caffe --crop N,N cuts their centres out")


def _optimizer(keys: Keys, plan: Plan) -> None:
    kind = str(keys.take("optimizer", "sgd"))
    given = _json(keys, "optimizer_kwargs", SGD)
    settings: dict[str, Any] = {**(ADAM if kind == "adam" else {}), **given}
    plan.placeholders["BASE_LR"] = settings.get("lr", SGD["lr"])
    plan.solver["weight_decay"] = float(settings.get("weight_decay", 0))
    plan.solver["power"] = keys.number("lr_scheduler_power", 0.9)
    keys.refuse_unless("lr_scheduler", "poly", "the program has no other")
    if kind == "adam":
        betas = settings["betas"]
        plan.solver |= {"type": "Adam", "momentum": float(betas[0]), "momentum2": float(betas[1])}
        plan.solver["delta"] = float(settings["eps"])
    else:
        plan.solver["momentum"] = float(settings.get("momentum", 0))
    if settings.get("dampening"):
        plan.notes.append("no solver has dampening: 0 is used")


def _losses(keys: Keys, plan: Plan, gated: bool) -> None:
    plan.placeholders["CROSS_ENTROPY_WEIGHT"] = keys.number("loss_cross_entropy_weight", 1.0)
    if keys.flag("loss_cross_entropy_class_weights_sts"):
        keys.refuse(
            "loss_cross_entropy_class_weights_sts",
            "rlossctl data stats --log-weights 1.10 prints them for the loss layer",
        )
    names = ("resolution", "radius", "kernels_desc", "weight", "use_after_progress_ratio")
    if not gated:
        for name in names:
            keys.refuse(f"loss_gatedcrf_{name}", "the loss is off")
        return
    plan.placeholders["GATED_CRF_LOSS_WEIGHT"] = keys.number("loss_gatedcrf_weight", 0.1)
    ratio = keys.number("loss_gatedcrf_use_after_progress_ratio", 0.005)
    kernels = [_kernel(entry) for entry in _json(keys, "loss_gatedcrf_kernels_desc", [{"xy": 6, "rgb": 0.1}])]
    radius = int(keys.take("loss_gatedcrf_radius", 5))
    plan.edits.append(partial(_set_loss, kernels=kernels, radius=radius, ratio=ratio))
    size = plan.transform["crop_size"] // STRIDE
    wanted = int(keys.take("loss_gatedcrf_resolution", size))
    if wanted != size:
        keys.refuse(
            "loss_gatedcrf_resolution",
            f"the loss sees the scores of a crop of {size * STRIDE}: {size} pixels",
        )


def _kernel(entry: dict[str, Any]) -> dict[str, float]:
    fields = {"weight": "weight", "xy": "xy_std", "rgb": "image_std"}
    unknown = set(entry) - set(fields)
    if unknown:
        raise UsageError(
            "unknown features of a kernel",
            where="--loss_gatedcrf_kernels_desc",
            found=", ".join(sorted(unknown)),
            expected=", ".join(fields),
        )
    return {fields[key]: float(value) for key, value in entry.items()}


def _set_loss(net: NetParameter, kernels: list[dict[str, float]], radius: int, ratio: float) -> None:
    loss = layer(net, "gated_crf_loss")
    loss.loss_schedule.start_ratio = ratio
    param = loss.gated_crf_loss_param
    param.radius = radius
    del param.kernel[:]
    for fields in kernels:
        param.kernel.add(**fields)


def _json(keys: Keys, key: str, default: Any) -> Any:
    value = keys.take(key, default)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise UsageError("this is not JSON", where=f"--{key}", found=value, expected="JSON") from error


PROGRAM = Program("gatedcrf", "the arguments of the Gated CRF program", _fits, _translate)
