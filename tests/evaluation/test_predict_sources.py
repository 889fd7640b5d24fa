"""`rlossctl predict` on what is not a file of one photo: URLs, standard input, videos, photos of one name."""

from __future__ import annotations

import io
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from rlossctl.data import urls
from rlossctl.data.images import read_label
from rlossctl.errors import DataError
from rlossctl.evaluation.predicting.videos import Frames, MissingFrames, Video


def read_rgb(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def photo(voc_folder):
    return voc_folder / "JPEGImages" / "2007_000000.png"


@pytest.fixture
def expected(predict, photo, tmp_path):
    """The labels of the photo."""
    assert predict(photo, "--out", "plain")[0] == 0
    return read_label(tmp_path / "plain" / photo.name)


@pytest.fixture
def server(photo):
    """The address of a server on this machine, which has the photo and answers badly elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            data = photo.read_bytes()
            if self.path.startswith("/gone"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + self.path.startswith("/short")))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_url(predict, server, expected, tmp_path):
    code, out, _ = predict(f"{server}/a%20b.png?size=1", f"{server}/gone.jpg", "--out", "out")
    assert code == 1 and "1 image predicted" in out and f"{server}/gone.jpg: status 404" in out
    np.testing.assert_array_equal(read_label(tmp_path / "out/a b.png"), expected)


def test_a_url_has_limits(server, photo):
    assert urls.read(f"{server}/x.png", urls.Limits(size=len(photo.read_bytes()))) == photo.read_bytes()
    with pytest.raises(DataError, match="more than 100 bytes"):
        urls.read(f"{server}/x.png", urls.Limits(size=100))
    with pytest.raises(DataError, match="1 bytes less than the server announced"):
        urls.read(f"{server}/short.png")
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(DataError, match="too slow"):
        urls.read(f"http://127.0.0.1:{silent.getsockname()[1]}/x.png", urls.Limits(seconds=0.1))


def test_a_photo_on_standard_input(predict, photo, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(photo.read_bytes())))
    code, out, _ = predict("-", "--out", "out")
    assert code == 0 and "1 image predicted" in out
    np.testing.assert_array_equal(read_label(tmp_path / "out/stdin.png"), expected)


def test_photos_that_differ_in_their_suffix_keep_it(predict, photo, expected, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    with Image.open(photo) as image:
        image.save(folder / "x.bmp")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "x.tif")
        image.save(folder / "y.png")
    code, out, _ = predict(folder, "--out", "out", "--write", "labels,npz")
    assert code == 0 and "3 images predicted" in out
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["x.bmp.npz", "x.bmp.png", "x.tif.npz", "x.tif.png", "y.npz", "y.png"]
    np.testing.assert_array_equal(read_label(tmp_path / "out/x.bmp.png"), expected)
    np.testing.assert_array_equal(read_label(tmp_path / "out/x.tif.png"), expected[:, ::-1])


COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 30, 30), (30, 200, 30), (30, 30, 200)]  # BGR


@pytest.fixture
def clip(tmp_path):
    """Six frames, each of one colour, 2 per second."""
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 2, (64, 48))
    for colour in COLOURS:
        writer.write(np.full((48, 64, 3), colour, np.uint8))
    writer.release()
    return path


def test_the_frames_of_a_video(predict, clip, tmp_path):
    code, out, _ = predict(clip, "--out", "out", "--write", "labels,video,coco", "--legend")
    assert code == 0 and "6 images predicted" in out
    for index in range(6):
        labels = read_label(tmp_path / f"out/clip/{index:06d}.png")
        assert labels.shape == (48, 64) and (labels == index % 3).all(), "the strongest of blue, green, red"
    film = Video(tmp_path / "out/clip_overlay.mp4", "film")
    frames = [picture.pixels for _, picture in film.read()]
    assert len(frames) == 6 and film.rate == 2
    assert frames[0].shape[0] > 48, "the legend is below"
    # VOC's class 1 is dark red; half of it over a green frame.
    np.testing.assert_allclose(frames[1][24, 32], [15, 100, 79], atol=12)
    assert '"clip/000005.png"' in (tmp_path / "out/predictions.coco.json").read_text()


def test_some_frames_of_a_video(clip):
    names = [entry.name for entry, _ in Video(clip, "clip").read(Frames(2, 2))]
    assert names == ["clip/000000", "clip/000002"]
    assert len(list(Video(clip, "clip").read(Frames(4)))) == 2


def test_a_video_that_ends_early_is_told(clip, tmp_path):
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "long.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 2, (64, 48))
    rng = np.random.default_rng(0)
    for _ in range(30):
        writer.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(MissingFrames, match="30 frames are announced, but only 1"):
        assert 10 < len(list(Video(path, "long").read())) < 20


def test_videos_that_cannot_be_predicted(predict, clip, tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    for arguments, words in (
        (["text.mp4"], "the video cannot be read"),
        (["none.mp4"], "No such file"),
        (["camera:0"], "a camera has no end"),
        (["camera:99", "--frames", "2"], "OpenCV cannot open it"),
        ([clip, tmp_path / "clip.avi"], "2 videos of this name"),
        ([clip, "--voc-archive", "a.tgz"], "the VOC server takes photos"),
    ):
        code, _, error = predict(*arguments, "--out", "out")
        assert code in (1, 2) and words in error, words


def test_a_film_needs_a_video(predict, photo, clip, tmp_path):
    code, _, error = predict(photo, "--out", "out", "--write", "video")
    assert code == 2 and "a film is made from a video" in error
    (tmp_path / "out/clip").mkdir(parents=True)
    inside = tmp_path / "out/clip/000000.png"
    inside.write_bytes(photo.read_bytes())
    code, _, error = predict(inside, clip, "--out", "out")
    assert code == 2 and "would be mixed" in error and inside.read_bytes() == photo.read_bytes()
