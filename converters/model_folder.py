"""`convert --card`: a folder to publish: the model, its weights, a README with scores, the preprocessing."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rlossctl.converters.formats import safetensors
from rlossctl.converters.nets.inference_net import TrainedNet
from rlossctl.converters.onnx.options import OnnxOptions
from rlossctl.converters.onnx.saving import data_beside
from rlossctl.converters.verifying.comparison import Verification
from rlossctl.converters.verifying.trials import read_photos
from rlossctl.data.modelcard import KEY, ModelCard
from rlossctl.errors import UsageError
from rlossctl.evaluation import evaluate, open_onnx
from rlossctl.evaluation.scoring.results import means
from rlossctl.files import make_folder, sha256_of
from rlossctl.progress import stage
from rlossctl.weights.onnxfile import load_onnx

WEIGHTS, PREPROCESSING, README = "model.safetensors", "preprocessing.json", "README.md"


def require_new(folder: Path) -> None:
    """Raises a UsageError if the folder holds files."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("--card writes into a new or an empty folder", where=folder, found="files")


def write_folder(
    folder: Path, trained: TrainedNet, out: Path, options: OnnxOptions, verification: Verification
) -> str:
    """Copies the ONNX file and writes what belongs beside it; nothing is uploaded.

    The README's `model-index`, which huggingface.co reads, has the mIoU on the list of `verify_images` if all
    its images have labels.

    Returns:
        A sentence on what is in the folder.
    """
    parent = make_folder(folder.absolute().parent)
    with stage("scoring the model for its card"):
        miou = _miou(out, options)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=parent) as staged:
        complete = make_folder(Path(staged) / "complete")
        _fill(complete, trained, out, verification, _result(options, miou))
        os.replace(complete, folder)
    scored = f"mIoU {100 * miou:.2f}" if miou is not None else "no scores: --verify-images LIST with labels"
    return f"wrote {folder} for publishing ({scored})"


def _fill(
    folder: Path,
    trained: TrainedNet,
    out: Path,
    verification: Verification,
    result: dict[str, Any] | None,
) -> None:
    for file in (out, *data_beside(out, out.name)):
        shutil.copy2(file, folder / file.name)
    safetensors.write(trained, folder / WEIGHTS)
    props = {entry.key: entry.value for entry in load_onnx(out).metadata_props}
    card = ModelCard.from_json(props[KEY], out)
    if card.preprocess is not None:
        (folder / PREPROCESSING).write_text(card.preprocess.to_json() + "\n")
    (folder / README).write_text(_readme(trained, out, card, verification, result), encoding="utf-8")


def _miou(out: Path, options: OnnxOptions) -> float | None:
    """The model's mIoU on the list, if there is one with labels."""
    samples = read_photos(options.verify_images, options.root) if options.verify_images else []
    if not samples or any(sample.label is None or not Path(sample.label).is_file() for sample in samples):
        return None
    assert options.verify_images is not None
    found = evaluate(open_onnx(out, "cpu"), samples, list_name=options.verify_images, progress=False)
    return means(found).miou


def _result(options: OnnxOptions, miou: float | None) -> dict[str, Any] | None:
    """One entry of a model-index: task, data set and score."""
    if miou is None:
        return None
    name = Path(str(options.verify_images)).stem
    return {
        "task": {"type": "image-segmentation", "name": "semantic segmentation"},
        "dataset": {"type": name, "name": name},
        "metrics": [{"type": "mean_iou", "name": "mIoU", "value": round(100 * miou, 2)}],
    }


def _readme(
    trained: TrainedNet,
    out: Path,
    card: ModelCard,
    verification: Verification,
    result: dict[str, Any] | None,
) -> str:
    name = trained.net.name or out.stem
    head: dict[str, Any] = {
        "library_name": "onnx",
        "pipeline_tag": "image-segmentation",
        "tags": ["caffe", "onnx", "semantic-segmentation"],
    }
    if result:
        head["model-index"] = [{"name": name, "results": [result]}]
    front = [f"{key}: {json.dumps(value)}" for key, value in head.items()]  # JSON is YAML, too
    sections = [
        f"# {name}",
        f"Converted from Caffe by rlossctl {card.version} (dialect {card.dialect}). `{out.name}` takes "
        f"`{card.input}` and returns `{card.output}` ({card.head}); `{WEIGHTS}` has the weights, and the "
        "prototxt in its metadata.",
        _preprocessing(card),
        _scores(out, result),
        "## Check\n\n" + "\n\n".join(verification.lines()[1:]),
        _sources(trained, out),
    ]
    return "\n".join(["---", *front, "---", "", "\n\n".join(sections), ""])


def _preprocessing(card: ModelCard) -> str:
    if card.preprocessing_inside:
        text = "The model takes photos as they are: uint8 [N, H, W, 3], red first."
    elif card.preprocess is None:
        text = "It is unknown how photos become the net's input."
    else:
        one = card.preprocess
        text = (
            f"Channels in the order {one.channel_order}, minus {list(one.mean_bgr)} (blue, green, red), "
            f"times {one.scale:g}, divided by {list(one.std_bgr)}. `{PREPROCESSING}` is for programs."
        )
    return f"## Preprocessing\n\n{text}"


def _scores(out: Path, result: dict[str, Any] | None) -> str:
    if result is None:
        return "## Scores\n\nNone have been computed."
    value, name = result["metrics"][0]["value"], result["dataset"]["name"]
    command = f"rlossctl eval {out.name} --data {name}.txt --root DIR"
    return f"## Scores\n\nmIoU {value} on {name}:\n\n```sh\n{command}\n```"


def _sources(trained: TrainedNet, out: Path) -> str:
    origin = trained.provenance()
    rows = [f"| {origin[kind]['name']} | {origin[kind]['sha256']} |" for kind in ("prototxt", "weights")]
    rows.append(f"| {out.name} | {sha256_of(out)} |")
    return "\n".join(["## Files", "", "| file | SHA-256 |", "|---|---|", *rows])
