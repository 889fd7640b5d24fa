"""Other packages' permutohedral filters for `rlossctl bench filter --peers`, where they are installed.

Both divide by the sum of the weights, which our filter does not, so that only their time is compared.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import torch

from rlossctl.bench.contenders import Contender, Filter, features_of


@dataclass(frozen=True)
class Peer:
    """A package that may be installed.

    Attributes:
        module: what must be importable for `apply`.
        needs: how to get it.
        cuda: whether it runs on GPUs alone.
    """

    name: str
    module: str
    what: str
    needs: str
    apply: Filter
    cuda: bool = False

    def missing(self) -> str | None:
        """Why it cannot run here; None if it can."""
        try:
            importlib.import_module(self.module)
        except ImportError as error:
            return f"not installed ({error}); {self.needs}"
        return "installed, but needs a CUDA device" if self.cuda and not torch.cuda.is_available() else None


def peers() -> tuple[list[Contender], list[str]]:
    """The peers that can run here, and a line for each of the others."""
    missing = {peer.name: peer.missing() for peer in PEERS}
    found = [Contender(peer.name, peer.what, peer.apply) for peer in PEERS if missing[peer.name] is None]
    return found, [f"{name:>12}: {why}" for name, why in missing.items() if why is not None]


def _monai(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
    from monai.networks.layers.filtering import PHLFilter

    shape = len(image), -1, *image.shape[2:]
    features = torch.stack([features_of(colours, sigma_xy, sigma_rgb) for colours in image])
    PHLFilter.apply(values.contiguous(), features.view(shape).contiguous())


def _warpconvnet(values: torch.Tensor, image: torch.Tensor, sigma_xy: float, sigma_rgb: float) -> None:
    from warpconvnet.nn.functional.permutohedral import permutohedral_filter

    for one, colours in zip(values, image, strict=True):
        points = features_of(colours, sigma_xy, sigma_rgb).t().contiguous()  # [P, 5]
        planes = one.flatten(1).t().contiguous()  # [P, K]
        permutohedral_filter(points.cuda(), planes.cuda(), sigma=1.0)
    torch.cuda.synchronize()


PEERS = (
    Peer(
        "monai",
        "monai._C",
        "MONAI's PHLFilter, normalised",
        "with its C++ part: BUILD_MONAI=1 pip install --no-build-isolation --no-binary monai monai",
        _monai,
    ),
    Peer(
        "warpconvnet",
        "warpconvnet.nn.functional.permutohedral",
        "WarpConvNet's permutohedral_filter on the GPU, with the copies to it, normalised",
        "built from source: https://github.com/NVlabs/WarpConvNet",
        _warpconvnet,
        cuda=True,
    ),
)
