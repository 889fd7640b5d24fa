"""The registry of data sets: one file each, found by itself, light to load, asked by all that list them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlossctl.cli import cli
from rlossctl.data import sets
from rlossctl.data.sets import registry
from rlossctl.data.sets.names import class_names
from rlossctl.errors import UsageError
from rlossctl.fetching.items import items


def test_the_data_sets_that_are_known():
    known = registry.data_sets()
    assert list(known) == sorted(known)
    classes = {name: len(entry.classes) for name, entry in known.items()}
    assert {"camvid": 11, "scenes": 5, "voc": 21}.items() <= classes.items()
    assert [name for name, entry in known.items() if entry.prepare is None] == ["scenes"]
    for entry in known.values():
        assert len(set(entry.classes)) == len(entry.classes) <= 255
        if entry.prepare is not None:
            assert entry.title and entry.help and entry.folder and entry.placeholders and entry.published


def test_a_download_has_its_own_name_and_a_whole_checksum():
    downloads = [one for entry in registry.data_sets().values() for one in entry.downloads]
    assert len({one.item for one in downloads}) == len({one.file for one in downloads}) == len(downloads)
    for one in downloads:
        assert one.what and all("://" in address for address in one.addresses or (one.terms,))
        assert one.sha256 == "" or len(bytes.fromhex(one.sha256)) == 32
        assert one.md5 == "" or len(bytes.fromhex(one.md5)) == 16


def test_asking_which_there_are_loads_no_numpy(tmp_path):
    code = (
        "import sys\nfrom rlossctl.data.sets import registry\nregistry.data_sets()\n"
        "print('numpy' in sys.modules, 'PIL' in sys.modules, 'click' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "False"]


@pytest.fixture
def one_more(tmp_path, monkeypatch):
    """A data set in a file of its own beside the others."""
    (tmp_path / "moon.py").write_text(
        textwrap.dedent(
            '''
            """Two kinds of dust."""
            from rlossctl.data.sets.laying_out import Prepared
            from rlossctl.data.sets.registry import DataSet, Download, data_set

            FILE = Download("moon", "moon.zip", ("https://example.org/moon.zip",))

            @data_set(DataSet("moon", "Moon", ("dust", "rock"), downloads=(FILE,), folder="Moon"))
            def prepare_moon(sources, out):
                return Prepared({"JPEGImages": len(sources)}, {}, [])
            '''
        )
    )
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path)])
    registry.data_sets.cache_clear()
    yield
    registry._KNOWN.pop("moon", None)
    sys.modules.pop("rlossctl.data.sets.moon", None)
    registry.data_sets.cache_clear()


def test_a_file_is_all_that_a_new_data_set_needs(one_more):
    assert "moon" in registry.data_sets()
    assert class_names("moon") == ["dust", "rock"]
    assert items()["moon"].download.addresses == ("https://example.org/moon.zip",)
    assert registry.prepare("moon", ["a", "b"], Path("out")).files == {"JPEGImages": 2}


def test_an_ignore_label_of_ones_own_is_for_labels_that_are_written_anew(tmp_path):
    with pytest.raises(UsageError, match="the labels of VOC are copied unchanged"):
        registry.prepare("voc", ["nowhere"], tmp_path, 11)
    with pytest.raises(UsageError, match="nothing to prepare"):
        registry.prepare("scenes", ["nowhere"], tmp_path)


def test_the_help_tells_the_data_sets():
    shown = CliRunner().invoke(cli, ["data", "prepare", "--help"]).output
    prepared = [name for name, entry in registry.data_sets().items() if entry.prepare is not None]
    assert {"camvid", "voc"} <= set(prepared) and f"{{{'|'.join(prepared)}}}" in "".join(shown.split())
    for entry in registry.data_sets().values():
        line = f"{entry.name} {entry.help}"
        assert entry.prepare is None or line in {" ".join(row.split()) for row in shown.splitlines()}
    assert ", ".join(registry.data_sets()) in " ".join(
        CliRunner().invoke(cli, ["eval", "--help"]).output.split()
    )
