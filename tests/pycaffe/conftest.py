"""A process with a module called caffe, and scripts that use it; everything is put back after each test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def caffe(monkeypatch: pytest.MonkeyPatch, process_put_back: None) -> ModuleType:
    """What `import caffe` gives a script."""
    from rlossctl import pycaffe

    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    pycaffe.install()
    return pycaffe


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
