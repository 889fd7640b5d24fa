"""From text to messages and back to text and wire: templates, the schema, phase rules, dialects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlossctl import lazy

if TYPE_CHECKING:
    from rlossctl.prototxt.text import NetFile as NetFile
    from rlossctl.prototxt.text import load_net_file as load_net_file
    from rlossctl.prototxt.text import load_net_parameter as load_net_parameter
    from rlossctl.prototxt.text import load_solver_parameter as load_solver_parameter
    from rlossctl.prototxt.text import parse_net as parse_net
    from rlossctl.prototxt.text import to_text as to_text

_NAMES = ("NetFile", "load_net_file", "load_net_parameter", "load_solver_parameter", "parse_net", "to_text")

__all__ = [*_NAMES]
__getattr__ = lazy.exports(__name__, dict.fromkeys(_NAMES, ".text"))
