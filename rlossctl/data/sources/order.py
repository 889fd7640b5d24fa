"""The order of samples: Caffe's skip and shuffles, as a function of the seed and a running count."""

from __future__ import annotations

import numpy as np

from rlossctl.errors import DataError

# First number of each random stream's key; it keeps the streams apart.
_SKIP, _ORDER, _SAMPLE = 0, 1, 2


class SampleOrder:
    """Maps the number of samples drawn since the start to an index into the list and a random generator.

    As in Caffe, `shuffle` shuffles the list at the start and again at each wrap, and `rand_skip` skips a
    random number of samples once, at the start. Nothing depends on earlier draws, so a position in the stream
    is one integer.

    Args:
        count: length of the list.
        shuffle: whether to shuffle at the start and at each wrap.
        rand_skip: the number of skipped samples is drawn from 0..rand_skip-1; 0 skips none.
        seed: any integer.
    """

    def __init__(self, count: int, *, shuffle: bool, rand_skip: int, seed: int, where: object = None) -> None:
        self._count = count
        self._shuffle = shuffle
        self._seed = seed % 2**64
        self._permutations: dict[int, np.ndarray] = {}
        self._skipped = int(self._generator(_SKIP, 0).integers(rand_skip)) if rand_skip else 0
        if self._skipped >= count:
            raise DataError(
                "not enough samples to skip",
                where=where,
                found=f"{self._skipped} to skip (rand_skip {rand_skip}) of {count}",
                expected="fewer than the list holds",
                advice="lower rand_skip in image_data_param",
            )

    def index(self, number: int) -> int:
        """Index into the list of the `number`-th sample drawn, counted from 0."""
        epoch, index = divmod(number + self._skipped, self._count)
        if not self._shuffle:
            return index
        return int(self._permutation(epoch)[index])

    def generator(self, number: int) -> np.random.Generator:
        """The source of all random numbers for the `number`-th sample drawn."""
        return self._generator(_SAMPLE, number)

    def _permutation(self, epoch: int) -> np.ndarray:
        # Workers may ask for neighbouring epochs at once, so the table is replaced, never modified.
        order = self._permutations.get(epoch)
        if order is None:
            order = self._generator(_ORDER, epoch).permutation(self._count)
            near = {e: known for e, known in self._permutations.items() if abs(e - epoch) <= 1}
            self._permutations = {**near, epoch: order}
        return order

    def _generator(self, stream: int, key: int) -> np.random.Generator:
        return np.random.default_rng([stream, self._seed, key])
