"""Reading palettes from files: text, CVAT's label map, JSON, a palette picture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlossctl.data.palette import Palette
from rlossctl.errors import DataError
from rlossctl.files import LARGEST_LISTING, read_listing, read_regular

_HEX = re.compile(r"#?([0-9a-fA-F]{6})$")


def read_palette(path: str) -> Palette:
    """A palette from a file.

    A text file has a line for each class in the order of ids: `R G B`, `R G B name`, `#RRGGBB name` or
    `name R G B`, separated by spaces, commas or colons; with a fourth number, the first is the id. The label
    maps of CVAT (`name:r,g,b:parts:actions`) are such files. JSON has a list of colours, or an object of
    name -> colour. A PNG with a palette has the colours of the ids that its pixels use.

    Raises:
        DataError: the file cannot be read, or is none of these.
    """
    try:
        if Path(path).suffix.lower() == ".png":
            return _from_picture(path)
        if Path(path).suffix.lower() == ".json":
            return _from_json(json.loads(read_regular(path, LARGEST_LISTING)))
        return _from_lines(read_listing(path).splitlines())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            "the palette cannot be read",
            where=path,
            found=str(error),
            expected="a line `R G B name` for each class in the order of ids, JSON, or a PNG with a palette",
            advice="correct the file, or name a known palette",
        ) from error


def _from_lines(lines: list[str]) -> Palette:
    colours: dict[int, tuple[int, int, int]] = {}
    names: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith(("# ", "//")):
            continue
        label, colour, name = _line(line, number)
        label = len(colours) if label is None else label
        if label in colours or not 0 <= label <= 255:
            raise ValueError(f"line {number}: id {label}, which is used already or not in 0..255")
        colours[label] = colour
        names.update({label: name} if name else {})
    if not colours:
        raise ValueError("no colours")
    return Palette(colours, names)


def _line(text: str, number: int) -> tuple[int | None, tuple[int, int, int], str]:
    """(id or None, colour, name) of one line."""
    words = [word for word in re.split(r"[\s,;:]+", text.strip()) if word]
    numbers = [int(word) for word in words if word.isdecimal()]
    names = " ".join(word for word in words if not word.isdecimal())
    for word in words:
        found = _HEX.match(word)
        if found and (word.startswith("#") or len(numbers) < 3):
            label = numbers[0] if numbers and words[0].isdecimal() and words[0] != word else None
            return (
                label,
                _colour(word),
                " ".join(rest for rest in words if rest != word and not rest.isdecimal()),
            )
    if len(numbers) not in (3, 4):
        raise ValueError(f"line {number}: {text.strip()[:60]!r}")
    return (numbers[0] if len(numbers) == 4 else None), _colour(numbers[-3:]), names


def _from_json(content: Any) -> Palette:
    """A list of colours; name -> colour; or objects with a colour and, if known, name and id."""
    if isinstance(content, dict):
        content = (
            content.get("labels")
            or content.get("classes")
            or [{"name": name, "color": colour} for name, colour in content.items()]
        )
    colours, names = {}, {}
    for index, (label, colour, name) in enumerate(_entries(content)):
        label = index if label is None else label
        colours[label] = _colour(colour)
        names.update({label: name} if name else {})
    return Palette(colours, names)


def _entries(content: list[Any]) -> Iterator[tuple[int | None, Any, str]]:
    for entry in content:
        if isinstance(entry, dict):
            label = entry.get("id")
            yield (label if isinstance(label, int) else None), entry["color"], str(entry.get("name", ""))
        else:
            yield None, entry, ""


def _colour(value: Any) -> tuple[int, int, int]:
    """Three numbers 0..255, or #RRGGBB."""
    if isinstance(value, str):
        found = _HEX.match(value)
        if not found:
            raise ValueError(f"the colour {value!r}")
        value = bytes.fromhex(found[1])
    red, green, blue = (int(part) for part in value)
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise ValueError(f"the colour {red}, {green}, {blue}")
    return red, green, blue


def _from_picture(path: str) -> Palette:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        if image.mode != "P":
            raise ValueError(f"a picture without a palette (mode {image.mode})")
        table = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
        used = np.unique(np.asarray(image))
    return Palette({int(index): _colour(table[index]) for index in used})
