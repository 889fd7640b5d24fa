"""`rlossctl doctor`: what works is tried, what is missing is said with its remedy, the exit status tells."""

from __future__ import annotations

import json
import sys

import pytest

from rlossctl import doctor
from rlossctl.bilateral import choice


@pytest.fixture
def found(invoke):
    """found() runs `doctor --json -`: (exit code, name -> check)."""

    def call():
        code, out, _ = invoke("doctor", "--json", "-")
        content = json.loads(out)
        assert content["healthy"] == (code == 0)
        return code, {check["name"]: check for check in content["checks"]}

    return call


def test_everything_essential_is_tried(found):
    code, checks = found()
    assert code == 0
    for name in (
        "torch",
        "onnxruntime-gpu",
        "schema of prototxts",
        "torch on the CPU",
        "CPUExecutionProvider",
    ):
        assert checks[name]["works"] and checks[name]["essential"], checks[name]
    assert "torch twin" in checks["works on the CPU"]["detail"]
    assert not checks["h5py"]["essential"]


def test_the_table_ends_with_a_judgement(invoke):
    code, out, _ = invoke("doctor")
    assert code == 0 and out.startswith("rlossctl ") and out.endswith("everything essential works\n")


def test_a_checkout_that_is_not_installed(found, monkeypatch):
    def requires(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", requires)
    code, checks = found()
    assert code == 1 and checks["rlossctl"]["fix"].startswith("pip install -e .")


def test_a_package_that_cannot_be_imported(found, invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    code, checks = found()
    assert code == 1
    assert checks["safetensors"]["works"] is False
    assert checks["safetensors"]["fix"] == "pip install 'safetensors'"
    code, out, _ = invoke("doctor")
    assert code == 1 and out.endswith("does not work: safetensors\n")


def test_an_optional_package_is_missed_without_harm(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, checks = found()
    assert code == 0
    fix = "pip install 'rlossctl[tensorboard]'"
    assert (checks["tensorboard"]["works"], checks["tensorboard"]["fix"]) == (False, fix)


def test_without_the_compiled_kernel_the_twin_works(found, monkeypatch):
    missing = choice.Compiled(None, "the native module cannot be imported (no such file)")
    monkeypatch.setattr(choice, "find_native", lambda: missing)
    with pytest.warns(choice.FallbackWarning):
        choice._warn_once.cache_clear()
        code, checks = found()
    assert code == 0
    assert checks["works on the CPU"]["detail"].startswith("torch-twin")
    assert checks["compiled kernel"]["works"] is False and "g++" in checks["compiled kernel"]["fix"]


def test_a_filter_that_computes_something_else(found, monkeypatch):
    from rlossctl import bilateral

    monkeypatch.setattr(bilateral, "bilateral_filter", lambda values, *_: values * values.element_size())
    code, checks = found()
    assert code == 1 and "differs from the torch twin" in checks["works on the CPU"]["detail"]


def test_a_provider_without_its_libraries(monkeypatch):
    monkeypatch.setattr(doctor, "_offered", lambda: "NoSuchExecutionProvider CPUExecutionProvider")
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: True)
    checks = {check.name: check for check in doctor._onnx_providers()}
    assert (
        checks["NoSuchExecutionProvider"].works is False and not checks["NoSuchExecutionProvider"].essential
    )
    assert checks["CUDAExecutionProvider"].detail == "built without CUDA"
    assert checks["CPUExecutionProvider"].works
