"""A network's definition: the texts of its nets and solvers, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from rlossctl.prototxt.netspec import NetSpec, message_text


@dataclass(frozen=True)
class Network:
    """A network that comes with rlossctl.

    Attributes:
        name: its name in commands, and of the folder that it is written to.
        module: the `__name__` of the file that defines it.
        start: the weights that its training can start from; "" for random weights.
        writers: the name of each text, as in `NAME/train`, and the function that makes the text.
    """

    name: str
    module: str
    start: str
    writers: Mapping[str, Callable[[], str]]

    @property
    def file(self) -> str:
        """The file that defines it, below configs/."""
        return f"networks/{self.module.rpartition('.')[2]}.py"

    @property
    def inference(self) -> str:
        """The name of the text with the net for inference."""
        return "test" if "test" in self.writers else next(iter(self.writers))

    def text(self, which: str, header: str) -> str:
        """One of its prototxts, with a comment above that says where it comes from."""
        return f"# {header}\n{self.writers[which]()}"


def network(
    name: str,
    module: str,
    start: str,
    train_net: Callable[[str], NetSpec],
    test_net: Callable[[], NetSpec],
    solvers: Mapping[str, Mapping[str, object]],
    schedule: str = "",
) -> Network:
    """A network with a training net for each solver, and a test net.

    Args:
        train_net: makes the training net with the regularized loss of this name; "" for none.
        solvers: the SolverParameter fields of `solver`, and of a solver for the net with each such loss:
            `solverwithdensecrfloss` for `trainwithdensecrfloss`, which `train_net("densecrfloss")` makes.
        schedule: the origin of the solvers' settings, for their header.
    """
    losses = [which.removeprefix("solverwith") for which in solvers if which.startswith("solverwith")]
    writers: dict[str, Callable[[], str]] = {
        "train": partial(_train_text, train_net, ""),
        **{f"trainwith{loss}": partial(_train_text, train_net, loss) for loss in losses},
        "test": lambda: net_text(test_net()),
        **{which: partial(_solver_text, fields, schedule) for which, fields in solvers.items()},
    }
    return Network(name, module, start, writers)


def _train_text(train_net: Callable[[str], NetSpec], loss: str) -> str:
    return net_text(train_net(loss))


def _solver_text(fields: Mapping[str, object], about: str) -> str:
    """The text of a solver, whose own header stands apart from the line above it."""
    return ("#\n" if about else "") + message_text("SolverParameter", fields, about)


def net_text(net: NetSpec) -> str:
    """The text of a net, with a blank line above its own header."""
    return f"#\n{net.to_text()}"
