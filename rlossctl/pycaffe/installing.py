"""Giving this process a module called caffe."""

from __future__ import annotations

import importlib
import sys

from rlossctl.pycaffe.consent import NAME

# What `import caffe.X` may name; everything else of this room is its own.
MODULES = (
    "_caffe",
    "classifier",
    "coord_map",
    "detector",
    "draw",
    "io",
    "net_spec",
    "proto",
    "proto.caffe_pb2",
    "pycaffe",
)


def install() -> None:
    """From here on `import caffe` gives this package, in this process only.

    That is consent to run Python layers, as Caffe does: the modules that nets name are loaded.
    """
    package = __package__ or ""
    sys.modules[NAME] = sys.modules[package]
    for name in MODULES:
        sys.modules[f"{NAME}.{name}"] = importlib.import_module(f"{package}.{name}")
