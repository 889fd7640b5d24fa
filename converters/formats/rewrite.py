"""Upgrades old nets, solvers and weights, as Caffe's upgrade_net_proto_text and its two siblings do."""

from __future__ import annotations

from collections.abc import Mapping
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
from rlossctl.weights import CaffeModel, Hdf5Model, kinds, load_caffemodel, provenance
from rlossctl.weights.kinds import CAFFEMODEL, PROTOTXT


@dataclass(frozen=True)
class Rewritten:
    """The result of an upgrade.

    Attributes:
        dialect: the Caffe fork whose newest form was written.
        notes: what changed, and what was left out.
    """

    out: str
    dialect: str
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """The result as text, line by line."""
        return [f"wrote {self.out} ({self.dialect})", "verified: read back and equal", *self.notes]

    def as_dict(self) -> dict[str, object]:
        """The result for JSON."""
        return asdict(self)


def rewrite(
    origin: NetOrigin,
    out: Path,
    kind: str | None = None,
    target: str | None = None,
    sources: Mapping[str, Path] | None = None,
) -> Rewritten:
    """Writes a net or solver prototxt, or a binary caffemodel, as the newest Caffe of its dialect would.

    A prototxt becomes a prototxt. A caffemodel becomes a caffemodel, or a prototxt of the net inside, without
    weights. As in Caffe, comments are lost; a new one
    says what the prototxt was made from. A caffemodel that is already in the current form is copied byte
    for byte.

    Args:
        origin: its prototxt is the only input file: a net, a solver or a binary caffemodel.
        kind, target: the formats of that file and of `out`, if suffixes and content do not show them.
        sources: what it was made from, for the comment of a prototxt; by default that file.

    Raises:
        UsageError: the input cannot become this kind of output.
        PrototxtError: Caffe could not upgrade the input either.
    """
    file = Path(origin.prototxt)
    text = (kind or kinds.kind_of(file)) == PROTOTXT
    target = kinds.written_kind(out, target)
    if target not in (PROTOTXT, *(() if text else (CAFFEMODEL,))):
        raise UsageError(
            "weights are missing",
            where=file,
            found=f"one input, to be written as {out.name}",
            expected="NET.prototxt WEIGHTS.caffemodel, or a single prototxt to upgrade to .prototxt",
            advice="add the other file, or choose a .prototxt as the output",
        )
    if not text and target == CAFFEMODEL:
        return _rewrite_binary(_binary(file), out, origin.dialect)
    sources = sources or {"prototxt" if text else "weights": file}
    if not text:
        param, name, reason = wire.decode_net(_binary(file).message_bytes(), str(file), origin.dialect)
        return _rewrite_net(net_file(param, str(file), dialect=name), reason, out, sources)
    read = load_prototxt(file, origin.placeholders, origin.dialect)
    if isinstance(read, NetFile):
        return _rewrite_net(read, read.dialect_reason, out, sources)
    notes = _upgrade_inline(read, str(file), origin.dialect)
    _write(out, read, provenance.facts(sources))
    return Rewritten(str(out), "solver", notes)


def _rewrite_net(net: NetFile, reason: str, out: Path, sources: Mapping[str, Path]) -> Rewritten:
    new = modernize(net.param, net.dialect)
    _write(out, new, provenance.facts(sources, net.dialect))
    return Rewritten(str(out), net.dialect, (f"dialect {net.dialect}: {reason}", *net.notes))


def _rewrite_binary(model: CaffeModel, out: Path, dialect: str) -> Rewritten:
    """Upgrades a caffemodel. The small messages without blobs show whether that is necessary."""
    param, name, reason = wire.decode_net(model.message_bytes(), model.path, dialect)
    file = net_file(param, model.path, dialect=name)
    notes = (f"dialect {name}: {reason}", *file.notes)
    if modernize(file.param, name) == param:
        model.save(out)
        if _binary(out).view != model.view:
            raise _different(out)
        return Rewritten(str(out), name, (*notes, "already in the current form: copied byte for byte"))
    whole = wire.decode_net(model.to_bytes(), model.path, name)[0]
    new = modernize(net_file(whole, model.path, dialect=name).param, name)
    _write_binary(out, new, name)
    return Rewritten(str(out), name, notes)


def _upgrade_inline(solver: SolverParameter, where: str, dialect: str) -> tuple[str, ...]:
    """Upgrades the nets inside a SolverParameter in place, which Caffe does not do; returns the notes."""
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
            advice="also give the prototxt: rlossctl convert NET WEIGHTS -o OUT",
        )
    return model


def _write(out: Path, expected: Message, origin: provenance.Facts) -> None:
    """Writes a message as a prototxt, with its origin as a comment."""
    text = provenance.comment(origin) + to_text(expected)
    with atomic_write(out) as file:
        if parse(text, type(expected), str(out)) != expected:
            raise _different(out)
        file.write(text.encode())


def _write_binary(out: Path, expected: NetParameter, dialect: str) -> None:
    data = wire.encode_net(expected, dialect)
    with atomic_write(out) as file:
        if wire.decode_net(data, str(out), dialect)[0] != expected:
            raise _different(out)
        file.write(data)


def _different(out: Path) -> VerificationError:
    return VerificationError(
        "reads back differently from what was written",
        where=out,
        found="a different message",
        expected="the same message",
        advice="nothing was written; report the input file",
    )
