from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from rlossctl.data.sources.memory import MemorySource
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import LayerParameter


def source(param="batch_size: 2 channels: 1 height: 2 width: 3", tops='top: "data" top: "label"'):
    text = f'name: "in" type: "MemoryData" {tops} memory_data_param {{ {param} }}'
    return MemorySource(text_format.Parse(text, LayerParameter()))


def test_batches_of_what_was_fed():
    data = source()
    assert data.shapes() == {"data": (2, 1, 2, 3), "label": (2,)}
    images = np.arange(24).reshape(4, 1, 2, 3)
    data.feed(images, np.array([[5], [6], [7], [8]]))
    state = None
    for start in (0, 2, 0):
        state = data.state()
        image, label = data.next_batch()
        assert np.array_equal(image, images[start : start + 2]) and image.dtype == np.float32
        assert label.tolist() == [5 + start, 6 + start]
    data.restore({**state, "position": 2})
    assert data.next_batch()[1].tolist() == [7, 8]


def test_what_is_refused():
    data = source()
    with pytest.raises(DataError, match="nothing was fed") as caught:
        data.next_batch()
    assert "net.sources['in'].feed" in caught.value.advice
    for count, labels in ((3, 3), (0, 0), (2, 4)):
        with pytest.raises(DataError, match="arrays do not fit"):
            data.feed(np.zeros((count, 1, 2, 3)), np.zeros(labels))
    with pytest.raises(DataError, match="incomplete"):
        source("batch_size: 2 channels: 1 height: 2")
    with pytest.raises(DataError, match="incomplete"):
        source(tops='top: "data"')
