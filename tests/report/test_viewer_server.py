"""The local viewer hands out one run folder to this machine, and nothing else to anybody."""

import http.client
import json
import socket
from contextlib import contextmanager
from threading import Thread
from urllib.parse import quote

import numpy as np
import pytest

from tests.report.made import attribution, one_map, picture, volume
from tests.report.test_viewer_volumes import nibabel
from voxplain.data.certificate import Certificate, Check
from voxplain.errors import FileError, InputError
from voxplain.report.contents import read_run
from voxplain.report.viewer_assets import asset
from voxplain.report.viewer_server import ViewerServer, listed

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Asked:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()


@contextmanager
def serving(folder, port: int = 0):
    """A function that asks a running server: `ask(path below the secret)`."""
    with ViewerServer(folder, port) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        def ask(path: str, method: str = "GET", whole: bool = False, **headers: str) -> Asked:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
            connection.putrequest(method, path if whole else f"/{server.secret}/{path}", skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            try:
                return Asked(connection.getresponse())
            finally:
                connection.close()

        ask.server = server
        try:
            yield ask
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def ask(run):
    """A server on a run of one case with one map, and files that must stay where they are."""
    one_map(run)
    (run.folder / "figures").mkdir()
    (run.folder / "figures" / "one.png").write_bytes(b"a picture")
    (run.folder / "report").mkdir()
    (run.folder / "report" / "index.html").write_text("<p>a page</p>")
    (run.folder / "log.txt").write_text("/home/somebody/scan.nii.gz")
    (run.folder / "maps" / "stray.json").write_text("{}")
    (run.folder.parent / "secret.txt").write_text("a patient's name")
    (run.folder / "figures" / "link.png").symlink_to(run.folder.parent / "secret.txt")
    with serving(run.folder) as asking:
        yield asking


def test_it_listens_on_the_loopback_interface_alone(ask):
    assert ask.server.server_address[0] == "127.0.0.1"
    assert ask.server.address == f"http://127.0.0.1:{ask.server.server_port}/{ask.server.secret}/"


def test_the_page_and_its_parts_are_served(ask):
    page = ask("")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert b"data-viewer" in page.body
    assert b"run/report/index.html" in page.body
    for name in ("niivue.js", "scene.js", "words.js", "source.js", "viewer.js"):
        assert ask(name).body.decode() == asset(name)
        assert ask(name).headers["Content-Type"].startswith("text/javascript")
    for name in ("viewer.css", "page.css"):
        assert ask(name).headers["Content-Type"].startswith("text/css")


def test_volumes_are_served_exactly_with_their_facts(run, ask):
    (case,) = ask_json(ask, "volumes/index.json")["cases"]
    key = case["maps"][0]["key"]
    facts = ask_json(ask, f"volumes/{key}.json")
    assert facts["method"] == "occlusion(window=4)"
    file = nibabel.Nifti1Image.from_bytes(ask(f"volumes/{key}.nii").body)
    kept = nibabel.load(run.folder / "maps/c1/net/class_score-1/occlusion.nii.gz")
    assert np.array_equal(np.asarray(file.dataobj).squeeze(), np.asarray(kept.dataobj).squeeze())


def ask_json(ask, path: str) -> dict:
    answer = ask(path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.body)


def test_files_of_the_run_are_served_as_they_are(run, ask):
    for name in (
        "report/index.html", "figures/one.png", "cases/c1/image.nii.gz", "cases/c1/case.json",
        "maps/c1/net/class_score-1/occlusion.nii.gz", "maps/c1/net/class_score-1/occlusion.json",
    ):  # fmt: skip
        assert ask(f"run/{name}").body == (run.folder / name).read_bytes(), name


@pytest.mark.parametrize("path", [
    "run/../../secret.txt", "run/figures/../../../secret.txt", "run/%2e%2e/%2e%2e/secret.txt",
    "run/..%2f..%2fsecret.txt", "run/%252e%252e/secret.txt", "run//etc/passwd", "run/figures/link.png", "run/figures",
    "run/figures/", "run/", "run", "run/log.txt", "run/plan.toml", "run/rows.jsonl", "run/maps/stray.json",
    "run/figures/one.png%00", "run\\figures\\one.png", "run/./figures/one.png", "volumes/", "volumes/c9-m0.nii",
    "volumes/../run/log.txt", "niivue.txt", "templates/page.html", "viewer.html", "%ff%fe", "run/figures/one.png/",
    "RUN/figures/one.png",
])  # fmt: skip
def test_what_is_not_on_the_list_is_not_there(ask, path):
    answer = ask(path)
    assert answer.status == 404
    assert answer.body == b"404 Not Found\n"


@pytest.mark.parametrize(
    "path", ["/", "/run/figures/one.png", "/wrong/", "/wrong/volumes/index.json", "", "*", "//", "/é"]
)
def test_without_the_secret_nothing_is_served(ask, path):
    assert ask(quote(path, safe="/*") if path else "x", whole=True).status == 404


def test_a_name_that_was_rebound_to_this_machine_is_refused(ask):
    port = ask.server.server_port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1.evil:{port}",
        "",
    ):
        assert ask("", Host=host).status == 403, host
    assert ask("", Host=f"localhost:{port}").status == 200


def test_a_request_without_a_host_is_refused(ask):
    with socket.create_connection(("127.0.0.1", ask.server.server_port), timeout=20) as door:
        door.sendall(f"GET /{ask.server.secret}/ HTTP/1.0\r\n\r\n".encode())
        assert door.makefile("rb").readline().split()[1] == b"403"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_only_reading_is_allowed(run, ask, method):
    before = sorted(run.folder.rglob("*"))
    assert ask("", method).status == 405
    assert sorted(run.folder.rglob("*")) == before


def test_the_head_of_an_answer_comes_without_its_body(ask):
    head, whole = ask("", "HEAD"), ask("")
    assert head.body == b""
    assert head.headers["Content-Length"] == whole.headers["Content-Length"] == str(len(whole.body))


def test_nothing_follows_a_head(ask):
    host = f"127.0.0.1:{ask.server.server_port}"
    with socket.create_connection(("127.0.0.1", ask.server.server_port), timeout=20) as door:
        for method in ("HEAD", "GET"):  # what followed the first answer would stand before the second
            door.sendall(f"{method} /{ask.server.secret}/viewer.css HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        lines = door.makefile("rb")
        while lines.readline().strip():
            pass
        assert lines.readline().startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("path", ["", "volumes/index.json", "run/figures/one.png", "run/report/index.html", "nothing"])
def test_every_answer_keeps_itself_where_it_is(ask, path):
    headers = ask(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "unsafe-inline" not in headers["Content-Security-Policy"].partition("script-src")[2].partition(";")[0]
    assert headers["Server"].strip() == "Voxplain"


def test_an_edited_page_may_run_no_script_of_its_own(ask):
    allowed = (
        ask("run/report/index.html").headers["Content-Security-Policy"].partition("script-src ")[2].partition(";")[0]
    )
    assert all(source.startswith("'sha256-") for source in allowed.split())


def test_a_file_that_became_a_link_is_not_served(run, ask):
    file = run.folder / "figures" / "one.png"
    file.unlink()
    file.symlink_to(run.folder.parent / "secret.txt")
    assert ask("run/figures/one.png").status == 404


def test_a_row_cannot_name_other_files_of_the_run(run):
    one_map(run)
    (run.folder / "log.txt").write_text("private")
    run.row(case="case b", method="x", target="y", map="log.txt")
    run.row(case="case b", method="x", target="y", map="rows.jsonl")
    names = listed(read_run(run.folder))
    assert "log.txt" not in names
    assert "rows.jsonl" not in names


def test_a_linked_folder_is_not_served(run, tmp_path):
    one_map(run)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "private.png").write_bytes(b"private")
    (run.folder / "figures").symlink_to(tmp_path / "elsewhere")
    assert not [name for name in listed(read_run(run.folder)) if "private" in name]


def test_a_run_folder_may_itself_be_reached_through_a_link(run, tmp_path):
    one_map(run)
    (tmp_path / "link").symlink_to(run.folder)
    with serving(tmp_path / "link") as ask:
        assert ask("run/cases/c1/image.nii.gz").status == 200


def test_markup_in_names_stays_a_name(run):
    image = volume(identifier=EVIL, channels=(EVIL,), unit=EVIL)
    run.case(image, label=EVIL, prediction={"words": EVIL})
    certificate = Certificate((Check(EVIL, "failed", EVIL),))
    words = {"method": EVIL, "target_words": EVIL, "unit": EVIL, "layer": EVIL, "notes": (EVIL,)}
    run.map(attribution(image, certificate=certificate, **words), image, layer=EVIL)
    with serving(run.folder) as ask:
        assert ask_json(ask, "volumes/index.json")["cases"][0]["name"] == EVIL
        assert ask_json(ask, "volumes/c0-m0.json")["notes"] == [EVIL]
        assert b"alert(1)" not in ask("").body


def test_a_file_name_with_odd_letters_is_found_again(run):
    one_map(run)
    (run.folder / "figures").mkdir()
    name = "a b#c?d%20e'é&.png"
    (run.folder / "figures" / name).write_bytes(b"odd")
    with serving(run.folder) as ask:
        assert ask(f"run/figures/{quote(name)}").body == b"odd"


def test_a_map_that_cannot_be_shown_says_why(run):
    one_map(run).write_bytes(b"no map")
    with serving(run.folder) as ask:
        assert "NIfTI" in ask_json(ask, "volumes/c0-m0.json")["problem"]
        assert ask("volumes/c0-m0.nii").status == 404


def test_a_folder_without_anything_to_show_is_refused(run):
    with pytest.raises(FileError, match="must hold a case with an image"):
        ViewerServer(run.folder)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="must be a folder"):
        ViewerServer(tmp_path / "nowhere")


def test_a_port_that_is_taken_is_refused_in_words(run):
    one_map(run)
    with serving(run.folder) as ask, pytest.raises(InputError, match="--port must be free"):
        ViewerServer(run.folder, ask.server.server_port)
    with pytest.raises(InputError, match="--port must be free and allowed, got 99999"):
        ViewerServer(run.folder, 99999)


def test_two_servers_have_two_secrets(run):
    run.case(picture())
    with ViewerServer(run.folder) as one, ViewerServer(run.folder) as other:
        assert one.secret != other.secret
        assert len(one.secret) > 20
