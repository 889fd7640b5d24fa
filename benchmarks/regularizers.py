"""The cost of every regularizer for an image, beside a training step of DeepLab-LargeFOV, in one run.

    python benchmarks/regularizers.py --threads 1

Milliseconds of processor time: loss and backward pass on probabilities of 12 x 21 x 65 x 65 and
8 x 21 x 129 x 129, with images and labels of that size, and a step of DeepLab-LargeFOV with the cross-entropy
alone, 321 x 321 and 21 classes. The least of the rounds, divided by the number of images; the loss's share
is that of its own time in a step with it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from training_step import prepare, write_data

from rlossctl import losses

SIZES = ((12, 21, 65, 65), (8, 21, 129, 129))
BATCH, SIDE = 2, 321  # of DeepLab-LargeFOV
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # image, prob, label -> loss


def soft_labels(image: Tensor, prob: Tensor, label: Tensor) -> Tensor:
    """Soft labels of the usual 30 iterations, and the loss that learns from them."""
    soft = losses.soft_pseudo_label(image, prob.detach(), label, image_std=15)
    return losses.collision_cross_entropy_loss(prob, soft, label)


LOSSES: dict[str, Loss] = {
    "DenseCRFLoss": lambda image, prob, _: losses.densecrf_loss(
        image, prob, torch.ones_like(prob[:, 0]), sigma_xy=50, sigma_rgb=15
    ),
    "GatedCRFLoss": lambda image, prob, _: losses.gated_crf_loss(image, prob),
    "NormalizedCutLoss": lambda image, prob, _: losses.normalized_cut_loss(image, prob),
    "PottsLoss": lambda image, prob, _: losses.potts_loss(
        image, prob, relaxation="collision_divergence", image_std=15
    ),
    "TreeEnergyLoss": lambda image, prob, label: losses.tree_energy_loss(image, prob, label == 255, sigma=67),
    "EntropyLoss": lambda _image, prob, _: losses.entropy_loss(prob),
    "self-labelling": soft_labels,
}


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        step = largefov(Path(folder))
        base = cost(step, arguments.rounds) / BATCH
    print(f"DeepLab-LargeFOV, {SIDE}x{SIDE}, cross-entropy alone: {base:.0f} ms of processor time an image")
    print(f"{'loss':<18}" + "".join(f"{'x'.join(map(str, size)):>18}{'share':>8}" for size in SIZES))
    for name, loss in LOSSES.items():
        cells = [cost(backward(loss, size), arguments.rounds) / size[0] for size in SIZES]
        line = "".join(f"{cell:>15.2f} ms{cell / (base + cell):>8.1%}" for cell in cells)
        print(f"{name:<18}{line}", flush=True)


def largefov(root: Path) -> Callable[[], object]:
    """One training step on a batch that lies in memory."""
    write_data(root, BATCH, SIDE, BATCH)
    return prepare(root, "train.prototxt", argparse.Namespace(batch=BATCH, size=SIDE, device="cpu"))


def backward(loss: Loss, sizes: tuple[int, int, int, int]) -> Callable[[], object]:
    """A loss with its backward pass on smooth photos, of which every fiftieth pixel has a label."""
    torch.manual_seed(1)
    images, classes, height, width = sizes
    small = 255 * torch.rand(images, 3, height // 4, width // 4)
    image = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
    prob = torch.randn(sizes).softmax(1).requires_grad_()
    label = torch.randint(classes, (images, 1, height, width))
    label[torch.rand(label.shape) > 0.02] = 255

    def run() -> None:
        prob.grad = None
        loss(image, prob, label).backward()

    return run


def cost(run: Callable[[], object], rounds: int) -> float:
    """The least processor time of a round in milliseconds; a first one is not counted."""
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1000 * min(times[1:])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
