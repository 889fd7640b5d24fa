"""Which nets a solver trains and tests (Solver::InitTrainNet, InitTestNets)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rlossctl.errors import PrototxtError
from rlossctl.prototxt.messages import NetParameter, NetState
from rlossctl.prototxt.phase import filter_net, net_state
from rlossctl.prototxt.text import NetFile, load_net_file, net_file
from rlossctl.solver.reading.files import SolverFile

TRAIN_FIELDS = ("net", "net_param", "train_net", "train_net_param")


@dataclass(frozen=True)
class NamedNet:
    """A net, filtered for its phase, and what named it, in words."""

    file: NetFile
    named_by: str

    def in_state(self, phase: str, *overrides: NetState) -> NamedNet:
        """The same for a phase: the phase, then the net's own `state`, then what the solver adds."""
        state = net_state(phase, self.file.param.state, *overrides)
        return NamedNet(filter_net(self.file, state), self.named_by)


class Nets:
    """The nets of one solver. Each prototxt is read and parsed once, however many nets are made of it."""

    def __init__(self, solver: SolverFile) -> None:
        self._solver = solver
        self._param = solver.param
        self._read: dict[str, NetFile] = {}

    def train(self) -> NamedNet:
        """The training net.

        Raises:
            PrototxtError: none or several nets are named, or the file is missing or damaged.
        """
        given = [name for name in TRAIN_FIELDS if self._param.HasField(name)]
        if self._solver.net is None and len(given) != 1:
            raise PrototxtError(
                "must name exactly one training net",
                where=self._solver.path,
                found=", ".join(given) or "none",
                expected=f"one of {', '.join(TRAIN_FIELDS)}",
                advice="keep one of them, or give the net on its own: --prototxt NET --solver SOLVER",
            )
        named = self._given() or self._field(given[0])
        return named.in_state("TRAIN", self._param.train_state)

    def tests(self) -> Iterator[NamedNet]:
        """The test nets in Caffe's order: test_net_param, test_net, the generic net for what is left.

        Raises:
            PrototxtError: their number does not fit test_iter and test_state, or test_interval is missing.
        """
        self._check_counts()
        yield from map(self._tested, range(self._count()))

    def _tested(self, index: int) -> NamedNet:
        return self._test(index).in_state("TEST", *self._param.test_state[index : index + 1])

    def _count(self) -> int:
        """How many test nets there are: one per test_iter, which tests of whole lists do not need."""
        param = self._param
        if param.test_iter or param.test_interval < 1:
            return len(param.test_iter)
        named = len(param.test_net_param) + len(param.test_net)
        possible = named or int(self._generic())
        if param.test_whole_list:
            return possible
        nets = (self._tested(index) for index in range(possible))
        return possible if all(_counts_whole_list(net) for net in nets) else 0

    def _generic(self) -> bool:
        """Whether a net is named that both trains and tests."""
        param = self._param
        return self._solver.net is not None or param.HasField("net") or param.HasField("net_param")

    def _test(self, index: int) -> NamedNet:
        param, inline = self._param, len(self._param.test_net_param)
        if index < inline:
            return self._inline(param.test_net_param[index], "test_net_param", f"test_net_param {index}")
        if index < inline + len(param.test_net):
            return self._named(param.test_net[index - inline], "test_net")
        return self._given() or self._field("net" if param.HasField("net") else "net_param")

    def _given(self) -> NamedNet | None:
        net = self._solver.net
        return None if net is None else NamedNet(net, f"net file: {net.path}")

    def _field(self, field: str) -> NamedNet:
        value = getattr(self._param, field)
        return self._inline(value, field, field) if field.endswith("_param") else self._named(value, field)

    def _inline(self, param: NetParameter, field: str, place: str) -> NamedNet:
        if place not in self._read:
            where = f"{self._solver.path} ({place})"
            self._read[place] = net_file(param, where, dialect=self._solver.dialect)
        return NamedNet(self._read[place], field)

    def _named(self, name: str, field: str) -> NamedNet:
        if name not in self._read:
            path = self._solver.find(name, field)
            self._read[name] = load_net_file(path, self._solver.placeholders, self._solver.dialect)
        return NamedNet(self._read[name], f"{field} file: {name}")

    def _check_counts(self) -> None:
        param, count = self._param, self._count()
        named = len(param.test_net_param) + len(param.test_net)
        if count < named or (count > named and not self._generic()):
            found = f"{len(param.test_iter)} test_iter"
            expected = (
                f"{named}, one per test net; none with test_whole_list: true or a SegmentationScores layer"
            )
            raise self._misfit("test_iter", found, expected)
        if param.test_state and len(param.test_state) != count:
            found = f"{len(param.test_state)} test_state"
            raise self._misfit("test_state", found, f"none, or {count} (one per test net)")
        if count and param.test_interval < 1:
            found = f"test_interval: {param.test_interval}"
            raise self._misfit("test_interval", found, "above 0 where there are test nets")

    def _misfit(self, field: str, found: str, expected: str) -> PrototxtError:
        return PrototxtError(
            f"{field} does not fit the test nets",
            where=self._solver.path,
            found=found,
            expected=expected,
            advice=f"correct {field} in the solver prototxt",
        )


def _counts_whole_list(net: NamedNet) -> bool:
    """Whether a net has a SegmentationScores layer, which counts over the whole list."""
    return any(layer.type == "SegmentationScores" for layer in net.file.param.layer)
