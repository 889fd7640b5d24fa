"""The prototxts that come with rlossctl: as defined, readable, and equal to the experiments' originals."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rlossctl import load_net, resources
from rlossctl.prototxt import load_net_parameter, load_solver_parameter, template
from rlossctl.prototxt.dialect import detect

EXPERIMENTS = ("deeplab_largeFOV", "deeplab_msc_largeFOV", "deeplab_vgg16", "resnet-101")
FROM_SCRATCH = ("demo", "camvid")
TRAINED_AS_ONE = ("unet_segmentation", "segnet_segmentation", "enet_segmentation")
PYTORCH = (
    *(
        f"deeplabv3plus_{name}{stride}"
        for name in ("mobilenet", "resnet101", "xception")
        for stride in ("", "_os8")
    ),
    "deeplabv3plus_drn",
    *(
        f"deeplabv3plus_{name}_segmentation{stride}"
        for name in ("resnet50", "resnet101", "xception")
        for stride in ("", "_os8")
    ),
    *(f"deeplabv3plus_resnet{depth}_gatedcrf" for depth in (34, 50, 101)),
    "fcn8_vgg16_segmentation",
    "unet_resnet50_segmentation",
    "deeplab_duc_hdc_segmentation",
    "gcn_resnet50_segmentation",
    "upernet_resnet101_segmentation",
    *TRAINED_AS_ONE,
    *(f"pspnet_resnet{depth}_segmentation" for depth in (50, 101, 152)),
)
CLASSIFIERS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "mobilenet_v2")
NETS = ("train", "trainwithdensecrfloss", "test")
SOLVERS = ("solver", "solverwithdensecrfloss")

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


def test_the_files_are_as_their_definitions_say(configs):
    done = subprocess.run([sys.executable, configs / "make.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_prototxt_is_one_of_these(configs):
    folders = (*EXPERIMENTS, *FROM_SCRATCH, *PYTORCH)
    expected = {f"{f}/{n}.prototxt" for f in folders for n in (*NETS, *SOLVERS)}
    expected |= {f"imagenet/{name}.prototxt" for name in CLASSIFIERS}
    assert {path.relative_to(configs).as_posix() for path in configs.rglob("*.prototxt")} == expected


@pytest.mark.parametrize("folder", EXPERIMENTS)
@pytest.mark.parametrize("name", NETS)
def test_a_net_equals_its_original_layer_by_layer(shared, configs, folder, name):
    ours = load_net_parameter(configs / folder / f"{name}.prototxt", VALUES)
    original = load_net_parameter(shared / "prototxt" / "rloss" / folder / f"{name}.prototxt", VALUES)
    for our_layer, layer in zip(ours.layer, original.layer, strict=True):
        assert our_layer == layer
    assert ours == original


@pytest.mark.parametrize("folder", EXPERIMENTS)
@pytest.mark.parametrize("name", (*NETS, *SOLVERS))
def test_a_file_has_the_placeholders_of_its_original(shared, configs, folder, name):
    """TRAIN_SET chose the expanded net in the original solvers; ours name the net beside them."""
    ours = template.names((configs / folder / f"{name}.prototxt").read_text())
    original = template.names((shared / "prototxt" / "rloss" / folder / f"{name}.prototxt").read_text())
    assert set(ours) == set(original) - ({"TRAIN_SET"} if name in SOLVERS else set())


@pytest.mark.parametrize("folder", EXPERIMENTS)
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_equals_its_original_but_for_the_net(shared, configs, folder, name):
    ours = load_solver_parameter(configs / folder / f"{name}.prototxt", VALUES)
    original = load_solver_parameter(shared / "prototxt" / "rloss" / folder / f"{name}.prototxt", VALUES)
    original.train_net = ours.train_net
    assert ours == original


@pytest.mark.parametrize("folder", (*EXPERIMENTS, *FROM_SCRATCH, *PYTORCH))
@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_names_the_net_beside_it(configs, folder, name):
    solver = load_solver_parameter(configs / folder / f"{name}.prototxt", VALUES)
    assert (configs / folder / solver.train_net).is_file()
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


@pytest.mark.parametrize("folder", PYTORCH)
@pytest.mark.parametrize("name", NETS)
def test_the_nets_of_other_programs_can_be_built(configs, folder, name):
    """All three forms have the same blobs; scores come at the image's size."""
    phase = "TEST" if name == "test" else "TRAIN"
    net = load_net(configs / folder / f"{name}.prototxt", phase=phase, device="meta", **VALUES)
    other = load_net(configs / folder / "test.prototxt", device="meta", **VALUES)
    blobs, others = (
        {k: [tuple(b.shape) for b in v] for k, v in each.params.items()} for each in (net, other)
    )
    assert blobs == others
    assert net.shapes["score"] == (net.shapes["data"][0], 21, *net.shapes["data"][2:])
    if name != "test":
        rates = {entry.layer: entry.lr_mult for entry in net.learnable}
        classifiers = [layer.name for layer in net.layers if layer.message.convolution_param.num_output == 21]
        rate = 1 if folder in TRAINED_AS_ONE else 10
        assert rates["scaled"] == 0 and {rates[name] for name in classifiers} - {0} == {rate}
        first = next(entry for entry in net.learnable if entry.layer not in ("scaled",))
        assert first.lr_mult == 1 and (rate == 1 or first.layer.startswith(("backbone.", "pool3.0")))
    assert ("densecrf_loss" in net.loss_weights) == (name == "trainwithdensecrfloss")


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
