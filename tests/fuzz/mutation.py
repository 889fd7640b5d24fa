"""Damage for fuzzing: seeds, and hypothesis strategies that cut, flip, repeat and mix them."""

from __future__ import annotations

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
