"""Training that is killed at random moments, in short (benchmarks/kill_campaign.py is the long form)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that can fork")
def test_killed_runs_end_as_the_straight_one(repository: Path) -> None:
    script = repository / "benchmarks/kill_campaign.py"
    command = [sys.executable, str(script), "--kills", "4", "--iterations", "15"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kills, snapshots = map(int, re.match(r"(\d+) kills in .*: (\d+) snapshots whole", done.stdout).groups())
    assert kills >= 4 and snapshots >= 15
