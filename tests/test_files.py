"""Files appear complete or not at all, and what dead processes left is cleared away."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlossctl import files
from rlossctl.errors import RlossError

KILLED = """
import os, signal, sys
from rlossctl.files import atomic_path, atomic_write
with atomic_write(sys.argv[1] + "/a") as file, atomic_path(sys.argv[1] + "/b") as path:
    path.write_bytes(b"half")
    file.write(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_a_writer(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(folder)])


def write(path: Path, content: bytes, writer: str) -> None:
    if writer == "write":
        with files.atomic_write(path) as file:
            file.write(content)
    else:
        with files.atomic_path(path) as name:
            name.write_bytes(content)


@pytest.mark.parametrize("writer", ["write", "path"])
def test_file_and_folder_are_synced_around_the_renaming(tmp_path, monkeypatch, writer) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        order.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve() == tmp_path else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("rename"), replace(*names)))
    write(tmp_path / "a", b"whole", writer)
    assert order == ["file", "rename", "folder"]
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"whole"


def test_what_a_killed_process_left_goes_with_the_next_file(tmp_path) -> None:
    kill_a_writer(tmp_path)
    left = os.listdir(tmp_path)
    assert len(left) == 2 and all(name.endswith(".part") for name in left)
    write(tmp_path / "c", b"whole", "write")
    assert os.listdir(tmp_path) == ["c"]


def test_parts_of_living_processes_and_other_machines_stay(tmp_path) -> None:
    host = files._host()
    stay = [f".a.{host}-{os.getpid()}.x1.part", f".a.elsewhere{host}-1.x1.part", ".a.x1.part", "a.part"]
    for name in stay:
        (tmp_path / name).write_bytes(b"")
    write(tmp_path / "c", b"whole", "path")
    assert sorted(os.listdir(tmp_path)) == sorted([*stay, "c"])


@pytest.mark.parametrize("writer", ["write", "path"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, writer) -> None:
    write(tmp_path / "a", b"old", writer)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RlossError, match="No space left on device"):
        write(tmp_path / "a", b"new", writer)
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_names_as_long_as_they_may_be(tmp_path) -> None:
    write(tmp_path / ("a" * 255), b"whole", "write")
    assert os.listdir(tmp_path) == ["a" * 255]


def test_regular_files_are_read_up_to_a_size(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert files.read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="5 bytes, more than 4"):
        files.read_regular(tmp_path / "a", 4)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe"):
        files.read_regular(tmp_path / "pipe", 5)
    with pytest.raises(IsADirectoryError):
        files.read_regular(tmp_path, 5)
