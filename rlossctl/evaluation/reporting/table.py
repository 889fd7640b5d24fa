"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rlossctl.data.preprocess import Preprocess
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Protocol
from rlossctl.evaluation.predicting.rules import Rule, calibration_note
from rlossctl.evaluation.predicting.samples import Listed
from rlossctl.evaluation.running.open_model import OpenedModel
from rlossctl.evaluation.scoring import results
from rlossctl.evaluation.scoring.bootstrap import Difference
from rlossctl.evaluation.scoring.evaluation import Evaluation
from rlossctl.evaluation.scoring.results import percent
from rlossctl.words import counted


def format_header(opened: OpenedModel, predictor: Predictor, listing: Listed) -> str:
    """The model, what runs it, how it prepares and predicts images, and the list."""
    below = f", below {opened.images.root}" if opened.images.root else ""
    turned = ", photos turned upright, as EXIF says" if listing.upright else ""
    maps = ", labels are maps: from 128 on class 1" if listing.maps else ""
    listed = f"{opened.images.file} ({counted(len(listing.samples), 'image')}{below}{turned}{maps})"
    return f"{format_run(opened, predictor)}\nlist     {listed}"


def format_run(opened: OpenedModel, predictor: Predictor) -> str:
    """The model, what runs it, and how it prepares and predicts images."""
    preprocess = predictor.preprocess
    threads = "" if opened.threads is None else f", {counted(opened.threads, 'thread')}"
    warning = calibration_note(predictor.rule, opened.runner.losses)
    notes = (*opened.notes, *([warning] if warning else []))
    lines = [
        f"model    {opened.name}",
        f"run by   {opened.runner.backend}{threads}",
        f"input    {describe_preprocess(preprocess)}",
        f"protocol {describe_protocol(predictor.protocol, preprocess)}",
        f"rule     {describe_rule(predictor.rule)}",
        *(f"note     {note.removeprefix('note: ')}" for note in notes),
    ]
    return "\n".join(lines)


def format_warnings(evaluation: Evaluation) -> str:
    """Reasons to doubt the scores, with the files of images left out; "" if there are none."""
    return "\n".join(f"warning  {text}".replace("\n", "\n         ") for text in warning_texts(evaluation))


def warning_texts(evaluation: Evaluation) -> list[str]:
    """Reasons to doubt the scores; the one for images left out has a line for each of them."""
    texts = [f"{kind}: {found}" for kind, found, _ in evaluation.warnings]
    if evaluation.skipped:
        out, left = counted(len(evaluation.skipped), "image"), counted(evaluation.images, "image")
        files = [f"{name}: {why}" for name, why in evaluation.skipped.items()]
        texts.append("\n".join([f"{out} left out; the scores are for {left}:", *files]))
    return texts


def format_table(evaluation: Evaluation, metric: str = "standard") -> str:
    """Scores per class in percent, then the means; metric "caffe" adds SegAccuracy's numbers."""
    rows = results.classes(evaluation)
    columns = {"iou": "IoU", "dice": "Dice", "precision": "precision", "accuracy": "accuracy"}
    if evaluation.boundary is not None:
        columns["boundary_iou"] = "boundary"
    width = max(*map(len, results.MEANS.values()), *(len(row.name) for row in rows))
    lines = [f"{'class':<{width}}  {'  '.join(f'{title:>9}' for title in columns.values())}  {'pixels':>12}"]
    for row in rows:
        cells = "  ".join(f"{percent(getattr(row, key)):>9}" for key in columns)
        lines.append(f"{row.name:<{width}}  {cells}  {row.pixels:>12,}")
    of = evaluation.interest or range(len(rows))
    occurring = sum(rows[index].iou is not None for index in of)
    note = ""
    if occurring < len(rows):
        kind = f"of the {len(of)} of interest " if evaluation.interest else f"of {len(rows)} classes "
        note = f"  (over the {occurring} {kind}that occur)"
    lines.append("")
    for key, value in results.means(evaluation).by_key().items():
        lines.append(f"{results.MEANS[key]:<{width}}  {percent(value):>9}{note if key == 'miou' else ''}")
    if metric == "caffe":
        caffe = evaluation.require_confusion().caffe_scores()
        lines += [
            "",
            "Caffe's SegAccuracy (a class that never occurs counts as IoU 1):",
            f"  accuracy = {caffe.pixel_accuracy:.6g}  (pixel accuracy)",
            f"  accuracy = {caffe.mean_recall:.6g}  (mean recall)",
            f"  accuracy = {caffe.mean_iou:.6g}  (mean IoU)",
        ]
    return "\n".join(lines)


def format_comparison(
    evaluations: Mapping[str, Evaluation], differences: Mapping[str, Difference | None]
) -> str:
    """Several models, one line each, with the difference of its mIoU from the first one's."""
    width = max(len("model"), *map(len, evaluations))
    keys = ("miou", "mean_accuracy", "pixel_accuracy", "miou_images")
    titles = "  ".join(f"{results.MEANS[key]:>15}" for key in keys)
    first = next(iter(evaluations))
    lines = [f"{'model':<{width}}  {titles}  mIoU minus {first}'s: 95 % interval"]
    for name, evaluation in evaluations.items():
        values = results.means(evaluation).by_key()
        cells = "  ".join(f"{percent(values.get(key)):>15}" for key in keys)
        difference = differences.get(name)
        lines.append(f"{name:<{width}}  {cells}  {difference.text() if difference else '-'}")
    return "\n".join(lines)


def format_speed(evaluation: Evaluation) -> str:
    """Images, seconds and images per second of the whole pass, reading included."""
    images, seconds = evaluation.images, evaluation.seconds
    return f"{counted(images, 'image')} in {seconds:.1f} s ({images / seconds:.2f} per second)"


def describe_protocol(protocol: Protocol, preprocess: Preprocess | None) -> str:
    """One line on how photos are shown to the model."""
    parts = {
        "whole": "whole images, scored at their own size",
        "caffe": "Caffe's: photo and label padded to the crop and cut to its centre",
        "tiles": "tiles of {}x{}, overlapping by at least {:.0%}".format(
            *(protocol.tile or (preprocess and preprocess.crop) or (0, 0)), protocol.overlap
        ),
    }
    text = [parts[protocol.name]]
    if protocol.resize:
        text.insert(
            0,
            "photos resized to {}x{} (height x width), predictions back to their size".format(
                *protocol.resize
            ),
        )
    if protocol.memory is not None:
        text.append(f"in tiles where a pass would need more than {protocol.memory / 1e9:g} GB")
    if protocol.scales != (1.0,):
        text.append(f"scales {', '.join(f'{scale:g}' for scale in protocol.scales)}")
    if protocol.flip:
        text.append("also mirrored")
    if protocol.activation == "none":
        text.append("the model gives probabilities")
    if protocol.activation == "sigmoid":
        text.append("activation sigmoid")
    if protocol.temperature != 1:
        text.append(f"temperature {protocol.temperature:g}")
    if protocol.crf:
        crf = protocol.crf
        text.append(
            f"CRF ({counted(crf.iterations, 'iteration')}; position {crf.pos_w:g}, {crf.pos_xy_std:g} px; "
            f"colour {crf.bi_w:g}, {crf.bi_xy_std:g} px, {crf.bi_rgb_std:g} levels)"
        )
    return "; ".join(text)


def describe_rule(rule: Rule) -> str:
    """One line on how probabilities become a prediction."""
    text: list[str] = [rule.name]
    if rule.name == "threshold":
        text.append(f"at {rule.threshold:g}")
    if rule.ranks:
        text.append(f"by {rule.solver}, classes up to {rule.prune:g} left out")
        if rule.smooth:
            text.append(f"smoothing {rule.smooth:g}")
        if rule.drop_ignored:
            text.append("ignored pixels left out")
    if rule.output == "masks":
        text.append("masks may overlap")
    elif rule.name != "argmax":
        text.append("one class per pixel, others " + rule.unassigned.replace("_", " "))
    return ", ".join(text)


def describe_preprocess(preprocess: Preprocess | None) -> str:
    """One line on how images become input."""
    if preprocess is None:
        return "photos, which the model prepares itself"
    mean = ", ".join(f"{value:g}" for value in preprocess.mean_bgr)
    parts = [
        f"mean {mean} (B, G, R)",
        f"scale {preprocess.scale:g}",
        "grey" if preprocess.channel_order == "grey" else f"{preprocess.channel_order.upper()} order",
    ]
    if preprocess.std_bgr != (1, 1, 1):
        parts.insert(2, f"std {', '.join(f'{value:g}' for value in preprocess.std_bgr)} (B, G, R)")
    if preprocess.crop:
        parts.append("padded to {}x{} (height x width)".format(*preprocess.crop))
    if preprocess.stride > 1:
        parts.append(f"longer sides padded to {_multiple(preprocess.stride, preprocess.offset)}")
    return ", ".join(parts)


def _multiple(stride: int, offset: int) -> str:
    return f"a multiple of {stride}" + (f" plus {offset}" if offset else "")
