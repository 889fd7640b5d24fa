"""The command line's face: help texts, and what listing them costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from rlossctl.cli import COMMANDS, cli, groups


def commands() -> list[tuple[str, ...]]:
    """Every command and subcommand that exists, as words."""
    found: list[tuple[str, ...]] = []
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            found += [(name, sub) for sub in command.commands]
        else:
            found.append((name,))
    return found


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], *([name, "--help"] for name in sorted(COMMANDS))]
)
def test_help_loads_no_torch(arguments, tmp_path):
    code = (
        "import json, sys\nfrom rlossctl.cli import main\nsys.argv = ['rlossctl', *json.loads(sys.argv[1])]\n"
        "main()\nprint('torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        cwd=tmp_path,  # python -c looks there first: not at a checkout
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.split() == ["False", "False"], "neither torch nor numpy"
    assert done.stdout.startswith(("Usage: ", "rlossctl, version"))


def test_the_group_lists_every_command():
    text = CliRunner().invoke(cli, ["--help"], prog_name="rlossctl").output
    for name in COMMANDS:
        assert f"\n  {name} " in text
    assert "Example" in text


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example(words):
    result = CliRunner().invoke(cli, [*words, "--help"], prog_name="rlossctl")
    assert result.exit_code == 0
    lines = [line.strip() for line in result.output.split("\n")]
    assert any(line.startswith("Example") for line in lines)
    assert any(line.startswith(f"rlossctl {' '.join(words)}") for line in lines)
    assert result.output.startswith(f"Usage: rlossctl {' '.join(words)} ")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_option_and_command_is_described(words):
    command: click.Command = cli
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command.help
    assert [
        option.name for option in command.params if isinstance(option, click.Option) and not option.help
    ] == []


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_has_the_name_that_it_is_listed_under(name):
    command = cli.get_command(click.Context(cli), name)
    assert command.name == name


def test_unknown_commands_and_options_are_usage_errors():
    for arguments in (["tain"], ["inspect", "--frobnicate", "x"], ["inspect"], ["convert", "a", "b"]):
        assert CliRunner().invoke(cli, arguments).exit_code == 2, arguments


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_many_options_stand_under_headings(words):
    help_text = CliRunner().invoke(cli, [*words, "--help"], prog_name="rlossctl").output
    sections = re.split(r"^(\S.*):$", help_text, flags=re.MULTILINE)[1:]
    sizes = {
        heading: len(re.findall(r"^  -", text, re.MULTILINE))
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }
    assert max(sizes.values()) <= 9, "a longer list is not read"
    if sum(sizes.values()) > 9:
        assert len(sizes) > 2 and sizes["Other options"] == 1, "--help alone"


def test_headings_and_columns_are_in_order(monkeypatch):
    @groups.command("paint")
    @groups.option_group("Colours", click.option("--red", help="R."), click.option("--blue", help="B."))
    @click.option("--a-rather-long-name-for-one", is_flag=True, help="Long.")
    @groups.option_group("Brushes", click.option("--width", type=int, help="W."))
    def paint(**_: object) -> None:
        """Paints."""

    lines = CliRunner().invoke(paint, ["--help"]).output.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith("Usage")]
    assert headings == ["Colours:", "Brushes:", "Other options:"]
    starts = {
        line.rindex(word) for line in lines for word in ("R.", "B.", "W.", "Long.") if line.endswith(word)
    }
    assert len(starts) == 1, "one column"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tain"], ["rlossctl: no such command 'tain'", "did you mean train?"]),
        (["data", "scribbel"], ["rlossctl data: no such command 'scribbel'", "scribble or scribbles"]),
        (["eval", "m.onnx", "--dtaa", "x"], ["rlossctl eval: no such option '--dtaa'", "--data"]),
        (["convert", "a", "b"], ["rlossctl convert: missing option", "--out", "expected: rlossctl convert"]),
        (["inspect"], ["missing argument 'FILE'", "expected: rlossctl inspect [OPTIONS] FILE"]),
        (["bench", "filter", "--size", "no"], ["rlossctl bench filter: invalid value for '--size'"]),
        (["frobnicate"], ["no such command 'frobnicate'", "see rlossctl --help"]),
    ],
)
def test_usage_errors_are_one_paragraph(arguments, words, invoke):
    code, out, err = invoke(*arguments)
    assert code == 2 and out == "" and err.startswith("error: rlossctl")
    assert "\n\n" not in err and "Usage:" not in err
    for word in words:
        assert word in err
