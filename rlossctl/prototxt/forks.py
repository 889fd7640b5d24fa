"""Which Caffe fork a layer type or field unknown to rlossctl comes from. Used only in messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlossctl.prototxt.messages import SolverParameter

RFCN = "R-FCN"
SSD = "SSD"
YOLO = "YOLO forks"
FLOWNET = "FlowNet"
INTEL = "Intel Caffe"
NVIDIA = "NVCaffe"
MNC = "MNC"
BLURRING = "philkr/caffe, whose Resize blurs before it shrinks"

# Layer types that public nets use and rlossctl does not compute.
TYPES = {
    "AnnotatedData": SSD,
    "AttentionCrop": "RA-CNN",
    "Augmentation": FLOWNET,
    "BatchReduction": "TSN (yjxiong/caffe)",
    "BoxAnnotatorOHEM": RFCN,
    "BoxOutput": "MS-CNN",
    "BilinearInterpolation": "spatial transformer forks",
    "ChannelNorm": FLOWNET,
    "Correlation": FLOWNET,
    "CustomData": FLOWNET,
    "DataAugmentation": FLOWNET,
    "DecodeBBox": "Sighthound and RefineDet forks",
    "DeformableConvolution": "Deformable ConvNets",
    "DeformablePSROIPooling": "Deformable ConvNets",
    "DetectionEvaluate": SSD,
    "DetectNetTransformation": NVIDIA,
    "Downsample": FLOWNET,
    "EuclideanLossLPQ": FLOWNET,
    "EvalDetection": YOLO,
    "FlowWarp": FLOWNET,
    "GRL": "gradient reversal forks",
    "GradientScaler": "gradient reversal forks",
    "GenerateAugmentationParameters": FLOWNET,
    "ImgReader": FLOWNET,
    "L1Loss": FLOWNET,
    "LabelSpecificAdd": "CosFace and ArcFace forks",
    "LpqLoss": FLOWNET,
    "MarginInnerProduct": "SphereFace",
    "MaskPooling": MNC,
    "MaskResize": MNC,
    "MultiBoxLoss": SSD,
    "MnActivation": INTEL,
    "NMSFilter": "densebox forks",
    "Proposal": "Faster R-CNN forks in C++",
    "RegionLoss": YOLO,
    "ROIMaskPooling": MNC,
    "ROIWarping": MNC,
    "ROIWarpingTest": MNC,
    "Resample": FLOWNET,
    "RingPad": "panoramic detection",
    "SmoothL1LossOHEM": RFCN,
    "SoftmaxWithFocalLoss": "focal loss forks",
    "SoftmaxWithLossOHEM": RFCN,
    "SpatialDropout": INTEL,
    "SpatialTransformer": "spatial transformer forks",
    "TripletLoss": "FaceNet forks",
    "VideoData": SSD,
    "YoloDetectionOutput": YOLO,
    "YoloV3Loss": YOLO,
    "Yolov3DetectionOutput": YOLO,
    "Yolov3": YOLO,
}

# Fields that rlossctl does not know; an entry for a message field also covers all fields below it.
FIELDS = {
    "LayerParameter": {
        "annotated_data_param": SSD,
        "augmentation_param": FLOWNET,
        "batch_reduction_param": "TSN (yjxiong/caffe)",
        "box_output_param": "MS-CNN",
        "correlation_param": FLOWNET,
        "deformable_convolution_param": "Deformable ConvNets",
        "deformable_psroi_pooling_param": "Deformable ConvNets",
        "densecrf_param": "CCNN, whose DenseCRF is not the layer of DeepLab's dense_crf_param",
        "detectnet_augmentation_param": NVIDIA,
        "detectnet_groundtruth_param": NVIDIA,
        "detection_evaluate_param": SSD,
        "eval_detection_param": YOLO,
        "expand_param": SSD,
        "flow_warp_param": FLOWNET,
        "focal_loss_param": "focal loss forks",
        "l1_loss_param": FLOWNET,
        "margin_inner_product_param": "SphereFace",
        "mask_pooling_param": MNC,
        "mask_resize_param": MNC,
        "mn_activation_param": INTEL,
        "mn_grad_compress_param": INTEL,
        "multibox_loss_param": SSD,
        "multinode": INTEL,
        "proposal_param": "Faster R-CNN forks in C++",
        "quantization_param": INTEL,
        "reader_param": FLOWNET,
        "region_loss_param": YOLO,
        "resample_param": FLOWNET,
        "roi_warping_param": MNC,
        "roi_warping_test_param": MNC,
        "st_param": "spatial transformer forks",
        "video_data_param": SSD,
        "yolo_detection_output_param": YOLO,
        "yolov3_detection_output_param": YOLO,
        "yolov3_param": YOLO,
    },
    "TransformationParameter": {
        "bgr2rgb": "Intel Caffe's SSD",
        "crop_h": "SSD and PSPNet",
        "crop_w": "SSD and PSPNet",
        "distort_param": SSD,
        "emit_constraint": SSD,
        "expand_param": SSD,
        "gaussian_blur": "PSPNet",
        "image_random_resize": NVIDIA,
        "img_rand_resize_lower": NVIDIA,
        "img_rand_resize_upper": NVIDIA,
        "noise_param": SSD,
        "rand_aspect_ratio": "PSPNet",
        "rand_resize": "PSPNet",
        "rand_resize_ratio_lower": NVIDIA,
        "rand_resize_ratio_upper": NVIDIA,
        "rand_rotate": "PSPNet",
        "random_resize_param": INTEL,
        "random_aspect_ratio_param": INTEL,
        "resize_param": SSD,
        "use_gpu_transform": NVIDIA,
    },
    "ROIAlignParameter": {"pad_ratio": "Cascade R-CNN, which takes the corners of a grid"},
    "ReorgParameter": {"flatten": YOLO, "up_down": "a fork whose Reorg orders channels in another way"},
    "ResizeLayerParameter": {
        "crop": BLURRING,
        "crop_x": BLURRING,
        "crop_y": BLURRING,
        "height_out": "philm5/caffe, whose Resize also moves the image",
        "scale": BLURRING,
        "scale_x": "philkr/caffe and philm5/caffe, which do not agree on it",
        "scale_y": "philkr/caffe and philm5/caffe, which do not agree on it",
        "shift_x": "philm5/caffe, whose Resize also moves the image",
        "shift_y": "philm5/caffe, whose Resize also moves the image",
        "width_out": "philm5/caffe, whose Resize also moves the image",
    },
    "LossParameter": {"pre_fixed_normalizer": RFCN},
    "ConvolutionParameter": {"dilation_h": "3-D forks", "dilation_w": "3-D forks"},
    "SolverParameter": {
        "activation_history_max_len": INTEL,
        "larc": NVIDIA,
        "larc_policy": NVIDIA,
        "larc_eta": NVIDIA,
        "local_gw_ratio": INTEL,
        "local_lr_auto": INTEL,
        "min_lr": NVIDIA,
        "plateau_winsize": SSD,
        "rampup_interval": NVIDIA,
        "rampup_lr": NVIDIA,
        "warmup_iter": INTEL,
        "warmup_start_lr": INTEL,
    },
}

# Solver fields that are read but have no effect: reports of the fork's own test, and how it computes.
SOLVER_WITHOUT_EFFECT = {
    "ap_version": SSD,
    "eval_type": SSD,
    "per_parameter_reduce": SSD,
    "show_per_class_result": SSD,
    "solver_data_type": NVIDIA,
    "store_blobs_in_old_format": NVIDIA,
}


def solver_notes(param: SolverParameter) -> list[str]:
    """A sentence for each field of a solver that has no effect here."""
    return [
        f"{name}, a field of {fork}'s solver, has no effect: training does not depend on it"
        for name, fork in SOLVER_WITHOUT_EFFECT.items()
        if param.HasField(name)
    ]


def of_type(name: str) -> str:
    """The fork that a layer type comes from; "" if it is not known."""
    return TYPES.get(name, "")


def of_field(message: str, field: str) -> str:
    """The fork that a message's field comes from; "" if it is not known."""
    return FIELDS.get(message, {}).get(field, "")
