"""The networks that come with rlossctl: found by name, buildable, and equal to the experiments' originals."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rlossctl import configs as definitions
from rlossctl import load_net, resources
from rlossctl.configs.figures import figures
from rlossctl.configs.networks.demo_losses import LOSSES
from rlossctl.net.summary import summarize
from rlossctl.prototxt import load_net_parameter, load_solver_parameter, template
from rlossctl.prototxt.dialect import detect
from rlossctl.solver.reading.files import OF_TESTS, SolverFile
from rlossctl.solver.reading.nets import Nets

EXPERIMENTS = ("deeplab_largeFOV", "deeplab_msc_largeFOV", "deeplab_vgg16", "resnet-101")
FROM_SCRATCH = ("demo", "camvid")
PYTORCH = (
    *(
        f"deeplabv3plus_{name}{stride}"
        for name in ("mobilenet", "resnet101", "xception", "efficientnet_lite0")
        for stride in ("", "_os8")
    ),
    "deeplabv3plus_efficientnet_lite0_small",
    "deeplabv3plus_drn",
    *(
        f"deeplabv3plus_{name}_segmentation{stride}"
        for name in ("resnet50", "resnet101", "xception")
        for stride in ("", "_os8")
    ),
    *(f"deeplabv3plus_resnet{depth}_gatedcrf" for depth in (34, 50, 101)),
    *(
        f"deeplabv3_{name}{crf}"
        for name in ("resnet50", "resnet50_block4", "xception")
        for crf in ("", "_ddd")
    ),
    "fcn8_vgg16_segmentation",
    *(f"unet_resnet{depth}_segmentation" for depth in (50, 101, 152)),
    "deeplab_duc_hdc_segmentation",
    *(
        f"gcn_{zoom}resnet{depth}_segmentation"
        for zoom in ("", "deconv_")
        for depth in (18, 34, 50, 101, 152)
    ),
    "upernet_resnet101_segmentation",
    "unet_segmentation",
    "unet_2020_segmentation",
    "segnet_segmentation",
    "segnet_resnet50_segmentation",
    "enet_segmentation",
    *(f"pspnet_resnet{depth}_segmentation" for depth in (50, 101, 152)),
    *(f"pspnet_densenet{depth}_segmentation" for depth in (121, 161, 169, 201)),
    *(f"espnetv2_s{scale}" for scale in ("0.5", "1.0", "1.25", "1.5", "2.0")),
    *(f"{name}_resnet{depth}_torchvision" for name in ("fcn", "deeplabv3") for depth in (50, 101)),
    *(f"{name}_mobilenet_v3_large_torchvision" for name in ("deeplabv3", "lraspp")),
    *(f"{name}_resnet{depth}_smp" for name in ("unet", "fpn", "pspnet") for depth in (18, 34, 50, 101)),
    *(f"deeplabv3plus_resnet{depth}_smp" for depth in (50, 101)),
)
CLASSIFIERS = (
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    "mobilenet_v2",
    "efficientnet_lite0",
)
NETS = ("train", "trainwithdensecrfloss", "test")
SOLVERS = ("solver", "solverwithdensecrfloss")
WITHOUT_DENSECRF = tuple(
    name for name in PYTORCH if name.endswith(("_gatedcrf", "_torchvision")) or name.startswith("deeplabv3_")
)

# Those of the rloss program for PyTorch.
WITH_KERNELCUT = tuple(
    name
    for name in PYTORCH
    if name.startswith("deeplabv3plus_")
    and not any(program in name for program in ("_segmentation", "_gatedcrf", "_smp"))
)


def texts(folders, names):
    """Each network with each of its texts that is called so."""
    return [(one, name) for one in folders for name in names if name in definitions.NETWORKS[one].writers]


VALUES = {
    "NET_ID": "a_net",
    "EXP": "pascal_scribble",
    "DATA_ROOT": "/data",
    "TRAIN_SET": "train",
    "TEST_SET": "val",
    "NUM_LABELS": 21,
    "NUM_LABELS_16": 336,
    "DENSECRF_LOSS_WEIGHT": "1e-8",
    "TRAIN_LIST": "train.txt",
    "TEST_LIST": "val.txt",
    "BI_XY_STD": 30,
    "BI_RGB_STD": 15,
}


@pytest.fixture(scope="module")
def configs(repository):
    return repository / "configs"


@pytest.mark.slow
def test_the_files_are_as_their_definitions_say(configs):
    done = subprocess.run([sys.executable, configs / "make.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_network_is_one_of_these():
    networks = {*EXPERIMENTS, *FROM_SCRATCH, *PYTORCH, *(f"imagenet/{name}" for name in CLASSIFIERS)}
    assert set(definitions.NETWORKS) == networks | {"demo_losses"}
    assert set(definitions.NETWORKS["demo_losses"].writers) == {*LOSSES, "test"}
    for name in networks:
        network = definitions.NETWORKS[name]
        expected = {name.rpartition("/")[2]} if name.startswith("imagenet/") else {*NETS, *SOLVERS}
        if name in WITHOUT_DENSECRF:
            expected = {"train", "test", "solver"}
        if name.endswith("_gatedcrf"):
            expected |= {"trainwithgatedcrfloss", "solverwithgatedcrfloss"}
        if name in WITH_KERNELCUT:
            expected |= {"trainwithkernelcut", "solverwithkernelcut"}
        assert set(network.writers) == expected


def test_a_few_networks_are_kept_as_text(configs):
    folders = (*EXPERIMENTS, *FROM_SCRATCH)
    expected = {f"{folder}/{name}.prototxt" for folder in folders for name in (*NETS, *SOLVERS)}
    assert {path.relative_to(configs).as_posix() for path in configs.rglob("*.prototxt")} == expected


def _drop_validation(net) -> None:
    """Leaves the net of the original: without what stands in the tests of a solver's run alone."""
    for index in reversed(range(len(net.layer))):
        if [list(rule.stage) for rule in net.layer[index].include] == [["validation"]]:
            del net.layer[index]
        elif net.layer[index].exclude:
            net.layer[index].ClearField("exclude")


@pytest.mark.parametrize(("folder", "name"), texts((*EXPERIMENTS, *FROM_SCRATCH, *PYTORCH), SOLVERS))
def test_every_solver_scores_the_whole_validation_list(folder, name):
    solver = load_solver_parameter(f"{folder}/{name}", VALUES)
    file = SolverFile(solver, Path(f"{folder}/{name}"), None, VALUES)
    (net,) = Nets(file).tests()
    metrics = [
        layer.type for layer in net.file.param.layer if list(layer.top)[:1] in (["mIoU"], ["accuracy"])
    ]
    assert metrics == ["SegmentationScores"]
    assert (solver.monitor, solver.snapshot_best) == ("max mIoU", True)


@pytest.mark.slow
@pytest.mark.parametrize("folder", EXPERIMENTS)
@pytest.mark.parametrize("name", NETS)
def test_a_net_equals_its_original_layer_by_layer(shared, configs, folder, name):
    ours = load_net_parameter(configs / folder / f"{name}.prototxt", VALUES)
    original = load_net_parameter(shared / "prototxt" / "rloss" / folder / f"{name}.prototxt", VALUES)
    _drop_validation(ours)
    for our_layer, layer in zip(ours.layer, original.layer, strict=True):
        assert our_layer == layer
    assert ours == original


@pytest.mark.parametrize("folder", EXPERIMENTS)
@pytest.mark.parametrize("name", (*NETS, *SOLVERS))
def test_a_file_has_the_placeholders_of_its_original(shared, configs, folder, name):
    """TRAIN_SET chose the expanded net in the original solvers; ours name the net beside them. Ours test."""
    ours = template.names((configs / folder / f"{name}.prototxt").read_text())
    original = template.names((shared / "prototxt" / "rloss" / folder / f"{name}.prototxt").read_text())
    changed = ({"TRAIN_SET"}, {"TEST_INTERVAL", "PATIENCE"}) if name in SOLVERS else (set(), set())
    assert set(ours) == (set(original) - changed[0]) | changed[1]


@pytest.mark.parametrize("folder", EXPERIMENTS)
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_equals_its_original_but_for_net_and_tests(shared, configs, folder, name):
    ours = load_solver_parameter(configs / folder / f"{name}.prototxt", VALUES)
    original = load_solver_parameter(shared / "prototxt" / "rloss" / folder / f"{name}.prototxt", VALUES)
    original.train_net = ours.train_net
    for field in OF_TESTS:
        ours.ClearField(field)
    ours.ClearField("test_initialization")
    assert ours == original


@pytest.mark.parametrize(("folder", "name"), texts((*EXPERIMENTS, *FROM_SCRATCH, *PYTORCH), SOLVERS))
def test_a_solver_names_the_net_beside_it(folder, name):
    solver = load_solver_parameter(f"{folder}/{name}", VALUES)
    assert definitions.has(f"{folder}/{solver.train_net}")
    assert solver.train_net == f"{name.replace('solver', 'train')}.prototxt"
    assert solver.snapshot_prefix.endswith(solver.train_net.removesuffix(".prototxt"))


@pytest.mark.parametrize("folder", FROM_SCRATCH)
@pytest.mark.parametrize("name", NETS)
def test_the_nets_from_scratch_are_complete(configs, folder, name):
    """Readable, of the rloss dialect, every bottom made before it is read, the same weights in all three."""
    net = load_net_parameter(configs / folder / f"{name}.prototxt", VALUES)
    train = load_net_parameter(configs / folder / "train.prototxt", VALUES)
    assert detect(net)[0] == "rloss"
    made: set[str] = set()
    for layer in net.layer:
        assert set(layer.bottom) <= made, layer.name
        made |= set(layer.top)
    learned = ("Convolution", "Scale")

    def weights(param):
        return [layer for layer in param.layer if layer.type in learned]

    assert weights(net) == weights(train)


def shapes_of_blobs(net):
    return {layer: [tuple(blob.shape) for blob in blobs] for layer, blobs in net.params.items()}


def figures_of(net):
    summary = summarize(net.draft)
    return summary.parameters, summary.multiply_adds


@pytest.mark.parametrize("name", ("demo", "camvid", "deeplab_largeFOV", "imagenet/resnet18"))
def test_the_figures_are_the_nets(name):
    """Those of the other programs' networks are held where these are built."""
    text = definitions.name_of(definitions.NETWORKS[name], definitions.NETWORKS[name].inference)
    net = load_net(text, device="meta", **VALUES)
    found = figures()[name]
    assert figures_of(net) == (found.parameters, found.multiply_adds)
    assert net.shapes["data"] == (1, *found.image)
    assert found.classes == {"camvid": 11, "imagenet/resnet18": 1000}.get(name)


@pytest.mark.slow
@pytest.mark.smallest("folder")
@pytest.mark.parametrize("folder", PYTORCH)
def test_the_nets_of_other_programs_can_be_built(folder):
    """All forms have the same blobs; scores come at the image's size."""
    blobs = None
    for _, name in texts([folder], (*NETS, "trainwithkernelcut", "trainwithgatedcrfloss")):
        net = load_net(
            f"{folder}/{name}", phase="TEST" if name == "test" else "TRAIN", device="meta", **VALUES
        )
        blobs = blobs or shapes_of_blobs(net)
        assert shapes_of_blobs(net) == blobs
        assert net.shapes["score"] == (net.shapes["data"][0], 21, *net.shapes["data"][2:])
        assert ("densecrf_loss" in net.loss_weights) == (
            name in ("trainwithdensecrfloss", "trainwithkernelcut")
        )
        if name == "test":
            assert figures_of(net) == (figures()[folder].parameters, figures()[folder].multiply_adds)
        else:
            assert {entry.lr_mult for entry in net.learnable if entry.layer == "scaled"} == {0}


@pytest.mark.parametrize("folder", FROM_SCRATCH)
def test_image_sizes_align_with_the_strides(configs, folder):
    """Corner-aligned zooms by 2 end at the image's size only for sizes 2^k m + 1."""
    for name in NETS:
        net = load_net_parameter(configs / folder / f"{name}.prototxt", VALUES)
        strides = sum(layer.convolution_param.stride == [2] for layer in net.layer)
        transform = net.layer[0].transform_param
        sizes = (
            (transform.crop_size,) if transform.crop_size else (transform.crop_height, transform.crop_width)
        )
        assert strides >= 2
        assert all(size > 1 and (size - 1) % 2**strides == 0 for size in sizes)


def test_the_folder_is_found_from_the_package(configs):
    found = resources.configs_dir()
    assert (found / "demo" / "train.prototxt").is_file()


def test_a_missing_folder_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "site" / "rlossctl")
    with pytest.raises(resources.RlossError, match="configurations are missing"):
        resources.configs_dir()
