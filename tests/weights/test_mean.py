from __future__ import annotations

import numpy as np
import pytest

from rlossctl.errors import WeightsError
from rlossctl.prototxt.messages import BlobProto
from rlossctl.weights.mean import load_mean, write_mean


def test_as_compute_image_mean_writes_it(tmp_path):
    mean = np.random.default_rng(0).uniform(0, 255, (3, 4, 5)).astype(np.float32)
    message = BlobProto()
    message.num, message.channels, message.height, message.width = 1, 3, 4, 5
    message.data.extend(mean.ravel().tolist())
    (tmp_path / "mean.binaryproto").write_bytes(message.SerializeToString())
    assert np.array_equal(load_mean(tmp_path / "mean.binaryproto"), mean)
    write_mean(tmp_path / "again", mean)
    assert (tmp_path / "again").read_bytes() == message.SerializeToString()
    message = BlobProto()
    message.shape.dim.extend(mean.shape)
    message.double_data.extend(mean.ravel().tolist())
    (tmp_path / "mean").write_bytes(message.SerializeToString())
    assert np.array_equal(load_mean(tmp_path / "mean"), mean)


def test_what_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="none"):
        load_mean(tmp_path / "none")
    (tmp_path / "text").write_text("a list of images\n")
    with pytest.raises(WeightsError, match="another kind of file"):
        load_mean(tmp_path / "text")
    message = BlobProto()
    message.shape.dim.extend((2, 3, 1, 1))
    message.data.extend([0.0] * 6)
    (tmp_path / "batch").write_bytes(message.SerializeToString())
    with pytest.raises(WeightsError, match="not hold a mean image"):
        load_mean(tmp_path / "batch")
    (tmp_path / "cut").write_bytes(message.SerializeToString()[:-3])
    with pytest.raises(WeightsError):
        load_mean(tmp_path / "cut")
