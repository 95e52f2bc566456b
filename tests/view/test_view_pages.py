"""The page's answers: who is let in, what is given out, and that text of others is shown and never obeyed."""

import json
import os
import random
import socket
import subprocess
import sys
import webbrowser
from itertools import pairwise
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from intaglio.bench.face.synthetic_runs import append_rows, header_of, make_run, name_of, picture
from intaglio.view import server
from intaglio.view.app import make_app
from intaglio.view.guarding import HEADERS

TOKEN = "a-token-of-the-test"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for number in range(6):
        make_run(root, number, steps=40, pictures=3, status="done")
    secret = root.parent / "secret.png"
    secret.write_bytes(picture(9))
    folder = root / name_of(0)
    (folder / "images" / "out.png").symlink_to(secret)
    (folder / "images" / "in.png").symlink_to(folder / "images" / "samples" / "00.png")
    (folder / "notes.html").write_text(EVIL)
    (folder / "drawing.svg").write_text(f"<svg xmlns='http://www.w3.org/2000/svg'>{EVIL}</svg>")
    (folder / ".lock").touch()
    (folder / "images" / "bad.png").write_bytes(b"\x89PNG and no more")
    os.mkfifo(folder / "pipe.png")
    evil = header_of(8, status="done", error=EVIL, settings={"prompt": EVIL, EVIL: "\x1b[2J\u202e"}, warnings=[EVIL])
    evil |= {
        "name": "evil-run-0123456789",
        "verb": "evil",
        "method": EVIL,
        "summary": {EVIL: EVIL, "finding": f"It learned {EVIL}"},
    }
    (root / 'a "quoted" <b>').mkdir()
    (root / 'a "quoted" <b>' / "run.json").write_text(json.dumps(evil))
    return root


@pytest.fixture(scope="module")
def app(root):
    return make_app(root, TOKEN)


@pytest.fixture
def stranger(app):
    return TestClient(app, base_url="http://127.0.0.1:8471", follow_redirects=False)


@pytest.fixture
def client(stranger):
    stranger.cookies.set("intaglio_8471", TOKEN)
    return stranger


def test_without_the_token_nothing_is_answered(stranger):
    for path in (
        "/",
        "/lineage",
        f"/run/{name_of(0)}",
        "/static/view.css",
        "/no/such/page",
        "/?token=",
        "/?token=wrong",
    ):
        answer = stranger.get(path)
        assert (answer.status_code, answer.text.count("\n")) == (403, 1), path
        assert "set-cookie" not in answer.headers
    stranger.cookies.set("intaglio_8471", f"{TOKEN}x")
    assert stranger.get("/").status_code == 403


def test_the_token_becomes_a_cookie_and_leaves_the_address(stranger):
    answer = stranger.get(f"/?q=fox&token={TOKEN}")
    assert answer.headers["set-cookie"] == f"intaglio_8471={TOKEN}; HttpOnly; Path=/; SameSite=strict"
    assert 'content="0;url=/?q=fox"' in answer.text
    assert TOKEN not in answer.text
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example/a", "/\\evil.example", '/"><script>'])
def test_the_address_without_the_token_is_always_of_this_page(stranger, path):
    scope = {"path": path, "query_string": b"token=" + TOKEN.encode()}
    asked = stranger.get(f"/x?token={TOKEN}")
    assert asked.status_code == 200
    from intaglio.view.guarding import Guard

    text = bytes(Guard(None, TOKEN)._admitted(scope, [], 1).body).decode()
    target = text.partition("0;url=")[2].partition('"')[0]
    assert target.startswith("/")
    assert not target.startswith("//")
    assert "\\" not in target
    assert "<script" not in text


@pytest.mark.parametrize("host", ["evil.example:8471", "127.0.0.1", "127.0.0.1:80", "localhost.evil.example:8471", ""])
def test_another_host_s_name_is_refused_even_with_the_token(client, host):
    assert client.get("/", headers={"host": host}).status_code == 403
    assert client.get("/", headers={"host": "localhost:8471"}).status_code == 200


def test_nothing_but_reading_is_answered(client):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        answer = client.request(method, "/")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD"), method
    head = client.head("/")
    assert (head.status_code, head.text) == (200, "")


def test_every_answer_has_the_headers(client):
    for path in ("/", "/compare", f"/run/{name_of(1)}", f"/run/{name_of(1)}/report", "/static/view.js", "/nowhere"):
        headers = client.get(path).headers
        assert set(HEADERS) - {"Content-Security-Policy", "Cache-Control"} <= {
            name for name in HEADERS if headers.get(name) == HEADERS[name]
        }
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy.partition("style-src")[0]
        assert "frame-ancestors 'none'" in policy
    scripts = client.get(f"/run/{name_of(1)}/report").headers["content-security-policy"]
    assert "script-src 'sha256-" in scripts


def test_only_files_within_the_run_are_given_out(client):
    run = f"/run/{name_of(0)}"
    inside = client.get(f"{run}/images/samples/00.png")
    assert (inside.status_code, inside.headers["content-type"], inside.content) == (200, "image/png", picture(0))
    assert client.get(f"{run}/images/in.png").status_code == 200
    for path in (
        "images/out.png",
        "thumb/images/out.png",
        ".lock",
        "images",
        "images/",
        "pipe.png",
        "no.png",
        "%00.png",
    ):
        assert client.get(f"{run}/{path}").status_code == 404, path
    for path in (
        f"..%2F{name_of(1)}%2Frun.json",
        "..%2f..%2fsecret.png",
        "images/..%2f..%2f..%2fsecret.png",
        "%2fetc%2fpasswd",
    ):
        assert client.get(f"{run}/{path}").status_code == 404, path
    assert client.get("/run/..%2fruns/secret.png").status_code == 404


def test_what_could_hold_a_script_is_a_download(client):
    for name in ("notes.html", "drawing.svg", "run.json"):
        answer = client.get(f"/run/{name_of(0)}/{name}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "sandbox" in answer.headers["content-security-policy"]


def test_thumbnails_are_small_and_a_damaged_picture_is_said_to_be(client):
    run = f"/run/{name_of(0)}"
    assert client.get(f"{run}/thumb/images/samples/01.png").headers["content-type"] == "image/png"
    assert client.get(f"{run}/thumb/images/bad.png").status_code == 404
    assert "not readable" in client.get(run).text


def test_text_of_others_is_shown_and_not_obeyed(client):
    key = "a%20%22quoted%22%20%3Cb%3E"
    other = f"&run={name_of(0)}"
    for path in (
        "/",
        f"/run/{key}",
        f"/run/{key}/report",
        f"/compare?run={key}{other}",
        "/lineage",
        f"/?q={EVIL}&verb={EVIL}",
    ):
        answer = client.get(path)
        assert answer.status_code == 200, path
        own = answer.text.count("<script") - (1 if "/report" in path else 0)
        assert own == answer.text.count('<script src="/static/'), path
        assert "\x1b" not in answer.text
        assert "\u202e" not in answer.text
    assert '<p class="lead">It learned &lt;script&gt;' in client.get(f"/run/{key}").text


def test_the_list_says_what_it_shows(client):
    text = client.get("/?verb=finetune&order=took").text
    assert "of 4 that fit" in text
    assert 'aria-sort="ascending"' in text
    assert client.get("/?part=rows&q=nothing-has-this").text.count("<tr") == 0
    first = client.get("/")
    assert client.get("/", headers={"if-none-match": first.headers["etag"]}).status_code == 304


def test_picked_runs_stay_picked_on_other_pages(client):
    text = client.get(f"/?verb=extract&pick={name_of(0)}").text
    assert f'name="run" value="{name_of(0)}" form="compare"' in text
    assert "verb=extract&amp;order=took&amp;pick=" in text or f"pick={name_of(0)}" in text


def test_a_run_s_page_follows_what_is_appended(client, root):
    path = f"/run/{name_of(2)}?part=live"
    assert "at step 40" in client.get(path).text
    append_rows(root / name_of(2), 41, 55, 2)
    assert "at step 55" in client.get(path).text


def test_the_report_is_the_one_that_is_written_with_a_way_back(client, root):
    from intaglio.report import write_report

    written = write_report(root / name_of(1)).read_text()
    answer = client.get(f"/run/{name_of(1)}/report")
    back = f'<a href="/run/{name_of(1)}">← Back to the run</a>'
    assert answer.text.replace(back, "") == written


def test_a_page_that_is_not_there_is_one_sentence(client):
    assert "There is no run nothing" in client.get("/run/nothing").text
    assert client.get("/run/nothing").status_code == 404
    assert client.get(f"/run/{name_of(0)}/graph").status_code == 404


def test_a_fault_of_its_own_is_one_sentence_behind_the_same_headers(root, monkeypatch):
    from intaglio.view import list_page

    client = TestClient(make_app(root, TOKEN), base_url="http://127.0.0.1:8471", raise_server_exceptions=False)
    client.cookies.set("intaglio_8471", TOKEN)
    monkeypatch.setattr(list_page, "choices", lambda *given: 1 / 0)
    answer = client.get("/")
    assert answer.status_code == 500
    assert "ZeroDivisionError: division by zero" in answer.text
    assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


def test_the_server_and_its_pages_import_no_torch():
    code = "import sys, intaglio.view.server, intaglio.view.graph_page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(("words", "sentence"), [(["missing"], "is not there"), ([], "cannot be used")])
def test_bad_input_is_one_sentence(tmp_path, capsys, monkeypatch, words, sentence):
    from intaglio.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = words or ["--port", str(taken.getsockname()[1])]
        assert main(["view", "--no-open", *words]) == 2
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


class Browser(webbrowser.BaseBrowser):
    """One that keeps what it is told to open, while it is there."""

    def __init__(self):
        self.opened = []

    def open(self, url, new=0, autoraise=True):
        path = Path(url.removeprefix("file://"))
        self.opened.append((url, path.stat().st_mode & 0o777, path.read_text()))
        return True


def test_a_browser_is_given_the_token_in_a_file_that_its_user_alone_reads(monkeypatch):
    browser = Browser()
    monkeypatch.setattr(webbrowser, "get", lambda: browser)
    with server._opened("http://127.0.0.1:1/?token=abc", True):
        ((url, mode, text),) = browser.opened
    assert "abc" not in url
    assert (mode, "?token=abc" in text) == (0o600, True)
    assert not Path(url.removeprefix("file://")).exists()


@pytest.mark.parametrize("found", [webbrowser.GenericBrowser("lynx"), None])
def test_a_browser_of_the_terminal_is_not_opened(monkeypatch, found):
    def get():
        if found is None:
            raise webbrowser.Error
        monkeypatch.setattr(found, "open", lambda url: pytest.fail("it would take the terminal"))
        return found

    monkeypatch.setattr(webbrowser, "get", get)
    with server._opened("http://127.0.0.1:1/?token=abc", True) as nothing:
        assert nothing is None


def odd_value(chance: random.Random, depth: int = 0):
    """A value that no version writes where it stands."""
    plain = [
        None,
        True,
        -1,
        10**300,
        1e308,
        float("nan"),
        float("-inf"),
        "",
        "x" * 5000,
        "\ud800",
        EVIL,
        "../..",
        "a\nb",
    ]
    if depth > 2 or chance.random() < 0.6:
        return chance.choice(plain)
    inner = [odd_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return inner if chance.random() < 0.4 else dict(zip(["", "path", "sha256", "prompt.x"], inner, strict=False))


def test_whatever_stands_in_a_run_s_files_its_pages_are_answered(tmp_path):
    chance = random.Random(5)
    for number in range(40):
        folder, header = make_run(tmp_path, number), header_of(number)
        keys = [*header, "joules", "joules_by", "results", "resumed"]
        header |= {chance.choice(keys): odd_value(chance) for _ in range(3)}
        (folder / "run.json").write_text(json.dumps(header))
        rows = [{"step": odd_value(chance), "loss": odd_value(chance), "odd": odd_value(chance)} for _ in range(6)]
        (folder / "metrics").mkdir()
        (folder / "metrics" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    client = TestClient(make_app(tmp_path, TOKEN), base_url="http://127.0.0.1:8471")
    client.cookies.set("intaglio_8471", TOKEN)
    names = [name_of(number) for number in range(40)]
    for path in ("/", "/?order=took", "/?order=run&q=seed", "/lineage", *(f"/run/{name}" for name in names)):
        assert client.get(path).status_code == 200, path
    for first, second in pairwise(names):
        assert client.get(f"/compare?run={first}&run={second}").status_code == 200
    assert {client.get(f"/run/{name}/report").status_code for name in names} <= {200, 422}
