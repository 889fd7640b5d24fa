"""Runs a page's blocks: its shell in bash, `rlossctl` and Python in this process, which has torch loaded."""

from __future__ import annotations

import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# What stands in front of a block that is not run; it may take several lines.
MARKER = re.compile(r"^\*Not run by the tests[^*]*\*$", re.MULTILINE)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CALL = """#!{python} -IS
import socket, sys, os
there = socket.socket(socket.AF_UNIX)
there.connect({address!r})
there.sendall("\\0".join([os.getcwd(), *sys.argv[1:]]).encode() + b"\\n\\n")
answer = b"".join(iter(lambda: there.recv(65536), b""))
status, _, said = answer.partition(b" ")
sys.stdout.buffer.write(said)
sys.exit(int(status))
"""


class Block(NamedTuple):
    """A block of a page: what it is written in, its text, and whether the page says that it is not run."""

    language: str
    text: str
    run: bool


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page."""
    ends = {match.end() for match in MARKER.finditer(page)}
    found = BLOCK.finditer(page)
    return [Block(each[1], each[2], len(page[: each.start()].rstrip()) not in ends) for each in found]


def run_page(page: str, here: Path, invoke: Callable[..., tuple[int, str, str]]) -> None:
    """Runs the shell and Python blocks in their order, in `here`; the first failure ends it.

    Variables of the shell last from block to block, and so do names of Python.
    """
    runnable = [each for each in blocks(page) if each.run and each.language in ("sh", "python")]
    names: dict[str, object] = {}

    def answer(words: list[str]) -> tuple[int, str]:
        os.chdir(words[0])
        if words[1] == "--block":
            exec(compile(runnable[int(words[2])].text, f"block {words[2]}", "exec"), names)
            return 0, ""
        status, out, err = invoke(*words[1:])
        if words[1:] == ["doctor"]:  # 1: something is missing on this machine
            status = max(status - 1, 0)
        return status, out + err

    lines = [
        each.text if each.language == "sh" else f"rlossctl --block {number}\n"
        for number, each in enumerate(runnable)
    ]
    _serve("set -euo pipefail\n" + "".join(lines), here, answer)


def _serve(script: str, here: Path, answer: Callable[[list[str]], tuple[int, str]]) -> None:
    """Runs the script in bash and answers its calls of `rlossctl`."""
    tools = here.parent / "tools"
    tools.mkdir()
    address = str(tools / "calls")
    (tools / "rlossctl").write_text(CALL.format(python=sys.executable, address=address))
    (tools / "rlossctl").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    with socket.socket(socket.AF_UNIX) as calls, open(tools / "said", "w+") as said:
        calls.bind(address)
        calls.listen()
        shell = subprocess.Popen(["bash", "-c", script], cwd=here, env=environment, stdout=said, stderr=said)
        try:
            while shell.poll() is None:
                if select.select([calls], [], [], 0.05)[0]:
                    _answer(calls.accept()[0], answer)
        finally:
            shell.kill()
            shell.wait()
        said.seek(0)
        assert shell.returncode == 0, said.read()


def _answer(call: socket.socket, answer: Callable[[list[str]], tuple[int, str]]) -> None:
    with call:
        words = b""
        while not words.endswith(b"\n\n"):
            words += call.recv(65536)
        status, text = answer(words[:-2].decode().split("\0"))
        call.sendall(f"{status} {text}".encode())
