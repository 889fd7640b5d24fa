"""Old nets, solvers and weights in today's form: Caffe's upgrade_net_proto_text and its two siblings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from google.protobuf.message import Message

from rlossctl.errors import UsageError, VerificationError
from rlossctl.files import atomic_write
from rlossctl.net.origin import NetOrigin
from rlossctl.prototxt import to_text, wire
from rlossctl.prototxt.messages import NetParameter, SolverParameter
from rlossctl.prototxt.text import NetFile, load_prototxt, net_file, parse
from rlossctl.prototxt.upgrade import modernize
from rlossctl.weights import CaffeModel, Hdf5Model, kinds, load_caffemodel
from rlossctl.weights.kinds import CAFFEMODEL, PROTOTXT


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
        return [f"wrote {self.out} ({self.dialect})", "verified: read back and equal", *self.notes]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def rewrite(origin: NetOrigin, out: Path, kind: str | None = None, target: str | None = None) -> Rewritten:
    """Writes a net or solver prototxt, or a binary caffemodel, as the newest Caffe of its dialect would.

    A prototxt gives a prototxt; a caffemodel gives a caffemodel, or a prototxt of the net inside it without
    its weights. Comments are not kept, as in Caffe. A caffemodel that is in today's form already is copied
    byte for byte.

    Args:
        origin: its prototxt is the one file: a net, a solver or a binary caffemodel.
        kind, target: the formats of it and of `out`, where suffixes and content do not tell.

    Raises:
        UsageError: another kind of output.
        PrototxtError: an input that Caffe cannot upgrade either.
    """
    file = Path(origin.prototxt)
    text = (kind or kinds.kind_of(file)) == PROTOTXT
    target = kinds.written_kind(out, target)
    if target not in (PROTOTXT, *(() if text else (CAFFEMODEL,))):
        raise UsageError(
            "weights are missing",
            where=file,
            found=f"one input, to be written as {out.name}",
            expected="NET.prototxt WEIGHTS.caffemodel; one prototxt alone is upgraded to .prototxt",
            advice="add the other file, or name a .prototxt as the output",
        )
    if not text and target == CAFFEMODEL:
        return _rewrite_binary(_binary(file), out, origin.dialect)
    if not text:
        param, name, reason = wire.decode_net(_binary(file).message_bytes(), str(file), origin.dialect)
        return _rewrite_net(net_file(param, str(file), dialect=name), reason, out)
    read = load_prototxt(file, origin.placeholders, origin.dialect)
    if isinstance(read, NetFile):
        return _rewrite_net(read, read.dialect_reason, out)
    notes = _upgrade_inline(read, str(file), origin.dialect)
    _write(out, to_text(read).encode(), read)
    return Rewritten(str(out), "solver", notes)


def _rewrite_net(net: NetFile, reason: str, out: Path) -> Rewritten:
    new = modernize(net.param, net.dialect)
    _write(out, to_text(new).encode(), new)
    return Rewritten(str(out), net.dialect, (f"dialect {net.dialect}: {reason}", *net.notes))


def _rewrite_binary(model: CaffeModel, out: Path, dialect: str) -> Rewritten:
    """Whether there is anything to upgrade shows in the messages without their blobs, which are small."""
    param, name, reason = wire.decode_net(model.message_bytes(), model.path, dialect)
    file = net_file(param, model.path, dialect=name)
    notes = (f"dialect {name}: {reason}", *file.notes)
    if modernize(file.param, name) == param:
        model.save(out)
        if _binary(out).view != model.view:
            raise _different(out)
        return Rewritten(str(out), name, (*notes, "in today's form already: copied byte for byte"))
    whole = wire.decode_net(model.to_bytes(), model.path, name)[0]
    new = modernize(net_file(whole, model.path, dialect=name).param, name)
    _write_binary(out, new, name)
    return Rewritten(str(out), name, notes)


def _upgrade_inline(solver: SolverParameter, where: str, dialect: str) -> tuple[str, ...]:
    """Upgrades the nets inside a SolverParameter in place, which Caffe forgets; returns the notes."""
    inline: list[NetParameter] = [
        getattr(solver, name) for name in ("net_param", "train_net_param") if solver.HasField(name)
    ]
    notes: list[str] = []
    for net in (*inline, *solver.test_net_param):
        file = net_file(net, where, dialect=dialect)
        net.CopyFrom(modernize(file.param, file.dialect))
        notes += file.notes
    return tuple(notes)


def _binary(file: Path) -> CaffeModel:
    model = load_caffemodel(file)
    if isinstance(model, Hdf5Model):
        raise UsageError(
            "holds weights without a net",
            where=file,
            found="an HDF5 caffemodel",
            expected="a binary caffemodel, or a prototxt",
            advice="give the prototxt too: rlossctl convert NET WEIGHTS -o OUT",
        )
    return model


def _write(out: Path, data: bytes, expected: Message) -> None:
    with atomic_write(out) as file:
        if parse(data.decode(), type(expected), str(out)) != expected:
            raise _different(out)
        file.write(data)


def _write_binary(out: Path, expected: NetParameter, dialect: str) -> None:
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
