"""Old nets, solvers and weights in today's form: Caffe's upgrade_net_proto_text and its two siblings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from google.protobuf.message import Message

from rlossctl.errors import UsageError, VerificationError
from rlossctl.files import atomic_write
from rlossctl.prototxt import load_net_file, load_solver_parameter, to_text, wire
from rlossctl.prototxt.text import SUFFIXES, is_solver, net_file, parse, read_text
from rlossctl.prototxt.upgrade import modernize
from rlossctl.weights import load_caffemodel


@dataclass(frozen=True)
class Rewritten:
    """What was rewritten.

    Attributes:
        dialect: whose newest form was written.
        notes: what changed, and what was left out.
    """

    out: str
    dialect: str
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """For people."""
        return [f"wrote {self.out} ({self.dialect})", "verified: read back, equal as messages", *self.notes]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def rewrite(
    source: Path, out: Path, placeholders: Mapping[str, object] | None = None, dialect: str = "auto"
) -> Rewritten:
    """Writes a net or solver prototxt, or a binary caffemodel, as the newest Caffe of its dialect would.

    A prototxt gives a prototxt; a caffemodel gives a caffemodel, or a prototxt of the net inside it without
    its weights. Comments are not kept, as in Caffe.

    Raises:
        UsageError: another kind of output.
        PrototxtError: an input that Caffe cannot upgrade either.
    """
    text = source.suffix.lower() in SUFFIXES
    if out.suffix.lower() not in (".prototxt", *(() if text else (".caffemodel",))):
        raise UsageError(
            "weights are missing" if text else "a net is missing",
            where=source,
            found=f"one input, to be written as {out.name}",
            expected="NET.prototxt WEIGHTS.caffemodel; one input alone is upgraded to .prototxt"
            + ("" if text else " or .caffemodel"),
            advice="add the other file, or name a .prototxt as the output",
        )
    if text and is_solver(read_text(source)):
        param = load_solver_parameter(source, placeholders)
        notes = _upgrade_inline(param, str(source), dialect)
        _write(out, to_text(param).encode(), param, "SolverParameter")
        return Rewritten(str(out), "solver", notes)
    if text:
        file = load_net_file(source, placeholders, dialect)
    else:
        data = _binary(source, whole=out.suffix.lower() == ".caffemodel")
        param, name, reason = wire.decode_net(data, str(source), dialect)
        file = net_file(param, str(source), dialect=name)
    new = modernize(file.param, file.dialect)
    if out.suffix.lower() == ".caffemodel":
        _write_binary(out, new, file.dialect)
    else:
        _write(out, to_text(new).encode(), new, "NetParameter")
    why = file.dialect_reason if text else reason
    return Rewritten(str(out), file.dialect, (f"dialect {file.dialect}: {why}", *file.notes))


def _upgrade_inline(solver: Message, where: str, dialect: str) -> tuple[str, ...]:
    """Upgrades the nets inside a SolverParameter in place, which Caffe forgets; returns the notes."""
    inline = [getattr(solver, name) for name in ("net_param", "train_net_param") if solver.HasField(name)]
    notes: list[str] = []
    for net in (*inline, *solver.test_net_param):
        file = net_file(net, where, dialect=dialect)
        net.CopyFrom(modernize(file.param, file.dialect))
        notes += file.notes
    return tuple(notes)


def _binary(source: Path, whole: bool) -> bytes:
    model = load_caffemodel(source)
    if model.format == "hdf5":
        raise UsageError(
            "holds weights without a net",
            where=source,
            found="an HDF5 caffemodel",
            expected="a binary caffemodel, or a prototxt",
            advice="give the prototxt too: rlossctl convert NET WEIGHTS -o OUT",
        )
    return model.to_bytes() if whole else model.message_bytes()


def _write(out: Path, data: bytes, expected: Message, name: str) -> None:
    with atomic_write(out) as file:
        if parse(data.decode(), name, str(out)) != expected:
            raise _different(out)
        file.write(data)


def _write_binary(out: Path, expected: Message, dialect: str) -> None:
    data = wire.encode_net(expected, dialect)
    with atomic_write(out) as file:
        if wire.decode_net(data, str(out), dialect)[0] != expected:
            raise _different(out)
        file.write(data)


def _different(out: Path) -> VerificationError:
    return VerificationError(
        "does not read back as what was written",
        where=out,
        found="another message",
        expected="the same message",
        advice="nothing was written; report the input file",
    )
