"""scripts/fetch_data.sh, offline: a folder of small files in the originals' forms stands for the servers."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlossctl.data.images import read_label
from rlossctl.data.lists import read_list
from rlossctl.data.sets.registry import data_sets

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bash", "curl", "unzip", "sha256sum")),
    reason="needs bash, curl, unzip and sha256sum",
)
VAL, TRAIN = "2007_000033", "2007_000032"


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
        ("SegmentationClassAug.zip", "SegmentationClassAug", (TRAIN, VAL)),
        ("pascal_2012_scribble.zip", "pascal_2012_scribble", (TRAIN,)),
    ):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(f"__MACOSX/{kind}/._{ids[0]}.png", b"resource fork")
            for stem in ids:
                archive.writestr(f"{kind}/{stem}.png", png(np.full((20, 30), 2)))
    with zipfile.ZipFile(folder / "deeplab_aspp_resnet101.zip", "w") as archive:
        archive.writestr("init.caffemodel", b"weights")
        archive.writestr("train.prototxt", b"net")
    return folder


@pytest.fixture
def sums(mirror: Path, tmp_path: Path) -> Path:
    """The checksums of the mirror's files, in sha256sum's form."""
    files = sorted(mirror.iterdir())
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (tmp_path / "sums.txt").write_text("".join(lines))
    return tmp_path / "sums.txt"


@pytest.fixture
def fetch(repository: Path, tmp_path: Path, mirror: Path):
    """Runs the script with the mirror; no address outside can be reached, as the proxy is none."""
    command = tmp_path / "rlossctl"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rlossctl "$@"\n')
    command.chmod(0o755)

    def call(*arguments: object) -> subprocess.CompletedProcess:
        words = [repository / "scripts/fetch_data.sh", "--mirror", mirror, *arguments]
        return subprocess.run(
            ["bash", *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "RLOSSCTL": str(command), "all_proxy": "http://127.0.0.1:9"},
        )

    return call


@pytest.mark.slow
def test_from_the_mirror_to_the_layout_of_the_prototxts(fetch, sums, tmp_path):
    done = fetch("--sums", sums, "--out", "d", "voc", "aug", "scribbles", "resnet-101")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("(as expected)") == 4
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
    again = fetch("--sums", sums, "--out", "d", "voc", "aug", "scribbles", "resnet-101")
    assert again.returncode == 0 and " from " not in again.stdout


def test_an_unknown_checksum_is_printed_and_said_to_be_unchecked(fetch, mirror):
    done = fetch("--no-prepare", "--accept", "aug")
    digest = hashlib.sha256((mirror / "SegmentationClassAug.zip").read_bytes()).hexdigest()
    assert done.returncode == 0 and f"SHA-256 {digest} (not checked" in done.stdout


def test_a_file_that_nobody_vouches_for_is_not_used_unasked(fetch, mirror, tmp_path):
    downloads = tmp_path / "data/downloads"
    content = (mirror / "SegmentationClassAug.zip").read_bytes()
    done = fetch("--no-prepare", "aug")
    assert done.returncode == 1 and "--accept" in done.stderr and "--sums" in done.stderr
    assert [file.name for file in downloads.iterdir()] == ["SegmentationClassAug.zip.unchecked"]
    (mirror / "SegmentationClassAug.zip").unlink()
    done = fetch("--no-prepare", "--accept", "aug")  # it is there already
    assert done.returncode == 0 and (downloads / "SegmentationClassAug.zip").read_bytes() == content
    again = fetch("--no-prepare", "aug")  # and what was accepted once is known
    assert again.returncode == 0 and "(as expected)" in again.stdout
    (downloads / "SegmentationClassAug.zip").write_bytes(content + b"?")
    assert fetch("--no-prepare", "--accept", "aug").returncode == 1


def test_a_file_that_waits_is_judged_by_a_checksum_that_comes_later(fetch, sums, tmp_path):
    fetch("--no-prepare", "aug")
    waiting = tmp_path / "data/downloads/SegmentationClassAug.zip.unchecked"
    waiting.write_bytes(b"another file")
    done = fetch("--no-prepare", "--sums", sums, "aug")
    assert done.returncode == 0 and waiting.with_suffix(".rejected").read_bytes() == b"another file"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("script") is None, reason="needs script, which gives a terminal")
@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("n", 1), ("", 1)])
def test_at_a_terminal_it_is_asked(fetch, repository, mirror, tmp_path, answer, status):
    command = f"bash {repository}/scripts/fetch_data.sh --mirror {mirror} --out {tmp_path}/t --no-prepare aug"
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"], input=f"{answer}\n", capture_output=True, text=True
    )
    assert done.returncode == status and "Use it? [y/N]" in done.stdout
    assert (tmp_path / "t/downloads/SegmentationClassAug.zip").exists() == (status == 0)


def test_only_https_is_asked(fetch, repository):
    listed = fetch("--list").stdout
    assert "https://" in listed and "http://" not in listed
    assert (
        "--proto '=https,file' --proto-redir '=https'" in (repository / "scripts/fetch_data.sh").read_text()
    )
    refused = fetch("--mirror", "http://example.org/files", "--no-prepare", "aug")
    assert refused.returncode == 2 and "https" in refused.stderr


def test_another_file_is_refused_and_never_gets_the_name(fetch, tmp_path):
    done = fetch("--no-prepare", "voc")
    assert done.returncode == 1
    assert "expected e14f763270cf" in done.stderr and "could not be fetched" in done.stderr
    names = sorted(file.name for file in (tmp_path / "data/downloads").iterdir())
    assert names == ["VOCtrainval_11-May-2012.tar.rejected"]


def test_a_page_in_place_of_an_archive_is_refused(fetch, mirror):
    (mirror / "SegmentationClassAug.zip").write_text("<html>not found</html>")
    done = fetch("--no-prepare", "aug")
    assert done.returncode == 1 and "not a whole zip archive" in done.stderr


def test_a_broken_download_is_continued(fetch, mirror, sums, tmp_path):
    address = f"file://{mirror}/SegmentationClassAug.zip"
    mark = hashlib.sha256(address.encode()).hexdigest()[:8]
    downloads = tmp_path / "data/downloads"
    downloads.mkdir(parents=True)
    content = (mirror / "SegmentationClassAug.zip").read_bytes()
    (downloads / f"SegmentationClassAug.zip.{mark}.part").write_bytes(content[:100])
    # The rest alone is read: the mirror's first bytes are spoilt, and the checksum fits all the same.
    (mirror / "SegmentationClassAug.zip").write_bytes(b"?" * 100 + content[100:])
    done = fetch("--sums", sums, "--no-prepare", "aug")
    assert done.returncode == 0, done.stderr
    assert (downloads / "SegmentationClassAug.zip").read_bytes() == content


def test_what_came_before_a_break_stays_for_the_next_time(fetch, mirror, sums, tmp_path, monkeypatch):
    """The first curl writes 100 bytes and breaks off as when the network goes; the second is the real one."""
    content = (mirror / "SegmentationClassAug.zip").read_bytes()
    (tmp_path / "half").write_bytes(content[:100])
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin/curl"
    fake.write_text(
        "#!/bin/sh\n"
        'for word; do if [ "$last" = -o ]; then out=$word; fi; last=$word; done\n'
        f'case $last in file://*) cp "{tmp_path}/half" "$out" ;; esac\nexit 18\n'
    )
    fake.chmod(0o755)
    before = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{before}")
    assert fetch("--sums", sums, "--no-prepare", "aug").returncode == 1
    (part,) = (tmp_path / "data/downloads").iterdir()
    assert part.suffix == ".part" and part.read_bytes() == content[:100]
    (mirror / "SegmentationClassAug.zip").write_bytes(b"?" * 100 + content[100:])
    monkeypatch.setenv("PATH", before)
    done = fetch("--sums", sums, "--no-prepare", "aug")
    assert done.returncode == 0, done.stdout + done.stderr


def test_arguments(fetch, tmp_path):
    assert fetch("nothing").returncode == 2
    assert fetch("--frobnicate").returncode == 2
    assert fetch("--mirror", "nowhere").returncode == 2
    shown = fetch("--list")
    assert shown.returncode == 0 and "not known" in shown.stdout and "pjreddie.com" in shown.stdout
    dry = fetch("--dry-run", "--out", "dry")
    assert dry.returncode == 0 and "would fetch file://" in dry.stdout and not (tmp_path / "dry").exists()


def test_the_data_sets_files_are_those_of_the_registry(fetch):
    listed = fetch("--list").stdout.split()
    for entry in data_sets().values():
        for one in entry.downloads:
            place = listed.index(one.item)
            known = one.sha256 or "not known"
            assert listed[place + 1 :][: 3 + len(known.split()) - 1] == [one.file, "SHA-256", *known.split()]
            assert set(one.addresses) <= set(listed)
