"""Placeholders that may stay unset, and those that may not."""

from __future__ import annotations

import pytest

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import load_net_file, unset

NET = """name: "${NET}"
layer { name: "fc_${EXP}" type: "ImageSegData" top: "data" top: "label"
  image_data_param { source: "${EXP}/${SET}.txt" root_folder: '${ROOT}/' } }  # ${COMMENT}
layer { name: "score" type: "Convolution" bottom: "data" top: "score"
  convolution_param { num_output: ${CLASSES} weight_filler { type: "${FILLER}" } } }
"""
SOLVER = 'train_net: "${EXP}/${NET}.prototxt" snapshot_prefix: "${EXP}/${MODEL}/${NAME}" base_lr: ${LR}\n'


def kept(text: str, *fields: str, **values: object) -> set[str]:
    found = unset.keep([text], values, fields or None)
    assert all(found[name] == values.get(name, f"${{{name}}}") for name in found)
    return found.keys() - values.keys()


def test_any_string_may_keep_its_placeholder_but_a_number_may_not():
    assert kept(NET) == {"NET", "EXP", "SET", "ROOT", "FILLER"}
    assert kept(NET, EXP="voc") == {"NET", "SET", "ROOT", "FILLER"}


def test_only_fields_that_nothing_reads():
    assert kept(NET, "source") == {"SET"}, "EXP also names a layer"
    assert kept(NET, "source", "root_folder") == {"SET", "ROOT"}
    assert kept(NET, "name") == {"NET"}, "EXP also names a list"
    assert kept(NET, "/name") == {"NET"}
    assert kept(NET, "/name", "source") == {"NET", "SET"}, "a layer's name is read"


def test_the_folders_of_a_path():
    assert kept(SOLVER, "snapshot_prefix/", "train_net") == {"EXP", "NET", "MODEL"}
    assert kept(SOLVER, "snapshot_prefix", "train_net") == {"EXP", "NET", "MODEL", "NAME"}


def test_every_text_that_is_filled_alike_counts():
    found = unset.keep([NET, SOLVER], {}, {"train_net", "snapshot_prefix/", "/name", "source"})
    assert found.keys() == {"NET", "SET", "MODEL"}


def test_the_environment_is_not_hidden(monkeypatch):
    monkeypatch.setenv("ROOT", "/data")
    assert "ROOT" not in kept(NET)


def test_a_default_is_not_hidden():
    assert kept('name: "${NET:-vgg}"') == set()


def test_what_is_kept_is_what_the_net_has(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    values = unset.keep([NET], {"CLASSES": 3})
    param = load_net_file(tmp_path / "net.prototxt", values).param
    assert param.name == "${NET}" and param.layer[0].image_data_param.source == "${EXP}/${SET}.txt"
    with pytest.raises(PrototxtError, match="CLASSES"):
        load_net_file(tmp_path / "net.prototxt", unset.keep([NET], {}))
