from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A name for the damaged file."""
    return tmp_path_factory.mktemp("fuzz") / "damaged"
