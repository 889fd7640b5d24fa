"""`--int8-auto`: how few layers must stay in float32 for int8 to lose no more than it may."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rlossctl.errors import NetError


def fewest(layers: Sequence[str], loss: Callable[[Sequence[str]], float], allowed: float) -> Sequence[str]:
    """The shortest beginning of a list of layers with which the loss is within what is allowed.

    Bisection: it takes the logarithm of their number of tries, and trusts that more layers never lose more.

    Args:
        layers: the noisiest first.
        loss: what a model with these layers in float32 loses.

    Raises:
        NetError: even with all layers in float32 it loses more.
    """
    if loss(()) <= allowed:
        return ()
    low, high = 0, len(layers)
    if (least := loss(layers)) > allowed:
        raise NetError(
            "int8 loses more than it may even with all layers in float32",
            found=f"{least:.3g}",
            expected=f"at most {allowed:g}",
            advice="allow more (--int8-auto), or choose other ranges (--int8-ranges percentile)",
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if loss(layers[:middle]) <= allowed else (middle, high)
    return layers[:high]
