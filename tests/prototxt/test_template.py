"""`${NAME}` placeholders: where they are filled or left alone, and what is said of missing ones."""

from __future__ import annotations

import pytest

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import template


def test_placeholders_are_filled_inside_and_outside_quotes():
    text = 'name: "fc8_${EXP}_1"\nnum_output: ${N}\nsource: "${ROOT}/list/${SET}.txt"'
    filled = template.fill(text, {"EXP": "voc", "N": 21, "ROOT": "/d", "SET": "train"}, "net")
    assert filled == 'name: "fc8_voc_1"\nnum_output: 21\nsource: "/d/list/train.txt"'


def test_explicit_values_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("A_NAME", "environment")
    assert template.fill("${A_NAME}", {}, "net") == "environment"
    assert template.fill("${A_NAME}", {"A_NAME": "explicit"}, "net") == "explicit"


def test_an_empty_value_is_a_value():
    assert template.fill("a${X}b", {"X": ""}, "net") == "ab"


def test_all_missing_names_are_reported_together_with_their_lines():
    text = "a: ${ONE}\nb: ${SET}\nc: ${TWO}\nd: ${ONE}\n"
    with pytest.raises(PrototxtError) as caught:
        template.fill(text, {"SET": 1}, "some/net.prototxt")
    message = str(caught.value)
    assert message.startswith("some/net.prototxt: ")
    assert "ONE (line 1, 4)" in message
    assert "TWO (line 3)" in message
    assert "--set ONE=... --set TWO=..." in message
    assert "SET (line" not in message


def test_a_name_used_on_many_lines_is_reported_briefly():
    with pytest.raises(PrototxtError) as caught:
        template.fill("${X}\n" * 30, {}, "net")
    assert "X (line 1, 2, 3, 4, 5, 6, 7, 8, ...)" in str(caught.value)


def test_comments_keep_their_placeholders():
    text = "a: 1 # ${UNSET}\n# ${UNSET}\nb: ${B}"
    assert template.fill(text, {"B": 2}, "net") == "a: 1 # ${UNSET}\n# ${UNSET}\nb: 2"
    assert template.names(text) == ["B"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('source: "a#b" # c', 'source: "a#b" '),
        ("source: 'a#b' # c", "source: 'a#b' "),
        (r'source: "a\"#b" # c', r'source: "a\"#b" '),
        ('source: "it\'s # here"# c', 'source: "it\'s # here"'),
        ('no: "comment"', 'no: "comment"'),
        ("# all", ""),
    ],
)
def test_a_hash_inside_quotes_starts_no_comment(line, code):
    assert template.split_comment(line) == (code, line[len(code) :])


def test_a_placeholder_behind_a_quoted_hash_is_filled():
    assert template.fill('source: "#${A}"', {"A": "x"}, "net") == 'source: "#x"'


def test_names_are_listed_once_in_order_of_appearance():
    assert template.names("${B} ${A}\n${B} ${C}") == ["B", "A", "C"]


def test_a_default_comes_behind_settings_and_environment(monkeypatch):
    text = "batch_size: ${BATCH_SIZE:-12}"
    monkeypatch.delenv("BATCH_SIZE", raising=False)
    assert template.fill(text, {}, "net") == "batch_size: 12"
    monkeypatch.setenv("BATCH_SIZE", "6")
    assert template.fill(text, {}, "net") == "batch_size: 6"
    assert template.fill(text, {"BATCH_SIZE": 3}, "net") == "batch_size: 3"
    assert template.fill('a: "${X:-}b"', {}, "net") == 'a: "b"', "an empty default is one"
    assert template.fill('a: "${X:-y}"', {"X": ""}, "net") == 'a: ""', "a value that is set and empty counts"


@pytest.mark.parametrize("default", ["./", "pascal_scribble", "a b", "1e-8", "list/train-1.txt", "a:-b"])
def test_defaults_are_any_text_without_braces_and_dollars(default):
    text = f'source: "${{PLACE:-{default}}}"'
    assert template.fill(text, {}, "net") == f'source: "{default}"'
    assert template.defaults(text) == {"PLACE": default}


def test_a_default_counts_where_it_stands():
    with pytest.raises(PrototxtError) as caught:
        template.fill("a: ${N:-1}\nb: ${N}\nc: ${M:-2}", {}, "net")
    assert caught.value.found == "N (line 2)"


def test_names_have_those_with_defaults_too():
    text = "a: ${B:-1} # ${C:-3}\nb: ${A}\nc: ${B:-2}"
    assert template.names(text) == ["B", "A"]
    assert template.defaults(text) == {"B": "1"}
