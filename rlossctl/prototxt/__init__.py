"""Text to messages: templates, the schema, phase rules, dialects, and the way back to text and wire."""

from rlossctl.prototxt.text import (
    NetFile,
    load_net_file,
    load_net_parameter,
    load_solver_parameter,
    parse_net,
    to_text,
)

__all__ = ["NetFile", "load_net_file", "load_net_parameter", "load_solver_parameter", "parse_net", "to_text"]
