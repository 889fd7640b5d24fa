"""EdgeNets (sacmehta): ESPNetv2 for segmentation. A `.pth` is a plain state_dict."""

from __future__ import annotations

from rlossctl.converters.importers.program import Facts, Fit, Program, labels

FIRST = "base_net.level1.conv.weight"
LAST = "bu_dec_l4.merge_layer.3.weight"
WIDTHS = {32: "0.5", 64: "1.0", 80: "1.25", 96: "1.5", 128: "2.0"}  # channels at stride 4 -> scale


def _config(facts: Facts) -> Fit:
    width = facts.tensors["base_net.level2_0.act.weight"].shape[0]
    pyramid = facts.tensors["bu_dec_l4.stages.0.weight"].shape[0]
    network = f"espnetv2_s{WIDTHS.get(width, '2.0')}"
    return Fit(network, {**labels(facts.tensors, LAST), "PYRAMID_WIDTH": pyramid})


PROGRAMS = (
    Program(
        "edgenets",
        "ESPNetv2 of EdgeNets",
        (FIRST, "base_net.level2_0.act.weight", "bu_dec_l4.stages.0.weight", LAST),
        _config,
        first=r"base_net\.level1\.conv|base_net\.level\d_0\.inp_reinf\.0\.conv",
        idle=(r"base_net\.level\d_0\.eesp\.module_act",),
    ),
)
