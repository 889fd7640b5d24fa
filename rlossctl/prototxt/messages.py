"""The messages and enums of proto/rlossctl.proto: `from rlossctl.prototxt.messages import NetParameter`.

Each is looked up in the schema when it is imported; `messages.pyi`, next to this file, gives its fields to
type checkers and editors. An enum has `Name(number)` and `Value(name)`; its values are attributes of the enum
and of the message around it (`SolverParameter.GPU`).
"""

from __future__ import annotations

from rlossctl.prototxt import schema


def __getattr__(name: str) -> object:
    for find in (schema.message_class, schema.enum):
        try:
            return find(name)
        except KeyError:
            continue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
