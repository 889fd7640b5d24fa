"""Damage for fuzzing: seeds, and hypothesis strategies that cut, flip, repeat and mix them."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence

from hypothesis import strategies as st

# Numbers that length prefixes, counts and ids are rarely checked for.
HOSTILE = [
    b"\xff\xff\xff\xff\x07",  # a length of 2 GiB - 1
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # -1
    b"\x80" * 11,  # a varint that does not end
    b"\x00",
    b"\x0b",  # groups, which nobody uses
    b"\xa2\x06",  # field 100: a layer
    b"\x12",  # field 2: an old layer
    b"\x3a",  # field 7: blobs, or a shape
]
WORDS = ["{", "}", ":", '"', "'", "#", "\n", "layer", "layers", "-1", "1e99", "nan", "99999999999999999999"]
WORDS += [
    "dim: -3",
    "type: 4",
    'type: "conv"',
    "input_dim: 2147483648",
    "${X}",
    "\0",
    "\ud7ff",
    "[a.b]",
    "<",
    ">",
]

# Sizes, counts, rates and axes that nobody writes.
NUMBERS = ["0", "1", "-1", "2", "3", "7", "-5", "255", "65536", "2147483647", "2147483648", "4294967295"]
NUMBERS += [
    "4611686018427387904",
    "9223372036854775807",
    "0.5",
    "-0.5",
    "1e-30",
    "3e38",
    "1e300",
    "nan",
    "inf",
]
NUMBERS += ["-inf", "true", "false", "MAX", "AVE"]
_NUMBER = re.compile(r"(?<![\w.\"-])-?\d[\d.]*(?:e[-+]?\d+)?(?![\w.\"])")
_QUOTED = re.compile(r'"[^"\n]*"')


@st.composite
def damaged(draw: st.DrawFn, seeds: Sequence[bytes], pieces: Sequence[bytes]) -> bytes:
    """One of the seeds after one to six edits; `pieces` are what is put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        match draw(st.sampled_from(["flip", "cut", "insert", "replace", "end", "repeat", "other"])):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del data[at : at + length]
            case "insert":
                data[at:at] = draw(st.one_of(st.sampled_from(pieces), st.binary(max_size=8)))
            case "replace":
                piece = draw(st.one_of(st.sampled_from(pieces), st.binary(max_size=8)))
                data[at : at + len(piece)] = piece
            case "end":
                del data[at:]
            case "repeat":
                data[at:at] = data[at : at + length] * draw(st.integers(1, 50))
            case "other":
                other = draw(st.sampled_from(seeds))
                start = draw(st.integers(0, len(other)))
                data[at:at] = other[start : start + draw(st.integers(0, 200))]
    return bytes(data)


def damaged_bytes(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Binary files."""
    return damaged(seeds, HOSTILE)


def damaged_text(seeds: Sequence[str]) -> st.SearchStrategy[str]:
    """Text files; bytes that are not UTF-8 after the edits are replaced."""
    encoded = [text.encode() for text in seeds]
    pieces = [f" {word} ".encode() for word in WORDS]
    return damaged(encoded, pieces).map(lambda data: data.decode(errors="replace"))


@st.composite
def damaged_zips(
    draw: st.DrawFn, seeds: Sequence[bytes], packings: Sequence[int] = (zipfile.ZIP_STORED,)
) -> bytes:
    """Zip archives with good checksums, one of whose entries is damaged."""
    with zipfile.ZipFile(io.BytesIO(draw(st.sampled_from(seeds)))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = draw(st.sampled_from(sorted(entries)))
    entries[name] = draw(damaged([entries[name]], HOSTILE))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw(st.sampled_from(packings))) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return packed.getvalue()


@st.composite
def damaged_nets(draw: st.DrawFn, seeds: Sequence[str]) -> str:
    """Nets that still parse, most of them: other numbers and words; lines left out, doubled, foreign."""
    lines = draw(st.sampled_from(seeds)).split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["number", "number", "number", "word", "double", "drop", "other"])):
            case "number":
                lines[at] = _other(draw, lines[at], _NUMBER, NUMBERS)
            case "word":
                lines[at] = _other(draw, lines[at], _QUOTED, _QUOTED.findall(" ".join(lines)) or ['""'])
            case "double":
                lines.insert(at, lines[at])
            case "drop" if len(lines) > 1:
                del lines[at]
            case "other":
                lines.insert(at, draw(st.sampled_from(draw(st.sampled_from(seeds)).split("\n"))))
    return "\n".join(lines)


def _other(draw: st.DrawFn, line: str, pattern: re.Pattern[str], values: Sequence[str]) -> str:
    """The line with something else in place of one match."""
    found = list(pattern.finditer(line))
    if not found:
        return line
    match = draw(st.sampled_from(found))
    return line[: match.start()] + draw(st.sampled_from(values)) + line[match.end() :]
