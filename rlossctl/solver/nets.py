"""Which nets a solver trains and tests (Solver::InitTrainNet, InitTestNets), and where their files are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.message import Message

from rlossctl.errors import PrototxtError
from rlossctl.prototxt import load_net_file
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.prototxt.text import NetFile, net_file
from rlossctl.resources import is_named

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


def find_file(name: str, solver: Path, what: str) -> Path:
    """A path that a solver names: from the working directory as in Caffe, else from the solver's folder.

    Beside a solver that comes with rlossctl lie the nets that do.

    Raises:
        PrototxtError: it is in neither; names both places.
    """
    places = [Path(name), solver.parent / name]
    for place in places:
        if place.is_file() or is_named(place):
            return place
    tried = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
    raise PrototxtError(
        f"{what} {name!r} is not there",
        where=solver,
        found=f"no file {tried}",
        expected=f"a file, relative to the working directory or to {solver.parent.absolute()}",
        advice="correct the path in the solver prototxt, or name the net with --prototxt",
    )


def train_net(
    param: Message,
    solver: Path,
    placeholders: Mapping[str, object],
    net: str | Path | None = None,
    dialect: str = "auto",
) -> tuple[NetFile, str]:
    """The training net, filtered for its phase, and where it came from in words.

    The state is TRAIN, then the net's own `state`, then `train_state`.

    Args:
        param: the SolverParameter.
        solver: the solver's file, for paths and errors.
        placeholders: values for the net's template.
        net: a net prototxt to use in place of the one that the solver names.

    Raises:
        PrototxtError: none or several nets are named, or the file is missing or damaged.
    """
    given = [name for name in TRAIN_FIELDS if param.HasField(name)]
    if net is not None:
        file, source = load_net_file(net, placeholders, dialect), f"net file: {net}"
    elif len(given) != 1:
        raise PrototxtError(
            "must name exactly one training net",
            where=solver,
            found=", ".join(given) or "none",
            expected=f"one of {', '.join(TRAIN_FIELDS)}",
            advice="keep one of them, or give the net on its own: --prototxt NET --solver SOLVER",
        )
    else:
        file, source = _read(param, given[0], solver, placeholders, dialect)
    return filter_net(file, net_state("TRAIN", file.param.state, param.train_state)), source


def test_nets(
    param: Message,
    solver: Path,
    placeholders: Mapping[str, object],
    net: str | Path | None = None,
    dialect: str = "auto",
) -> Iterator[tuple[NetFile, str]]:
    """The test nets in Caffe's order: test_net_param, test_net, the generic net for the rest of test_iter.

    Raises:
        PrototxtError: their number does not fit test_iter and test_state, or test_interval is missing.
    """
    named = len(param.test_net_param) + len(param.test_net)
    generic = net is not None or param.HasField("net") or param.HasField("net_param")
    count = len(param.test_iter)
    if count < named or (count > named and not generic):
        raise _count_error(solver, "test_iter", count, f"{named}, one per test net")
    if param.test_state and len(param.test_state) != count:
        raise _count_error(
            solver, "test_state", len(param.test_state), f"none, or {count} (one per test net)"
        )
    if count and param.test_interval < 1:
        raise _count_error(solver, "test_interval", param.test_interval, "above 0 where there are test nets")
    for index in range(count):
        file, source = _test_file(param, index, solver, placeholders, net, dialect)
        yield (
            filter_net(file, net_state("TEST", file.param.state, *param.test_state[index : index + 1])),
            source,
        )


def _test_file(
    param: Message,
    index: int,
    solver: Path,
    placeholders: Mapping[str, object],
    net: str | Path | None,
    dialect: str,
) -> tuple[NetFile, str]:
    inline = len(param.test_net_param)
    if index < inline:
        return net_file(
            param.test_net_param[index], f"{solver} (test_net_param {index})", dialect=dialect
        ), "test_net_param"
    if index < inline + len(param.test_net):
        name = param.test_net[index - inline]
        return load_net_file(
            find_file(name, solver, "test_net"), placeholders, dialect
        ), f"test_net file: {name}"
    if net is not None:
        return load_net_file(net, placeholders, dialect), f"net file: {net}"
    return _read(param, "net" if param.HasField("net") else "net_param", solver, placeholders, dialect)


def _read(
    param: Message, field: str, solver: Path, placeholders: Mapping[str, object], dialect: str
) -> tuple[NetFile, str]:
    value = getattr(param, field)
    if field.endswith("_param"):
        return net_file(value, f"{solver} ({field})", dialect=dialect), field
    return load_net_file(find_file(value, solver, field), placeholders, dialect), f"{field} file: {value}"


def _count_error(solver: Path, field: str, found: object, expected: str) -> PrototxtError:
    return PrototxtError(
        f"{field} does not fit the test nets",
        where=solver,
        found=f"{field}: {found}" if field == "test_interval" else f"{found} {field}",
        expected=expected,
        advice=f"correct {field} in the solver prototxt",
    )
