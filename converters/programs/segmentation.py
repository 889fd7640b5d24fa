"""config.json of pytorch-segmentation, and of RankDice's program, which is made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rlossctl.converters.programs import sets
from rlossctl.converters.programs.plan import UNREAD, Keys, Plan, Program, iterations
from rlossctl.converters.programs.reading import JSON, Found
from rlossctl.converters.programs.sets import Set
from rlossctl.errors import UsageError
from rlossctl.prototxt.messages import NetParameter

# arch.type -> network by backbone, "" standing for the default
NETWORKS: Mapping[str, Mapping[str, str]] = {
    "DeepLab": {
        "": "deeplabv3plus_resnet101",
        "resnet50": "deeplabv3plus_resnet50",
        "resnet101": "deeplabv3plus_resnet101",
        "xception": "deeplabv3plus_xception",
    },
    "PSPNet": {
        "": "pspnet_resnet152",
        "resnet50": "pspnet_resnet50",
        "resnet101": "pspnet_resnet101",
        "resnet152": "pspnet_resnet152",
    },
    "UNet": {"": "unet_2020"},
    "UNetResnet": {"": "unet_resnet50", "resnet50": "unet_resnet50"},
    "FCN8": {"": "fcn8_vgg16"},
    "SegNet": {"": "segnet"},
    "ENet": {"": "enet"},
    "GCN": {"": "gcn_resnet50", "resnet50": "gcn_resnet50"},
    "UperNet": {"": "upernet_resnet101", "resnet101": "upernet_resnet101"},
    "DeepLab_DUC_HDC": {"": "deeplab_duc_hdc"},
}
SETS: Mapping[str, Set] = {
    "VOC": sets.VOC,
    "CityScapes": sets.CITYSCAPES,
    "ADE20K": sets.ADE20K,
    "COCO": sets.COCO_164K,
    "Kvasir": sets.KVASIR,
}
OPTIMIZERS = {"SGD": "SGD", "Adam": "Adam", "AdamW": "AdamW", "RMSprop": "RMSProp", "Adagrad": "AdaGrad"}
PREDICT = {
    "CoI": "eval takes it: --classes-of-interest",
    "temperature": "eval and predict take it: --temperature",
    "threshold": "eval and predict take it: --rule threshold --threshold",
}
BACKBONE_RATE = 0.1
TRAIN, VAL, OPTIMIZER, TRAINER = "train_loader.args", "val_loader.args", "optimizer.args", "trainer"
# loss -> type of the loss layers and their messages, in place of SoftmaxWithLoss
LOSSES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "CrossEntropyLoss2d": ("SoftmaxWithLoss", {}),
    "FocalLoss": ("FocalLoss", {"focal_loss_param": {"gamma": 2.0}}),
    "DiceLoss": ("DiceLoss", {"dice_loss_param": {"smooth": 1.0}}),
    "LogCoshDiceLoss": ("DiceLoss", {"dice_loss_param": {"log_cosh": True}}),
    "BDiceLoss": ("DiceLoss", {"dice_loss_param": {"activation": 1}}),
    "BCEDiceLoss": ("DiceLoss", {"dice_loss_param": {"activation": 1}}),
    "LovaszSoftmax": ("LovaszLoss", {}),
    "BCEWithLogitsLoss2d": ("FocalLoss", {"focal_loss_param": {"gamma": 0.0, "activation": 1}}),
    "BCEWithLogitsFocalLoss2d": ("FocalLoss", {"focal_loss_param": {"gamma": 2.0, "activation": 1}}),
    "CE_DiceLoss": ("SoftmaxWithLoss", {}),
}


def _fits(found: Found) -> bool:
    return found.form == JSON and {"arch.type", "train_loader.type"} <= set(found.values)


def _translate(keys: Keys) -> Plan:
    data = _set_of(keys)
    plan = Plan(_network(keys), placeholders={"NUM_LABELS": data.classes})
    _data(keys, plan, data)
    _optimizer(keys, plan)
    _loss(keys, plan)
    _trainer(keys, plan, data)
    for key, why in PREDICT.items():
        keys.refuse(f"predict.{key}", why)
    keys.refuse_below("predict.", "eval and predict take it: --rule")
    keys.refuse_below("tester.", "eval and predict take --out and --html")
    keys.refuse("n_gpu", "torchrun --nproc-per-node N -m rlossctl train ...")
    plan.solver["sync_batch_norm"] = keys.flag("use_synch_bn") or None
    keys.take("name")
    plan.refused = keys.refused()
    return plan


def _network(keys: Keys) -> str:
    kind, backbone = str(keys.take("arch.type")), str(keys.take("arch.args.backbone", "") or "")
    names = NETWORKS.get(kind, {})
    # UNet, FCN8, SegNet and ENet have no backbone to choose: the program ignores the key.
    name = names.get("" if len(names) == 1 else backbone)
    if name is None:
        raise UsageError(
            "rlossctl does not have this network",
            where="arch",
            found=f"{kind} {backbone}".strip(),
            expected=", ".join(
                f"{kind} ({', '.join(filter(None, all_))})" for kind, all_ in NETWORKS.items()
            ),
            advice="choose one of them, or write the net: rlossctl net --list has networks to start from",
        )
    stride = str(keys.take("arch.args.output_stride", 16 if kind == "DeepLab" else 8))
    keys.refuse("arch.args.pretrained", "train --weights takes weights; docs/import.md names them")
    return f"{name}_segmentation" + ("_os8" if kind == "DeepLab" and stride == "8" else "")


def _set_of(keys: Keys) -> Set:
    kind = str(keys.take("train_loader.type"))
    if kind not in SETS:
        raise UsageError(
            "rlossctl does not know this data set",
            where="train_loader.type",
            found=kind,
            expected=", ".join(SETS),
            advice="name one with as many classes, and list your own images",
        )
    keys.refuse_unless("val_loader.type", kind, "both nets have the same classes")
    if kind == "COCO" and keys.take(f"{TRAIN}.partition") == "CocoStuff10k":
        return sets.COCO_10K
    return SETS[kind]


def _data(keys: Keys, plan: Plan, data: Set) -> None:
    take = partial(_below, keys, TRAIN)
    augment = bool(take("augment", False))
    base = take("base_size")
    scaled = bool(take("scale", True)) and augment
    plan.transform = {
        "crop_size": int(take("crop_size", 321)),
        "mirror": bool(take("flip", True)) and augment,
        "rotate": 10.0 if take("rotate", False) and augment else None,
        "blur_sigma": 1.0 if take("blur", False) and augment else None,
    }
    if base and augment:
        factors = {"scale_min": 0.5, "scale_max": 2.0} if scaled else {}
        plan.transform |= {"base_size": int(base), "base_side": 1, **factors}
    plan.placeholders["BATCH_SIZE"] = int(take("batch_size", 8))
    plan.images = {"shuffle": bool(take("shuffle", True))}
    split = take("split", "train")
    plan.notes.append(
        f"data: {data.name}, split {split}: `rlossctl data prepare {data.name}` makes its lists; the net "
        "reads EXP/list/TRAIN_SET.txt below DATA_ROOT"
    )
    keys.refuse(f"{TRAIN}.data_dir", "a placeholder: --set DATA_ROOT=DIR")
    keys.refuse(f"{TRAIN}.num_workers", "train --workers")
    keys.refuse(f"{TRAIN}.val_split", "make two lists")
    keys.refuse(f"{TRAIN}.return_id", "not needed here")
    keys.take(f"{VAL}.split")
    keys.take(f"{VAL}.val")
    keys.refuse(f"{VAL}.crop_size", "tests take whole photos, padded")
    keys.refuse(f"{VAL}.batch_size", "tests take one photo at a time")
    keys.refuse_below(f"{VAL}.", "tests take whole photos, one at a time, from EXP/list/TEST_SET.txt")


def _below(keys: Keys, prefix: str, key: str, default: Any = None) -> Any:
    return keys.take(f"{prefix}.{key}", default)


def _optimizer(keys: Keys, plan: Plan) -> None:
    kind = str(keys.take("optimizer.type", "SGD"))
    take = partial(_below, keys, OPTIMIZER)
    if kind not in OPTIMIZERS:
        raise UsageError("no solver does this", where="optimizer.type", found=kind, expected=list(OPTIMIZERS))
    nesterov = bool(take("nesterov", False))
    plan.placeholders["BASE_LR"] = take("lr", 0.001)
    plan.solver["type"] = "Nesterov" if kind == "SGD" and nesterov else OPTIMIZERS[kind]
    plan.solver["weight_decay"] = float(take("weight_decay", 0))
    plan.solver["momentum"] = float(take("momentum", 0))
    if kind.startswith("Adam"):
        plan.solver["momentum"], plan.solver["momentum2"] = map(float, take("betas", (0.9, 0.999)))
    if kind in ("Adam", "AdamW", "RMSprop", "Adagrad"):
        plan.solver["delta"] = float(take("eps", 1e-8))
    if kind == "RMSprop":
        plan.solver["rms_decay"] = float(take("alpha", 0.99))
        plan.solver["momentum"] = None
    if not keys.flag("optimizer.differential_lr", True):
        plan.edits.append(_one_rate)
    keys.refuse_unless(f"{OPTIMIZER}.dampening", 0, "no solver has it")
    _schedule(keys, plan)
    if keys.flag("arch.args.freeze_bn"):
        plan.solver["freeze_batch_norm"] = True
    if keys.flag("arch.args.freeze_backbone"):
        plan.edits.append(_frozen)


def _schedule(keys: Keys, plan: Plan) -> None:
    kind = keys.take("lr_scheduler.type", "Poly")
    if kind == "OneCycle":
        plan.solver |= {"lr_policy": "onecycle", "power": None, "lr_ahead": None}
    elif kind != "Poly":
        keys.refuse("lr_scheduler.type", "known are Poly and OneCycle; the solver has Poly")
    keys.refuse_below("lr_scheduler.args", UNREAD)


def _one_rate(net: NetParameter) -> None:
    """Backbones learn as fast as the rest."""
    _rates(net, {BACKBONE_RATE: 1.0})


def _frozen(net: NetParameter) -> None:
    """Backbones do not learn; their statistics go on, as in the program."""
    _rates(net, {BACKBONE_RATE: 0.0})


def _rates(net: NetParameter, changed: Mapping[float, float]) -> None:
    for entry in net.layer:
        for param in entry.param:
            rate = round(param.lr_mult, 6)
            param.lr_mult = changed.get(rate, rate)


def _loss(keys: Keys, plan: Plan) -> None:
    name, ignore = str(keys.take("loss", "CrossEntropyLoss2d")), int(keys.take("ignore_index", 255))
    if name not in LOSSES:
        raise UsageError("no layer computes this loss", where="loss", found=name, expected=", ".join(LOSSES))
    plan.edits.append(partial(_replace_losses, kind=LOSSES[name], ignore=ignore & 255))
    if name == "CE_DiceLoss":
        plan.edits.append(_add_dice)
    if name.startswith("B"):
        plan.notes.append("each class against the rest: eval and predict need --activation sigmoid")
    if ignore < 0:
        plan.notes.append(f"labels are bytes: {ignore} is {ignore & 255} here")


def _replace_losses(net: NetParameter, kind: tuple[str, dict[str, Any]], ignore: int) -> None:
    for entry in net.layer:
        if entry.type == "SoftmaxWithLoss":
            entry.type = kind[0]
            entry.loss_param.ignore_label = ignore
            for message, fields in kind[1].items():
                for field_name, value in fields.items():
                    setattr(getattr(entry, message), field_name, value)


def _add_dice(net: NetParameter) -> None:
    """A Dice loss beside every cross-entropy, with its weight."""
    for entry in [entry for entry in net.layer if entry.type == "SoftmaxWithLoss"]:
        dice = net.layer.add()
        dice.CopyFrom(entry)
        dice.name, dice.type = f"{entry.name}_dice", "DiceLoss"
        del dice.top[:]
        dice.top.append(dice.name)


def _trainer(keys: Keys, plan: Plan, data: Set) -> None:
    take: Callable[..., Any] = partial(_below, keys, TRAINER)
    split, batch = str(keys.take(f"{TRAIN}.split", "train")), plan.placeholders["BATCH_SIZE"]
    images = data.splits.get(split)
    every, period = float(take("val_per_epochs", 1)), float(take("save_period", 1))
    if images:
        plan.placeholders["MAX_ITER"] = iterations(float(take("epochs", 80)), images, batch)
        plan.placeholders["TEST_INTERVAL"] = iterations(every, images, batch)
        plan.solver["snapshot"] = iterations(period, images, batch)
    else:
        for key in ("epochs", "val_per_epochs", "save_period"):
            keys.refuse(f"{TRAINER}.{key}", f"{split!r} has an unknown number of images: train --epochs N")
    plan.solver["display"] = int(take("log_per_iter", 20))
    _monitor(keys, plan)
    if not keys.flag(f"{TRAINER}.val", True):
        plan.solver |= {"test_net": None, "test_interval": None, "test_state": None, "monitor": None,
                        "patience": None, "snapshot_best": None, "test_initialization": None}  # fmt: skip
    keys.refuse(f"{TRAINER}.tensorboard", "train --tensorboard")
    for key in ("save_dir", "log_dir"):
        keys.refuse(f"{TRAINER}.{key}", "train --out DIR")


def _monitor(keys: Keys, plan: Plan) -> None:
    wanted = str(keys.take(f"{TRAINER}.monitor", "off"))
    plan.placeholders["PATIENCE"] = int(keys.take(f"{TRAINER}.early_stop", 0) or 0)
    if wanted == "off":
        plan.placeholders["PATIENCE"] = 0
        plan.solver |= {"monitor": None, "patience": None, "snapshot_best": None}
    elif wanted != "max Mean_IoU":
        keys.refuse(f"{TRAINER}.monitor", "the test net scores mIoU, which is monitored")


PROGRAM = Program(
    "segmentation", "a config.json of pytorch-segmentation or RankDice's program", _fits, _translate
)
