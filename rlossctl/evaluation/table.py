"""The results as text for a terminal."""

from __future__ import annotations

from rlossctl.data.preprocess import Preprocess
from rlossctl.evaluation.evaluate import Evaluation
from rlossctl.evaluation.opening import OpenedModel


def format_header(opened: OpenedModel, preprocess: Preprocess | None, images: int) -> str:
    """What is evaluated, by what, how images are prepared, and on which list."""
    lines = [
        f"model    {opened.name}",
        f"run by   {opened.runner.backend}",
        f"input    {describe_preprocess(preprocess) if preprocess else 'not known'}",
        f"list     {opened.source} ({images} images{f', below {opened.root}' if opened.root else ''})",
        *(f"note     {note}" for note in opened.notes),
    ]
    return "\n".join(lines)


def format_table(evaluation: Evaluation, metric: str = "standard") -> str:
    """Per-class IoU and accuracy in percent, then the means; metric "caffe" adds SegAccuracy's numbers."""
    confusion = evaluation.confusion
    width = max(len("pixel accuracy"), *(len(name) for name in evaluation.class_names))
    lines = [f"{'class':<{width}}  {'IoU':>6}  {'accuracy':>8}  {'pixels':>12}"]
    scores = confusion.classes()
    for name, score in zip(evaluation.class_names, scores, strict=True):
        lines.append(
            f"{name:<{width}}  {percent(score.iou):>6}  {percent(score.accuracy):>8}  {score.pixels:>12,}"
        )
    occurring = sum(score.iou is not None for score in scores)
    note = "" if occurring == len(scores) else f"  (over the {occurring} of {len(scores)} classes that occur)"
    lines += [
        "",
        f"{'mIoU':<{width}}  {percent(confusion.miou()):>6}{note}",
        f"{'pixel accuracy':<{width}}  {percent(confusion.pixel_accuracy()):>6}",
        f"{'mean accuracy':<{width}}  {percent(confusion.mean_accuracy()):>6}",
    ]
    if metric == "caffe":
        caffe = confusion.caffe_scores()
        lines += [
            "",
            "Caffe's SegAccuracy (a class that never occurs counts as IoU 1):",
            f"  accuracy = {caffe.pixel_accuracy:.6g}  (pixel accuracy)",
            f"  accuracy = {caffe.mean_recall:.6g}  (mean recall)",
            f"  accuracy = {caffe.mean_iou:.6g}  (mean IoU)",
        ]
    return "\n".join(lines)


def format_speed(evaluation: Evaluation) -> str:
    """Images, seconds and images per second of the whole pass, reading included."""
    images, seconds = evaluation.images, evaluation.seconds
    return f"{images} images in {seconds:.1f} s ({images / seconds:.2f} per second)"


def percent(value: float | None) -> str:
    """A share as percent with two digits, or a dash where it is not defined."""
    return "-" if value is None else f"{100 * value:.2f}"


def describe_preprocess(preprocess: Preprocess) -> str:
    """One line that says how images become input."""
    mean = ", ".join(f"{value:g}" for value in preprocess.mean_bgr)
    parts = [
        f"mean {mean} (B, G, R)",
        f"scale {preprocess.scale:g}",
        f"{preprocess.channel_order.upper()} order",
    ]
    if preprocess.crop:
        parts.append("padded to {}x{} (height x width)".format(*preprocess.crop))
    if preprocess.stride > 1:
        parts.append(f"longer sides padded to {preprocess.stride} k + {preprocess.offset}")
    return ", ".join(parts)
