"""Prototxts as they are found in public: what `inspect` makes of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from rlossctl.cli import cli

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = Path(os.environ.get("RLOSSCTL_SHARED", ROOT.parent / "shared"))
WILD = SHARED / "cases" / "wild_prototxt"

pytestmark = pytest.mark.skipif(not WILD.is_dir(), reason="needs ../shared/cases/wild_prototxt")

# file, options -> what the report of a file that opens says
OPENED = {
    "ceil_mode_false.prototxt": ["1x3x3x3"],
    "net.pt": ["1x4x6x6"],
    "hole.prototxt": ["1x4x4x4"],
    "crop_without_offset.prototxt": ["0, as in BVLC", "take 5 for 'c' (--dialect fcn)"],
    "crop_without_offset.prototxt --dialect fcn": ["5 for 'c', from coordinates"],
    "v1_crop.prototxt": ["5 for 'c', from coordinates", "upgraded from Caffe's V1 form"],
    "v1_image_seg_data.prototxt": ["ImageSegData", "1x3x8x8 1x1x8x8"],
    "bn_four_blobs.prototxt": ["BN", "16 (64 B)"],
    "upsample_scale.prototxt": ["1x4x16x16"],
    "batchnorm_scale_bias.prototxt": ["17 (68 B)"],
    "solver_eval_type.prototxt": ["eval_type, a field of SSD's solver, has no effect"],
    "python_data.prototxt --image-shape 3,64,64": ["1x3x64x64"],
    "byte_order_mark.prototxt": ["1x4x6x6"],
    "latin1_comment.prototxt": ["1x4x6x6"],
    "real/deploy_psp_air101-merge.prototxt": ["651 layers"],
    "real/zf_stage1_rpn_solver60k80k.pt": ["solver, type SGD, policy step"],
    "real/icnet_cityscapes_bnnomerge.prototxt": ["219 layers"],
    "real/DeconvNet_inference_deploy.prototxt": ["98 layers", "Unpooling"],
    "real/fcn-8s-pascal-deploy.prototxt": ["5 for 'score-pool4', 9 for 'score-pool3', 31 for 'bigscore'"],
    "real/TVG_CRFRNN_new_deploy.prototxt": ["MultiStageMeanfield", "31 for 'bigscore', from coordinates"],
    "real/voc-fcn32s_train.prototxt --image-shape 3,321,321": ["1x3x321x321 1x1x321x321"],
    "real/hed_train_val.prototxt --image-shape 3,321,481": ["34 for 'score-dsn1-up', 35 for", "42 for"],
    "real/MobileNetSSD_deploy.prototxt": ["DetectionOutput", "1x2x7668"],
    "real/MobileNetSSD_solver.prototxt": ["ap_version", "RMSProp"],
}
# file, options -> what the error of a file that does not says
REFUSED = {
    "priorbox.prototxt": ["priorbox.prototxt:5", "layer 'det' (DetectionOutput)"],
    "web_page.prototxt": ["web page"],
    "lfs_pointer.prototxt": ["Git LFS pointer"],
    "v1_type_in_layer.prototxt": ["line 3", 'type: "Convolution"'],
    "real/zf_rpn_test.pt": [".pt:220", "layer 'proposal' (Python)", "rpn.proposal_layer"],
    "real/ccnn_deploy_8s.prototxt": ["line 574: densecrf_param in layer 'densecrf' (DenseCRF), of CCNN"],
    "real/sec_train.prototxt --image-shape 3,321,321": [
        "'Annotation'",
        "6 Python layers",
        "'loss-Constrain'",
    ],
    "real/mnc_cfm_test.prototxt": ["MaskPooling (of MNC) in layer 'mask_pooling'", ":459"],
    "real/hed_train_val.prototxt": ["--image-shape"],
    "real/netscope_vgg-16.prototxt": ["netscope_vgg-16.prototxt:2", "`layer` in line 2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("command, texts", OPENED.items())
def test_it_opens(command: str, texts: list[str]):
    name, *options = command.split()
    result = CliRunner().invoke(cli, ["inspect", str(WILD / name), *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert all(text in result.output for text in texts)


@pytest.mark.parametrize("command, texts", REFUSED.items())
def test_it_is_refused_with_what_it_is_and_where(command: str, texts: list[str]):
    name, *options = command.split()
    result = CliRunner().invoke(cli, ["inspect", str(WILD / name), *options])
    assert result.exit_code == 1
    message = str(result.exception) + result.output
    assert all(text in message for text in texts)
