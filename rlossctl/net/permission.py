"""Whether a net may run the programs that its Python layers name."""

from __future__ import annotations

from collections.abc import Sequence

from rlossctl.net.outline import layer_error
from rlossctl.prototxt.messages import LayerParameter
from rlossctl.trust import allows_python_layers

BUILT_IN = ("spatial_dropout", "SpatialDropoutLayer")  # ENet's module and layer, which need no loading


def needs_permission(message: LayerParameter, *, fed: bool) -> bool:
    """Whether a layer would run a program; `fed` layers without bottoms do not."""
    if message.type != "Python" or (fed and not message.bottom):
        return False
    return (message.python_param.module, message.python_param.layer) != BUILT_IN


def check_permission(layers: Sequence[tuple[LayerParameter, str]]) -> None:
    """Refuses layers that would run a program, all at once, unless the user allows it.

    Args:
        layers: the layers and where they stand.

    Raises:
        NetError: there are any, and no permission.
    """
    if not layers or allows_python_layers():
        return
    message, where = layers[0]
    param = message.python_param
    others = [
        f"{layer.name!r} ({layer.python_param.module}.{layer.python_param.layer}, {place})"
        for layer, place in layers[1:]
    ]
    data = any(not layer.bottom for layer, _ in layers)
    raise layer_error(
        message.name,
        message.type,
        where,
        f"would run a program: the class {param.layer} of the Python module {param.module}",
        found=f"{len(layers)} Python layers; the others are {', '.join(others)}" if others else None,
        expected="your permission",
        advice="read the module, then add --allow-python-layers (in Python: "
        "with rlossctl.python_layers_allowed())"
        + ("; inspect and convert do not need a data layer's program (--image-shape C,H,W)" if data else ""),
    )
