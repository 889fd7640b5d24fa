"""`rlossctl fetch`: a server on this machine, or a folder, stands for those that publish the files."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from rlossctl.cli import cli
from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.sets.registry import data_sets
from rlossctl.errors import DataError, RlossError, UsageError
from rlossctl.fetching import checking, getting, items, transfer

VAL, TRAIN = "2007_000033", "2007_000032"
AUG = "SegmentationClassAug.zip"


def png(ids: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(ids.astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 99, np.uint8)).save(buffer, format="JPEG")
    return buffer.getvalue()


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """VOC's tar, the zip archives and a caffemodel, with two images."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    voc = {f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg": photo() for name in (TRAIN, VAL, "2008_000001")}
    voc["VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt"] = f"{VAL}\n".encode()
    voc[f"VOCdevkit/VOC2012/SegmentationClass/{VAL}.png"] = png(np.ones((20, 30)))
    with tarfile.open(folder / "VOCtrainval_11-May-2012.tar", "w") as archive:
        for name, content in voc.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    for name, kind, ids in (
        (AUG, "SegmentationClassAug", (TRAIN, VAL)),
        ("pascal_2012_scribble.zip", "pascal_2012_scribble", (TRAIN,)),
    ):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"__MACOSX/{kind}/._{ids[0]}.png", b"resource fork")
            for stem in ids:
                archive.writestr(f"{kind}/{stem}.png", png(np.full((20, 30), 2)))
    with zipfile.ZipFile(folder / "deeplab_aspp_resnet101.zip", "w") as archive:
        archive.writestr("models/init.caffemodel", b"weights")
        archive.writestr("train.prototxt", b"net")
    return folder


@pytest.fixture
def sums(mirror: Path, tmp_path: Path) -> Path:
    """The checksums of the mirror's files, in sha256sum's form."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(mirror.iterdir())
    ]
    (tmp_path / "sums.txt").write_text("".join(lines))
    return tmp_path / "sums.txt"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No address outside can be reached, as the proxy is none; attempts follow each other at once."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "no_proxy", "NO_PROXY", "HTTPS_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setattr(transfer, "_BETWEEN", 0)
    monkeypatch.chdir(tmp_path)


def fetch(*words: object) -> Result:
    return CliRunner().invoke(cli, ["fetch", *map(str, words)])


@pytest.fixture
def server(mirror: Path) -> Iterator[SimpleNamespace]:
    """Serves the mirror, with ranges. `cut` bytes are sent of each of the next `breaks` answers."""
    state = SimpleNamespace(requests=[], breaks=0, cut=100, ranges=True, tag='"1"', redirect="", status=200)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append((self.path, dict(self.headers)))
            if state.redirect or state.status != 200:
                return self.head(302 if state.redirect else state.status, 0, {"Location": state.redirect})
            file = mirror / Path(self.path).name
            if not file.exists():
                return self.head(404, 0, {})
            content = file.read_bytes()
            same = self.headers.get("If-Range", state.tag) == state.tag
            if state.ranges and same and "Range" in self.headers:
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
                total = len(content)
                if start >= total:
                    return self.head(416, 0, {"Content-Range": f"bytes */{total}"})
                content = content[start:]
                place = f"bytes {start}-{total - 1}/{total}"
                self.head(206, len(content), {"Content-Range": place, "ETag": state.tag})
            else:
                self.head(200, len(content), {"ETag": state.tag})
            if state.breaks:
                state.breaks -= 1
                content = content[: state.cut]
            self.wfile.write(content)

        def head(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        state.address = f"http://127.0.0.1:{running.server_port}"
        yield state
        running.shutdown()


def test_from_the_mirror_to_the_layout_of_the_prototxts(sums, mirror, tmp_path):
    words = ("--mirror", mirror, "--sums", sums, "--to", "d", "voc", "resnet-101")
    done = fetch(*words)
    assert done.exit_code == 0, done.output
    assert done.stdout.count("as expected") == 4
    root = tmp_path / "d/VOC2012"
    listed = {
        name: [line.image for line in read_list(root / f"pascal_scribble/list/{name}.txt", root)]
        for name in ("train", "train_aug", "val")
    }
    assert listed["train"] == listed["train_aug"] == [f"{root}/JPEGImages/{TRAIN}.jpg"]
    assert listed["val"] == [f"{root}/JPEGImages/{VAL}.jpg"]
    assert (read_label(root / f"SegmentationClassAug/{VAL}.png") == 2).all()
    assert not (root / "JPEGImages/2008_000001.jpg").exists(), "a photo without any label"
    model = root / "pascal_scribble/model/resnet-101"
    assert [file.name for file in model.iterdir()] == ["init.caffemodel"]
    again = fetch(*words)
    assert again.exit_code == 0 and " from " not in again.stdout and again.stdout.count("is there") == 4


def test_a_server_gives_the_file(server, mirror, tmp_path):
    done = fetch("--mirror", server.address, "--no-prepare", "--accept", "aug")
    assert done.exit_code == 0, done.output
    content = (mirror / AUG).read_bytes()
    assert f"SHA-256 {hashlib.sha256(content).hexdigest()}, no checksum is known" in done.stdout
    assert (tmp_path / "data/downloads" / AUG).read_bytes() == content
    assert sorted(file.name for file in (tmp_path / "data/downloads").iterdir()) == [AUG, checking.ACCEPTED]


@pytest.mark.parametrize("breaks", [1, 2])
def test_a_broken_connection_goes_on_by_itself(server, mirror, sums, tmp_path, breaks):
    server.breaks = breaks
    done = fetch("--mirror", server.address, "--sums", sums, "--no-prepare", "aug")
    assert done.exit_code == 0, done.output
    ranges = [headers.get("Range") for _, headers in server.requests]
    assert ranges == [None, "bytes=100-", "bytes=200-"][: breaks + 1]
    assert (tmp_path / "data/downloads" / AUG).read_bytes() == (mirror / AUG).read_bytes()


def test_what_came_before_a_break_stays_for_the_next_time(server, mirror, sums, tmp_path):
    server.breaks, words = 3, ("--mirror", server.address, "--sums", sums, "--no-prepare", "aug")
    done = fetch(*words)
    assert (
        done.exit_code == 1
        and "broke off after 300 of" in done.stdout
        and "300 bytes are kept" in done.stdout
    )
    assert "1 file of 1 could not be fetched" in str(done.exception)
    (part,) = (tmp_path / "data/downloads").glob("*.part")
    assert part.read_bytes() == (mirror / AUG).read_bytes()[:300]
    server.requests.clear()
    assert fetch(*words).exit_code == 0
    assert [headers.get("Range") for _, headers in server.requests] == ["bytes=300-"]


def test_a_file_that_has_changed_in_the_meantime_is_fetched_anew(server, mirror, tmp_path):
    server.breaks, words = 3, ("--mirror", server.address, "--accept", "--no-prepare", "aug")
    assert fetch(*words).exit_code == 1
    with zipfile.ZipFile(mirror / AUG, "w") as archive:
        archive.writestr("SegmentationClassAug/other.png", png(np.ones((40, 50))))
    server.tag = '"2"'
    done = fetch(*words)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data/downloads" / AUG).read_bytes() == (mirror / AUG).read_bytes()


def test_a_server_without_ranges_sends_the_whole_again(server, mirror, sums, tmp_path):
    server.ranges, server.breaks = False, 1
    assert fetch("--mirror", server.address, "--sums", sums, "--no-prepare", "aug").exit_code == 0
    assert (tmp_path / "data/downloads" / AUG).read_bytes() == (mirror / AUG).read_bytes()


def test_a_part_that_is_all_of_the_file_is_complete(server, mirror, tmp_path):
    part = tmp_path / "x.part"
    part.write_bytes((mirror / AUG).read_bytes())
    transfer.receive(f"{server.address}/{AUG}", part)
    assert part.read_bytes() == (mirror / AUG).read_bytes()
    part.write_bytes(part.read_bytes() + b"more than there is")
    transfer.receive(f"{server.address}/{AUG}", part)
    assert part.read_bytes() == (mirror / AUG).read_bytes()


def test_mirrors_are_tried_in_turn(server, mirror, tmp_path):
    (tmp_path / "empty").mkdir()
    done = fetch(
        *("--mirror", tmp_path / "empty", "--mirror", f"{server.address}/none", "--mirror", mirror),
        *("--accept", "--no-prepare", "vgg16_20M", "aug"),
    )
    assert (
        done.exit_code == 1 and "vgg16_20M" in str(done.exception) and "SegmentationClassAug" in done.stdout
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    start = lines.index(f"aug: {AUG}")
    assert lines[start + 1].startswith("from file://") and lines[start + 2].startswith("No such file")
    assert "status 404" in "".join(lines) and (tmp_path / "data/downloads" / AUG).exists()


@pytest.mark.parametrize(("status", "asked"), [(503, 2), (403, 1)])
def test_only_what_may_pass_is_asked_again(server, tmp_path, status, asked):
    server.status = status
    with pytest.raises(transfer.NotFetched, match=f"status {status}"):
        transfer.receive(f"{server.address}/{AUG}", tmp_path / "x.part")
    assert len(server.requests) == asked


def test_a_proxy_is_asked_where_the_environment_names_one(server, mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.address)
    transfer.receive(f"http://localhost:9/{AUG}", tmp_path / "x.part")
    assert server.requests[0][0] == f"http://localhost:9/{AUG}"
    monkeypatch.setenv("no_proxy", "localhost")
    with pytest.raises(transfer.NotFetched, match="cannot be reached"):
        transfer.receive(f"http://localhost:9/{AUG}", tmp_path / "y.part")


def test_only_https_is_asked(server, tmp_path):
    addresses = [one for item in items.items().values() for one in item.download.addresses]
    assert addresses and all(address.startswith("https://") for address in addresses)
    refused = fetch("--mirror", "http://example.org/files", "--no-prepare", "aug")
    assert isinstance(refused.exception, UsageError) and "https" in str(refused.exception)
    server.redirect = "http://example.org/file"
    with pytest.raises(transfer.NotFetched, match=r"redirected to http://example\.org/file"):
        transfer.receive(f"{server.address}/{AUG}", tmp_path / "x.part")


def test_secrets_are_sent_and_not_shown(server, sums, monkeypatch):
    address = server.address.replace("//", "//me:s%C3%A9cret@")
    server.breaks = 3
    done = fetch("--mirror", address, "--sums", sums, "--no-prepare", "aug")
    assert "cret" not in done.output and "me:" not in done.output and server.address in done.output
    assert server.requests[0][1]["Authorization"] == "Basic bWU6c8OpY3JldA=="
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub = "https://huggingface.co/datasets/a/b/resolve/main"
    assert transfer.without_secret(hub).authorization == "Bearer hf_secret"
    assert transfer.without_secret("https://example.org/a").authorization == ""
    assert transfer.shown("https://a:b@example.org/c?token=d") == "https://example.org/c"


def test_a_token_does_not_follow_a_redirect(server, tmp_path):
    server.redirect = server.address.replace("127.0.0.1", "localhost") + "/elsewhere"
    with pytest.raises(transfer.NotFetched):
        transfer.receive(server.address.replace("//", "//me:secret@") + "/x", tmp_path / "x.part")
    first, second = (headers for _, headers in server.requests[:2])
    assert "Authorization" in first and "Authorization" not in second


def test_room_is_looked_at_first(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(RlossError, match="too little room") as caught:
        transfer.receive(f"{server.address}/{AUG}", tmp_path / "x.part")
    assert caught.value.found == "10 bytes free" and not (tmp_path / "x.part").exists()


def test_a_file_that_nobody_vouches_for_is_not_used_unasked(mirror, tmp_path):
    downloads, words = tmp_path / "data/downloads", ("--mirror", mirror, "--no-prepare", "aug")
    content = (mirror / AUG).read_bytes()
    done = fetch(*words)
    assert done.exit_code == 1 and "--accept" in done.stdout and "--sums" in done.stdout
    assert [file.name for file in downloads.iterdir()] == [f"{AUG}.unchecked"]
    assert done.stdout.count(" from ") == 1, "no other address is asked"
    (mirror / AUG).unlink()
    assert fetch("--accept", *words).exit_code == 0, "it is there already"
    assert (downloads / AUG).read_bytes() == content
    again = fetch(*words)
    assert again.exit_code == 0 and "as expected" in again.stdout, "what was accepted once is known"
    (downloads / AUG).write_bytes(content + b"?")
    assert fetch("--accept", *words).exit_code == 1


def test_a_file_that_waits_is_judged_by_a_checksum_that_comes_later(mirror, sums, tmp_path):
    words = ("--mirror", mirror, "--no-prepare", "aug")
    fetch(*words)
    waiting = tmp_path / "data/downloads" / f"{AUG}.unchecked"
    waiting.write_bytes(b"another file")
    assert fetch("--sums", sums, *words).exit_code == 0
    assert waiting.with_suffix(".rejected").read_bytes() == b"another file"


@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_it_is_asked(mirror, tmp_path, monkeypatch, answer, status):
    monkeypatch.setattr("rlossctl.cli.fetch._at_terminal", lambda: True)
    words = ["fetch", "--mirror", str(mirror), "--no-prepare", "aug"]
    done = CliRunner().invoke(cli, words, input=f"{answer}\n")
    assert done.exit_code == status and "Use it? [y/N]" in done.stdout
    assert (tmp_path / "data/downloads" / AUG).exists() == (status == 0)


def test_another_file_is_refused_and_never_gets_the_name(mirror, tmp_path):
    done = fetch("--mirror", mirror, "--no-prepare", "voc2012")
    assert done.exit_code == 1
    assert "expected e14f763270cf" in done.stdout and "could not be fetched" in str(done.exception)
    names = sorted(file.name for file in (tmp_path / "data/downloads").iterdir())
    assert names == ["VOCtrainval_11-May-2012.tar.rejected"]


@pytest.mark.parametrize(
    ("item", "content", "words"),
    [
        ("aug", b"PK\3\4 and the rest is missing", "not a whole zip archive"),
        ("vgg16_20M", b"\n<!DOCTYPE html><title>not found</title>", "a page of text"),
    ],
)
def test_what_is_not_the_file_is_refused(mirror, item, content, words):
    (mirror / items.items()[item].download.file).write_bytes(content)
    done = fetch("--mirror", mirror, "--no-prepare", "--accept", item)
    assert done.exit_code == 1 and words in done.stdout


def test_the_first_digits_of_a_checksum(mirror):
    content = b"weights"
    digits = hashlib.sha256(content).hexdigest()[:8]
    (mirror / "a.pth").write_bytes(content)
    verdict = checking.judge(mirror / "a.pth", "a.pth", checking.Checksum("sha256", digits))
    assert verdict.right and "as expected in the 8 known digits" in verdict.words
    md5 = checking.Checksum("md5", hashlib.md5(content).hexdigest())
    assert checking.judge(mirror / "a.pth", "a.pth", md5).right
    assert not checking.judge(mirror / "a.pth", "a.pth", checking.Checksum("md5", "00")).right


def test_files_behind_an_account_are_named(mirror, tmp_path):
    done = fetch("--no-prepare", "cityscapes")
    assert (
        done.exit_code == 1 and "needs an account" in done.stdout and "gtFine_trainvaltest.zip" in done.stdout
    )
    assert "https://www.cityscapes-dataset.com/downloads/" in done.stdout


def test_arguments(tmp_path):
    with pytest.raises(UsageError, match="did you mean") as caught:
        items.chosen(["cityscape"])
    assert caught.value.found == "cityscape"
    assert fetch().exit_code == 2 and fetch("--frobnicate", "aug").exit_code == 2
    assert isinstance(fetch("--mirror", "nowhere", "aug").exception, UsageError)
    (tmp_path / "sums").write_text("no checksum\n")
    with pytest.raises(DataError, match="sums:1: this is not a line of checksums"):
        checking.read_sums(tmp_path / "sums")
    dry = fetch("--dry-run", "--to", "dry", "aug")
    assert dry.exit_code == 0 and "would ask https://www.dropbox.com" in dry.stdout
    assert not (tmp_path / "dry").exists()


def test_a_data_sets_name_stands_for_its_files():
    assert [item.download.item for item in items.chosen(["voc", "aug"])] == ["voc2012", "aug", "scribbles"]
    assert [item.download.item for item in items.chosen(["sbd", "context59"])] == [
        "sbd",
        "voc2010",
        "context",
    ]


def test_the_list_has_every_file(repository):
    listed = {line.split()[0] for line in fetch("--list").stdout.splitlines()}
    known = items.items()
    downloads = [one for entry in data_sets().values() for one in entry.downloads]
    assert listed >= known.keys() >= {one.item for one in downloads}
    full = fetch("--list", "voc2012").stdout
    assert all(address in full for address in known["voc2012"].download.addresses) and "e14f763270cf" in full
    script = repository / "scripts/fetch_data.sh"
    assert "rlossctl fetch" in script.read_text()
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_a_request_says_where_it_looks(mirror, tmp_path):
    request = getting.Request(tmp_path, mirrors=("https://example.org/files/",))
    aug = items.items()["aug"].download
    assert list(request.addresses(aug)) == [f"https://example.org/files/{AUG}", *aug.addresses]
