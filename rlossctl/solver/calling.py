"""`rlossctl.train`: what `rlossctl train` does, as a function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rlossctl.errors import UsageError
from rlossctl.net import DataOverrides
from rlossctl.prototxt.unset import Placeholders
from rlossctl.solver.machine.speed import Speed
from rlossctl.solver.reading.files import SolverOrigin
from rlossctl.solver.reading.options import TrainOptions
from rlossctl.solver.telling.listeners import Listener
from rlossctl.solver.training import Trained
from rlossctl.solver.training import train as train_file


def train(
    prototxt: str | Path,
    solver: str | Path | None = None,
    *,
    data: str | Path | None = None,
    root: str | Path | None = None,
    val: str | Path | None = None,
    val_root: str | Path | None = None,
    channels_last: bool | None = None,
    cuda_graphs: bool = False,
    compile: bool = False,
    dialect: str = "auto",
    listeners: Sequence[Listener] = (),
    **settings: Any,
) -> Trained:
    """Trains as `rlossctl train` does: the same folder, snapshots, figures and errors.

    Unless `quiet=False`, only warnings go to stderr. An interrupt from the keyboard, or the stop button of a
    notebook, ends the run with a snapshot.

    Args:
        prototxt: a solver prototxt, or a net prototxt with `solver`.
        solver: the solver prototxt for a net.
        data, root: list and folder for the training net's data layer, in place of its own.
        val, val_root: the same for the test nets.
        channels_last, cuda_graphs, compile: the options of the command; see `Speed`.
        dialect: whose Caffe the nets are for: auto, bvlc, rloss, segnet or enet.
        listeners: are told the figures of every update, test and snapshot.
        settings: in lower case, the options of the command (`max_iter=200`, `out="runs/a"`), the fields
            of `rlossctl.solver.reading.options.TrainOptions`; in upper case, values of placeholders.
            `weights` is a file or several.

    Raises:
        UsageError: a setting that there is not.
        RlossError: as the command.
    """
    placeholders = {name: value for name, value in settings.items() if name.isupper()}
    options = {"quiet": True, **{name: settings[name] for name in settings if not name.isupper()}}
    _check_names(options)
    if isinstance(options.get("weights"), str | Path):  # one file, not a list of letters
        options["weights"] = (options["weights"],)
    chosen = TrainOptions(
        **options, test_data=DataOverrides(val, val_root), speed=Speed(channels_last, cuda_graphs, compile)
    )
    replaced = {"source": data, "root_folder": root, "snapshot_prefix/": chosen.out}
    unread = {name for name, value in replaced.items() if value is not None}
    if solver is not None:
        unread |= {"net", "train_net"}
    file = SolverOrigin(prototxt, solver, Placeholders(placeholders, unread), dialect).read()
    return train_file(file, DataOverrides(data, root), chosen, listeners)


def _check_names(options: Mapping[str, object]) -> None:
    known = sorted({field.name for field in fields(TrainOptions)} - {"test_data", "speed"})
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise UsageError(
                f"train has no setting {name}",
                found=f"{name}={options[name]!r}",
                expected=", ".join(known),
                advice=f"write {near[0]}" if near else "placeholders are written in upper case",
            )
