"""From prototxt text to messages and back, with the line of every layer."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from rlossctl import resources
from rlossctl.errors import PrototxtError
from rlossctl.files import read_beginning
from rlossctl.prototxt import dialect as dialects
from rlossctl.prototxt import schema, template, unknown, unset, upgrade
from rlossctl.prototxt.completed import completed
from rlossctl.prototxt.messages import NetParameter, SolverParameter

Kind = TypeVar("Kind", bound=Message)

MAX_BYTES = 64 * 1024 * 1024  # the longest known net text has 0.4 MB; more is surely not a prototxt

_TOKEN = re.compile(rf"#[^\n]*|{template.PLACEHOLDER.pattern}|{template.STRING}|[{{}}<>]|[A-Za-z_]\w*|\n")
_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}
# Two backslashes are matched together, so that what follows is not escaped.
_UNKNOWN_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\(?![\\abfnrtv?'\"0-7]|[xX][0-9a-fA-F]|u[0-9a-fA-F]{4}|U000)")


@dataclass(frozen=True)
class NetFile:
    """A NetParameter and its origin.

    Attributes:
        param: the message.
        path: the file's name, for errors.
        lines: the line on which each `param.layer` starts (0 if there is no text).
        dialect: the Caffe fork that the whole file, with all phases, is for.
        dialect_reason: why, in a few words.
        notes: the version of an old net, and what its upgrade left out.
        filtered: blob -> the layer that makes it, for layers that the net's state leaves out.
        placeholders: the names of those in the file.
    """

    param: NetParameter
    path: str
    lines: tuple[int, ...]
    dialect: str
    dialect_reason: str
    notes: tuple[str, ...] = ()
    filtered: Mapping[str, str] = field(default_factory=dict)
    placeholders: frozenset[str] = frozenset()

    def where(self, index: int) -> str:
        """`file:line` of layer `index`."""
        line = self.lines[index] if index < len(self.lines) else 0
        return f"{self.path}:{line}" if line else self.path


def load_net_file(
    path: str | Path, placeholders: Mapping[str, object] | None = None, dialect: str = "auto"
) -> NetFile:
    """Reads a net prototxt of any age.

    Raises:
        PrototxtError: not readable, unset placeholders, not a prototxt, unknown fields (with the line), or
            an old net that cannot be upgraded.
    """
    template_text = read_text(path)
    return _parse_template(template_text, _filled(template_text, placeholders, path), path, dialect)


def _parse_template(template_text: str, text: str, path: str | Path, dialect: str) -> NetFile:
    return replace(parse_net(text, str(path), dialect), placeholders=frozenset(template.names(template_text)))


def parse_net(text: str, where: str = "<text>", dialect: str = "auto") -> NetFile:
    """Parses net text without placeholders to a NetFile; `where` names it in errors."""
    param = parse(text, NetParameter, where)
    if param.layer and param.layers:
        raise _mixed(text, where)
    return net_file(param, where, tuple(layer_lines(text)), dialect)


def _mixed(text: str, where: str) -> PrototxtError:
    """The error for `layer` and `layers` in the same net, with the lines of the rarer one."""
    lines: dict[str, list[int]] = {"layer": [], "layers": []}
    for name, line in _top_level(text, blocks_only=True):
        lines.get(name, []).append(line)
    odd, usual = sorted(lines, key=lambda name: len(lines[name]))
    form = 'layer { type: "Convolution" }' if usual == "layer" else "layers { type: CONVOLUTION }"
    places = ", ".join(map(str, lines[odd][:5])) + (", ..." if len(lines[odd]) > 5 else "")
    return PrototxtError(
        "has both `layer` and `layers` blocks, which belong to different versions",
        where=f"{where}:{lines[odd][0]}",
        found=f"{len(lines['layer'])} `layer` and {len(lines['layers'])} `layers`; `{odd}` in line {places}",
        expected='either layer { type: "Convolution" } or layers { type: CONVOLUTION }',
        advice=f"write the block of line {lines[odd][0]} in the form of the others, {form}",
    )


def net_file(param: NetParameter, where: str, lines: tuple[int, ...] = (), dialect: str = "auto") -> NetFile:
    """A NetParameter of any age as a NetFile in today's form; `lines` are the lines of its layers as read."""
    upgraded = upgrade.upgrade(param, where)
    kept = tuple(lines[index] for index in upgraded.origin if index < len(lines))
    notes = upgraded.notes
    if upgraded.version != "V2":
        notes = (f"{where}: upgraded from Caffe's {upgraded.version} form", *notes)
    name, reason = dialects.choose(upgraded.param, dialect)
    complete, told = completed(upgraded.param, name)
    return NetFile(complete, where, kept, name, reason, (*notes, *told))


def load_net_parameter(path: str | Path, placeholders: Mapping[str, object] | None = None) -> NetParameter:
    """The NetParameter of a net prototxt."""
    return load_net_file(path, placeholders).param


def load_prototxt(
    path: str | Path, placeholders: Mapping[str, object] | None = None, dialect: str = "auto"
) -> NetFile | SolverParameter:
    """Reads a net or a solver prototxt, whichever it is; its text is read and parsed once.

    Raises:
        PrototxtError: as for nets and solvers.
    """
    template_text = read_text(path)
    text = _filled(template_text, placeholders, path)
    if is_solver(template_text):
        return parse_solver(text, str(path))
    return _parse_template(template_text, text, path, dialect)


def load_solver_parameter(
    path: str | Path, placeholders: Mapping[str, object] | None = None
) -> SolverParameter:
    """The SolverParameter of a solver prototxt, with the old `solver_type` enum turned into `type`.

    Inline nets are upgraded where they are used; Caffe itself forgets to.

    Raises:
        PrototxtError: as for nets; also when both `type` and `solver_type` are set.
    """
    return parse_solver(_filled(read_text(path), placeholders, path), str(path))


def _filled(text: str, placeholders: Mapping[str, object] | None, path: str | Path) -> str:
    """The text with its placeholders filled, except those that may stay unset for this command."""
    if isinstance(placeholders, unset.Placeholders):
        placeholders = placeholders.of(text)
    return template.fill(text, placeholders or {}, str(path))


def parse_solver(text: str, where: str) -> SolverParameter:
    """Parses solver text without placeholders to its message; `where` names it in errors."""
    param = parse(text, SolverParameter, where)
    if param.HasField("solver_type"):
        if param.HasField("type"):
            raise PrototxtError(
                "sets both type and solver_type",
                where=where,
                found=f"type: {param.type!r} and solver_type: {param.solver_type}",
                expected="one of them",
                advice="delete solver_type",
            )
        param.type = _SOLVER_TYPES[SolverParameter.SolverType.Name(param.solver_type)]
        param.ClearField("solver_type")
    return param


def parse(text: str, kind: type[Kind], where: str) -> Kind:
    """Parses text format to a message of `kind`; errors name `where` and the line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Python's protobuf only warns of escapes that Caffe's refuses
            return text_format.Parse(text, kind())
    except (UnicodeError, Warning) as error:
        line = _unknown_escape(text)
        raise PrototxtError(
            "has a string with an unknown escape sequence",
            where=f"{where}:{line}" if line else where,
            found=text.split("\n")[line - 1].strip()[:80] if line else str(error).split("\n")[0][:120],
            expected="letters, and after a backslash one of n t r \\ ' \" or a number",
            advice="write each backslash twice, or / between folder names",
        ) from error
    except text_format.ParseError as error:
        _refuse_unknown(text, kind, where)
        line = error.GetLine() or 0
        reason = re.sub(r"^\d+:\d+ ?: ?", "", str(error)).replace("rlossctl.", "")
        lines = text.split("\n")
        raise PrototxtError(
            f"cannot be read as a {kind.DESCRIPTOR.name}",
            where=f"{where}:{line}" if line else where,
            found=f"{reason}" + (f" in: {lines[line - 1].strip()[:80]}" if line else ""),
            expected="protobuf text with the fields of Caffe, the rloss / DeepLab, SegNet or ENet forks",
            advice=_instead(text, kind) or "correct the line, or check that this is the file you meant",
        ) from error


def _refuse_unknown(text: str, kind: type[Message], where: str) -> None:
    """Raises a PrototxtError with everything in a text that the schema does not know, if there is any."""
    found = unknown.unknown(text, schema.descriptor(kind.DESCRIPTOR.name))
    if not found:
        return
    values = [one for one in found if one.value]
    kinds = [word for word, some in (("fields", len(values) < len(found)), ("values", values)) if some]
    raise PrototxtError(
        f"cannot be read as a {kind.DESCRIPTOR.name}: it holds {' and '.join(kinds)} that rlossctl does not "
        "know",
        where=f"{where}:{found[0].line}",
        found=unknown.report(found),
        expected="protobuf text with the fields of Caffe, the rloss / DeepLab, SegNet or ENet forks, and of "
        "the other forks in docs/layers.md",
        advice=_instead(text, kind) or unknown.advice(found),
    )


def _instead(text: str, kind: type[Message]) -> str:
    """The advice for a solver that was given instead of a net."""
    if kind is not NetParameter or not is_solver(text):
        return ""
    net = re.search(r"^[ \t]*(?:train_|test_)?net\s*:\s*[\"'](.+?)[\"']", text, re.MULTILINE)
    return "this is a solver; give the net that it names" + (f": {net[1]}" if net else "")


def _unknown_escape(text: str) -> int:
    """The line of the first string with a backslash before a character without a meaning; 0 if unknown."""
    line = 1
    for match in _TOKEN.finditer(text):
        token = match.group(0)
        if token == "\n":
            line += 1
        elif token[0] in "\"'" and _UNKNOWN_ESCAPE.search(token):
            return line
    return 0


def read_text(path: str | Path) -> str:
    """The text of a prototxt file, or of a net or solver that comes with rlossctl (`demo/train`).

    A byte order mark is left out; comments may have any encoding.

    Raises:
        PrototxtError: neither, a huge or binary file, or something that was downloaded instead of a prototxt.
    """
    if resources.is_named(path):
        return resources.named_text(path)
    file = Path(path)
    try:
        data = read_beginning(file, MAX_BYTES + 1)  # a pipe tells no size, and a device has none
        if len(data) > MAX_BYTES:
            raise _not_text(path, f"{max(file.stat().st_size, len(data))} bytes or more")
    except OSError as error:
        raise PrototxtError(
            "cannot be opened",
            where=path,
            found=error.strerror or str(error),
            expected="a readable prototxt file, or the name of a net that comes with rlossctl",
            advice=_meant(path),
        ) from error
    text = _decoded(data, path)
    _refuse_foreign(text, path)
    return text.replace("\r\n", "\n").replace("\r", "\n")


# The beginnings of files that were downloaded instead of a prototxt, what they are, and what to do.
_FOREIGN = (
    (
        re.compile(r"version https://git-lfs"),
        "a Git LFS pointer, not the file itself",
        "run `git lfs pull` in its repository",
    ),
    (
        re.compile(r"<[!?a-zA-Z]"),
        "a web page or XML text",
        "the download failed: open the address in a browser and save the file (GitHub: its Raw button)",
    ),
    (
        re.compile(r"(404: Not Found|\{\s*\"message\")"),
        "a server's reply that there is no such file",
        "the download failed: check the address",
    ),
)
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # bytes that do not occur in any encoding of a prototxt


def _decoded(data: bytes, path: str | Path) -> str:
    """The text of a file: UTF-8, UTF-16 with a byte order mark, or ASCII with comments in any encoding."""
    encoding = "utf-8"
    for mark, name in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or _NO_TEXT.search(data):
            raise _not_text(path, f"byte {data[error.start]:#04x} at offset {error.start}") from error
        return _with_foreign_comments(data, path)
    if "\0" in text:
        raise _not_text(path, f"a zero byte at offset {text.index(chr(0))}")
    return text


def _with_foreign_comments(data: bytes, path: str | Path) -> str:
    """Text whose comments are not UTF-8. Caffe does not read comments; everything else must be UTF-8."""
    text = data.decode("latin-1")
    line = 1
    for match in _TOKEN.finditer(text):
        token = match[0]
        line += token == "\n"
        if token[0] != "#" and not token.isascii():
            raise PrototxtError(
                "has a string that is not UTF-8",
                where=f"{path}:{line}",
                found=token[:80],
                expected="UTF-8 text; only comments may have another encoding",
                advice="save the file as UTF-8, or write the name in plain letters",
            )
    return text


def _refuse_foreign(text: str, path: str | Path) -> None:
    """Raises a PrototxtError that names what was downloaded instead of a prototxt."""
    head = text.lstrip()
    for begins, kind, advice in _FOREIGN:
        if begins.match(head):
            raise PrototxtError(
                "is another kind of file", where=path, found=kind, expected="a prototxt", advice=advice
            )


def _meant(path: str | Path) -> str:
    """What to give instead of a file that does not exist."""
    names = resources.similar_names(path)
    if names:
        return f"did you mean {' or '.join(names)}?"
    return "check the name and the folder; rlossctl net --list shows the nets that come with rlossctl"


def layer_lines(text: str) -> list[int]:
    """The line numbers (from 1) of the top-level `layer` blocks of a net's text."""
    return [line for name, line in _top_level(text, blocks_only=True) if name in ("layer", "layers")]


def top_level_fields(text: str) -> list[str]:
    """The field names at the top level of a text message, with or without placeholders."""
    return [name for name, _ in _top_level(text, blocks_only=False)]


def field_lines(text: str) -> dict[str, int]:
    """Field name at the top level of a text message -> the line where it stands last, which counts."""
    return dict(_top_level(text, blocks_only=False))


def is_solver(text: str) -> bool:
    """Whether a prototxt or template is a solver, by field names that only nets or only solvers have."""
    solver, net = (set(kind.DESCRIPTOR.fields_by_name) for kind in (SolverParameter, NetParameter))
    names = set(top_level_fields(text))
    return bool(names & (solver - net)) and not names & (net - solver)


def _top_level(text: str, *, blocks_only: bool) -> list[tuple[str, int]]:
    """(name, line) of the words at depth 0; with `blocks_only` only words that open a block."""
    found = []
    line, depth, word, word_line = 1, 0, "", 1
    for match in _TOKEN.finditer(text):
        token = match.group(0)
        if token == "\n":
            line += 1
        elif token in "{<":
            if depth == 0 and blocks_only:
                found.append((word, word_line))
            depth += 1
        elif token in "}>":
            depth -= 1
        elif token[0] not in "#\"'$":
            word, word_line = token, line
            if depth == 0 and not blocks_only:
                found.append((word, word_line))
    return found


def to_text(message: Message) -> str:
    """A message as prototxt text, in Caffe's field order."""
    return text_format.MessageToString(message)


def _not_text(path: str | Path, found: str) -> PrototxtError:
    return PrototxtError(
        "is not prototxt text",
        where=path,
        found=found,
        expected="UTF-8 text of at most 64 MB",
        advice="name the prototxt; weights are given separately (--weights)",
    )
