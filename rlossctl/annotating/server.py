"""The local server: the page, pictures, and strokes as JSON, for those who know the token."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

import numpy as np

from rlossctl.annotating.advisor import Advisor
from rlossctl.annotating.store import Outdated, Saved, Store
from rlossctl.errors import RlossError
from rlossctl.files import atomic_write

HOST = "127.0.0.1"
LARGEST_BODY = 64 * 2**20  # bytes of the strokes of one photo
_PAGE = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Reply(NamedTuple):
    """An answer: its content, its type, and for how many seconds a browser may keep it."""

    content: bytes
    type: str
    seconds: int = 0
    status: HTTPStatus = HTTPStatus.OK


class Look(NamedTuple):
    """How the page starts: the colours of the classes, uint8 [256, 3] RGB, and the brush's pixels."""

    colours: np.ndarray
    width: int


class Site:
    """What the addresses below the token answer."""

    def __init__(self, store: Store, look: Look, advisor: Advisor | None = None) -> None:
        self.store, self.look, self.advisor = store, look, advisor
        self._pages = {path.name: path.read_bytes() for path in _PAGE.iterdir() if path.suffix in _TYPES}
        album = store.album
        self._of_a_photo: dict[str, Callable[[str], Reply]] = {
            "strokes": lambda name: self._saved(name, store.read(name)),
            "photo": lambda name: Reply(album.jpeg(name), "image/jpeg", 3600),
            "thumbnail": lambda name: Reply(album.thumbnail(name), "image/jpeg", 3600),
        }
        if advisor:
            self._of_a_photo |= {
                "prediction": lambda name: Reply(advisor.prediction(name), "image/png"),
                "doubt": lambda name: Reply(advisor.doubt(name), "image/png"),
                "preview": lambda name: Reply(advisor.preview(name), "image/png"),
                "least-sure": lambda name: _json(dict(zip("xy", advisor.least_sure(name), strict=True))),
            }

    def get(self, path: str) -> Reply | None:
        """The answer to a GET of `path`, relative to the token; None if there is nothing."""
        if path in ("", *self._pages):
            name = path or "index.html"
            return Reply(self._pages[name], f"{_TYPES[Path(name).suffix]}; charset=utf-8")
        if path == "start":
            return _json(self._start())
        if path == "progress":
            return _json(self._progress())
        kind, _, name = path.partition("/")
        answer = self._of_a_photo.get(kind) if name in self.store.album.entries else None
        return answer and answer(name)

    def put(self, path: str, body: bytes) -> Reply | None:
        """Saves strokes; another revision on disk is answered with it and status 409."""
        kind, _, name = path.partition("/")
        if kind != "strokes" or name not in self.store.album.entries:
            return None
        try:
            asked = json.loads(body)
            base, strokes = str(asked["revision"]), asked["strokes"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return _json({"error": "not JSON with revision and strokes"}, HTTPStatus.BAD_REQUEST)
        try:
            return self._saved(name, self.store.save(name, base, strokes))
        except Outdated as error:
            return self._saved(name, error.saved, HTTPStatus.CONFLICT)

    def _start(self) -> dict[str, Any]:
        colours = self.look.colours.tolist()
        return {
            "classes": [
                {"name": name, "colour": colours[index]} for index, name in enumerate(self.store.classes)
            ],
            "photos": list(self.store.album.entries),
            "labels": str(self.store.places.out),
            "width": self.look.width,
            "model": self.advisor is not None,
        }

    def _progress(self) -> dict[str, Any]:
        counts = self.store.counts()
        total = sum(counts.values(), np.zeros(256, np.int64))
        return {
            "shares": {name: self._share(name, pixels) for name, pixels in counts.items()},
            "pixels": total[: len(self.store.classes)].tolist(),
            "doubts": self.advisor.doubts() if self.advisor else {},
            "failed": self.advisor.failed if self.advisor else None,
        }

    def _share(self, name: str, counts: np.ndarray) -> float:
        return float(counts.sum() / np.prod(self.store.album.entries[name].size))

    def _saved(self, name: str, saved: Saved, status: HTTPStatus = HTTPStatus.OK) -> Reply:
        height, width = self.store.album.entries[name].size
        return _json(
            {
                "revision": saved.revision,
                "strokes": saved.strokes,
                "pixels": saved.counts[: len(self.store.classes)].tolist(),
                "width": width,
                "height": height,
            },
            status,
        )


class Server(ThreadingHTTPServer):
    """Serves a site at one address of this machine.

    Args:
        port: 0 takes a free one.

    Raises:
        RlossError: the port is in use.
    """

    daemon_threads = True

    def __init__(self, site: Site, token: str, port: int = 0) -> None:
        self.site, self.token = site, token
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise RlossError(
                "the port cannot be used",
                where=f"{HOST}:{port}",
                found=error.strerror,
                expected="a free port",
                advice="name another with --port, or leave it out",
            ) from error

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is not an error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "rlossctl"
    sys_version = ""
    timeout = 60

    def do_GET(self) -> None:
        self._answer(lambda site, path: site.get(path))

    def do_PUT(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            self.close_connection = True
            self._send(_json({"error": "too long"}, HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
            return
        body = self.rfile.read(int(length))
        if len(body) == int(length):  # otherwise the browser has gone
            self._answer(lambda site, path: site.put(path, body))

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the terminal is for what people should read."""

    def _answer(self, ask: Callable[[Site, str], Reply | None]) -> None:
        server = cast("Server", self.server)
        path = self._path(server)
        if path is None:
            reply: Reply | None = _json({"error": "unknown address"}, HTTPStatus.FORBIDDEN)
        else:
            try:
                reply = ask(server.site, path)
            except RlossError as error:
                reply = _json({"error": str(error)}, HTTPStatus.UNPROCESSABLE_ENTITY)
        self._send(reply or _json({"error": "nothing there"}, HTTPStatus.NOT_FOUND))

    def _path(self, server: Server) -> str | None:
        """The path behind the token; None without it, or if another page's script asks."""
        own = {f"{HOST}:{server.server_port}", f"localhost:{server.server_port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in own or (origin and urlsplit(origin).netloc not in own):
            return None
        token, slash, path = urlsplit(self.path).path.lstrip("/").partition("/")
        right = slash and hmac.compare_digest(token.encode(), server.token.encode())
        return unquote(path, errors="surrogateescape") if right else None

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.type)
        self.send_header("Content-Length", str(len(reply.content)))
        keep = f"private, max-age={reply.seconds}" if reply.seconds else "no-store"
        self.send_header("Cache-Control", keep)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content)


class Address(NamedTuple):
    """Where a folder's page was last: a page that is still open finds a server that was started again."""

    token: str
    port: int

    @staticmethod
    def read(path: Path) -> Address:
        """What the file says; a new token if there is none that can be read."""
        try:
            known = json.loads(path.read_bytes())
            return Address(str(known["token"]), int(known["port"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Address(secrets.token_urlsafe(18), 0)

    def write(self, path: Path) -> None:
        """Writes a file that nobody else may read."""
        with atomic_write(path) as file:
            file.write(json.dumps(self._asdict()).encode())
        path.chmod(0o600)


def _json(content: object, status: HTTPStatus = HTTPStatus.OK) -> Reply:
    return Reply(json.dumps(content).encode(), "application/json", 0, status)
