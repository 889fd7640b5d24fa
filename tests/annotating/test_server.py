"""Strokes sent to the server are files on disk: complete, never lost, and what data layers read."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from rlossctl.annotating.advisor import Model
from rlossctl.annotating.album import Album
from rlossctl.annotating.server import HOST, Look, Server
from rlossctl.annotating.session import Job, opened
from rlossctl.annotating.store import Places, Store
from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.palette import save_label_png, voc_palette
from rlossctl.data.preprocess import Preprocess
from rlossctl.data.weak.clicks import click_files, read_clicks
from rlossctl.data.weak.from_annotations import write_annotations
from rlossctl.errors import DataError, RlossError, UsageError
from rlossctl.evaluation.predicting.photos import find_inputs
from rlossctl.evaluation.predicting.predictor import Predictor
from rlossctl.evaluation.predicting.protocol import Crf
from rlossctl.evaluation.running.intake import ANY

CLASSES = ("sky", "grass", "road")
LINE = {"x": [5, 20], "y": [6, 6], "cls": 0, "width": 3}
DOT = {"x": 10, "y": 30, "cls": 1, "width": 5}
BOX = {"x": [29.5, 39.5, 39.5, 29.5], "y": [1.5, 1.5, 9.5, 9.5], "cls": 2, "filled": True}
ERASED = {"x": [30, 40], "y": [5, 5], "cls": 255, "width": 1}


def job(photos: Path, classes: tuple[str, ...] = CLASSES, model: Model | None = None) -> Job:
    out = photos.parent / "labels"
    album = Album(find_inputs([str(photos)]))
    places = Places(out, out / "list.txt", str(photos.parent))
    return Job(album, places, classes, Look(voc_palette(), 5), model)


class Client(NamedTuple):
    """Talks to a server as a browser does."""

    server: Server

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(HOST, self.server.server_port, timeout=20)
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        found = answer.status, answer.read()
        connection.close()
        return found

    def get(self, path: str) -> Any:
        status, content = self.ask("GET", f"/{self.server.token}/{path}")
        assert status == 200, content
        return json.loads(content)

    def save(self, name: str, revision: str, *strokes: Any) -> tuple[int, Any]:
        body = {"revision": revision, "strokes": strokes}
        status, content = self.ask("PUT", f"/{self.server.token}/strokes/{name}", body)
        return status, json.loads(content)


@pytest.fixture
def serve(photos: Path) -> Iterator[Callable[..., Client]]:
    """serve(**job's): a client of a running server; a second call ends the first."""
    ends: list[Callable[[], None]] = []

    def started(**options: Any) -> Client:
        while ends:
            ends.pop()()
        session = opened(job(photos, **options))
        server = session.__enter__()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def end() -> None:
            server.shutdown()
            thread.join()
            session.__exit__(None, None, None)

        ends.append(end)
        return Client(server)

    yield started
    while ends:
        ends.pop()()


def test_what_is_saved_is_what_data_layers_read(serve, photos):
    client = serve()
    out = photos.parent / "labels"
    status, saved = client.save("a", "", LINE, DOT, BOX, ERASED)
    assert status == 200 and saved["strokes"] == [LINE, DOT, BOX, ERASED]
    label = read_label(out / "a.png")
    assert label.shape == (40, 60) and label[6, 12] == 0 and label[30, 10] == 1 and label[8, 31] == 2
    assert (label[5, 30:40] == 255).all() and set(np.unique(label)) == {0, 1, 2, 255}
    assert saved["pixels"] == [int((label == cls).sum()) for cls in range(3)]
    (sample,) = read_list(out / "list.txt", f"{photos.parent}/")
    assert (sample.image, sample.label) == (str(photos / "a.png"), str(out / "a.png"))
    drawn = photos.parent / "drawn"
    write_annotations(read_clicks(click_files(out / "strokes")), drawn, photos=photos, width=1)
    assert np.array_equal(read_label(drawn / "a.png"), label), "`data clicks` draws the same"


def test_undo_takes_away_the_label_and_the_line_of_the_list(serve, photos):
    client = serve()
    out = photos.parent / "labels"
    _, first = client.save("a", "", LINE)
    _, second = client.save("a", first["revision"], LINE, DOT)
    _, undone = client.save("a", second["revision"], LINE)
    assert undone["revision"] == first["revision"] and not (read_label(out / "a.png") == 1).any()
    client.save("a", undone["revision"])
    assert not (out / "a.png").exists() and (out / "list.txt").read_text() == ""
    assert client.get("progress")["shares"] == {}


def test_the_later_of_two_browsers_does_not_overwrite(serve):
    client = serve()
    client.save("a", "", LINE)
    status, theirs = client.save("a", "", DOT)
    assert status == 409 and theirs["strokes"] == [LINE]
    status, both = client.save("a", theirs["revision"], LINE, DOT)
    assert status == 200 and client.get("strokes/a")["strokes"] == both["strokes"] == [LINE, DOT]


def test_many_browsers_at_once_lose_nothing(serve):
    """Each adds its strokes by what the page does: after a refusal, on top of what is there."""
    client = serve()

    def draw(cls: int) -> None:
        revision, known = "", []
        for x in range(5):
            while True:
                status, saved = client.save("b", revision, *known, {"x": x, "y": cls, "cls": cls})
                revision, known = saved["revision"], saved["strokes"]
                if status == 200:
                    break

    threads = [threading.Thread(target=draw, args=(cls,)) for cls in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = client.get("strokes/b")["strokes"]
    assert sorted((one["cls"], one["x"]) for one in found) == [(c, x) for c in range(3) for x in range(5)]


def test_a_session_goes_on_where_it_stopped_at_the_same_address(serve):
    client = serve()
    client.save("a", "", LINE, BOX)
    before = client.get("strokes/a"), client.server.url
    again = serve()
    assert (again.get("strokes/a"), again.server.url) == before
    assert again.save("a", before[0]["revision"], LINE, BOX, DOT)[0] == 200


def test_what_a_killed_server_left_behind_its_strokes_is_drawn_again(serve, photos):
    client = serve()
    client.save("a", "", LINE)
    client.save("c", "", DOT)
    out = photos.parent / "labels"
    whole = read_label(out / "a.png")
    save_label_png(out / "a.png", np.full((40, 60), 255), palette=False)  # of an earlier stroke
    newer = (out / "a.png").stat().st_mtime + 60
    (out / "list.txt").unlink()
    (out / "c.png").unlink()
    os.utime(out / "strokes/a.json", (newer, newer))
    serve()
    assert np.array_equal(read_label(out / "a.png"), whole) and (out / "c.png").exists()
    assert len((out / "list.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("strokes", "words"),
    [
        ([{**LINE, "cls": 3}], "class 3"),
        ([{**LINE, "x": [1]}], "not a click"),
        ([{**LINE, "width": 1000}], "width of 1 to 99"),
        ("no list", "not a click"),
    ],
)
def test_what_is_not_a_stroke_is_refused_and_changes_nothing(serve, strokes, words):
    client = serve()
    _, saved = client.save("a", "", DOT)
    body = {"revision": saved["revision"], "strokes": strokes}
    status, content = client.ask("PUT", f"/{client.server.token}/strokes/a", body)
    assert status == 422 and words in json.loads(content)["error"]
    assert client.get("strokes/a") == saved


def test_who_does_not_know_the_token_gets_nothing(serve):
    client = serve()
    token = client.server.token
    assert client.ask("GET", f"/{token}/start")[0] == 200
    for path in ("/", "/start", f"/{token}x/start", f"/{token}", f"/x/{token}/start"):
        assert client.ask("GET", path)[0] == 403
    assert client.ask("GET", f"/{token}/start", Host="evil.example")[0] == 403
    assert client.ask("PUT", f"/{token}/strokes/a", {}, Origin="http://evil.example")[0] == 403
    for path in ("../session.py", "strokes/../../x", "strokes/nobody", "photo/", "%2e%2e/server.py"):
        assert client.ask("GET", f"/{token}/{path}")[0] == 404
    assert client.ask("PUT", f"/{token}/strokes/a", ["no revision"])[0] == 400


def test_photos_as_browsers_show_them(serve, photos):
    client = serve()
    status, content = client.ask("GET", f"/{client.server.token}/photo/c")
    (photos / "c.jpg").write_bytes(content)
    with Image.open(photos / "c.jpg") as image:
        assert status == 200 and image.size == (48, 64) and image.getpixel((20, 5))[2] > 150
    assert client.ask("GET", f"/{client.server.token}/thumbnail/c")[1][:2] == b"\xff\xd8"


def test_a_folder_has_one_session(serve, photos):
    serve()
    with pytest.raises(RlossError, match="in use by another"), opened(job(photos)):
        pass


def test_folders_that_are_refused(photos, tmp_path):
    store = job(photos)
    Store(store.places, store.album, CLASSES)
    with pytest.raises(UsageError, match="other classes"):
        Store(store.places, store.album, ("grass", "sky"))
    save_label_png(store.places.out / "b.png", np.zeros((30, 30)), palette=False)
    with pytest.raises(DataError, match="not drawn here"):
        Store(store.places, store.album, CLASSES)
    with pytest.raises(UsageError, match="overwrite its photo"):
        Store(Places(photos, tmp_path / "list.txt"), store.album, CLASSES)
    (photos / "more").mkdir()
    Image.new("RGB", (4, 4)).save(photos / "more/a.png")
    with pytest.raises(UsageError, match="same name"):
        job(photos)


def test_a_photo_that_cannot_be_read_is_left_out(photos):
    (photos / "b.png").write_bytes(b"no picture")
    album = job(photos).album
    assert list(album.entries) == ["a", "c"] and "b.png" in album.unreadable[0]


class Channels:
    """A model whose scores are the photo's channels, as the classes of the photos have them."""

    backend, classes, losses, activated = "test", None, (), False
    num_classes, channels, intake = 3, 3, ANY
    preprocess = Preprocess(mean_bgr=(0.0, 0.0, 0.0), scale=0.006)

    def scores(self, batch: np.ndarray) -> np.ndarray:
        return batch


@pytest.mark.slow
def test_the_model_s_doubts_prediction_and_preview(serve, photos):
    grey = np.full((20, 20, 3), 90, np.uint8)  # all classes alike
    Image.fromarray(grey).save(photos / "d.png")
    model = Model(Predictor(Channels()), "fingerprint", voc_palette(), Crf())
    client = serve(model=model)
    while len((progress := client.get("progress"))["doubts"]) < 4:
        assert progress["failed"] is None
        time.sleep(0.02)
    doubts = client.get("progress")["doubts"]
    assert max(doubts, key=doubts.get) == "d" and doubts["d"] == pytest.approx(1)
    assert picture(client, "prediction/a", photos)[[5, 35], 20].tolist() == [0, 1]
    client.save("a", "", {"x": [3, 56], "y": [30, 30], "cls": 2, "width": 9})
    preview = picture(client, "preview/a", photos)
    assert (preview[27:34, 5:50] == 2).all() and (preview[:15] == 0).all()
    assert (preview[22:] == 2).mean() > (read_label(photos.parent / "labels/a.png")[22:] == 2).mean()
    place = client.get("least-sure/d")
    assert 0 < place["x"] < 20 and 0 < place["y"] < 20
    noted = json.loads((photos.parent / "labels/.annotate.doubts.json").read_text())
    assert noted["model"] == "fingerprint"


def picture(client: Client, path: str, folder: Path) -> np.ndarray:
    status, content = client.ask("GET", f"/{client.server.token}/{path}")
    assert status == 200, content
    (folder / "answer.png").write_bytes(content)
    return read_label(folder / "answer.png")


def test_a_model_with_other_classes_is_refused(photos):
    model = Model(Predictor(Channels()), "", voc_palette(), Crf())
    with pytest.raises(UsageError, match="other classes"), opened(job(photos, ("sky", "grass"), model)):
        pass
