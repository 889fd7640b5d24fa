"""The Gated CRF loss's program (toshas/GatedCRFLoss): DeepLab v3+ on torchvision's ResNets.

It writes a pytorch-lightning `.ckpt`; the network is `net` in its state_dict.
"""

from __future__ import annotations

from rlossctl.converters.importers.program import Facts, Fit, Program, labels, resnet_depth

LAST = "net.decoder.last_conv.6.weight"


def _config(facts: Facts) -> Fit:
    depth = resnet_depth(facts.tensors, "net.encoder.encoder.", known=(50, 34, 101))
    return Fit(f"deeplabv3plus_resnet{depth}_gatedcrf", labels(facts.tensors, LAST))


PROGRAMS = (
    Program(
        "gatedcrf",
        "DeepLab v3+ of the Gated CRF loss",
        ("net.aspp.conv0.0.weight", LAST),
        _config,
        first=r"backbone\.conv1",
        rename=(
            (r"net\.encoder\.encoder\.(.*)", r"backbone.\1"),
            (r"net\.aspp\.conv0\.0", "aspp.aspp1.atrous_conv"),
            (r"net\.aspp\.conv0\.1", "aspp.aspp1.bn"),
            (r"net\.aspp\.conv1\.0", "aspp.aspp2.atrous_conv"),
            (r"net\.aspp\.conv1\.1", "aspp.aspp2.bn"),
            (r"net\.aspp\.conv2\.0", "aspp.aspp3.atrous_conv"),
            (r"net\.aspp\.conv2\.1", "aspp.aspp3.bn"),
            (r"net\.aspp\.conv3\.0", "aspp.aspp4.atrous_conv"),
            (r"net\.aspp\.conv3\.1", "aspp.aspp4.bn"),
            (r"net\.aspp\.pool\.1\.0", "aspp.global_avg_pool.1"),
            (r"net\.aspp\.pool\.1\.1", "aspp.global_avg_pool.2"),
            (r"net\.aspp\.conv_out\.0", "aspp.conv1"),
            (r"net\.aspp\.conv_out\.1", "aspp.bn1"),
            (r"net\.decoder\.reduce_skip_4x\.0", "decoder.conv1"),
            (r"net\.decoder\.reduce_skip_4x\.1", "decoder.bn1"),
            (r"net\.decoder\.last_conv\.([01])", r"decoder.last_conv.\1"),
            (r"net\.decoder\.last_conv\.3", "decoder.last_conv.4"),
            (r"net\.decoder\.last_conv\.4", "decoder.last_conv.5"),
            (r"net\.decoder\.last_conv\.6", "decoder.last_conv.8"),
        ),
    ),
)
