"""Frames of videos and cameras, and films of predictions, by OpenCV."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rlossctl.data.images import Photo
from rlossctl.errors import DataError, RlossError, RlossWarning, UsageError
from rlossctl.evaluation.predicting.photos import Input
from rlossctl.files import atomic_path, make_folder, require_regular
from rlossctl.optional import needed

SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_CAMERA = re.compile(r"camera:(\d+)")
_USUAL_RATE = 25.0  # frames per second, where the source does not say


class MissingFrames(RlossWarning):
    """A video ends before the frames that it announces."""


@dataclass(frozen=True)
class Frames:
    """Which frames of a video are taken: every `every`-th, up to `most` of them (None: to the end)."""

    every: int = 1
    most: int | None = None

    @property
    def end(self) -> int | None:
        """The place after the last frame that may be taken."""
        return None if self.most is None else (self.most - 1) * self.every + 1


ALL = Frames()


@dataclass(frozen=True)
class Video:
    """A video file or a camera.

    Attributes:
        source: the file, or the camera's number.
        name: of the folder of its frames' outputs, below the output folder.
    """

    source: Path | int
    name: str

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return f"camera:{self.source}" if isinstance(self.source, int) else str(self.source)

    def read(self, frames: Frames = ALL, upright: bool = True) -> Iterator[tuple[Input, Photo]]:
        """The frames, named NAME/000000 and so on by their place in the video.

        Args:
            upright: turn them as the file says.

        Raises:
            DataError: OpenCV cannot open it, or it has no frames.
        """
        with self._opened(upright) as capture:
            place, end = 0, frames.end
            while (end is None or place < end) and capture.grab():
                if place % frames.every == 0:
                    name = f"{self.name}/{place:06d}"
                    yield Input(Path(f"{name}.png"), name, is_file=False), Photo(capture.retrieve()[1])
                place += 1
            if place == 0:
                raise self._unreadable("no frame")
            if end is None:
                self._warn_of_missing(place, capture.get(_cv2(self.where).CAP_PROP_FRAME_COUNT))

    @property
    def rate(self) -> float:
        """Frames per second; 25 for cameras, and where a file does not say."""
        if isinstance(self.source, int):
            return _USUAL_RATE
        with self._opened(True) as capture:
            return float(capture.get(_cv2(self.where).CAP_PROP_FPS)) or _USUAL_RATE

    def _warn_of_missing(self, found: int, announced: float) -> None:
        # Some containers only tell a length in seconds, so the announced number may be off by a few.
        if found < 0.95 * announced - 2:
            warnings.warn(
                f"{self.where}: {announced:.0f} frames are announced, but only {found} could be read: the "
                "file is damaged or incomplete",
                MissingFrames,
                stacklevel=2,
            )

    @contextlib.contextmanager
    def _opened(self, upright: bool) -> Iterator[Any]:
        cv2 = _cv2(self.where)
        if isinstance(self.source, Path):
            try:
                require_regular(self.source)
            except OSError as error:
                raise self._unreadable(error.strerror or str(error)) from error
        capture = cv2.VideoCapture(self.source if isinstance(self.source, int) else str(self.source))
        try:
            if not capture.isOpened():
                raise self._unreadable("OpenCV cannot open it")
            capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, float(upright))
            yield capture
        finally:
            capture.release()

    def _unreadable(self, found: str) -> DataError:
        return DataError(
            "the video cannot be read",
            where=self.where,
            found=found,
            expected="a video file, or camera:N with the number of a camera",
            advice="check the name; `ffmpeg -i VIDEO frames/%06d.png` makes photos of other formats",
        )


def split_videos(arguments: Sequence[str]) -> tuple[list[Video], list[str]]:
    """The videos among the arguments (a video file, or camera:N), and the other arguments."""
    videos, rest = [], []
    for argument in arguments:
        camera = _CAMERA.fullmatch(argument)
        if camera:
            videos.append(Video(int(camera[1]), f"camera{camera[1]}"))
        elif Path(argument).suffix.lower() in SUFFIXES:
            videos.append(Video(Path(argument), Path(argument).stem))
        else:
            rest.append(argument)
    return videos, rest


def check_videos(videos: Sequence[Video], inputs: Sequence[Input], folder: Path, frames: Frames) -> None:
    """Raises UsageError if outputs would overwrite others or an input, or a camera would never end."""
    names = [video.name for video in videos]
    for video in videos:
        if isinstance(video.source, int) and frames.most is None:
            raise UsageError(
                "a camera has no end",
                where=video.where,
                expected="a number of frames",
                advice="add --frames N",
            )
        place = os.path.realpath(folder / video.name)
        inside = [entry for entry in inputs if _is_below(entry, folder, place)]
        if inside or names.count(video.name) > 1:
            raise UsageError(
                "outputs of two inputs would be mixed",
                where=folder / video.name,
                found=inside[0].where if inside else f"{names.count(video.name)} videos of this name",
                expected="a folder for the frames of one video",
                advice="choose another folder with --out, or run twice",
            )


@contextlib.contextmanager
def films(
    videos: Sequence[Video], place: Callable[[str], Path | None], frames: Frames = ALL
) -> Iterator[Films]:
    """A film for each video whose name has a place; each gets its name once all are complete."""
    with contextlib.ExitStack() as stack:
        paths = {video: place(video.name) for video in videos}
        yield Films({video.name: _Film(video, path, frames, stack) for video, path in paths.items() if path})


class Films:
    """The films that are being written, by the names of their videos."""

    def __init__(self, films: dict[str, _Film]) -> None:
        self._films = films

    def takes(self, entry: Input) -> bool:
        """Whether a photo is a frame of one of these videos."""
        return not entry.is_file and entry.name.rpartition("/")[0] in self._films

    def add(self, frame: Input, picture: np.ndarray) -> None:
        """Adds a frame's picture, uint8 [H, W, 3] RGB."""
        self._films[frame.name.rpartition("/")[0]].add(picture)


class _Film:
    """One film, opened with its first picture, which says how large it is."""

    def __init__(self, video: Video, path: Path, frames: Frames, stack: contextlib.ExitStack) -> None:
        self._video, self._path, self._frames, self._stack = video, path, frames, stack
        self._writer: Any = None
        self._size = (0, 0)

    def add(self, picture: np.ndarray) -> None:
        """Adds a picture, uint8 [H, W, 3] RGB; later ones are cut or padded to the first one's size."""
        if self._writer is None:
            self._open(picture.shape[0], picture.shape[1])
        height, width = self._size
        frame = np.full((height, width, 3), 255, np.uint8)
        part = picture[:height, :width, ::-1]
        frame[: part.shape[0], : part.shape[1]] = part
        self._writer.write(frame)

    def _open(self, height: int, width: int) -> None:
        cv2 = _cv2(self._path)
        make_folder(self._path.parent)
        path = self._stack.enter_context(atomic_path(self._path))
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._size = height, width
        self._writer = cv2.VideoWriter(
            str(path), code, self._video.rate / self._frames.every, (width, height)
        )
        self._stack.callback(self._writer.release)
        if not self._writer.isOpened():
            raise RlossError(
                "OpenCV cannot write the film",
                where=self._path,
                found=f"{width}x{height}, mp4v",
                advice="leave video out of --write, and join the frames with ffmpeg",
            )


def _is_below(entry: Input, folder: Path, place: str) -> bool:
    """Whether a photo, or the outputs of one, are in the folder of a video's frames."""
    own = [folder / entry.name, *([entry.path] if entry.is_file else [])]
    return any(os.path.realpath(path).startswith(place + os.sep) for path in own)


def _cv2(where: object) -> Any:
    return needed(
        "cv2", "OpenCV reads and writes videos", where, otherwise="make photos of the frames with ffmpeg"
    )
