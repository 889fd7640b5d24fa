from __future__ import annotations

import io
import json

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from rlossctl.data.lmdb_file import Lmdb
from rlossctl.data.sources.database import DatabaseSource
from rlossctl.errors import DataError
from rlossctl.prototxt.messages import Datum, LayerParameter
from rlossctl.weights.mean import write_mean

lmdb = pytest.importorskip("lmdb", reason="lmdb, which writes the databases here, is not installed")
COUNT, SHAPE = 7, (3, 6, 5)


def pixels(index):
    return np.random.default_rng(index).integers(0, 256, SHAPE).astype(np.uint8)


def datum(array=None, *, encoded=None, label=0):
    message = Datum()
    message.label = label
    if encoded is not None:
        message.data, message.encoded = encoded, True
        return message
    message.channels, message.height, message.width = array.shape
    if array.dtype == np.uint8:
        message.data = array.tobytes()
    else:
        message.float_data.extend(array.ravel().tolist())
    return message


def write(path, messages):
    with lmdb.open(str(path), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        for index, message in enumerate(messages):
            transaction.put(f"{index:08d}_name".encode(), message.SerializeToString())
    return path


@pytest.fixture
def database(tmp_path):
    return write(tmp_path / "db", [datum(pixels(index), label=index * 2) for index in range(COUNT)])


def source(
    path, data="batch_size: 1", transform="", phase="TEST", tops=2, backend="backend: LMDB", **options
):
    text = f'name: "in" type: "Data" data_param {{ source: "{path}" {backend} {data} }}'
    text += f" transform_param {{ {transform} }}" + "".join(f' top: "top{index}"' for index in range(tops))
    return DatabaseSource(text_format.Parse(text, LayerParameter()), phase, **options)


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.mark.proves("Data")
def test_in_the_order_of_the_keys_and_from_the_start_again(database):
    data = source(database, "batch_size: 3")
    assert data.shapes() == {"top0": (3, *SHAPE), "top1": (3,)}
    for start in (0, 3, 6, 9):
        image, label = data.next_batch()
        indices = [(start + step) % COUNT for step in range(3)]
        assert np.array_equal(image, [pixels(index) for index in indices]) and image.dtype == np.float32
        assert label.tolist() == [index * 2 for index in indices]
    assert len(source(database, tops=1).next_batch()) == 1


def test_the_same_stream_for_any_number_of_workers_and_after_a_resume(database):
    transform = "crop_size: 3 mirror: true mean_value: 7 scale: 0.5"
    sources = [source(database, "batch_size: 2", transform, "TRAIN", workers=n, seed=3) for n in (0, 1, 4)]
    for _ in range(9):
        first, *others = [data.next_batch() for data in sources]
        assert all(same(first, other) for other in others)
    state = json.loads(json.dumps(sources[0].state()))
    expected = [sources[1].next_batch() for _ in range(5)]
    resumed = source(database, "batch_size: 2", transform, "TRAIN", workers=2)
    resumed.restore(state)
    assert all(same(resumed.next_batch(), batch) for batch in expected)
    for data in (*sources, resumed):
        data.close()


def test_train_crops_at_random_and_test_in_the_centre(database):
    image, _ = source(database, transform="crop_size: 3 scale: 2").next_batch()
    assert np.array_equal(image[0], pixels(0)[:, 1:4, 1:4] * 2.0)
    data = source(database, f"batch_size: {COUNT}", "crop_size: 3 mirror: true", "TRAIN")
    seen = set()
    for _ in range(20):
        first = data.next_batch()[0][0]
        for top in range(4):
            for left in range(3):
                part = pixels(0)[:, top : top + 3, left : left + 3]
                seen |= {(top, left, flip) for flip in (1, -1) if np.array_equal(part[..., ::flip], first)}
    assert len({place[:2] for place in seen}) > 5 and {place[2] for place in seen} == {1, -1}


def test_mean_file(database, tmp_path):
    mean = np.random.default_rng(9).uniform(0, 200, SHAPE).astype(np.float32)
    write_mean(tmp_path / "mean.binaryproto", mean)
    transform = f'mean_file: "{tmp_path}/mean.binaryproto" scale: 0.25'
    image, _ = source(database, transform=transform).next_batch()
    assert np.array_equal(image[0], (pixels(0) - mean) * np.float32(0.25))
    image, _ = source(database, transform=transform + " crop_size: 3").next_batch()
    assert np.array_equal(image[0], ((pixels(0) - mean) * np.float32(0.25))[:, 1:4, 1:4])
    write_mean(tmp_path / "mean.binaryproto", mean[:, :4])
    with pytest.raises(DataError, match=r"mean file does not fit.*\n.*3x6x5\n.*3x4x5"):
        source(database, transform=transform).next_batch()


def test_float_data_of_any_number_of_channels(tmp_path):
    values = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    write(tmp_path / "db", [datum(values, label=-3)])
    means = " ".join(f"mean_value: {value}" for value in range(5))
    image, label = source(tmp_path / "db", transform=means).next_batch()
    assert np.array_equal(image[0], values - np.arange(5, dtype=np.float32)[:, None, None])
    assert label.tolist() == [-3]


def test_encoded_pictures(tmp_path):
    color = np.random.default_rng(1).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    grey, alpha = color[:, :, 0].copy(), np.dstack([color, color[:, :, :1]])
    write(tmp_path / "db", [datum(encoded=png(array)) for array in (color, grey, alpha)])
    bgr = color[:, :, ::-1].transpose(2, 0, 1)
    data = source(tmp_path / "db")
    assert np.array_equal(data.next_batch()[0][0], bgr)
    assert np.array_equal(data.next_batch()[0][0], grey[None])
    assert np.array_equal(data.next_batch()[0][0], np.concatenate([bgr, color[:, :, :1].transpose(2, 0, 1)]))
    for force in ("force_encoded_color: true batch_size: 3", "batch_size: 3"):
        transform = "" if "encoded" in force else "force_color: true"
        image, _ = source(tmp_path / "db", force, transform).next_batch()
        assert np.array_equal(image, [bgr, np.repeat(grey[None], 3, axis=0), bgr])
    image, _ = source(tmp_path / "db", "batch_size: 3", "force_gray: true").next_batch()
    assert image.shape == (3, 1, 4, 5) and np.array_equal(image[1, 0], grey)
    with pytest.raises(DataError, match=r"differ in size.*\n.*1x4x5"):
        source(tmp_path / "db", "batch_size: 2").next_batch()


def test_rand_skip_is_of_old_caffes(database):
    starts = {source(database, "batch_size: 1 rand_skip: 7", seed=n).next_batch()[1][0] for n in range(20)}
    assert starts == {0}
    old = [source(database, "batch_size: 1 rand_skip: 7", seed=n, honour_skip=True) for n in range(20)]
    assert len({data.next_batch()[1][0] for data in old}) > 3


def test_the_shape_without_the_database(tmp_path):
    def shape(transform):
        return source(tmp_path / "none", "batch_size: 2", transform).shapes()["top0"]

    assert shape("crop_size: 9") == (2, 3, 9, 9)
    assert shape("crop_size: 9 force_gray: true") == (2, 1, 9, 9)
    assert shape("crop_size: 9 mean_value: 1 mean_value: 2") == (2, 2, 9, 9)
    write_mean(tmp_path / "mean", np.zeros((4, 2, 2)))
    assert shape(f'crop_size: 9 mean_file: "{tmp_path}/mean"') == (2, 4, 9, 9)
    with pytest.raises(DataError, match="cannot be opened"):
        shape("")


def test_leveldb_is_refused(tmp_path, database):
    with pytest.raises(DataError, match="LEVELDB is not supported") as caught:
        source(tmp_path / "none", backend="").next_batch()
    assert "convert" in caught.value.advice
    (tmp_path / "level").mkdir()
    data = source(tmp_path / "level", "batch_size: 2", "crop_size: 4", backend="")
    assert data.shapes()["top0"] == (2, 3, 4, 4), "the net can still be built and looked at"
    assert source(database, backend="").next_batch()[1] == [0], (
        "the default backend, but the folder is an LMDB"
    )


def test_two_layers_may_read_one_database(database):
    one, two = source(database), source(database.parent / "db/../db")
    one.next_batch()
    assert one.next_batch()[1] == [2] and two.next_batch()[1] == [0]


def test_other_content(tmp_path, database):
    wrong = Datum()
    wrong.channels, wrong.height, wrong.width, wrong.data = 3, 4, 5, b"123"
    cases = {
        "size does not fit": wrong.SerializeToString(),
        "not a Datum": b"\x0a\xff\xff",
        "cannot be read": datum(encoded=b"no picture").SerializeToString(),
    }
    for number, (message, value) in enumerate(cases.items()):
        path = tmp_path / f"wrong{number}"
        with lmdb.open(str(path), map_size=1 << 20) as environment, environment.begin(write=True) as content:
            content.put(b"key", value)
        with pytest.raises(DataError, match=message) as caught:
            source(path).next_batch()
        assert caught.value.where == f"{path}, key 'key'"
    with lmdb.open(str(tmp_path / "empty"), map_size=1 << 20):
        pass
    with pytest.raises(DataError, match="database is empty"):
        source(tmp_path / "empty").next_batch()
    with pytest.raises(DataError, match="smaller than the crop"):
        source(database, transform="crop_size: 6").next_batch()
    with pytest.raises(DataError, match="no database is named"):
        source("").next_batch()


def test_a_large_database_is_walked_in_both_directions(tmp_path):
    """A tree of three levels, with values of their own pages between small ones, against the library."""
    rng = np.random.default_rng(0)
    keys = [bytes(rng.integers(97, 123, size=rng.integers(4, 60), dtype=np.uint8)) for _ in range(3000)]
    with lmdb.open(str(tmp_path / "db"), map_size=1 << 26) as environment:
        for start in range(0, len(keys), 500):
            with environment.begin(write=True) as content:
                for key in keys[start : start + 500]:
                    content.put(key, rng.bytes(int(rng.choice([0, 3, 40, 40, 40, 900, 2500, 9000]))))
        with environment.begin(write=True) as content:
            for key in keys[::7]:
                content.delete(key)
        with environment.begin() as content:
            expected = list(content.cursor())
            assert environment.stat()["depth"] >= 3
    database = Lmdb(tmp_path / "db")
    assert database.entries == len(expected)
    database.first()
    found = [database.item()]
    for _ in expected[1:]:
        database.move(1)
        found.append(database.item())
    assert found == expected
    for item in reversed(expected[:-1]):
        database.move(-1)
        assert database.item() == item


def test_a_truncated_database_says_so(database):
    content = (database / "data.mdb").read_bytes()
    (database / "data.mdb").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="the database is damaged") as caught:
        source(database).next_batch()
    assert "the file ends at byte" in caught.value.found
    (database / "data.mdb").write_bytes(bytes(20000))
    with pytest.raises(DataError, match="is damaged"):
        source(database).next_batch()
    (database / "data.mdb").write_bytes(b"")
    with pytest.raises(DataError, match="cannot be opened"):
        source(database).next_batch()
