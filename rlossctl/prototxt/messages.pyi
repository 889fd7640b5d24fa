# Written by proto/stub.py from proto/rlossctl.proto: do not change it here.
from typing import type_check_only

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer as _Messages
from google.protobuf.internal.containers import RepeatedScalarFieldContainer as _Values
from google.protobuf.message import Message
from typing_extensions import Self

@type_check_only
class _Enum(int):
    @classmethod
    def Name(cls, number: int) -> str: ...
    @classmethod
    def Value(cls, name: str) -> Self: ...
    @classmethod
    def keys(cls) -> list[str]: ...
    @classmethod
    def values(cls) -> list[Self]: ...
    @classmethod
    def items(cls) -> list[tuple[str, Self]]: ...

class Phase(_Enum):
    TRAIN: Phase
    TEST: Phase

class DataType(_Enum):
    DOUBLE: DataType
    FLOAT: DataType
    FLOAT16: DataType
    INT: DataType
    UINT: DataType

class ConvolutionSeeker(_Enum):
    GET: ConvolutionSeeker
    FINDEX: ConvolutionSeeker

class NetParameter(Message):
    name: str
    layers: _Messages[V1LayerParameter]
    input: _Values[str]
    input_dim: _Values[int]
    force_backward: bool
    state: NetState
    debug_info: bool
    input_shape: _Messages[BlobShape]
    layer: _Messages[LayerParameter]
    default_forward_type: DataType
    default_backward_type: DataType
    default_forward_math: DataType
    default_backward_math: DataType
    global_grad_scale: float
    global_grad_scale_adaptive: bool
    reduce_buckets: int
    default_conv_algos_override: str
    engine: str

class NetState(Message):
    phase: Phase
    level: int
    stage: _Values[str]

class NetStateRule(Message):
    phase: Phase
    min_level: int
    max_level: int
    stage: _Values[str]
    not_stage: _Values[str]

class LayerParameter(Message):
    name: str
    type: str
    bottom: _Values[str]
    top: _Values[str]
    loss_weight: _Values[float]
    param: _Messages[ParamSpec]
    blobs: _Messages[BlobProto]
    include: _Messages[NetStateRule]
    exclude: _Messages[NetStateRule]
    phase: Phase
    propagate_down: _Values[bool]
    bn_param: BNParameter
    transform_param: TransformationParameter
    loss_param: LossParameter
    accuracy_param: AccuracyParameter
    argmax_param: ArgMaxParameter
    concat_param: ConcatParameter
    contrastive_loss_param: ContrastiveLossParameter
    convolution_param: ConvolutionParameter
    data_param: DataParameter
    dropout_param: DropoutParameter
    dummy_data_param: DummyDataParameter
    eltwise_param: EltwiseParameter
    exp_param: ExpParameter
    hdf5_data_param: HDF5DataParameter
    hdf5_output_param: HDF5OutputParameter
    hinge_loss_param: HingeLossParameter
    image_data_param: ImageDataParameter
    infogain_loss_param: InfogainLossParameter
    inner_product_param: InnerProductParameter
    lrn_param: LRNParameter
    memory_data_param: MemoryDataParameter
    mvn_param: MVNParameter
    pooling_param: PoolingParameter
    power_param: PowerParameter
    relu_param: ReLUParameter
    sigmoid_param: SigmoidParameter
    softmax_param: SoftmaxParameter
    slice_param: SliceParameter
    tanh_param: TanHParameter
    threshold_param: ThresholdParameter
    window_data_param: WindowDataParameter
    python_param: PythonParameter
    prelu_param: PReLUParameter
    spp_param: SPPParameter
    reshape_param: ReshapeParameter
    log_param: LogParameter
    flatten_param: FlattenParameter
    reduction_param: ReductionParameter
    embed_param: EmbedParameter
    tile_param: TileParameter
    batch_norm_param: BatchNormParameter
    elu_param: ELUParameter
    bias_param: BiasParameter
    scale_param: ScaleParameter
    input_param: InputParameter
    crop_param: CropParameter
    parameter_param: ParameterParameter
    recurrent_param: RecurrentParameter
    swish_param: SwishParameter
    clip_param: ClipParameter
    bias_channel_param: BiasChannelParameter
    unique_label_param: UniqueLabelParameter
    mat_read_param: MatReadParameter
    densecrf_loss_param: DenseCRFLossParameter
    upsample_param: UpsampleParameter
    dense_image_data_param: DenseImageDataParameter
    interp_param: InterpParameter
    seg_accuracy_param: SegAccuracyParameter
    mat_write_param: MatWriteParameter
    dense_crf_param: DenseCRFParameter
    domain_transform_param: DomainTransformParameter
    adaptive_bias_channel_param: AdaptiveBiasChannelParameter
    shuffle_channel_param: ShuffleChannelParameter
    permute_param: PermuteParameter
    norm_param: NormalizeParameter
    pixel_shuffle_param: PixelShuffleParameter
    relu6_param: ReLU6Parameter
    prior_box_param: PriorBoxParameter
    detection_output_param: DetectionOutputParameter
    roi_pooling_param: ROIPoolingParameter
    smooth_l1_loss_param: SmoothL1LossParameter
    psroi_pooling_param: PSROIPoolingParameter
    box_annotator_ohem_param: BoxAnnotatorOHEMParameter
    selu_param: SeLUParameter
    center_loss_param: CenterLossParameter
    unpooling_param: UnpoolingParameter
    multi_stage_meanfield_param: MultiStageMeanfieldParameter
    resize_param: ResizeLayerParameter
    reorg_param: ReorgParameter
    roi_align_param: ROIAlignParameter
    forward_type: DataType
    backward_type: DataType
    forward_math: DataType
    backward_math: DataType
    engine: str
    adaptive_pooling_param: AdaptivePoolingParameter
    loss_schedule: LossScheduleParameter
    group_norm_param: GroupNormParameter
    focal_loss_param: FocalLossParameter
    dice_loss_param: DiceLossParameter
    lovasz_loss_param: LovaszLossParameter
    entropy_loss_param: EntropyLossParameter
    size_loss_param: SizeLossParameter
    potts_loss_param: PottsLossParameter
    normalized_cut_loss_param: NormalizedCutLossParameter
    gated_crf_loss_param: GatedCRFLossParameter
    tree_energy_loss_param: TreeEnergyLossParameter
    soft_pseudo_label_param: SoftPseudoLabelParameter
    dual_decomposition_crf_param: DualDecompositionCRFParameter
    segmentation_scores_param: SegmentationScoresParameter

class ParamSpec(Message):
    class DimCheckMode(_Enum):
        STRICT: ParamSpec.DimCheckMode
        PERMISSIVE: ParamSpec.DimCheckMode

    STRICT: DimCheckMode
    PERMISSIVE: DimCheckMode
    name: str
    share_mode: ParamSpec.DimCheckMode
    lr_mult: float
    decay_mult: float

class SolverParameter(Message):
    class SnapshotFormat(_Enum):
        HDF5: SolverParameter.SnapshotFormat
        BINARYPROTO: SolverParameter.SnapshotFormat

    HDF5: SnapshotFormat
    BINARYPROTO: SnapshotFormat
    class SolverMode(_Enum):
        CPU: SolverParameter.SolverMode
        GPU: SolverParameter.SolverMode

    CPU: SolverMode
    GPU: SolverMode
    class SolverType(_Enum):
        SGD: SolverParameter.SolverType
        NESTEROV: SolverParameter.SolverType
        ADAGRAD: SolverParameter.SolverType
        RMSPROP: SolverParameter.SolverType
        ADADELTA: SolverParameter.SolverType
        ADAM: SolverParameter.SolverType

    SGD: SolverType
    NESTEROV: SolverType
    ADAGRAD: SolverType
    RMSPROP: SolverType
    ADADELTA: SolverType
    ADAM: SolverType
    class Precision(_Enum):
        FP32: SolverParameter.Precision
        BF16: SolverParameter.Precision
        FP16: SolverParameter.Precision

    FP32: Precision
    BF16: Precision
    FP16: Precision
    train_net: str
    test_net: _Values[str]
    test_iter: _Values[int]
    test_interval: int
    base_lr: float
    display: int
    max_iter: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    stepsize: int
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    solver_mode: SolverParameter.SolverMode
    device_id: int
    test_compute_loss: bool
    random_seed: int
    train_net_param: NetParameter
    test_net_param: _Messages[NetParameter]
    debug_info: bool
    net: str
    net_param: NetParameter
    train_state: NetState
    test_state: _Messages[NetState]
    snapshot_after_train: bool
    regularization_type: str
    solver_type: SolverParameter.SolverType
    delta: float
    test_initialization: bool
    average_loss: int
    stepvalue: _Values[int]
    clip_gradients: float
    iter_size: int
    snapshot_format: SolverParameter.SnapshotFormat
    rms_decay: float
    momentum2: float
    type: str
    layer_wise_reduce: bool
    weights: _Values[str]
    test_whole_list: bool
    monitor: str
    patience: int
    snapshot_best: bool
    precision: SolverParameter.Precision
    onecycle: OneCycleParameter
    warmup_iter: int
    warmup_ratio: float
    lr_ahead: int
    ema_decay: float
    freeze: _Values[str]
    freeze_batch_norm: bool
    sync_batch_norm: bool
    eval_type: str
    ap_version: str
    show_per_class_result: bool
    per_parameter_reduce: bool
    solver_data_type: DataType
    store_blobs_in_old_format: bool

class OneCycleParameter(Message):
    rise: float
    divide: float
    final_divide: float
    momentum_low: float
    momentum_high: float

class SolverState(Message):
    iter: int
    learned_net: str
    history: _Messages[BlobProto]
    current_step: int

class BlobShape(Message):
    dim: _Values[int]

class BlobProto(Message):
    num: int
    channels: int
    height: int
    width: int
    data: _Values[float]
    diff: _Values[float]
    shape: BlobShape
    double_data: _Values[float]
    double_diff: _Values[float]

class BlobProtoVector(Message):
    blobs: _Messages[BlobProto]

class Datum(Message):
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    float_data: _Values[float]
    encoded: bool

class FillerParameter(Message):
    class VarianceNorm(_Enum):
        FAN_IN: FillerParameter.VarianceNorm
        FAN_OUT: FillerParameter.VarianceNorm
        AVERAGE: FillerParameter.VarianceNorm

    FAN_IN: VarianceNorm
    FAN_OUT: VarianceNorm
    AVERAGE: VarianceNorm
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: FillerParameter.VarianceNorm

class TransformationParameter(Message):
    class Side(_Enum):
        SHORT: TransformationParameter.Side
        LONG: TransformationParameter.Side

    SHORT: Side
    LONG: Side
    class ScaleLaw(_Enum):
        FACTOR: TransformationParameter.ScaleLaw
        WINDOW: TransformationParameter.ScaleLaw

    FACTOR: ScaleLaw
    WINDOW: ScaleLaw
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    mean_value: _Values[float]
    force_color: bool
    force_gray: bool
    scale_factors: _Values[float]
    crop_width: int
    crop_height: int
    scale_min: float
    scale_max: float
    scale_law: TransformationParameter.ScaleLaw
    base_size: int
    base_side: TransformationParameter.Side
    rotate: float
    perspective: float
    antialias: bool
    fill_value: _Values[float]
    blur_sigma: float
    blur_probability: float
    brightness: float
    contrast: float
    saturation: float
    hue: float
    std_value: _Values[float]

class LossParameter(Message):
    class NormalizationMode(_Enum):
        FULL: LossParameter.NormalizationMode
        VALID: LossParameter.NormalizationMode
        BATCH_SIZE: LossParameter.NormalizationMode
        NONE: LossParameter.NormalizationMode
        WEIGHTS: LossParameter.NormalizationMode

    FULL: NormalizationMode
    VALID: NormalizationMode
    BATCH_SIZE: NormalizationMode
    NONE: NormalizationMode
    WEIGHTS: NormalizationMode
    ignore_label: int
    normalize: bool
    normalization: LossParameter.NormalizationMode
    class_weighting: _Values[float]
    weight_by_label_freqs: bool
    balanced: bool
    negative_weight: float

class AccuracyParameter(Message):
    top_k: int
    axis: int
    ignore_label: int

class AdaptiveBiasChannelParameter(Message):
    num_iter: int
    bg_portion: float
    fg_portion: float
    suppress_others: bool
    margin_others: float

class ArgMaxParameter(Message):
    out_max_val: bool
    top_k: int
    axis: int

class BNParameter(Message):
    class BNMode(_Enum):
        LEARN: BNParameter.BNMode
        INFERENCE: BNParameter.BNMode

    LEARN: BNMode
    INFERENCE: BNMode
    class Engine(_Enum):
        DEFAULT: BNParameter.Engine
        CAFFE: BNParameter.Engine
        CUDNN: BNParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    scale_filler: FillerParameter
    shift_filler: FillerParameter
    bn_mode: BNParameter.BNMode
    slope_filler: FillerParameter
    bias_filler: FillerParameter
    momentum: float
    eps: float
    frozen: bool
    engine: BNParameter.Engine

class BatchNormParameter(Message):
    class Engine(_Enum):
        DEFAULT: BatchNormParameter.Engine
        CAFFE: BatchNormParameter.Engine
        CUDNN: BatchNormParameter.Engine
        MKL2017: BatchNormParameter.Engine
        MKLDNN: BatchNormParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    update_global_stats: bool
    scale_filler: FillerParameter
    bias_filler: FillerParameter
    scale_bias: bool
    engine: BatchNormParameter.Engine

class BiasChannelParameter(Message):
    class LabelType(_Enum):
        IMAGE: BiasChannelParameter.LabelType
        PIXEL: BiasChannelParameter.LabelType

    IMAGE: LabelType
    PIXEL: LabelType
    bg_bias: float
    fg_bias: float
    ignore_label: _Values[int]
    label_type: BiasChannelParameter.LabelType
    background_label: int

class BiasParameter(Message):
    axis: int
    num_axes: int
    filler: FillerParameter

class ClipParameter(Message):
    min: float
    max: float

class ConcatParameter(Message):
    concat_dim: int
    axis: int

class ContrastiveLossParameter(Message):
    margin: float
    legacy_version: bool

class ConvolutionParameter(Message):
    class Engine(_Enum):
        DEFAULT: ConvolutionParameter.Engine
        CAFFE: ConvolutionParameter.Engine
        CUDNN: ConvolutionParameter.Engine
        MKL2017: ConvolutionParameter.Engine
        MKLDNN: ConvolutionParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    num_output: int
    bias_term: bool
    pad: _Values[int]
    kernel_size: _Values[int]
    group: int
    stride: _Values[int]
    weight_filler: FillerParameter
    bias_filler: FillerParameter
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    engine: ConvolutionParameter.Engine
    axis: int
    force_nd_im2col: bool
    dilation: _Values[int]
    hole: int
    hole_h: int
    hole_w: int
    cudnn_convolution_algo_seeker: ConvolutionSeeker
    conv_algos_override: str

class CropParameter(Message):
    axis: int
    offset: _Values[int]
    by_coordinates: bool

class DataParameter(Message):
    class DB(_Enum):
        LEVELDB: DataParameter.DB
        LMDB: DataParameter.DB

    LEVELDB: DB
    LMDB: DB
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    rand_skip: int
    backend: DataParameter.DB
    force_encoded_color: bool
    prefetch: int
    threads: int
    parser_threads: int
    cache: bool

class DenseCRFLossParameter(Message):
    class Mode(_Enum):
        LATTICE: DenseCRFLossParameter.Mode
        SYMMETRIC: DenseCRFLossParameter.Mode
        EXACT: DenseCRFLossParameter.Mode

    LATTICE: Mode
    SYMMETRIC: Mode
    EXACT: Mode
    bi_xy_std: float
    bi_rgb_std: float
    mode: DenseCRFLossParameter.Mode
    feature_std: _Values[float]

class DenseCRFParameter(Message):
    max_iter: int
    pos_xy_std: _Values[float]
    pos_w: _Values[float]
    bi_xy_std: _Values[float]
    bi_rgb_std: _Values[float]
    bi_w: _Values[float]
    output_probability: bool

class DenseImageDataParameter(Message):
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    mean_file: str
    root_folder: str
    mirror: bool
    crop_width: int
    crop_height: int
    label_divide_factor: int
    upright: bool

class DomainTransformParameter(Message):
    num_iter: int
    spatial_sigma: float
    range_sigma: float
    min_weight: float

class DropoutParameter(Message):
    dropout_ratio: float
    sample_weights_test: bool
    scale_train: bool
    whole_channels: bool

class DummyDataParameter(Message):
    data_filler: _Messages[FillerParameter]
    num: _Values[int]
    channels: _Values[int]
    height: _Values[int]
    width: _Values[int]
    shape: _Messages[BlobShape]

class ELUParameter(Message):
    alpha: float

class EltwiseParameter(Message):
    class EltwiseOp(_Enum):
        PROD: EltwiseParameter.EltwiseOp
        SUM: EltwiseParameter.EltwiseOp
        MAX: EltwiseParameter.EltwiseOp

    PROD: EltwiseOp
    SUM: EltwiseOp
    MAX: EltwiseOp
    operation: EltwiseParameter.EltwiseOp
    coeff: _Values[float]
    stable_prod_grad: bool

class EmbedParameter(Message):
    num_output: int
    input_dim: int
    bias_term: bool
    weight_filler: FillerParameter
    bias_filler: FillerParameter

class ExpParameter(Message):
    base: float
    scale: float
    shift: float

class FlattenParameter(Message):
    axis: int
    end_axis: int

class HDF5DataParameter(Message):
    source: str
    batch_size: int
    shuffle: bool

class HDF5OutputParameter(Message):
    file_name: str

class HingeLossParameter(Message):
    class Norm(_Enum):
        L1: HingeLossParameter.Norm
        L2: HingeLossParameter.Norm

    L1: Norm
    L2: Norm
    norm: HingeLossParameter.Norm

class ImageDataParameter(Message):
    class LabelType(_Enum):
        NONE: ImageDataParameter.LabelType
        IMAGE: ImageDataParameter.LabelType
        PIXEL: ImageDataParameter.LabelType
        STROKES: ImageDataParameter.LabelType

    NONE: LabelType
    IMAGE: LabelType
    PIXEL: LabelType
    STROKES: LabelType
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    root_folder: str
    label_divide_factor: int
    ignore_label: int
    label_type: ImageDataParameter.LabelType
    normalize: bool
    upright: bool
    weak_edges: bool
    annotation: _Values[str]
    stroke_width: int
    stroke_ratio: float
    classes: str
    cityscapes_ids: bool

class InfogainLossParameter(Message):
    source: str
    axis: int

class InnerProductParameter(Message):
    num_output: int
    bias_term: bool
    weight_filler: FillerParameter
    bias_filler: FillerParameter
    axis: int
    transpose: bool

class InputParameter(Message):
    shape: _Messages[BlobShape]

class InterpParameter(Message):
    height: int
    width: int
    zoom_factor: int
    shrink_factor: int
    pad_beg: int
    pad_end: int
    align_corners: bool
    interp_type: str
    factor: float
    at_least: int

class LRNParameter(Message):
    class NormRegion(_Enum):
        ACROSS_CHANNELS: LRNParameter.NormRegion
        WITHIN_CHANNEL: LRNParameter.NormRegion

    ACROSS_CHANNELS: NormRegion
    WITHIN_CHANNEL: NormRegion
    class Engine(_Enum):
        DEFAULT: LRNParameter.Engine
        CAFFE: LRNParameter.Engine
        CUDNN: LRNParameter.Engine
        MKL2017: LRNParameter.Engine
        MKLDNN: LRNParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    local_size: int
    alpha: float
    beta: float
    norm_region: LRNParameter.NormRegion
    k: float
    engine: LRNParameter.Engine

class LogParameter(Message):
    base: float
    scale: float
    shift: float

class MVNParameter(Message):
    normalize_variance: bool
    across_channels: bool
    eps: float

class MatReadParameter(Message):
    prefix: str
    source: str
    strip: int
    batch_size: int

class MatWriteParameter(Message):
    prefix: str
    source: str
    strip: int
    period: int

class MemoryDataParameter(Message):
    batch_size: int
    channels: int
    height: int
    width: int

class PReLUParameter(Message):
    filler: FillerParameter
    channel_shared: bool

class ParameterParameter(Message):
    shape: BlobShape

class PoolingParameter(Message):
    class PoolMethod(_Enum):
        MAX: PoolingParameter.PoolMethod
        AVE: PoolingParameter.PoolMethod
        STOCHASTIC: PoolingParameter.PoolMethod

    MAX: PoolMethod
    AVE: PoolMethod
    STOCHASTIC: PoolMethod
    class Engine(_Enum):
        DEFAULT: PoolingParameter.Engine
        CAFFE: PoolingParameter.Engine
        CUDNN: PoolingParameter.Engine
        MKL2017: PoolingParameter.Engine
        MKLDNN: PoolingParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    class RoundMode(_Enum):
        CEIL: PoolingParameter.RoundMode
        FLOOR: PoolingParameter.RoundMode

    CEIL: RoundMode
    FLOOR: RoundMode
    pool: PoolingParameter.PoolMethod
    kernel_size: int
    stride: int
    pad: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    engine: PoolingParameter.Engine
    global_pooling: bool
    round_mode: PoolingParameter.RoundMode
    ceil_mode: bool

class PowerParameter(Message):
    power: float
    scale: float
    shift: float

class PythonParameter(Message):
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool

class ReLUParameter(Message):
    class Engine(_Enum):
        DEFAULT: ReLUParameter.Engine
        CAFFE: ReLUParameter.Engine
        CUDNN: ReLUParameter.Engine
        MKL2017: ReLUParameter.Engine
        MKLDNN: ReLUParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    negative_slope: float
    engine: ReLUParameter.Engine
    fuse: bool

class RecurrentParameter(Message):
    num_output: int
    weight_filler: FillerParameter
    bias_filler: FillerParameter
    debug_info: bool
    expose_hidden: bool

class ReductionParameter(Message):
    class ReductionOp(_Enum):
        SUM: ReductionParameter.ReductionOp
        ASUM: ReductionParameter.ReductionOp
        SUMSQ: ReductionParameter.ReductionOp
        MEAN: ReductionParameter.ReductionOp

    SUM: ReductionOp
    ASUM: ReductionOp
    SUMSQ: ReductionOp
    MEAN: ReductionOp
    operation: ReductionParameter.ReductionOp
    axis: int
    coeff: float

class ReshapeParameter(Message):
    shape: BlobShape
    axis: int
    num_axes: int

class SPPParameter(Message):
    class PoolMethod(_Enum):
        MAX: SPPParameter.PoolMethod
        AVE: SPPParameter.PoolMethod
        STOCHASTIC: SPPParameter.PoolMethod

    MAX: PoolMethod
    AVE: PoolMethod
    STOCHASTIC: PoolMethod
    class Engine(_Enum):
        DEFAULT: SPPParameter.Engine
        CAFFE: SPPParameter.Engine
        CUDNN: SPPParameter.Engine
        MKL2017: SPPParameter.Engine
        MKLDNN: SPPParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    pyramid_height: int
    pool: SPPParameter.PoolMethod
    engine: SPPParameter.Engine

class ScaleParameter(Message):
    axis: int
    num_axes: int
    filler: FillerParameter
    bias_term: bool
    bias_filler: FillerParameter

class SegmentationScoresParameter(Message):
    class Scope(_Enum):
        DATASET: SegmentationScoresParameter.Scope
        IMAGE: SegmentationScoresParameter.Scope

    DATASET: Scope
    IMAGE: Scope
    class Rule(_Enum):
        ARGMAX: SegmentationScoresParameter.Rule
        THRESHOLD: SegmentationScoresParameter.Rule
        RANKDICE: SegmentationScoresParameter.Rule
        RANKIOU: SegmentationScoresParameter.Rule

    ARGMAX: Rule
    THRESHOLD: Rule
    RANKDICE: Rule
    RANKIOU: Rule
    class Absent(_Enum):
        SKIP: SegmentationScoresParameter.Absent
        ZERO: SegmentationScoresParameter.Absent
        ONE: SegmentationScoresParameter.Absent

    SKIP: Absent
    ZERO: Absent
    ONE: Absent
    ignore_label: _Values[int]
    class_of_interest: _Values[int]
    scope: SegmentationScoresParameter.Scope
    rule: SegmentationScoresParameter.Rule
    absent: SegmentationScoresParameter.Absent

class SegAccuracyParameter(Message):
    class AccuracyMetric(_Enum):
        PixelAccuracy: SegAccuracyParameter.AccuracyMetric
        ClassAccuracy: SegAccuracyParameter.AccuracyMetric
        PixelIOU: SegAccuracyParameter.AccuracyMetric

    PixelAccuracy: AccuracyMetric
    ClassAccuracy: AccuracyMetric
    PixelIOU: AccuracyMetric
    metric: SegAccuracyParameter.AccuracyMetric
    ignore_label: _Values[int]
    reset: bool

class SigmoidParameter(Message):
    class Engine(_Enum):
        DEFAULT: SigmoidParameter.Engine
        CAFFE: SigmoidParameter.Engine
        CUDNN: SigmoidParameter.Engine
        MKL2017: SigmoidParameter.Engine
        MKLDNN: SigmoidParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    engine: SigmoidParameter.Engine

class SliceParameter(Message):
    slice_dim: int
    slice_point: _Values[int]
    axis: int

class SoftmaxParameter(Message):
    class Engine(_Enum):
        DEFAULT: SoftmaxParameter.Engine
        CAFFE: SoftmaxParameter.Engine
        CUDNN: SoftmaxParameter.Engine
        MKL2017: SoftmaxParameter.Engine
        MKLDNN: SoftmaxParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    engine: SoftmaxParameter.Engine
    axis: int

class SwishParameter(Message):
    beta: float

class TanHParameter(Message):
    class Engine(_Enum):
        DEFAULT: TanHParameter.Engine
        CAFFE: TanHParameter.Engine
        CUDNN: TanHParameter.Engine
        MKL2017: TanHParameter.Engine
        MKLDNN: TanHParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    CUDNN: Engine
    MKL2017: Engine
    MKLDNN: Engine
    engine: TanHParameter.Engine

class ThresholdParameter(Message):
    threshold: float

class TileParameter(Message):
    axis: int
    tiles: int

class UniqueLabelParameter(Message):
    max_labels: int
    ignore_label: _Values[int]
    force_label: _Values[float]

class UpsampleParameter(Message):
    scale: int
    scale_h: int
    scale_w: int
    pad_out_h: bool
    pad_out_w: bool
    upsample_h: int
    upsample_w: int
    stride: int

class WindowDataParameter(Message):
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str

class V1LayerParameter(Message):
    class LayerType(_Enum):
        NONE: V1LayerParameter.LayerType
        ABSVAL: V1LayerParameter.LayerType
        ACCURACY: V1LayerParameter.LayerType
        ARGMAX: V1LayerParameter.LayerType
        BNLL: V1LayerParameter.LayerType
        CONCAT: V1LayerParameter.LayerType
        CONTRASTIVE_LOSS: V1LayerParameter.LayerType
        CONVOLUTION: V1LayerParameter.LayerType
        DATA: V1LayerParameter.LayerType
        DECONVOLUTION: V1LayerParameter.LayerType
        DROPOUT: V1LayerParameter.LayerType
        DUMMY_DATA: V1LayerParameter.LayerType
        EUCLIDEAN_LOSS: V1LayerParameter.LayerType
        ELTWISE: V1LayerParameter.LayerType
        EXP: V1LayerParameter.LayerType
        FLATTEN: V1LayerParameter.LayerType
        HDF5_DATA: V1LayerParameter.LayerType
        HDF5_OUTPUT: V1LayerParameter.LayerType
        HINGE_LOSS: V1LayerParameter.LayerType
        IM2COL: V1LayerParameter.LayerType
        IMAGE_DATA: V1LayerParameter.LayerType
        INFOGAIN_LOSS: V1LayerParameter.LayerType
        INNER_PRODUCT: V1LayerParameter.LayerType
        LRN: V1LayerParameter.LayerType
        MEMORY_DATA: V1LayerParameter.LayerType
        MULTINOMIAL_LOGISTIC_LOSS: V1LayerParameter.LayerType
        MVN: V1LayerParameter.LayerType
        POOLING: V1LayerParameter.LayerType
        POWER: V1LayerParameter.LayerType
        RELU: V1LayerParameter.LayerType
        SIGMOID: V1LayerParameter.LayerType
        SIGMOID_CROSS_ENTROPY_LOSS: V1LayerParameter.LayerType
        SILENCE: V1LayerParameter.LayerType
        SOFTMAX: V1LayerParameter.LayerType
        SOFTMAX_LOSS: V1LayerParameter.LayerType
        SPLIT: V1LayerParameter.LayerType
        SLICE: V1LayerParameter.LayerType
        TANH: V1LayerParameter.LayerType
        WINDOW_DATA: V1LayerParameter.LayerType
        THRESHOLD: V1LayerParameter.LayerType
        CROP: V1LayerParameter.LayerType
        IMAGE_SEG_DATA: V1LayerParameter.LayerType
        INTERP: V1LayerParameter.LayerType
        SEG_ACCURACY: V1LayerParameter.LayerType
        DENSE_CRF: V1LayerParameter.LayerType
        MAT_READ: V1LayerParameter.LayerType
        MAT_WRITE: V1LayerParameter.LayerType
        UNIQUE_LABEL: V1LayerParameter.LayerType
        BIAS_CHANNEL: V1LayerParameter.LayerType
        ADAPTIVE_BIAS_CHANNEL: V1LayerParameter.LayerType
        BN: V1LayerParameter.LayerType
        UNPOOLING: V1LayerParameter.LayerType
        UPSAMPLE: V1LayerParameter.LayerType
        DENSE_IMAGE_DATA: V1LayerParameter.LayerType
        IMAGE_LABELMAP_DATA: V1LayerParameter.LayerType
        MULTI_STAGE_MEANFIELD: V1LayerParameter.LayerType
        PRELU: V1LayerParameter.LayerType
        ROI_POOLING: V1LayerParameter.LayerType
        SMOOTH_L1_LOSS: V1LayerParameter.LayerType
        RESHAPE: V1LayerParameter.LayerType
        ELU: V1LayerParameter.LayerType
        BATCH_NORM: V1LayerParameter.LayerType
        SCALE: V1LayerParameter.LayerType
        PYTHON: V1LayerParameter.LayerType

    NONE: LayerType
    ABSVAL: LayerType
    ACCURACY: LayerType
    ARGMAX: LayerType
    BNLL: LayerType
    CONCAT: LayerType
    CONTRASTIVE_LOSS: LayerType
    CONVOLUTION: LayerType
    DATA: LayerType
    DECONVOLUTION: LayerType
    DROPOUT: LayerType
    DUMMY_DATA: LayerType
    EUCLIDEAN_LOSS: LayerType
    ELTWISE: LayerType
    EXP: LayerType
    FLATTEN: LayerType
    HDF5_DATA: LayerType
    HDF5_OUTPUT: LayerType
    HINGE_LOSS: LayerType
    IM2COL: LayerType
    IMAGE_DATA: LayerType
    INFOGAIN_LOSS: LayerType
    INNER_PRODUCT: LayerType
    LRN: LayerType
    MEMORY_DATA: LayerType
    MULTINOMIAL_LOGISTIC_LOSS: LayerType
    MVN: LayerType
    POOLING: LayerType
    POWER: LayerType
    RELU: LayerType
    SIGMOID: LayerType
    SIGMOID_CROSS_ENTROPY_LOSS: LayerType
    SILENCE: LayerType
    SOFTMAX: LayerType
    SOFTMAX_LOSS: LayerType
    SPLIT: LayerType
    SLICE: LayerType
    TANH: LayerType
    WINDOW_DATA: LayerType
    THRESHOLD: LayerType
    CROP: LayerType
    IMAGE_SEG_DATA: LayerType
    INTERP: LayerType
    SEG_ACCURACY: LayerType
    DENSE_CRF: LayerType
    MAT_READ: LayerType
    MAT_WRITE: LayerType
    UNIQUE_LABEL: LayerType
    BIAS_CHANNEL: LayerType
    ADAPTIVE_BIAS_CHANNEL: LayerType
    BN: LayerType
    UNPOOLING: LayerType
    UPSAMPLE: LayerType
    DENSE_IMAGE_DATA: LayerType
    IMAGE_LABELMAP_DATA: LayerType
    MULTI_STAGE_MEANFIELD: LayerType
    PRELU: LayerType
    ROI_POOLING: LayerType
    SMOOTH_L1_LOSS: LayerType
    RESHAPE: LayerType
    ELU: LayerType
    BATCH_NORM: LayerType
    SCALE: LayerType
    PYTHON: LayerType
    class DimCheckMode(_Enum):
        STRICT: V1LayerParameter.DimCheckMode
        PERMISSIVE: V1LayerParameter.DimCheckMode

    STRICT: DimCheckMode
    PERMISSIVE: DimCheckMode
    layer: V0LayerParameter
    bottom: _Values[str]
    top: _Values[str]
    name: str
    type: V1LayerParameter.LayerType
    blobs: _Messages[BlobProto]
    blobs_lr: _Values[float]
    weight_decay: _Values[float]
    concat_param: ConcatParameter
    convolution_param: ConvolutionParameter
    data_param: DataParameter
    dropout_param: DropoutParameter
    hdf5_data_param: HDF5DataParameter
    hdf5_output_param: HDF5OutputParameter
    image_data_param: ImageDataParameter
    infogain_loss_param: InfogainLossParameter
    inner_product_param: InnerProductParameter
    lrn_param: LRNParameter
    pooling_param: PoolingParameter
    window_data_param: WindowDataParameter
    power_param: PowerParameter
    memory_data_param: MemoryDataParameter
    argmax_param: ArgMaxParameter
    eltwise_param: EltwiseParameter
    threshold_param: ThresholdParameter
    dummy_data_param: DummyDataParameter
    accuracy_param: AccuracyParameter
    hinge_loss_param: HingeLossParameter
    relu_param: ReLUParameter
    slice_param: SliceParameter
    include: _Messages[NetStateRule]
    exclude: _Messages[NetStateRule]
    mvn_param: MVNParameter
    loss_weight: _Values[float]
    transform_param: TransformationParameter
    tanh_param: TanHParameter
    sigmoid_param: SigmoidParameter
    softmax_param: SoftmaxParameter
    contrastive_loss_param: ContrastiveLossParameter
    exp_param: ExpParameter
    loss_param: LossParameter
    param: _Values[str]
    blob_share_mode: _Values[V1LayerParameter.DimCheckMode]
    crop_param: CropParameter
    interp_param: InterpParameter
    seg_accuracy_param: SegAccuracyParameter
    dense_crf_param: DenseCRFParameter
    mat_read_param: MatReadParameter
    mat_write_param: MatWriteParameter
    unique_label_param: UniqueLabelParameter
    bias_channel_param: BiasChannelParameter
    adaptive_bias_channel_param: AdaptiveBiasChannelParameter
    bn_param: BNParameter
    unpooling_param: UnpoolingParameter
    upsample_param: UpsampleParameter
    dense_image_data_param: DenseImageDataParameter
    multi_stage_meanfield_param: MultiStageMeanfieldParameter
    prelu_param: PReLUParameter
    roi_pooling_param: ROIPoolingParameter
    smooth_l1_loss_param: SmoothL1LossParameter
    reshape_param: ReshapeParameter
    elu_param: ELUParameter
    batch_norm_param: BatchNormParameter
    scale_param: ScaleParameter
    python_param: PythonParameter

class V0LayerParameter(Message):
    class PoolMethod(_Enum):
        MAX: V0LayerParameter.PoolMethod
        AVE: V0LayerParameter.PoolMethod
        STOCHASTIC: V0LayerParameter.PoolMethod

    MAX: PoolMethod
    AVE: PoolMethod
    STOCHASTIC: PoolMethod
    name: str
    type: str
    num_output: int
    biasterm: bool
    weight_filler: FillerParameter
    bias_filler: FillerParameter
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: V0LayerParameter.PoolMethod
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    k: float
    blobs: _Messages[BlobProto]
    blobs_lr: _Values[float]
    weight_decay: _Values[float]
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    hdf5_output_param: HDF5OutputParameter

class PermuteParameter(Message):
    order: _Values[int]

class NormalizeParameter(Message):
    across_spatial: bool
    scale_filler: FillerParameter
    channel_shared: bool
    eps: float

class PixelShuffleParameter(Message):
    upscale_factor: int

class ShuffleChannelParameter(Message):
    group: int

class ReLU6Parameter(Message):
    negative_slope: float

class GroupNormParameter(Message):
    group: int
    eps: float

class AdaptivePoolingParameter(Message):
    output_size: int
    factor: float
    at_least: int

class PriorBoxParameter(Message):
    class CodeType(_Enum):
        CORNER: PriorBoxParameter.CodeType
        CENTER_SIZE: PriorBoxParameter.CodeType
        CORNER_SIZE: PriorBoxParameter.CodeType

    CORNER: CodeType
    CENTER_SIZE: CodeType
    CORNER_SIZE: CodeType
    min_size: _Values[float]
    max_size: _Values[float]
    aspect_ratio: _Values[float]
    flip: bool
    clip: bool
    variance: _Values[float]
    img_size: int
    img_h: int
    img_w: int
    step: float
    step_h: float
    step_w: float
    offset: float

class NonMaximumSuppressionParameter(Message):
    nms_threshold: float
    top_k: int
    eta: float

class SaveOutputParameter(Message):
    output_directory: str
    output_name_prefix: str
    output_format: str
    label_map_file: str
    name_size_file: str
    num_test_image: int
    resize_param: ResizeParameter

class DetectionOutputParameter(Message):
    num_classes: int
    share_location: bool
    background_label_id: int
    nms_param: NonMaximumSuppressionParameter
    save_output_param: SaveOutputParameter
    code_type: PriorBoxParameter.CodeType
    keep_top_k: int
    variance_encoded_in_target: bool
    confidence_threshold: float
    visualize: bool
    visualize_threshold: float
    save_file: str

class ResizeParameter(Message):
    class Resize_mode(_Enum):
        WARP: ResizeParameter.Resize_mode
        FIT_SMALL_SIZE: ResizeParameter.Resize_mode
        FIT_LARGE_SIZE_AND_PAD: ResizeParameter.Resize_mode

    WARP: Resize_mode
    FIT_SMALL_SIZE: Resize_mode
    FIT_LARGE_SIZE_AND_PAD: Resize_mode
    class Pad_mode(_Enum):
        CONSTANT: ResizeParameter.Pad_mode
        MIRRORED: ResizeParameter.Pad_mode
        REPEAT_NEAREST: ResizeParameter.Pad_mode

    CONSTANT: Pad_mode
    MIRRORED: Pad_mode
    REPEAT_NEAREST: Pad_mode
    class Interp_mode(_Enum):
        LINEAR: ResizeParameter.Interp_mode
        AREA: ResizeParameter.Interp_mode
        NEAREST: ResizeParameter.Interp_mode
        CUBIC: ResizeParameter.Interp_mode
        LANCZOS4: ResizeParameter.Interp_mode

    LINEAR: Interp_mode
    AREA: Interp_mode
    NEAREST: Interp_mode
    CUBIC: Interp_mode
    LANCZOS4: Interp_mode
    prob: float
    resize_mode: ResizeParameter.Resize_mode
    height: int
    width: int
    pad_mode: ResizeParameter.Pad_mode
    pad_value: _Values[float]
    interp_mode: _Values[ResizeParameter.Interp_mode]
    height_scale: int
    width_scale: int

class ROIPoolingParameter(Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float

class SmoothL1LossParameter(Message):
    sigma: float

class PSROIPoolingParameter(Message):
    spatial_scale: float
    output_dim: int
    group_size: int

class BoxAnnotatorOHEMParameter(Message):
    roi_per_img: int
    ignore_label: int

class SeLUParameter(Message):
    alpha: float

class CenterLossParameter(Message):
    num_output: int
    center_filler: FillerParameter
    axis: int

class ResizeLayerParameter(Message):
    class Type(_Enum):
        BILINEAR: ResizeLayerParameter.Type
        NEAREST: ResizeLayerParameter.Type

    BILINEAR: Type
    NEAREST: Type
    class FunctionType(_Enum):
        SIZE_GIVEN: ResizeLayerParameter.FunctionType
        BLOB_ALIGN: ResizeLayerParameter.FunctionType
        FACTOR_GIVEN: ResizeLayerParameter.FunctionType

    SIZE_GIVEN: FunctionType
    BLOB_ALIGN: FunctionType
    FACTOR_GIVEN: FunctionType
    is_pyramid_test: bool
    height: int
    width: int
    out_height_scale: float
    out_width_scale: float
    type: ResizeLayerParameter.Type
    resize_ratio: float
    function_type: ResizeLayerParameter.FunctionType
    intepolation_type: ResizeLayerParameter.Type
    output_size: int
    resize_factor: float
    top_height: int
    top_width: int

class ReorgParameter(Message):
    stride: int
    reverse: bool

class ROIAlignParameter(Message):
    pooled_h: int
    pooled_w: int
    spatial_scale: float
    sampling_ratio: int

class UnpoolingParameter(Message):
    class UnpoolMethod(_Enum):
        MAX: UnpoolingParameter.UnpoolMethod
        AVE: UnpoolingParameter.UnpoolMethod
        TILE: UnpoolingParameter.UnpoolMethod

    MAX: UnpoolMethod
    AVE: UnpoolMethod
    TILE: UnpoolMethod
    class Engine(_Enum):
        DEFAULT: UnpoolingParameter.Engine
        CAFFE: UnpoolingParameter.Engine

    DEFAULT: Engine
    CAFFE: Engine
    unpool: UnpoolingParameter.UnpoolMethod
    kernel_size: int
    stride: int
    pad: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    engine: UnpoolingParameter.Engine
    unpool_size: int
    unpool_h: int
    unpool_w: int

class MultiStageMeanfieldParameter(Message):
    class Mode(_Enum):
        POTTS: MultiStageMeanfieldParameter.Mode
        SEMI_METRIC: MultiStageMeanfieldParameter.Mode
        METRIC: MultiStageMeanfieldParameter.Mode

    POTTS: Mode
    SEMI_METRIC: Mode
    METRIC: Mode
    compatibility_mode: MultiStageMeanfieldParameter.Mode
    threshold: float
    theta_alpha: float
    theta_beta: float
    theta_gamma: float
    num_iterations: int
    spatial_filter_weight: float
    bilateral_filter_weight: float
    spatial_filter_weights_str: str
    bilateral_filter_weights_str: str
    forced_spatial_filter_weight: float
    forced_bilateral_filter_weight: float

class FocalLossParameter(Message):
    class Activation(_Enum):
        SOFTMAX: FocalLossParameter.Activation
        SIGMOID: FocalLossParameter.Activation

    SOFTMAX: Activation
    SIGMOID: Activation
    gamma: float
    alpha: _Values[float]
    activation: FocalLossParameter.Activation

class DiceLossParameter(Message):
    class Activation(_Enum):
        SOFTMAX: DiceLossParameter.Activation
        SIGMOID: DiceLossParameter.Activation

    SOFTMAX: Activation
    SIGMOID: Activation
    class Reduction(_Enum):
        BATCH: DiceLossParameter.Reduction
        IMAGE: DiceLossParameter.Reduction
        CLASS: DiceLossParameter.Reduction

    BATCH: Reduction
    IMAGE: Reduction
    CLASS: Reduction
    smooth: float
    activation: DiceLossParameter.Activation
    reduction: DiceLossParameter.Reduction
    log_cosh: bool

class LovaszLossParameter(Message):
    class Classes(_Enum):
        PRESENT: LovaszLossParameter.Classes
        ALL: LovaszLossParameter.Classes

    PRESENT: Classes
    ALL: Classes
    class Form(_Enum):
        SOFTMAX: LovaszLossParameter.Form
        HINGE: LovaszLossParameter.Form

    SOFTMAX: Form
    HINGE: Form
    classes: LovaszLossParameter.Classes
    per_image: bool
    form: LovaszLossParameter.Form

class EntropyLossParameter(Message):
    class Region(_Enum):
        MASK: EntropyLossParameter.Region
        UNLABELLED: EntropyLossParameter.Region

    MASK: Region
    UNLABELLED: Region
    region: EntropyLossParameter.Region
    distance: float

class SizeLossParameter(Message):
    class Unit(_Enum):
        FRACTION: SizeLossParameter.Unit
        PIXELS: SizeLossParameter.Unit

    FRACTION: Unit
    PIXELS: Unit
    class Source(_Enum):
        CONSTANT: SizeLossParameter.Source
        TAG: SizeLossParameter.Source
        PRECISE: SizeLossParameter.Source
        PRECISE_UPPER: SizeLossParameter.Source
        BOX: SizeLossParameter.Source

    CONSTANT: Source
    TAG: Source
    PRECISE: Source
    PRECISE_UPPER: Source
    BOX: Source
    class Normalize(_Enum):
        AREA: SizeLossParameter.Normalize
        AREA2: SizeLossParameter.Normalize

    AREA: Normalize
    AREA2: Normalize
    class Barrier(_Enum):
        QUADRATIC: SizeLossParameter.Barrier
        LOG: SizeLossParameter.Barrier

    QUADRATIC: Barrier
    LOG: Barrier
    bound: _Messages[SizeBound]
    unit: SizeLossParameter.Unit
    source: SizeLossParameter.Source
    margin: float
    normalize: SizeLossParameter.Normalize
    barrier: SizeLossParameter.Barrier
    log_t: float

class SizeBound(Message):
    low: float
    high: float

class PottsLossParameter(Message):
    class Relaxation(_Enum):
        BILINEAR: PottsLossParameter.Relaxation
        QUADRATIC: PottsLossParameter.Relaxation
        NORMALIZED: PottsLossParameter.Relaxation
        COLLISION_CROSS_ENTROPY: PottsLossParameter.Relaxation
        COLLISION_DIVERGENCE: PottsLossParameter.Relaxation
        LOG_QUADRATIC: PottsLossParameter.Relaxation

    BILINEAR: Relaxation
    QUADRATIC: Relaxation
    NORMALIZED: Relaxation
    COLLISION_CROSS_ENTROPY: Relaxation
    COLLISION_DIVERGENCE: Relaxation
    LOG_QUADRATIC: Relaxation
    class Reduction(_Enum):
        EDGES: PottsLossParameter.Reduction
        WEIGHTS: PottsLossParameter.Reduction
        SUM: PottsLossParameter.Reduction

    EDGES: Reduction
    WEIGHTS: Reduction
    SUM: Reduction
    relaxation: PottsLossParameter.Relaxation
    image_std: float
    neighbours: int
    reduction: PottsLossParameter.Reduction

class NormalizedCutLossParameter(Message):
    class Mode(_Enum):
        LATTICE: NormalizedCutLossParameter.Mode
        SYMMETRIC: NormalizedCutLossParameter.Mode
        EXACT: NormalizedCutLossParameter.Mode

    LATTICE: Mode
    SYMMETRIC: Mode
    EXACT: Mode
    bi_xy_std: float
    bi_rgb_std: float
    eps: float
    mode: NormalizedCutLossParameter.Mode

class GatedCRFKernel(Message):
    weight: float
    xy_std: float
    image_std: float

class GatedCRFLossParameter(Message):
    kernel: _Messages[GatedCRFKernel]
    radius: int
    resolution: int
    compatibility: _Values[float]

class TreeEnergyLossParameter(Message):
    sigma: float

class SoftPseudoLabelParameter(Message):
    eta: float
    smoothness: float
    image_std: float
    iterations: int

class LossScheduleParameter(Message):
    start_iter: int
    start_ratio: float
    ramp_iter: int
    pull: float
    pull_iter: int

class DualDecompositionCRFParameter(Message):
    iterations: int
    temperature: float
    stride: _Values[int]
    step: float
    learn_temperature: bool
    tolerance: float
    weight_filler: FillerParameter
    bias_filler: FillerParameter
    final_temperature: float
    temperature_power: float
    temperature_ratio: float
    hidden: int
    hidden_filler: FillerParameter
    moving_average_fraction: float
