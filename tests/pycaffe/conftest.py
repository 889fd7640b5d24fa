"""A process with a module called caffe, and scripts that use it; everything is put back after each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def caffe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """What `import caffe` gives a script."""
    from rlossctl import pycaffe
    from rlossctl.pycaffe.mode import _Mode

    before = {name: module for name, module in sys.modules.items() if _is_caffe(name)}
    known = set(sys.modules)
    path, finders, main = list(sys.path), list(sys.meta_path), sys.modules["__main__"]
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    pycaffe.install()
    yield pycaffe
    for name in [name for name in sys.modules if _is_caffe(name) or name not in known]:
        # Modules of this test alone: those that it found in a temporary folder.
        file = getattr(sys.modules[name], "__file__", None) or ""
        if _is_caffe(name) or "pytest-of" in file:
            del sys.modules[name]
    sys.modules.update(before)
    sys.modules["__main__"] = main
    sys.path[:], sys.meta_path[:] = path, finders
    _Mode.gpu, _Mode.number, _Mode.seed = False, 0, None


def _is_caffe(name: str) -> bool:
    return name == "caffe" or name.startswith("caffe.")


@pytest.fixture
def net(caffe: ModuleType, tmp_path: Path) -> Callable[..., Any]:
    """net(text, phase=TRAIN, **keywords): a caffe.Net."""

    def build(text: str, phase: int = 0, **keywords: Any) -> Any:
        file = tmp_path / "net.prototxt"
        file.write_text(text)
        return caffe.Net(str(file), phase, **keywords)

    return build


@pytest.fixture
def run(caffe: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """run(text, *arguments, **modules) runs a script in a folder of its own; gives its names."""
    from rlossctl.pycaffe.running import run_script

    monkeypatch.chdir(tmp_path)

    def script(text: str, *arguments: str, python2: bool = False, **modules: str) -> dict[str, Any]:
        for name, content in modules.items():
            (tmp_path / f"{name}.py").write_text(content)
        (tmp_path / "script.py").write_text(text)
        run_script("script.py", arguments, python2=python2)
        return vars(sys.modules["__main__"])

    return script
