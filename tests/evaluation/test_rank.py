"""The rank rules' expectations against every possible truth, and their masks against the best there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rlossctl.errors import UsageError
from rlossctl.evaluation.predicting import best, moments, poisson_binomial, rank, screening
from rlossctl.evaluation.predicting.rank import curve

SHAPES = {
    "uniform": lambda rng, d: rng.random(d),
    "low": lambda rng, d: rng.beta(0.3, 2, d),
    "rare": lambda rng, d: rng.beta(0.1, 5, d),
    "high": lambda rng, d: rng.beta(2, 0.5, d),
    "sure or not": lambda rng, d: rng.beta(0.2, 0.2, d),
    "one pixel": lambda rng, d: np.r_[0.6 + 0.4 * rng.random(), rng.random(d - 1) * 0.05],
    "all the same": lambda rng, d: np.full(d, rng.random()),
}


def draw(shape: str, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, d])
    return np.sort(np.clip(SHAPES[shape](rng, d), 0, 1))[::-1].copy()


def enumerated(p: np.ndarray, metric: str, g: float) -> np.ndarray:
    """The mean score of each prefix over all 2^d truths, from the scores' definitions."""
    d = len(p)
    out = np.zeros(d + 1)
    for truth in itertools.product((0, 1), repeat=d):
        truth = np.array(truth)
        chance = np.prod(np.where(truth, p, 1 - p))
        for t in range(d + 1):
            both = truth[:t].sum()
            top, bottom = (
                (2 * both + g, t + truth.sum() + g)
                if metric == "dice"
                else (both + g, t + truth.sum() - both + g)
            )
            out[t] += chance * (top / bottom if bottom else 0)
    return out


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("shape", SHAPES)
def test_exact_and_default_equal_enumeration(shape, metric):
    for d, g in ((1, 0), (2, 0), (5, 1), (8, 0), (10, 0), (7, 0.3)):
        p = draw(shape, d, 0)
        expected = enumerated(p, metric, g)
        np.testing.assert_allclose(curve(p, metric, "exact", g), expected, rtol=0, atol=1e-12)
        # A fractional smoothing leaves the integrand with an edge at 0.
        atol = 1e-12 if g == int(g) else 1e-5
        np.testing.assert_allclose(curve(p, metric, "moment2", g), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_default_loses_next_to_nothing(shape, metric):
    """Regret against the exact Poisson-binomial expectation, up to 300 pixels: below and above FEW."""
    for d in (1, 2, 3, 10, 40, 120, 300):
        for seed in range(5 if d < 100 else 2):
            p = draw(shape, d, seed)
            exact = curve(p, metric, "exact")
            regret = exact.max() - exact[curve(p, metric).argmax()]
            assert regret <= 1e-4, (d, seed)


@pytest.mark.parametrize("d", [200, 700])
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_two_moments_are_enough_beyond_few(metric, d):
    """Just above FEW, where the integral is no longer used, and far beyond FEW_PIXELS."""
    for mean in (rank.FEW + 1, rank.FEW - 1):
        p = np.sort(np.random.default_rng(3).beta(mean / d * 2, 2 - mean / d * 2, d))[::-1]
        p *= min(mean / p.sum(), 1 / p[0])
        exact = curve(p, metric, "exact")
        assert exact.max() - exact[curve(p, metric).argmax()] <= 1e-4


def test_published_solvers_compute_their_formulas():
    """RMA to rounding; BA and T-RNA against the exact distributions that they approximate."""
    p, g = draw("uniform", 120, 1), 2.0
    t, mass, mean = np.arange(1, 121), np.cumsum(p), p.sum()
    rma = 2 * mass / (t + mean + 1 + g) + g / (t + mean + g)
    np.testing.assert_allclose(curve(p, "dice", "rma", g)[1:], rma, rtol=1e-12)
    rma = (mass + g) / (t + mean - mass + g)
    np.testing.assert_allclose(curve(p, "iou", "rma", g)[1:], rma, rtol=1e-12)
    f, counts = poisson_binomial.distribution(p), np.arange(121)
    ba = [2 * mass[k - 1] * (f / (k + g + 1 + counts)).sum() + g * (f / (k + g + counts)).sum() for k in t]
    np.testing.assert_allclose(curve(p, "dice", "ba", g)[1:], ba, rtol=1e-4)
    np.testing.assert_allclose(curve(p, "dice", "trna", g), curve(p, "dice", "exact", g), rtol=1e-4)


def test_trna_is_nearer_than_what_was_published():
    """With +2 and +1 in its denominators, as published, it would be off by a pixel."""
    p = draw("uniform", 40, 0)
    exact, got = curve(p, "dice", "exact"), curve(p, "dice", "trna")
    shifted = np.r_[got[1:] * np.arange(1, 41), 0] / np.maximum(np.arange(41), 1)
    assert np.abs(got - exact)[1:40].max() < 1e-3 < np.abs(shifted - exact)[1:40].max()


def maps(*planes) -> np.ndarray:
    return np.array(planes, np.float32)


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("solver", ["moment2", "exact", "rma"])
def test_sure_pixels_are_the_mask(metric, solver):
    sure = np.zeros((6, 7))
    sure[2:4, 1:5] = 1
    chosen = rank.choose(maps(sure, np.ones((6, 7)), np.zeros((6, 7))), metric, solver)
    np.testing.assert_array_equal(chosen.masks, [sure > 0, np.ones((6, 7), bool), np.zeros((6, 7), bool)])
    assert chosen.sizes.tolist() == [8, 42, 0]
    assert chosen.pruned.tolist() == [False, False, True]


def test_a_single_pixel():
    for p, taken in ((0.9, True), (0.5, False), (0.0, False)):
        chosen = rank.choose(maps([[p]]), "dice")
        assert chosen.masks.item() == taken
    assert rank.choose(maps([[0.1]]), "dice", prune=0).masks.item()


def test_equal_probabilities_are_taken_together_from_the_front():
    """Twelve pixels of 0.8: expected Dice grows with each of them."""
    chosen = rank.choose(maps(np.full((3, 4), 0.8)), "dice")
    assert chosen.sizes.tolist() == [12]
    # One sure pixel among equals that are hardly worth it: the first of the equals would be next.
    plane = np.full((2, 3), 0.05)
    plane[1, 1] = 1
    assert rank.choose(maps(plane), "dice").masks[0].nonzero() == (1, 1)


def test_ignored_pixels_do_not_count():
    rng = np.random.default_rng(0)
    p = rng.random((3, 9, 8)).astype(np.float32)
    valid = rng.random((9, 8)) < 0.7
    masked = rank.choose(p, "dice", valid=valid)
    alone = rank.choose(p[:, valid][:, None], "dice")
    np.testing.assert_array_equal(masked.masks[:, valid], alone.masks[:, 0])
    assert not masked.masks[:, ~valid].any()
    nothing = rank.choose(p, "dice", valid=np.zeros((9, 8), bool))
    assert not nothing.masks.any()
    assert nothing.pruned.all()


def test_pruning_leaves_out_what_is_nowhere_probable():
    plane = np.full((4, 4), 0.2)
    assert rank.choose(maps(plane), "dice", prune=0.5).pruned.tolist() == [True]
    assert rank.choose(maps(plane), "dice", prune=0.1).sizes.tolist() == [16]


def test_large_images_take_one_sort_and_no_square():
    """VGA with a small and a big object: sizes near what a threshold at half the best Dice gives."""
    p = np.full((2, 480, 640), 1e-4, np.float32)
    p[0, 100:110, 100:110] = 0.9
    p[1, 200:400, 100:500] = 0.9
    chosen = rank.choose(p, "dice")
    assert chosen.sizes.tolist() == [100, 200 * 400]


def test_solvers_that_do_not_exist_or_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="only for Dice"):
        rank.choose(maps([[0.9]]), "iou", "trna")
    with pytest.raises(UsageError, match="square"):
        curve(np.full(rank.EXACT_LIMIT + 1, 0.5), "dice", "exact")


@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_marginal_gains_follow_their_formula(metric):
    rng = np.random.default_rng(2)
    p = rng.dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1).astype(np.float32)
    p[2] *= 0.1
    chosen = rank.choose(p, metric, prune=0.3)
    assert chosen.pruned.tolist() == [False, False, True]
    gains = rank.Gains.of(p, chosen, metric, 0.5).at(p.reshape(3, -1)).reshape(p.shape)
    alone = chosen.masks[0] & ~chosen.masks[1]
    mass, own, count, g, x = p[0].sum(), p[0][alone].sum(), alone.sum(), 0.5, float(p[0, 1, 2])
    if metric == "dice":
        den = count + mass + 1 + g
        expected = 2 * ((own + x + g) / (den + 1) - (own + g) / den)
    else:
        den = count + mass - own + g
        expected = (own + x + g) / (den - x + 1) - (own + g) / den
    assert gains[0, 1, 2] == pytest.approx(expected, rel=1e-5)
    assert np.isneginf(gains[2]).all()


def drawn(seed: int, size: int) -> np.ndarray:
    """Probabilities of a class as nets give them: sure ones, equal ones, zeros, and rounding beyond 1."""
    rng = np.random.default_rng(seed)
    p = rng.beta(*rng.choice([0.02, 0.1, 0.5, 1, 5], 2), size)
    if seed % 3 == 0:
        p = np.round(p * 16) / 16
    if seed % 4 == 0:
        p[rng.random(size) < 0.8] = 0
    if seed % 5 == 0:
        p *= 1.000009
    return p.astype(np.float32)


@pytest.mark.skipif(best.kernel() is None, reason="without the native kernel, all pixels are sorted")
@pytest.mark.parametrize("solver", ["moment2", "rma"])
@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_screening_gives_the_mask_of_a_full_sort(metric, solver, smooth) -> None:
    for seed, size in itertools.product(range(24), (1, 40, 700, 9000)):
        p = drawn(seed, size)
        expected = rank.by_sorting(p, metric, solver, smooth).mask
        np.testing.assert_array_equal(
            rank.best_mask(p, metric, solver, smooth).mask, expected, err_msg=f"{seed}, {size}"
        )


@pytest.mark.skipif(best.kernel() is None, reason="without the native kernel, all pixels are sorted")
@pytest.mark.parametrize("metric", ["dice", "iou"])
def test_screening_sorts_few_pixels(metric) -> None:
    """A sure object with a soft edge, in an unsure background: less than a third would be enough."""
    y, x = np.mgrid[:120, :160]
    distance = np.hypot(y - 60, x - 80)
    noise = np.random.default_rng(0).normal(size=distance.shape)
    p = (1 / (1 + np.exp((distance - 40) / 3 + noise))).astype(np.float32).ravel()
    setting = screening.Setting(metric, 0.0, True)
    bins = screening.BINS[0]
    found = screening.screen(bins.sums(p, best.kernel()), bins, setting, 0)
    low, high = bins.span(found.first, found.last)
    assert 0 < ((p >= low) & (p < high)).sum() < p.size / 3


def test_bounds_hold_everywhere() -> None:
    """The proof's inequality: no expectation inside a bin is above its bound."""
    for seed, metric, g, second in itertools.product(range(12), ("dice", "iou"), (0.0, 2.0), (True, False)):
        p = np.sort(drawn(seed, 500))[::-1]
        values = moments.curve((sums := moments.Sums.of_prefixes(p)), sums[-1], metric, g, second)
        ends = np.unique(np.random.default_rng(seed).integers(0, 501, 20))
        ends = np.unique(np.r_[0, ends, 500])
        parts = moments.Sums(sums.sizes[ends], sums.words[:, :, ends])
        bounds = screening._bounds(parts, p[ends[:-1]].astype(float), screening.Setting(metric, g, second))
        for start, end, bound in zip(ends[:-1], ends[1:], bounds, strict=True):
            assert values[start + 1 : end + 1].max() <= bound * (1 + 1e-9), (seed, metric, g, start)
