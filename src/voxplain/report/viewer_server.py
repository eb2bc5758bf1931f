"""The local viewer: a server on the loopback interface that hands out one run folder, by a list of names."""

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote

from voxplain.data.sidecar import SUFFIXES
from voxplain.data.writing import json_text
from voxplain.errors import FileError, InputError, VoxplainError
from voxplain.report.contents import Run, read_run
from voxplain.report.viewer_assets import SCRIPTS, allowed_scripts, asset, index, policy
from voxplain.report.viewer_volumes import Shelf

LOOPBACK = "127.0.0.1"

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".pdf": "application/pdf",
}
"""Content types by suffix; everything else is bytes to be kept."""

OWN = ("cases/*/case.json", "cases/*/*.nii.gz", "figures/*", "report/*.html", "report/*.json")
"""The files of a run folder that may be asked for, besides the maps that its rows name."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}

INERT = "default-src 'none'"
"""The policy of everything that is no page."""


@dataclass(frozen=True)
class Answer:
    """What goes back to the browser."""

    body: bytes
    kind: str
    policy: str = INERT


class ViewerServer(ThreadingHTTPServer):
    """Serves one run folder to browsers of this machine.

    Only names of a list are answered, under an address that nobody can guess: other people may work on the same
    machine, and the loopback interface is theirs too. Port 0 takes any free one. Raises FileError for a folder without
    anything to show, InputError for a port that cannot be had.
    """

    daemon_threads = True

    def __init__(self, run_folder: Path, port: int = 0) -> None:
        self.run = read_run(run_folder)
        self.secret = secrets.token_urlsafe(16)
        self.answers = _answers(self.run)
        try:
            super().__init__((LOOPBACK, port), Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"--port must be free and allowed, got {port}: {error}") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Browsers hang up whenever they like, which is nobody's error; anything else is a bug and shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser of this machine calls us; another name means that somebody has rebound it."""
        return f"{LOOPBACK}:{self.server_port}", f"localhost:{self.server_port}"

    @property
    def address(self) -> str:
        """Where the viewer's page is."""
        return f"http://{self.hosts[0]}/{self.secret}/"


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the names of the list."""

    server: ViewerServer
    server_version = "Voxplain"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        """Send what was asked for, or the error."""
        if self.headers.get("Host") not in self.server.hosts:
            return self.refuse(HTTPStatus.FORBIDDEN)
        secret, _, name = unquote(self.path.partition("?")[0]).removeprefix("/").partition("/")
        known = secrets.compare_digest(secret.encode(), self.server.secret.encode())
        answer = self.server.answers.get(name) if known else None
        if answer is None:
            return self.refuse(HTTPStatus.NOT_FOUND)
        try:
            self.give(HTTPStatus.OK, answer())
        except VoxplainError:
            self.refuse(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET  # noqa: N815

    def refuse(self, status: HTTPStatus) -> None:
        """An error without a word of what was asked, and the end of the connection."""
        self.close_connection = True
        self.give(status, Answer(f"{status.value} {status.phrase}\n".encode(), "text/plain; charset=utf-8"))

    def give(self, status: HTTPStatus, answer: Answer) -> None:
        """Send an answer with the headers that keep it where it is."""
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", f"{answer.policy}; frame-ancestors 'none'")
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library says about requests that it does not understand, in our form."""
        self.refuse(HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code))

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: addresses hold names of cases."""


def listed(run: Run) -> dict[str, Path]:
    """The files of a run folder that are handed out, by their path inside it; symbolic links are left out."""
    folder = run.folder.resolve()
    maps = [entry.path for case in run.cases for entry in case.maps if entry.path is not None]
    own = [path for path in maps if path.is_relative_to(folder / "maps") and path.name.endswith(SUFFIXES)]
    beside = [path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + ".json") for path in own]
    found = chain(own, beside, *(sorted(folder.glob(pattern)) for pattern in OWN))
    return {path.relative_to(folder).as_posix(): path for path in found if _plain(path)}


def _plain(path: Path) -> bool:
    """Whether a file lies there itself, without a symbolic link on the way."""
    return path.is_file() and path.resolve() == path


def _answers(run: Run) -> Mapping[str, Callable[[], Answer]]:
    """Every name that is answered, after the secret, and what makes the answer."""
    shelf, lock = Shelf(run), Lock()
    if not shelf.places:
        raise FileError(f"run folder {run.folder.name!r} must hold a case with an image, got none that can be shown")
    inside = listed(run)
    answers: dict[str, Callable[[], Answer]] = {
        "": lambda: Answer(_page("report/index.html" in inside), KINDS[".html"], policy("'self'")),
        "page.css": lambda: Answer(_template("page.css"), KINDS[".css"]),
        "volumes/index.json": lambda: _json(index(shelf)),
    }
    for name in (*SCRIPTS, "viewer.css"):
        answers[name] = partial(_asset, name)
    for key in shelf.places:
        answers[f"volumes/{key}.json"] = partial(_facts, shelf, key, lock)
        answers[f"volumes/{key}.nii"] = partial(_voxels, shelf, key, lock)
    for name, path in inside.items():
        answers[f"run/{name}"] = partial(_file, path)
    return answers


def _asset(name: str) -> Answer:
    return Answer(asset(name).encode(), KINDS[Path(name).suffix])


def _facts(shelf: Shelf, key: str, lock: Lock) -> Answer:
    try:
        with lock:
            return _json(shelf.volume(key).facts)
    except VoxplainError as error:
        return _json({"problem": str(error)})


def _voxels(shelf: Shelf, key: str, lock: Lock) -> Answer:
    with lock:
        return Answer(shelf.volume(key).exact(), "application/octet-stream")


def _file(path: Path) -> Answer:
    if not _plain(path):
        raise FileError(f"{path.name!r} is no longer there")
    kind = KINDS.get(path.suffix, "application/octet-stream")
    return Answer(path.read_bytes(), kind, policy(allowed_scripts()) if path.suffix == ".html" else INERT)


def _json(table: Mapping[str, Any]) -> Answer:
    return Answer(json_text(table).encode(), KINDS[".json"])


def _page(report: bool) -> bytes:
    link = ' <a href="run/report/index.html">The report of this run</a>' if report else ""
    return asset("page.html").replace("<!--viewer-->", asset("viewer.html")).replace("<!--report-->", link).encode()


def _template(name: str) -> bytes:
    return files("voxplain.report").joinpath("templates", name).read_bytes()
