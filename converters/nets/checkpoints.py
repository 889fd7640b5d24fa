"""A net for evaluation from another program's checkpoint, alone or with a prototxt."""

from __future__ import annotations

from rlossctl.converters.nets.implied_net import implied_net
from rlossctl.converters.nets.inference_net import TrainedNet, open_trained
from rlossctl.errors import WeightsError
from rlossctl.net.origin import DataOverrides, NetOrigin


def open_checkpoint(origin: NetOrigin, data: DataOverrides | None = None) -> TrainedNet:
    """The net with a checkpoint's weights.

    Args:
        origin: a prototxt and its weights; or the checkpoint in the prototxt's place, without weights: then
            the net is the one inside it, or the one of rlossctl's own that it fits.
        data: replaces the data layers' own settings.

    Raises:
        WeightsError: the checkpoint is from an unknown program, or does not fit.
    """
    if origin.weights is not None:
        return open_trained(origin, data, whole=False)
    with implied_net(origin) as implied:
        if implied is None:
            raise WeightsError(
                "does not say which net it belongs to",
                where=origin.prototxt,
                expected="a checkpoint of a known program, or a file with its net inside",
                advice="name the prototxt before it",
            )
        trained = open_trained(implied.origin, data, whole=False)
        net = f"the net is {implied.reason}"
        return TrainedNet(**{**vars(trained), "notes": (net, *trained.notes)})
