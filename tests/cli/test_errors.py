"""Bad input: one paragraph on stderr that says where and what, the right exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rlossctl.converters.onnx import writer as onnx_format


def refused(result: tuple[int, str, str], code: int, *words: str) -> None:
    """The command failed with `code`, printed nothing on stdout and one paragraph with `words` on stderr."""
    found, out, err = result
    assert found == code, err
    assert out == "" and err.startswith("error: ") and "Traceback" not in err
    assert "\n\n" not in err.strip(), "one paragraph"
    for word in words:
        assert word in err


SET = ("--set", "LABELS=3")


def test_truncated_caffemodel(invoke, folder):
    data = (folder / "w.caffemodel").read_bytes()
    (folder / "cut.caffemodel").write_bytes(data[: len(data) // 2])
    refused(invoke("inspect", "cut.caffemodel"), 1, "cut.caffemodel", "found:", "expected:")
    refused(invoke("convert", "net.prototxt", "cut.caffemodel", "-o", "out.pt", *SET), 1, "cut.caffemodel")
    assert not (folder / "out.pt").exists()


def test_text_that_is_no_prototxt(invoke, folder):
    (folder / "letter.prototxt").write_text("Dear Sir or Madam,\n\nplease find enclosed\n")
    refused(invoke("inspect", "letter.prototxt"), 1, "letter.prototxt:1", "cannot be read as a NetParameter")


def test_a_binary_file_named_prototxt(invoke, folder):
    (folder / "binary.prototxt").write_bytes(b"\x80\x04\x95" * 100)
    refused(invoke("inspect", "binary.prototxt"), 1, "binary.prototxt", "is not prototxt text")


def test_unknown_field_with_its_line(invoke, folder):
    text = (folder / "net.prototxt").read_text().replace("kernel_size: 3", "kernel_sise: 3")
    (folder / "net.prototxt").write_text(text)
    refused(invoke("inspect", "net.prototxt", *SET), 1, "net.prototxt:4", "kernel_sise")


def test_unknown_layers(invoke, folder):
    text = (folder / "net.prototxt").read_text()
    text = text.replace('"ReLU"', '"Rectifier"').replace("score", "out")
    (folder / "net.prototxt").write_text(text + 'layer { name: "b" type: "Foo" bottom: "out" top: "b" }\n')
    refused(
        invoke("inspect", "net.prototxt", *SET),
        1,
        "Rectifier in layer 'relu1' (net.prototxt:5)",
        "Foo in layer 'b' (net.prototxt:8)",
    )


def test_missing_placeholders(invoke):
    refused(invoke("inspect", "net.prototxt"), 1, "LABELS (line 7)", "--set LABELS=...")


def test_wrong_shapes(invoke, folder):
    refused(
        invoke("convert", "net.prototxt", "w.caffemodel", "-o", "out.onnx", "--set", "LABELS=5"),
        1,
        "w.caffemodel",
        "layer 'score' blob 0: 3x4x1x1 in the file, 5x4x1x1 in the net",
    )
    assert not (folder / "out.onnx").exists()


@pytest.mark.parametrize("name", ["none.prototxt", "none.caffemodel"])
def test_missing_files(invoke, name):
    refused(invoke("inspect", name), 1, name, "No such file")


def test_a_folder_in_place_of_a_file(invoke, folder):
    (folder / "dir.prototxt").mkdir()
    refused(invoke("inspect", "dir.prototxt"), 1, "dir.prototxt")
    (folder / "dir.caffemodel").mkdir()
    refused(invoke("inspect", "dir.caffemodel"), 1, "dir.caffemodel")


def test_unknown_format_is_a_usage_error(invoke):
    refused(invoke("convert", "net.prototxt", "w.caffemodel", "-o", "out.h6", *SET), 2, "unknown format")


def test_settings_without_a_value_are_a_usage_error(invoke):
    code, _, err = invoke("inspect", "net.prototxt", "--set", "LABELS")
    assert code == 2 and "is not NAME=VALUE" in err


@pytest.mark.slow
def test_a_mismatch_exits_with_three(invoke, folder, monkeypatch):
    monkeypatch.setattr(onnx_format, "TOLERANCE", -1.0)
    refused(
        invoke("convert", "net.prototxt", "w.caffemodel", "-o", "out.onnx", *SET),
        3,
        "the first to differ from the net",
    )
    assert not (folder / "out.onnx").exists()


def test_an_output_folder_that_is_missing(invoke):
    refused(
        invoke("convert", "net.prototxt", "w.caffemodel", "-o", "no/such/out.safetensors", *SET),
        1,
        "cannot be written",
    )


def test_success_says_what_was_written_and_checked(invoke, folder):
    code, out, err = invoke(
        "convert", "net.prototxt", "w.caffemodel", "-o", "out.pt", "--report", "report.json", *SET
    )
    assert (code, err) == (0, "")
    assert out.startswith("wrote out.pt\nverified: blobs read back: 4 blobs equal bit for bit")
    assert (folder / "out.pt").is_file() and '"tolerance": 0.0' in (folder / "report.json").read_text()


def test_the_process_exits_as_main_says(run):
    """The same through `python -m rlossctl`: exit codes reach the shell."""
    done = run("inspect", "none.prototxt")
    assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("error: none.prototxt:")
    assert run("inspect", "w.caffemodel").returncode == 0


def test_more_than_the_memory(invoke, folder, monkeypatch):
    """An absurd size, whichever command asks for it."""
    monkeypatch.setattr("rlossctl.inspection.inspect", lambda *given: np.zeros((1 << 20, 1 << 30)))
    refused(invoke("inspect", "net.prototxt", *SET), 1, "there is not enough memory", "Unable to allocate")


@pytest.fixture
def raising(monkeypatch):
    """raising(error) makes `inspect` meet an exception that nobody has foreseen."""

    def set_error(error: BaseException) -> None:
        def report(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr("rlossctl.inspection.inspect", report)

    return set_error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("a\nb"), ("does not know", "KeyError", "RLOSSCTL_TRACEBACK=1", "report it")),
        (EOFError("Compressed file ended"), ("does not know", "EOFError: Compressed file ended")),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes\nTry this"),
            ("there is not eno",),
        ),
        (MemoryError(), ("there is not enough memory", "no memory left")),
        (OSError(28, "No space left on device", "x.bin"), ("x.bin: the disk is full", "free some space")),
        (PermissionError(13, "Permission denied", "x.bin"), ("x.bin: a file cannot be used", "Permission")),
        (
            UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"),
            ("characters", "surrogates"),
        ),
    ],
)
def test_what_nobody_foresaw_is_one_paragraph_too(invoke, raising, error, words):
    raising(error)
    refused(invoke("inspect", "net.prototxt"), 1, *words)


def test_the_traceback_is_there_for_those_who_report(invoke, raising, monkeypatch):
    monkeypatch.setenv("RLOSSCTL_TRACEBACK", "1")
    raising(KeyError("x"))
    code, _, err = invoke("inspect", "net.prototxt")
    assert code == 1 and "Traceback" in err and "rlossctl met an error" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_standard_output(folder):
    command = [sys.executable, "-m", "rlossctl", "inspect", "w.caffemodel"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: standard output")
    assert "disk is full" in done.stderr and "Exception" not in done.stderr


def test_names_that_are_not_text(folder):
    command = [sys.executable, "-m", "rlossctl", "inspect", b"\xff.prototxt"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "No such file" in done.stderr
