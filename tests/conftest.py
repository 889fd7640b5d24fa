"""What every test may use: the recorded cases that travel with the tests, and the optional shared folder."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

HERE = Path(__file__).resolve().parent

# One thread for torch, here and in processes that tests start: small nets run faster so, and none waits for a
# core that others use. Tests of several threads ask for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out variants, unless RLOSSCTL_FULL is set or they are named; puts the heaviest files first.

    Quick files at the end keep both of `make test`'s processes busy until the last second.
    """
    if not os.environ.get("RLOSSCTL_FULL") and not any("::" in given for given in config.args):
        variants = [item for item in items if _is_variant(item)]
        config.hook.pytest_deselected(items=variants)
        items[:] = [item for item in items if item not in set(variants)]
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # the tests of a file stay together, in their order


def _is_variant(item: pytest.Item) -> bool:
    """Whether a test is marked `full`, or `smallest` with a network that another one covers."""
    mark = item.get_closest_marker("smallest")
    if mark is None:
        return item.get_closest_marker("full") is not None
    from rlossctl import configs

    network = item.callspec.params[mark.args[0]]
    known = {*configs.NETWORKS, *configs.names()}
    at_16 = network.replace("_os8", "")
    smaller = {at_16, *(re.sub("resnet1(01|52)", "resnet50", name) for name in (network, at_16))}
    with_one_more_loss = f"{network}withdensecrfloss"
    return not known.isdisjoint({*smaller, with_one_more_loss} - {network})


@pytest.fixture
def process_put_back() -> Iterator[None]:
    """Undoes what a script that runs in this process leaves: a module caffe, its modules, paths, modes."""
    from rlossctl.pycaffe.mode import _Mode

    before = {name: module for name, module in sys.modules.items() if _is_caffe(name)}
    known = set(sys.modules)
    path, finders, main = list(sys.path), list(sys.meta_path), sys.modules["__main__"]
    yield
    for name in [name for name in sys.modules if _is_caffe(name) or name not in known]:
        # Modules of this test alone: those that it found in a temporary folder.
        file = getattr(sys.modules[name], "__file__", None) or ""
        if _is_caffe(name) or "pytest-of" in file:
            del sys.modules[name]
    sys.modules.update(before)
    sys.modules["__main__"] = main
    sys.path[:], sys.meta_path[:] = path, finders
    _Mode.gpu, _Mode.number, _Mode.seed = False, 0, None


def _is_caffe(name: str) -> bool:
    return name == "caffe" or name.startswith("caffe.")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Recorded cases small enough to live in the repository."""
    return HERE / "golden"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that the tests belong to."""
    return HERE.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """Original prototxts, data and large recordings: not part of the repository, so absent elsewhere."""
    folder = Path(os.environ.get("RLOSSCTL_SHARED", HERE.parent.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the reference material in {folder} (set RLOSSCTL_SHARED to its place)")
    return folder


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    """invoke("inspect", "net.prototxt"): (exit code, stdout, stderr) of a command run in this process."""
    from rlossctl.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rlossctl", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def no_waiting() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Makes every wait of the host for a GPU that torch knows of an error, inside a `with no_waiting()`."""
    import torch

    @contextlib.contextmanager
    def entered() -> Iterator[None]:
        torch.cuda.synchronize()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # torch calls the mode a prototype
                torch.cuda.set_sync_debug_mode("error")
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return entered


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread for torch again, whatever the test before has asked for."""
    torch = sys.modules.get("torch")  # not every room needs it
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def build() -> Callable:
    """build(text, phase="TRAIN", where="net.prototxt", dialect="auto", **build_net's): the net of a text."""
    from rlossctl.net import Net, build_net
    from rlossctl.prototxt import parse_net
    from rlossctl.prototxt.phase import filter_net, net_state

    def build_text(
        text: str,
        phase: str = "TRAIN",
        where: str = "net.prototxt",
        dialect: str = "auto",
        **options: object,
    ) -> Net:
        return build_net(filter_net(parse_net(text, where, dialect), net_state(phase)), **options)

    return build_text


class Proof(NamedTuple):
    """What @pytest.mark.proves(type, fields, gradient=...) says of the test below it.

    Attributes:
        type: the layer type that the test holds to its formula.
        fields: of the layer, as in a prototxt ("" if it needs none): an example to export. A type that can be
            exported needs one.
        gradient: whether the test holds its gradient to the formula too.
    """

    type: str
    fields: str | None = None
    gradient: bool = False


@pytest.fixture(scope="session")
def proofs() -> list[Proof]:
    """All of them, from the tests' text: a run of one file knows of the others' too."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(HERE.rglob("test_*.py")))
    trees = [ast.parse(text) for text in texts if "mark.proves(" in text]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    marks = [mark for function in functions for mark in function.decorator_list if _proves(mark)]
    return [_proof(mark) for mark in marks]


def _proves(mark: ast.expr) -> bool:
    return isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute) and mark.func.attr == "proves"


def _proof(mark: ast.Call) -> Proof:
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in mark.keywords}
    return Proof(*map(ast.literal_eval, mark.args), **named)
