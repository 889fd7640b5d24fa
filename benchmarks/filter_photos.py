"""How many times faster the DenseCRF loss is than in the original's scheme, on photos and in one run.

    python benchmarks/filter_photos.py VOC/JPEGImages CAMVID/JPEGImages

One image on one thread (processor time), and batches of six on two (elapsed time), forward and backward. The
photos are eight of each folder, evenly spread over its list, cut to squares and scaled (bilinear). A ratio is
one of medians.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from filter import channelwise
from PIL import Image

from rlossctl.bench.contenders import Contender, contenders
from rlossctl.bench.measure import Job, Run, restoring_kernel_variable, threads, time_in_turns
from rlossctl.bench.samples import scores

PHOTOS = 8


def main() -> None:
    options = parse()
    both = [contenders(twin=False)[0], channelwise(1)], [contenders(twin=False)[0], channelwise(2)]
    one = Job(0, "", sigma_xy=options.sigma_xy, repeats=options.repeats)
    jobs = one, replace(one, batch=6, threads=2)
    print(f"{both[0][0].what}; {one.channels} classes, sigmas {one.sigma_xy:g} and {one.sigma_rgb:g}")
    print(f"{'size':>5} {'batch':>6}{'threads':>8}{'ours ms':>9}{'original ms':>13}{'times':>8}  photos")
    for size in options.sizes:
        for folder in options.folders:
            images = photos(folder, size)
            for job, two in zip(jobs, both, strict=True):
                ours, original = loss_ms(two, images, size, job)
                figures = f"{ours:>9.2f}{original:>13.1f}{original / ours:>7.1f}x"
                print(f"{size:>5} {job.batch:>6}{job.threads:>8}{figures}  {folder}", flush=True)


def photos(folder: Path, size: int) -> torch.Tensor:
    """[PHOTOS, 3, size, size] of 0..255."""
    files = sorted(folder.glob("*.jpg"))
    found = []
    for file in files[:: max(1, len(files) // PHOTOS)][:PHOTOS]:
        with Image.open(file) as opened:
            photo = opened.convert("RGB")
        side = min(photo.size)
        left, top = (photo.width - side) // 2, (photo.height - side) // 2
        square = photo.crop((left, top, left + side, top + side))
        scaled = square.resize((size, size), Image.Resampling.BILINEAR)
        found.append(np.asarray(scaled, np.float32).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found))


def loss_ms(two: list[Contender], images: torch.Tensor, size: int, job: Job) -> tuple[float, ...]:
    """The times of a loss, forward and backward, in ms per image."""
    values, mask = scores(job.batch, job.channels, size), torch.ones(job.batch, 1, size, size)
    batches = [images[torch.arange(first, first + job.batch) % PHOTOS] for first in range(PHOTOS)]

    def run(contender: Contender) -> Run:
        assert contender.loss is not None
        loss = contender.loss
        return lambda image: loss(values, mask, image, job.sigma_xy, job.sigma_rgb)

    with restoring_kernel_variable(), threads(job.threads):
        times = time_in_turns({contender.name: run(contender) for contender in two}, batches, job)
    return tuple(times[contender.name] for contender in two)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="folders of JPEG photos")
    parser.add_argument("--sizes", type=int, nargs="+", default=[41, 129, 257, 321, 513], help="sides")
    parser.add_argument("--sigma-xy", type=float, default=50, help="pixels (default 50)")
    parser.add_argument("--repeats", type=int, default=5, help="timed turns (default 5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
