"""Where a report's results come from: command, date, versions and hashes."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from rlossctl.files import sha256_of
from rlossctl.pages.origin import happened

_PACKAGES = ("torch", "onnxruntime", "onnxruntime-gpu", "numpy", "opencv-python-headless", "pillow")


def provenance(list_name: str, fingerprints: Mapping[str, str]) -> dict[str, str]:
    """What happened, by what the page calls it.

    Args:
        list_name: the list's file.
        fingerprints: model -> a hash of its files.
    """
    found = happened()
    found["versions"] += f", {_installed()}"
    found["machine"] = f"{platform.platform()}, {os.cpu_count()} CPUs"
    if os.path.isfile(list_name):
        found["list"] = f"{list_name}, SHA-256 {sha256_of(list_name)}"
    return found | {f"model {name}": f"SHA-256 {digest}" for name, digest in fingerprints.items()}


def _installed() -> str:
    known = []
    for name in _PACKAGES:
        try:
            known.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(known)
