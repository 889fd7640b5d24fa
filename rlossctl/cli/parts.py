"""Options that divide a list, for `eval` and `predict`."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from rlossctl.cli import groups
from rlossctl.errors import UsageError

if TYPE_CHECKING:
    from rlossctl.evaluation.parts.part import Part
    from rlossctl.evaluation.parts.ray_pool import Pool


class PartNumber(click.ParamType):
    """A part of a list: 2/3 is the second of three."""

    name = "I/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Part:
        """The part."""
        from rlossctl.evaluation.parts.part import Part

        number, _, count = value.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            self.fail(f"{value!r} is not a part such as 1/3, 2/3 or 3/3", param, ctx)
        return Part(int(number) - 1, int(count))


@dataclass(frozen=True)
class Division:
    """How a command's list is divided.

    Attributes:
        part: the part that this command makes; None for the whole list.
        place: the folder of the parts; "" if none is named.
        command: the command's arguments.
        pool: Ray's actors, if they make the parts.
    """

    part: Part | None
    place: str
    command: Sequence[str]
    pool: Pool | None = None

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """The folder of the parts; without a name, one that does not stay."""
        if self.place:
            yield self.place
            return
        with tempfile.TemporaryDirectory() as place:
            yield place

    def pool_for(self, device: str) -> Pool:
        """The actors for a device: on the CPU they need no GPU."""
        assert self.pool is not None
        return dataclasses.replace(self.pool, gpu=device != "cpu")

    def refuse_with_merge(self) -> None:
        """Raises UsageError if parts are to be made and joined at once."""
        if self.part is not None or self.place or self.pool:
            raise UsageError(
                "--merge joins parts that are there",
                found="--merge with --part, --parts or --engine",
                expected="--merge DIR alone, after all parts are made",
                advice="leave out the other options",
            )

    def refuse_state(self, state: str | None) -> None:
        """Raises UsageError for a state beside Ray's parts."""
        if state is not None:
            raise UsageError(
                "a state is of one process",
                found="--state with --engine ray",
                expected="--parts DIR, which keeps what is done",
                advice="leave out --state",
            )

    def refuse_outputs(self, given: Mapping[str, object]) -> None:
        """Raises UsageError for options that a part has no use for."""
        named = [name for name, value in given.items() if value]
        if named:
            raise UsageError(
                "a part has no result of its own",
                found=f"{', '.join(named)} with --part",
                expected="--part I/N --parts DIR, and then --merge DIR with the options for results",
                advice=f"leave out {', '.join(named)} here; an interrupted part goes on where it stopped",
            )


def refuse_unread(read: Collection[str]) -> None:
    """Raises UsageError for options that a merge without a model does not read: the files say all that."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]
    unread = [name for name in given if name.startswith("-") and name not in ("--merge", *read)]
    if unread:
        raise UsageError(
            "--merge takes this from the parts",
            found=", ".join(unread),
            expected=" ".join(["--merge DIR", *(f"[{name}]" for name in read)]),
            advice="leave it out, or make the parts anew with it",
        )


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--part` and `--parts`; the command gets `division`, a Division."""
    return groups.gathered("division", _division, _OPTIONS)(command)


def merge_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--merge`, with this help."""
    return groups.option_group("Parts of a list", click.option("--merge", metavar="DIR", help=text))


_OPTIONS = groups.option_group(
    "Parts of a list",
    click.option(
        "--part",
        type=PartNumber(),
        help="Take only this part of the list: 2/3 is the second of three. Needs --parts.",
    ),
    click.option(
        "--parts", "place", metavar="DIR", help="Folder for the parts' files; a part that is done is skipped."
    ),
    click.option(
        "--engine",
        type=click.Choice(["process", "ray"]),
        default="process",
        show_default=True,
        help="ray: all parts by a pool of Ray's actors (pip install rlossctl[ray]).",
    ),
    click.option(
        "--actors",
        type=click.IntRange(min=1),
        metavar="N",
        help="Ray's actors.  [default: one on each GPU, or on each machine]",
    ),
    click.option("--ray-address", metavar="ADDRESS", help="A cluster of Ray's.  [default: this machine]"),
)


def _division(
    part: Part | None, place: str | None, engine: str, actors: int | None, ray_address: str | None
) -> Division:
    from rlossctl.evaluation.parts.folder import spelt_out
    from rlossctl.evaluation.parts.part import from_environment
    from rlossctl.evaluation.parts.ray_pool import Pool

    if (place or engine == "ray") and not from_environment().whole:
        raise UsageError(
            "torchrun's processes divide the list themselves",
            found="--parts or --engine ray with RANK and WORLD_SIZE set",
            expected="one of the two",
            advice="start each part by itself, with one GPU (CUDA_VISIBLE_DEVICES), or leave out --part",
        )
    on_ray = engine == "ray"
    wanted = "--engine ray" if on_ray else "--part I/N --parts DIR"
    if (part is not None and on_ray) or ((part is None) != (place is None) and not on_ray):
        raise UsageError(
            "--engine ray makes all parts" if on_ray else "--part and --parts go together",
            expected=wanted,
            advice="leave out --part" if on_ray else "add the other one",
        )
    if not on_ray and (actors or ray_address):
        raise UsageError("actors are Ray's", expected="--engine ray", advice="add it, or leave out --actors")
    pool = Pool(ray_address, actors) if on_ray else None
    return Division(part, place or "", spelt_out(sys.argv[1:]), pool)
