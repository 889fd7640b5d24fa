"""What a training is read from: the solver prototxt, and a net beside it where one is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlossctl.errors import PrototxtError, UsageError
from rlossctl.prototxt.messages import SolverParameter
from rlossctl.prototxt.text import NetFile, load_prototxt, load_solver_parameter
from rlossctl.resources import is_named

# The fields without which nothing is tested.
OF_TESTS = (
    "test_net", "test_net_param", "test_iter", "test_interval", "test_state", "test_whole_list", "monitor",
    "patience", "snapshot_best",
)  # fmt: skip


@dataclass(frozen=True)
class SolverFile:
    """A SolverParameter with where it came from, and what the nets that it names are read with.

    Attributes:
        param: the message.
        path: the solver prototxt, for paths and errors.
        net: a net in place of those that the solver names.
        placeholders, dialect: of the nets that the solver names.
    """

    param: SolverParameter
    path: Path
    net: NetFile | None = None
    placeholders: Mapping[str, object] = field(default_factory=dict)
    dialect: str = "auto"

    @property
    def snapshot_prefix(self) -> str:
        """snapshot_prefix; the solver's path without its suffix if there is none, its stem inside a folder.

        Both defaults are BVLC's (UpgradeSnapshotPrefixProperty).
        """
        prefix = self.param.snapshot_prefix or str(self.path.with_suffix(""))
        return os.path.join(prefix, self.path.stem) if os.path.isdir(prefix) else prefix

    def prefix_in(self, out: str | Path | None) -> str:
        """Where snapshots go when the user names a folder: below it, under the prefix's last part."""
        prefix = self.snapshot_prefix
        return prefix if out is None else str(Path(out) / (os.path.basename(prefix) or self.path.stem))

    def changed(self, **values: object) -> SolverFile:
        """The same with other values of some fields."""
        param = SolverParameter()
        param.CopyFrom(self.param)
        for name, value in values.items():
            setattr(param, name, value)
        return replace(self, param=param)

    def without(self, *fields: str) -> SolverFile:
        """The same without some fields."""
        param = SolverParameter()
        param.CopyFrom(self.param)
        for name in fields:
            param.ClearField(name)
        return replace(self, param=param)

    def find(self, name: str, what: str) -> Path:
        """A path that the solver names: from the working directory as in Caffe, else from its own folder.

        Beside a solver that comes with rlossctl lie the nets that do.

        Raises:
            PrototxtError: it is in neither; names both places.
        """
        places = [Path(name), self.path.parent / name]
        for place in places:
            if place.is_file() or is_named(place):
                return place
        tried = " and ".join(dict.fromkeys(str(place.absolute()) for place in places))
        raise PrototxtError(
            f"{what} {name!r} is not there",
            where=self.path,
            found=f"no file {tried}",
            expected=f"a file, relative to the working directory or to {self.path.parent.absolute()}",
            advice="correct the path in the solver prototxt, or name the net with --prototxt",
        )


@dataclass(frozen=True)
class SolverOrigin:
    """The files that a training is read from.

    Attributes:
        prototxt: a solver prototxt, or a net prototxt with `solver`.
        solver: the solver prototxt for a net.
        placeholders: values for `${NAME}` in all of them; the environment fills the rest.
        dialect: whose Caffe the nets are for: auto, bvlc, rloss, segnet or enet.
    """

    prototxt: str | Path
    solver: str | Path | None = None
    placeholders: Mapping[str, object] = field(default_factory=dict)
    dialect: str = "auto"

    def read(self) -> SolverFile:
        """The solver, told from a net; each file is read and parsed once.

        Raises:
            PrototxtError: `prototxt` is neither.
            UsageError: a net without a solver, or two solvers.
        """
        read = load_prototxt(self.prototxt, self.placeholders, self.dialect)
        if isinstance(read, NetFile):
            return self._beside(read)
        if self.solver is not None:
            raise UsageError(
                "--solver goes with a net prototxt",
                where=self.prototxt,
                found="a solver prototxt, and --solver besides",
                expected="--prototxt NET --solver SOLVER, or --prototxt SOLVER alone",
                advice="leave out --solver, or give the net as --prototxt",
            )
        return SolverFile(read, Path(self.prototxt), None, self.placeholders, self.dialect)

    def _beside(self, net: NetFile) -> SolverFile:
        if self.solver is None:
            raise UsageError(
                "is a net prototxt, which does not say how to train",
                where=self.prototxt,
                found="a net",
                expected="a solver prototxt, or a net with --solver",
                advice=f"add --solver SOLVER to --prototxt {self.prototxt}",
            )
        param = load_solver_parameter(self.solver, self.placeholders)
        return SolverFile(param, Path(self.solver), net, self.placeholders, self.dialect)
