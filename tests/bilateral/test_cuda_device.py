"""What only a GPU can show: large batches, streams, CUDA graphs, and that the host never waits."""

from __future__ import annotations

import pytest
import torch

from rlossctl.bilateral import bilateral_filter, twin
from rlossctl.losses import DenseCRFLoss, densecrf_loss

pytestmark = pytest.mark.gpu
MODES = pytest.mark.parametrize("mode", ["lattice", "symmetric", "exact"])


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.double() - expected.double()).norm() / expected.double().norm()).item()


@pytest.mark.parametrize(
    ("images", "channels", "colours", "height", "width", "sigma_xy", "sigma_rgb"),
    [
        (12, 21, 3, 129, 129, 80, 13),
        (2, 21, 3, 257, 257, 50, 15),
        (3, 150, 3, 65, 33, 50, 15),
        (3, 4, 0, 120, 133, 3, 1),
        (2, 5, 3, 133, 65, 0.5, 0.3),
        (1, 2, 3, 1, 3000, 0.5, 2),
    ],
)
@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
def test_larger_images_equal_the_twin(
    gpu_kernels, batch, images, channels, colours, height, width, sigma_xy, sigma_rgb, deterministic
) -> None:
    values, image = batch(images, channels, colours, height, width)
    expected = twin.lattice_filter(values, image, sigma_xy, sigma_rgb, twin.MEAN)
    found = gpu_kernels.lattice_filter(
        values.cuda(), image.cuda(), sigma_xy, sigma_rgb, twin.MEAN, deterministic
    )
    assert relative(found.cpu(), expected) <= 2e-5


@MODES
def test_public_filter_and_loss_equal_the_cpu(gpu_kernels, batch, mode) -> None:
    values, image = batch(3, 21, 3, 57, 65)
    found = bilateral_filter(values.cuda(), image.cuda(), 50, 15, mode)
    assert relative(found.cpu(), bilateral_filter(values, image, 50, 15, mode)) <= 2e-5
    losses, gradients = [], []
    for device in ("cuda", "cpu"):
        seg = values.to(device).detach().requires_grad_()
        mask = (image.to(device).sum(dim=1) > 200).float()
        loss = densecrf_loss(image.to(device), seg, mask, 50, 15, mode)
        loss.backward()
        losses.append(loss.item())
        gradients.append(seg.grad.cpu())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert relative(*gradients) <= 2e-5


def test_deterministic_means_the_same_bits(gpu_kernels, batch) -> None:
    values, image = (tensor.cuda() for tensor in batch(6, 21, 3, 129, 130))
    mask = (values[:, :1] > 0.01).float()
    results = [gpu_kernels.densecrf(values, mask, image, 50, 15, -2, twin.MEAN, True) for _ in range(10)]
    for gradient, energies in results[1:]:
        assert torch.equal(gradient, results[0][0]) and torch.equal(energies, results[0][1])


@MODES
def test_the_host_never_waits(gpu_kernels, no_waiting, batch, mode) -> None:
    values, image = (tensor.cuda() for tensor in batch(2, 21, 3, 65, 65))
    rois = torch.ones(2, 65, 65, device="cuda")
    loss = DenseCRFLoss(2e-9, 15, 100, 0.5, mode)
    seg = values.requires_grad_()
    loss(image, seg, rois).backward()  # loads the kernels
    with no_waiting():
        loss(image, seg, rois).backward()


@pytest.mark.parametrize("order", [twin.FORWARD, twin.MEAN])
@pytest.mark.parametrize("deterministic", [False, True], ids=["fast", "deterministic"])
def test_runs_inside_a_cuda_graph(gpu_kernels, batch, order, deterministic) -> None:
    values, image = (tensor.cuda() for tensor in batch(3, 21, 3, 65, 70))
    mask = torch.ones(3, 1, 65, 70, device="cuda")
    others = [tensor.cuda().transpose(2, 3) for tensor in batch(3, 21, 3, 70, 65)]

    def step() -> tuple[torch.Tensor, torch.Tensor]:
        return gpu_kernels.densecrf(values, mask, image, 50, 15, -2, order, deterministic)

    step()  # loads the kernels
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        gradient, energies = step()
    for new_values, new_image in ((values.clone(), image.clone()), others):
        values.copy_(new_values)
        image.copy_(new_image)
        graph.replay()
        expected = step()
        assert relative(gradient, expected[0]) <= 2e-6
        assert relative(energies, expected[1]) <= 2e-6


def test_runs_on_the_current_stream(gpu_kernels, batch) -> None:
    values, image = (tensor.cuda() for tensor in batch(4, 21, 3, 129, 129))
    expected = gpu_kernels.lattice_filter(values, image, 50, 15)
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        late = torch.zeros_like(values)
        torch.cuda._sleep(50_000_000)
        late.copy_(values)  # a kernel on another stream would read zeros
        found = gpu_kernels.lattice_filter(late, image, 50, 15)
    side.synchronize()
    assert relative(found, expected) <= 2e-6


def test_kept_lattices_filter_inside_a_cuda_graph(gpu_kernels, no_waiting, batch) -> None:
    values, image = (tensor.cuda() for tensor in batch(3, 21, 3, 65, 70))
    lattices = gpu_kernels.Lattices(image, 50, 15)
    lattices.filter(values)  # loads the kernels
    with no_waiting():
        gpu_kernels.Lattices(image, 50, 15).filter(values)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        filtered = lattices.filter(values)
    values.copy_(values.flip(1))
    graph.replay()
    assert relative(filtered, gpu_kernels.lattice_filter(values, image, 50, 15)) <= 2e-6


def test_kept_lattices_outlive_their_name_on_another_stream(gpu_kernels, batch) -> None:
    """Their memory must not be used anew by the stream that built, while another one filters."""
    values, image = (tensor.cuda() for tensor in batch(4, 21, 3, 129, 129))
    expected = gpu_kernels.lattice_filter(values, image, 50, 15)
    lattices = gpu_kernels.Lattices(image, 50, 15)
    sizes = [memory.numel() for memory in lattices._kept]
    torch.cuda.synchronize()
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)
        found = lattices.filter(values)
    del lattices
    rubbish = [torch.full((size,), 0x5A, dtype=torch.uint8, device="cuda") for size in sizes]
    side.synchronize()
    assert relative(found, expected) <= 2e-6
    del rubbish


def test_kept_lattices_of_a_large_batch(gpu_kernels, batch) -> None:
    """513x513 takes more than one part."""
    values, image = (tensor.cuda() for tensor in batch(6, 21, 3, 513, 513))
    lattices = gpu_kernels.Lattices(image, 50, 15)
    assert len(lattices._kept) > 1
    for order in (twin.FORWARD, twin.MEAN):
        expected = gpu_kernels.lattice_filter(values, image, 50, 15, order, True)
        for _ in range(2):
            assert torch.equal(lattices.filter(values, order, True), expected)


def test_memory_does_not_grow(gpu_kernels, batch) -> None:
    values, image = (tensor.cuda() for tensor in batch(2, 21, 3, 129, 129))
    mask = torch.ones(2, 1, 129, 129, device="cuda")
    for _ in range(2):
        gpu_kernels.densecrf(values, mask, image, 50, 15, -2)
    torch.cuda.synchronize()
    before = torch.cuda.memory_reserved(), torch.cuda.mem_get_info()[0]
    for _ in range(50):
        gpu_kernels.densecrf(values, mask, image, 50, 15, -2)
    torch.cuda.synchronize()
    assert (torch.cuda.memory_reserved(), torch.cuda.mem_get_info()[0]) == before


def test_several_passes_equal_one_by_one(gpu_kernels, batch) -> None:
    """513x513 takes more than one pass through the workspace."""
    values, image = (tensor.cuda() for tensor in batch(6, 21, 3, 513, 513))
    together = gpu_kernels.lattice_filter(values, image, 50, 15, twin.FORWARD, True)
    for n in range(6):
        alone = gpu_kernels.lattice_filter(values[n : n + 1], image[n : n + 1], 50, 15, twin.FORWARD, True)
        assert torch.equal(alone[0], together[n])
