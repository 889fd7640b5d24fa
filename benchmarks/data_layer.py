"""Measures the data layer with every augmenting field, beside the same steps in pillow and numpy.

    python benchmarks/data_layer.py                    # makes its own photos
    python benchmarks/data_layer.py --photos FOLDER    # JPEG photos; also compares how they are decoded

Prints photos per second of both (one thread, in turns, best of the rounds), of the data layer with threads
that read ahead, and how long a net that takes 12 ms for each photo waits for its batches. Nothing else should
run on the machine. Labels are made up: 4 classes, in rectangles.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from google.protobuf import text_format
from PIL import Image, ImageEnhance, ImageFilter

from rlossctl.data.images import decode_image, read_image
from rlossctl.data.palette import save_label_png
from rlossctl.data.scenes.scene import draw_scene
from rlossctl.data.sources.imageseg import ImageSegSource
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import LayerParameter

CROP = 321
BATCH = 8
NET_MS = 12.0
MEAN = (104.0, 117.0, 123.0)
LAYER = f"""name: "data" type: "ImageSegData" top: "data" top: "label"
image_data_param {{ batch_size: {BATCH} shuffle: true label_type: PIXEL }}
transform_param {{ mirror: true crop_size: {CROP} mean_value: 104 mean_value: 117 mean_value: 123
  scale_min: 0.5 scale_max: 2 rotate: 10 perspective: 0.2 blur_sigma: 1 blur_probability: 0.5
  brightness: 0.1 contrast: 0.1 saturation: 0.1 hue: 0.1 }}"""
BGR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def make_data(folder: Path, photos: list[Path]) -> tuple[Path, list[tuple[Path, Path]]]:
    """A list of photos (generated if there are none) with labels of their size."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(len(photos) or 24):
        photo = photos[number] if photos else folder / f"{number}.jpg"
        if not photos:
            Image.fromarray(draw_scene(rng, (375, 500))[0]).save(photo, quality=92)
        ids = np.zeros(read_image(photo).shape[:2], np.uint8)
        for label in (1, 2, 3):
            top, left = (int(rng.integers(side // 2)) for side in ids.shape)
            ids[top : top + ids.shape[0] // 2, left : left + ids.shape[1] // 2] = label
        save_label_png(folder / f"{number}.png", ids)
        pairs.append((photo, folder / f"{number}.png"))
    listed = folder / "list.txt"
    listed.write_text("".join(f'"{photo}" "{label}"\n' for photo, label in pairs))
    return listed, pairs


def source(listed: Path, workers: int) -> ImageSegSource:
    message = text_format.Parse(LAYER, LayerParameter())
    return ImageSegSource(message, "TRAIN", source=listed, root="", workers=workers)


def plain(photo: Path, label: Path, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """The same steps one after the other, as programs write them with pillow and numpy."""
    image, ids = Image.open(photo).convert("RGB"), Image.open(label)
    if rng.random() < 0.5:
        image, ids = (each.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for each in (image, ids))
    factor = rng.uniform(0.5, 2)
    size = round(image.width * factor), round(image.height * factor)
    image, ids = image.resize(size, Image.Resampling.BILINEAR), ids.resize(size, Image.Resampling.NEAREST)
    angle = rng.uniform(-10, 10)
    image = image.rotate(angle, Image.Resampling.BILINEAR)
    ids = ids.rotate(angle, Image.Resampling.NEAREST, fillcolor=255)
    lean = [1, rng.uniform(-0.1, 0.1), 0, rng.uniform(-0.1, 0.1), 1, 0, 1e-4, 1e-4]
    image = image.transform(size, Image.Transform.PERSPECTIVE, lean, Image.Resampling.BILINEAR)
    ids = ids.transform(size, Image.Transform.PERSPECTIVE, lean, Image.Resampling.NEAREST, fillcolor=255)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(rng.uniform(0.9, 1.1))
    hsv = np.array(image.convert("HSV"))
    hsv[:, :, 0] += np.uint8(rng.uniform(-25, 25) % 256)
    image = Image.frombytes("HSV", image.size, hsv.tobytes()).convert("RGB")
    width, height = max(size[0], CROP), max(size[1], CROP)
    pixels, labels = np.zeros((height, width, 3), np.uint8), np.full((height, width), 255, np.uint8)
    pixels[: size[1], : size[0]], labels[: size[1], : size[0]] = np.asarray(image), np.asarray(ids)
    top, left = rng.randint(0, height - CROP), rng.randint(0, width - CROP)
    crop = Image.fromarray(pixels[top : top + CROP, left : left + CROP])
    if rng.random() < 0.5:
        crop = crop.filter(ImageFilter.GaussianBlur(rng.random()))
    data = np.asarray(crop)[:, :, ::-1].astype(np.float32) - np.array(MEAN, np.float32)
    return data.transpose(2, 0, 1).copy(), labels[top : top + CROP, left : left + CROP].astype(np.float32)


def compare(listed: Path, pairs: list[tuple[Path, Path]], rounds: int) -> None:
    """Photos per second, each way in its turn."""
    rng, threaded = random.Random(0), {workers: source(listed, workers) for workers in (0, 1, 2)}
    batches = max(1, len(pairs) // BATCH)

    def steps() -> None:
        for photo, label in (pairs * BATCH)[: batches * BATCH]:
            plain(photo, label, rng)

    def layer(workers: int) -> Callable[[], None]:
        def draw() -> None:
            for _ in range(batches):
                threaded[workers].next_batch()

        return draw

    ways: dict[str, Callable[[], None]] = {"pillow and numpy": steps}
    for workers in threaded:
        ways["data layer" + (f", {workers} thread(s) ahead" if workers else "")] = layer(workers)
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        print(f"{name:<32}{batches * BATCH / seconds:>9.1f} photos/s")
    for each in threaded.values():
        each.close()


def net() -> Callable[[], None]:
    """Work of one thread that takes NET_MS for each photo of a batch, whatever else runs."""
    torch.set_num_threads(1)
    weights, x = torch.randn(32, 32, 3, 3), torch.randn(1, 32, 64, 64)

    def some(times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            torch.nn.functional.conv2d(x, weights, padding=1)
        return time.perf_counter() - start

    some(20)
    times = max(1, round(NET_MS / 1000 * BATCH * 100 / min(some(100) for _ in range(5))))

    def step() -> None:
        some(times)

    return step


def keep_busy(listed: Path, batches: int) -> None:
    """How long a batch takes alone, and behind the data layer."""
    step = net()

    def measure(next_batch: Callable[[], object]) -> float:
        start = time.perf_counter()
        for _ in range(batches):
            next_batch()
            step()
        return (time.perf_counter() - start) / batches / BATCH * 1000

    alone = measure(lambda: None)
    print(f"\na net alone                     {alone:>9.2f} ms per photo")
    for workers in (0, 1, 2):
        data = source(listed, workers)
        data.next_batch()  # the first one has nothing to run beside
        behind = measure(data.next_batch)
        data.close()
        name = f"behind the data layer, {workers} ahead"
        print(f"{name:<32}{behind:>9.2f} ms per photo: the net runs {alone / behind:.0%} of the time")


def decoders(photos: list[Path]) -> None:
    """Times and bits of pillow's and OpenCV's decoding."""
    data = [photo.read_bytes() for photo in photos]
    ways: dict[str, Callable[[bytes], np.ndarray]] = {
        "pillow": lambda content: decode_image(content, "photo", True),
        "OpenCV": lambda content: cv2.imdecode(np.frombuffer(content, np.uint8), BGR),
    }
    print()
    for name, way in ways.items():
        seconds = []
        for _ in range(5):
            start = time.process_time()
            for content in data:
                way(content)
            seconds.append(time.process_time() - start)
        print(f"decoding, {name:<22}{min(seconds) / len(data) * 1000:>9.2f} ms of CPU per photo")
    same = sum(np.array_equal(*(way(content) for way in ways.values())) for content in data)
    print(f"{same} of {len(data)} photos have the same bits")


def damaged(photos: list[Path]) -> None:
    """What the decoders say of copies in which 20 bytes are wrong."""
    rng, refused, read = random.Random(1), 0, 0
    for photo in photos:
        content = bytearray(photo.read_bytes())
        for _ in range(20):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            decode_image(bytes(content), "photo", True)
        except DataError:
            refused += 1
            read += cv2.imdecode(np.frombuffer(bytes(content), np.uint8), BGR) is not None
    print(f"\nof {len(photos)} damaged copies pillow refuses {refused}; OpenCV reads {read} of these")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--photos", type=Path, help="folder of JPEG photos")
    parser.add_argument("--most", type=int, default=200, help="photos to read, at most")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    photos = sorted(arguments.photos.glob("*.jpg"))[: arguments.most] if arguments.photos else []
    with tempfile.TemporaryDirectory() as folder:
        listed, pairs = make_data(Path(folder), photos)
        print(f"{len(pairs)} photos, crops of {CROP} x {CROP}, batches of {BATCH}\n")
        compare(listed, pairs, arguments.rounds)
        keep_busy(listed, 12)
    if photos:
        decoders(photos)
        damaged(photos)


if __name__ == "__main__":
    main()
