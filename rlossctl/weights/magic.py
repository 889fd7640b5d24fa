"""Telling Caffe files from other files that are passed by mistake."""

from __future__ import annotations

from rlossctl.errors import WeightsError
from rlossctl.weights.wire import Source

HDF5 = b"\x89HDF\r\n\x1a\n"
CONVERT = "convert it with the tool that wrote it, or give the .caffemodel written by Caffe"
# The file's first bytes, its kind, what to do. No NetParameter or SolverState can begin with these bytes.
FOREIGN = (
    (b"PK\x03\x04", "a zip archive (PyTorch checkpoints and .npz files are zips too)", CONVERT),
    (b"\x80\x02", "a Python pickle (old PyTorch checkpoints are pickles)", CONVERT),
    (b"\x1f\x8b", "a gzip archive", "unpack it first (gunzip or tar xzf)"),
    (b"BZh", "a bzip2 archive", "unpack it first (bunzip2)"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first (unxz)"),
    (b"\x93NUMPY", "a NumPy array", CONVERT),
    (
        b"version https://git-lfs",
        "a Git LFS pointer instead of the file itself",
        "run `git lfs pull` in its repository",
    ),
    (b"<", "a web page or XML text", "the download failed: open the address in a browser and save the file"),
)
TEXT_SAMPLE = 512
TEXT_BYTES = frozenset(range(32, 127)) | frozenset(b"\t\n\r\f")


def is_hdf5(source: Source) -> bool:
    """Whether the content is HDF5, as BVLC Caffe decides it (the rloss fork looks at the suffix)."""
    return source.view[: len(HDF5)] == HDF5


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins with a safetensors header: its length in 8 bytes, then JSON."""
    return head[8:10] == b'{"' and head[4:8] == b"\0\0\0\0"


def refuse_foreign(source: Source, expected: str) -> None:
    """Raises a WeightsError that names the format if the file begins like one of another known format.

    Text is recognised by its first 512 bytes. A binary NetParameter with any layer has a control byte or a
    byte above 126 there, because lengths and tags of layers are such bytes.
    """
    head = bytes(source.view[:TEXT_SAMPLE])
    for magic, kind, advice in FOREIGN:
        if head.startswith(magic):
            raise _foreign(source, kind, expected, advice)
    if head[257:262] == b"ustar":
        raise _foreign(source, "a tar archive", expected, "unpack it first (tar xf)")
    if is_safetensors(head):
        raise _foreign(source, "a safetensors file", expected, CONVERT)
    if TEXT_BYTES.issuperset(head):
        raise _foreign(
            source,
            f"text beginning {head[:40].decode('ascii')!r}",
            expected,
            "this looks like a prototxt or a list: give the binary file instead",
        )


def _foreign(source: Source, kind: str, expected: str, advice: str) -> WeightsError:
    return WeightsError(
        "is another kind of file", where=source.name, found=kind, expected=expected, advice=advice
    )
