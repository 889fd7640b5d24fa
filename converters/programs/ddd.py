"""experiment.yaml of the program of differentiable dual decomposition (DDD)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from rlossctl.converters.programs import sets
from rlossctl.converters.programs.plan import UNREAD, Keys, Plan, Program, iterations, layer
from rlossctl.converters.programs.reading import ARGUMENTS, Found
from rlossctl.errors import UsageError
from rlossctl.prototxt.messages import NetParameter

# MODEL.NAME and whether it has pairwise terms -> network
NETWORKS = {
    ("seg_aspp_resnet", False): "deeplabv3_resnet50",
    ("seg_aspp_resnet", True): "deeplabv3_resnet50_ddd",
    ("seg_aspp_xception", True): "deeplabv3_xception_ddd",
}
SETS = {
    "voc": sets.VOC,
    "cityscapes": sets.CITYSCAPES,
    "pascal_context": sets.CONTEXT,
    "context": sets.CONTEXT,
}
SUBSETS = {"voc": "train_aug"}  # that DATASET.TRAIN_SET "train" stands for
JITTER = 0.1  # of brightness, contrast, saturation and hue, in the program's code
BACKBONE = "backbone."
HEAD_RATES = {"1x": 1.0, "10x": 10.0}
# MODEL and LOSS keys that have a counterpart with one value only
ONLY: Mapping[str, Any] = {
    "MODEL.PAIRWISE_STEP_SIZE": 1,
    "MODEL.PAIRWISE_BN": False,
    "MODEL.UNARY_BN": False,
    "MODEL.ADAPTIVE_FPI_STEP_SIZE": False,
    "MODEL.LEARN_OUTPUT_TEMPERATURE": False,
    "MODEL.INIT_OUTPUT_TEMPERATURE": 1.0,
    "MODEL.OUTPUT_STRIDE": 16,
    "MODEL.USE_DUPSAMPLING": False,
    "MODEL.STYLE": "pytorch",
    "LOSS.USE_PAIRWISE_LOSS": False,
    "LOSS.USE_ALL_FPI_LOSS": False,
    "TRAIN.RESUME": False,
    "TRAIN.BEGIN_EPOCH": 0,
    "TRAIN.NE_GAMMA_EXP": 1.0,
    "TRAIN.NE_ITER_RATIO": 1.0,
}


def _fits(found: Found) -> bool:
    return found.form != ARGUMENTS and "MODEL.NAME" in found.values


def _translate(keys: Keys) -> Plan:
    pairwise = keys.flag("MODEL.LEARN_PAIRWISE_TERMS")
    plan = Plan(_network(keys, pairwise))
    for key, value in ONLY.items():
        keys.refuse_unless(key, value, f"the net has {value!r}")
    if pairwise:
        _crf(keys, plan)
    _data(keys, plan)
    _training(keys, plan)
    for key in ("OUTPUT_DIR", "LOG_DIR"):
        keys.refuse(key, "train --out DIR")
    for key in ("DATA_DIR", "DATASET.ROOT", "DATASET.SBD_PATH"):
        keys.refuse(key, "--set DATA_ROOT=DIR; `rlossctl data prepare voc` takes SBD's archive")
    keys.refuse("WORKERS", "train --workers")
    keys.refuse("MODEL.PRETRAINED", "train --weights takes it once converted: docs/import.md")
    keys.refuse("TRAIN.CHECKPOINT", "train --resume")
    keys.refuse("GPUS", "torchrun --nproc-per-node N -m rlossctl train ...")
    keys.refuse_below("TEST.", f"{UNREAD}, or eval takes it")
    for prefix in ("CUDNN.", "DEBUG.", "MODEL.", "TRAIN.UNARY_GAMMA", "TRAIN.GAMMA", "LOSS.", "DATASET."):
        keys.refuse_below(prefix, UNREAD)
    plan.refused = keys.refused()
    return plan


def _network(keys: Keys, pairwise: bool) -> str:
    name = str(keys.take("MODEL.NAME"))
    network = NETWORKS.get((name, pairwise))
    if network is None:
        raise UsageError(
            "rlossctl does not have this network",
            where="MODEL.NAME, MODEL.LEARN_PAIRWISE_TERMS",
            found=f"{name}, {pairwise}",
            expected=", ".join(f"{name}, {terms}" for name, terms in NETWORKS),
            advice="choose one of them; DualDecompositionCRF can be added to any other net (docs/layers.md)",
        )
    return network


def _crf(keys: Keys, plan: Plan) -> None:
    upper, lower = keys.number("TRAIN.NE_GAMMA_U", 1.0), keys.number("TRAIN.NE_GAMMA_L", 0.1)
    if upper != lower:
        plan.notes.append(f"the temperature stays {upper:g}: the program lets it fall to {lower:g}")
    keys.refuse("MODEL.NE_GAMMA", f"{UNREAD}; TRAIN.NE_GAMMA_U counts")
    fields = {
        "iterations": int(keys.take("MODEL.FPI_ITERS", 5)),
        "temperature": max(0.0, upper),
        "learn_temperature": keys.flag("MODEL.LEARN_GAMMA"),
    }
    strides = list(range(1, int(keys.take("MODEL.NUM_PAIRWISE_TERMS", 2)) + 1))
    plan.model.append(partial(_set_crf, fields=fields, strides=strides))
    plan.placeholders["UNARY_LOSS_WEIGHT"] = int(keys.flag("LOSS.USE_UNARY_LOSS"))


def _set_crf(net: NetParameter, fields: dict[str, Any], strides: list[int]) -> None:
    param = layer(net, "crf").dual_decomposition_crf_param
    for name, value in fields.items():
        setattr(param, name, value)
    param.ClearField("stride")
    param.stride.extend(strides)


def _data(keys: Keys, plan: Plan) -> None:
    name = str(keys.take("DATASET.DATASET", "voc"))
    if name not in SETS:
        raise UsageError(
            "rlossctl does not know this data set",
            where="DATASET.DATASET",
            found=name,
            expected=", ".join(SETS),
            advice="name one with as many classes, and list your own images",
        )
    scale = keys.number("DATASET.SCALE_FACTOR", 0.25)
    size = keys.take("MODEL.IMAGE_SIZE", [256, 256])
    width, height = size if isinstance(size, list) else (size, size)
    crop = {"crop_size": width} if width == height else {"crop_width": width, "crop_height": height}
    plan.transform = {
        "crop_size": None,
        **crop,
        "mirror": keys.flag("DATASET.FLIP", True),
        "scale_min": 1 - scale,
        "scale_max": 1 + scale,
        "rotate": keys.number("DATASET.ROT_FACTOR", 30),
        **dict.fromkeys(("brightness", "contrast", "saturation", "hue"), JITTER),
    }
    plan.placeholders["NUM_LABELS"] = SETS[name].classes
    plan.images["shuffle"] = keys.flag("TRAIN.SHUFFLE", True)
    plan.notes.append(
        f"data: `rlossctl data prepare {SETS[name].name}` makes the lists; the net reads "
        "EXP/list/TRAIN_SET.txt below DATA_ROOT"
    )
    keys.take("DATASET.TRAIN_SET")
    keys.take("DATASET.TEST_SET")


def _training(keys: Keys, plan: Plan) -> None:
    gpus = len(str(keys.take("GPUS", "0")).split(","))
    batch = int(keys.take("TRAIN.BATCH_SIZE", 32))
    name = str(keys.take("DATASET.DATASET", "voc"))
    images = SETS[name].splits[SUBSETS.get(name, "train")]
    plan.placeholders |= {"BATCH_SIZE": batch, "BASE_LR": keys.number("TRAIN.LR", 0.001)}
    if gpus > 1:
        plan.notes.append(f"batches of {batch} are those of each of {gpus} GPUs: start as many processes")
    each = partial(iterations, images=images, batch=batch * gpus)
    plan.placeholders["MAX_ITER"] = each(keys.number("TRAIN.END_EPOCH", 140))
    plan.placeholders["TEST_INTERVAL"] = each(keys.number("TRAIN.EVAL_INTERVAL", 1))
    plan.solver["display"] = int(keys.take("PRINT_FREQ", 20))
    plan.solver["weight_decay"] = keys.number("TRAIN.WD", 0.0001)
    _optimizer(keys, plan)
    if keys.take("TRAIN.LR_SCHEDULER", "multistep") != "poly":
        steps = [each(epoch) for epoch in keys.take("TRAIN.LR_STEP", [90, 110])]
        plan.solver |= {"lr_policy": "multistep", "stepvalue": steps, "power": None}
        plan.solver["gamma"] = keys.number("TRAIN.LR_FACTOR", 0.1)
    for key in ("TRAIN.LR_STEP", "TRAIN.LR_FACTOR"):
        keys.take(key)
    if not keys.flag("TRAIN.TRAIN_BN"):
        plan.solver["freeze_batch_norm"] = True
    rate = str(keys.take("TRAIN.HEAD_LR", "1x"))
    if rate not in HEAD_RATES:
        keys.refuse("TRAIN.HEAD_LR", "the head learns as fast as the backbone")
    elif HEAD_RATES[rate] != 1:
        plan.edits.append(partial(_head_rate, rate=HEAD_RATES[rate]))


def _optimizer(keys: Keys, plan: Plan) -> None:
    kind, momentum = str(keys.take("TRAIN.OPTIMIZER", "adam")), keys.number("TRAIN.MOMENTUM", 0.9)
    betas = keys.number("TRAIN.BETA1", 0.9), keys.number("TRAIN.BETA2", 0.999)
    if kind == "sgd":
        plan.solver |= {"type": "Nesterov" if keys.flag("TRAIN.NESTEROV") else "SGD", "momentum": momentum}
    elif kind == "adam":
        plan.solver |= {"type": "Adam", "momentum": betas[0], "momentum2": betas[1]}
        keys.take("TRAIN.NESTEROV")
    else:
        raise UsageError("no solver does this", where="TRAIN.OPTIMIZER", found=kind, expected="sgd or adam")


def _head_rate(net: NetParameter, rate: float) -> None:
    """Multiplies the rates of every layer outside of the backbone."""
    for entry in net.layer:
        blobs = {"Convolution": 2, "BatchNorm": 0, "Scale": 2, "DualDecompositionCRF": 2}.get(entry.type, 0)
        if entry.name.startswith(BACKBONE) or any(param.lr_mult == 0 for param in entry.param):
            continue
        if entry.type == "Convolution" and not entry.convolution_param.bias_term:
            blobs = 1
        del entry.param[:]
        for _ in range(blobs):
            entry.param.add(lr_mult=rate, decay_mult=1)


PROGRAM = Program("ddd", "an experiment.yaml of DDD", _fits, _translate)
