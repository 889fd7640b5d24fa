"""`rlossctl run`: the script's process, Python 2, and what is said of the errors that old scripts meet."""

from __future__ import annotations

import builtins
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rlossctl.cli import cli
from rlossctl.errors import RlossError
from rlossctl.pycaffe.advice import KNOWN, advised
from rlossctl.pycaffe.python2 import ReadAsPython2, divide, divide_into


def test_a_script_is_main_with_its_arguments(run) -> None:
    names = run(
        "import sys, caffe, caffe.io, caffe.draw\nfrom caffe.proto import caffe_pb2\nimport helper\n"
        "from caffe import layers as L, params as P\narguments, name, file = sys.argv, __name__, __file__\n",
        "-x",
        "photo.jpg",
        helper="import caffe._caffe, caffe.pycaffe\nfrom caffe.net_spec import NetSpec\n",
    )
    assert names["arguments"] == ["script.py", "-x", "photo.jpg"]
    assert (names["name"], names["file"]) == ("__main__", "script.py")
    assert names["caffe"].__name__ == "rlossctl.pycaffe" and names["caffe_pb2"].TEST == 1


def test_exit_statuses_are_the_scripts(run) -> None:
    with pytest.raises(SystemExit) as raised:
        run("import sys\nsys.exit(5)\n")
    assert raised.value.code == 5
    with pytest.raises(SystemExit) as raised:
        run("raise KeyError('unknown')\n")
    assert raised.value.code == 1
    with pytest.raises(RlossError, match="there is no such script"):
        from rlossctl.pycaffe.running import run_script

        run_script("absent.py")


def test_the_traceback_is_the_scripts(run, capsys) -> None:
    with pytest.raises(SystemExit):
        run("def f():\n    return 1 / 0\nf()\n")
    told = capsys.readouterr().err
    assert "script.py" in told and "running.py" not in told and "ZeroDivisionError" in told
    with pytest.raises(RlossError, match="cannot be read"):
        run("import caffe\ncaffe.Net('script.py', caffe.TEST)\n")
    told = capsys.readouterr().err
    assert "line 2" in told and "text.py" not in told


@pytest.mark.slow
def test_in_a_process_of_its_own(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "script.py").write_text("import sys, caffe\nprint(sys.argv[1:], caffe.TRAIN)\nnp.float\n")
    done = subprocess.run(
        [sys.executable, "-m", "rlossctl.pycaffe", str(tmp_path / "script.py"), "--help", "a"],
        capture_output=True,
        text=True,
        cwd=repository,
    )
    assert (done.stdout, done.returncode) == ("['--help', 'a'] 0\n", 1)
    assert "NameError: name 'np' is not defined" in done.stderr


def test_the_command_hands_arguments_on(run, tmp_path: Path) -> None:
    script = tmp_path / "options.py"
    script.write_text("import sys, caffe\nprint(sys.argv[1:], caffe.TRAIN)\n")
    done = CliRunner().invoke(cli, ["run", str(script), "--help", "-m", "a"])
    assert done.output == "['--help', '-m', 'a'] 0\n"
    help_text = CliRunner().invoke(cli, ["run", "--help"]).output
    assert "import caffe" in help_text and "--python2" in help_text


def test_nothing_is_called_caffe_otherwise() -> None:
    assert "caffe" not in sys.modules and importlib.util.find_spec("caffe") is None


PYTHON2 = """
import caffe, cPickle, sys
import surgery
print 'half of', 7, 7 / 2, 7 / 2.,
print >>sys.stderr, "told"
half, names = 7, {'a': 1}.keys()[0]
half /= 2
for i in xrange(2):
    surgery.mark(i)
try:
    raise ValueError, "old"
except ValueError, error:
    text = str(error)
"""
SURGERY = """
marks = []
def mark(n):
    print n
    marks.append((n + 1) / 2)
"""


def test_python_2_is_read_as_python_2(run, capsys, tmp_path) -> None:
    pytest.importorskip("fissix", reason="needs the extra pycaffe")
    with pytest.warns(ReadAsPython2) as warned:
        names = run(PYTHON2, surgery=SURGERY)
    assert [re.sub(".*/", "", str(each.message)) for each in warned] == [
        "script.py is Python 2, and is read as Python 2",
        "surgery.py is Python 2, and is read as Python 2",
    ]
    assert (names["half"], names["names"], names["text"]) == (3, "a", "old")
    assert names["surgery"].marks == [0, 1]
    assert capsys.readouterr().out == "half of 7 3 3.5 0\n1\n"
    assert not list(tmp_path.glob("**/*.pyc")), "Python would take the translation for its own"


def test_python_2_that_could_be_python_3(run) -> None:
    pytest.importorskip("fissix", reason="needs the extra pycaffe")
    assert run("half = 7 / 2\n")["half"] == 3.5
    assert run("half, all = 7 / 2, range(2) + range(1)\n", python2=True)["half"] == 3
    assert run("from __future__ import division\nhalf = 7 / 2\n", python2=True)["half"] == 3.5


def test_neither_python_3_nor_2(run) -> None:
    with pytest.raises(SystemExit):
        run("def (\n")


def test_division_of_python_2() -> None:
    assert (divide(7, 2), divide(-7, 2), divide(7.0, 2), divide(True, 2)) == (3, -4, 3.5, 0)
    assert divide(np.arange(4), 2).tolist() == [0, 0, 1, 1] and divide(np.int64(7), np.int32(2)) == 3
    floats, integers = np.array([1.0, 3]), np.array([1, 3])
    assert divide_into(floats, 2) is floats and floats.tolist() == [0.5, 1.5]
    assert divide_into(integers, 2) is integers and integers.tolist() == [0, 1]


# The line that raises each error today, where this machine can raise it.
RAISING = {
    "Python 2's print": "exec(compile('print 1', 'old.py', 'exec'))",
    "Python 2's names": "xrange(3)",
    "Python 2's dictionaries": "{}.iteritems()",
    "Python 2's modules": "import cPickle",
    "integers divided": "np.zeros(3)[4 / 2]",
    "np.float, np.int, np.bool, np.object": "np.float(3)",
    "bytes and arrays": "b'a'.tostring()",
    "skimage's as_grey": "(lambda name: name)('a.png', as_grey=True)",
    "protobuf's versions": "raise TypeError('Descriptors cannot be created directly.')",
    "scipy.misc, pyplot.hold and OpenCV's old names": "from scipy.misc import imread",
    "lines of a notebook": "get_ipython()",
    "a package that is not installed": "import setproctitle",
}


@pytest.mark.parametrize("known", KNOWN, ids=[known.name for known in KNOWN])
def test_every_known_error_gets_its_paragraph(known) -> None:
    """The example of the documentation; and the line that raises it."""
    kind, _, text = known.example.partition(": ")
    example = getattr(builtins, kind)(text)
    assert known is next(each for each in KNOWN if re.search(each.pattern, known.example))
    found = advised(example)
    assert found is not None and found.message == known.message
    if known.name == "yaml.load":
        return  # the text is PyYAML's
    if known.name.startswith("scipy"):
        pytest.importorskip("scipy", reason="needs the extra pycaffe")
    with pytest.raises(Exception) as raised:
        exec(RAISING[known.name], {"np": np})
    assert advised(raised.value).message == known.message


def test_unknown_errors_get_none() -> None:
    assert advised(KeyError("conv1")) is None and advised(ValueError("could not broadcast")) is None
