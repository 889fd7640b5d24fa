"""proto/rlossctl.proto in its compiled form, schema.desc.

The build compiles it (native/CMakeLists.txt), and an installation reads the result. A checkout compiles it
again when the text has changed, so a new field does not need a new installation. protoc stores a file name
in the compiled schema; the SHA-256 in that name shows which text the schema was compiled from.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rlossctl.errors import RlossError
from rlossctl.files import atomic_path

if TYPE_CHECKING:
    from importlib.abc import Traversable  # moved in Python 3.11, removed here in 3.14

HERE = Path(__file__).resolve().parent
PROTO = HERE.parents[1] / "proto" / "rlossctl.proto"  # in a checkout only


def descriptor_set() -> bytes:
    """The schema as a serialized FileDescriptorSet.

    Raises:
        RlossError: it is missing, or was compiled from another text and cannot be compiled again.
    """
    built = resources.files("rlossctl.prototxt").joinpath("schema.desc")
    if not PROTO.is_file():
        return _installed(built)
    digest = hashlib.sha256(PROTO.read_bytes()).hexdigest()
    kept = HERE / "schema.desc"
    for place in (kept, built):
        if place.is_file() and digest.encode() in (compiled := place.read_bytes()):
            return compiled
    _compile(digest, kept)
    return kept.read_bytes()


def _installed(schema: Traversable) -> bytes:
    try:
        return schema.read_bytes()
    except FileNotFoundError as error:
        raise RlossError(
            "the compiled schema is missing from the installation",
            where="rlossctl/prototxt/schema.desc",
            expected="a file made from proto/rlossctl.proto when the package is built",
            advice="install the package again: pip install --force-reinstall --no-deps rlossctl",
        ) from error


def _compile(digest: str, out: Path) -> None:
    if find_spec("grpc_tools") is None:
        raise RlossError(
            "the compiled schema is missing, or older than this text",
            where=PROTO,
            found=f"the package grpcio-tools, which compiles it, is not installed for {sys.executable}",
            expected="a schema.desc made from this text",
            advice="pip install grpcio-tools (the next run then compiles it), or install rlossctl again",
        )
    with atomic_path(out) as path:
        folder = PROTO.parent
        command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={digest}={folder.name}"]
        command += [f"--descriptor_set_out={path}", f"{folder.name}/{PROTO.name}"]
        done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
        if done.returncode:
            raise RlossError(
                "the schema does not compile",
                where=PROTO,
                found=done.stderr.strip(),
                advice="correct the text in that line",
            )
