"""The page in a real browser: it follows what happens, keeps its place, is worked by keys, and bars nobody."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial

import pytest

from found_graphs import found_graph
from intaglio.bench.face.browsers import NO_BROWSER, browser_path, launched
from intaglio.bench.face.synthetic_runs import append_rows, header_of, make_run, name_of, picture

if browser_path() is None:
    pytest.skip(NO_BROWSER, allow_module_level=True)
expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DISCOVERY = "discover-sicl-00000000aa"
PAGES = {
    "list": "/",
    "run": f"/run/{name_of(0)}",
    "report": f"/run/{name_of(0)}/report",
    "compare": f"/compare?run={name_of(0)}&run={name_of(4)}",
    "lineage": "/lineage",
    "graph": f"/run/{DISCOVERY}/graph#edge-1",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("seen")
    for number in range(12):
        make_run(root, number, steps=60, pictures=3, status="failed" if number == 7 else "done")
    about = {"name": DISCOVERY, "verb": "discover", "method": "sicl", "status": "done"}
    found_graph(8).save(make_run(root, 50, **about) / "result")
    (root / "damaged").mkdir()
    (root / "damaged" / "run.json").write_text("{")
    return root


@pytest.fixture(scope="module")
def server(root):
    words = [sys.executable, "-m", "intaglio", "view", str(root), "--no-open"]
    # A shell starts jobs in the background deaf to SIGINT, and their children inherit it.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    yield running
    running.kill()
    running.communicate()


@pytest.fixture(scope="module")
def address(server):
    return server.stdout.readline().strip()


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture
def opened(browser, address):
    """Opens a page of the server in a window of its own; no page may complain or ask elsewhere."""
    windows, faults = [], []
    base = address.partition("/?")[0]

    def opening(path="/", **settings):
        window = browser.new_context(**{"viewport": DESKTOP, **settings})
        windows.append(window)
        page = window.new_page()
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith((base, "data:")) else faults.append(asked.url))
        page.set_default_timeout(20_000)
        page.goto(address)
        page.wait_for_url(f"{base}/")
        if path != "/":
            page.goto(base + path)
        return page

    yield opening
    for window in windows:
        window.close()
    assert faults == []


@pytest.mark.parametrize("name", PAGES)
def test_every_page_fits_its_screen_and_axe_finds_nothing_serious(opened, name):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(PAGES[name], reduced_motion="reduce")
    assert page.locator("h1").count() == 1
    for size, scheme in ((DESKTOP, "light"), (PHONE, "dark")):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        found = Axe().run(page).response["violations"]
        serious = [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")]
        assert serious == [], scheme


def test_the_address_loses_its_token_and_going_back_does_not_bring_it(opened):
    page = opened()
    assert "token" not in page.url
    assert page.evaluate("history.length") <= 2
    page.goto(page.url + "lineage")
    page.go_back()
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""


def test_typing_narrows_the_list_and_the_address_keeps_it(opened):
    page = opened()
    page.locator("#q").press_sequentially("watercolour extract", delay=5)
    expect(page.locator(".runs tbody tr")).to_have_count(1)
    assert "q=watercolour+extract" in page.url
    assert "1–1 of 1" in page.locator("#told").inner_text()
    page.locator(".runs tbody a").click()
    page.wait_for_url("**/run/**")
    page.go_back()
    assert page.locator("#q").input_value() == "watercolour extract"
    assert page.locator(".runs tbody tr").count() == 1
    page.reload()
    assert page.locator(".runs tbody tr").count() == 1


def test_runs_are_picked_and_set_side_by_side_by_keys_alone(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    for key in (name_of(0), name_of(4)):
        page.locator(f"#pick-{key}").focus()
        page.keyboard.press("Space")
        expect(page.locator(f"#pick-{key}")).to_be_focused()
        page.wait_for_url(f"**pick={key}**")
    page.wait_for_selector("text=Compare 2 side by side")  # the rows were put in anew
    expect(page.locator(f"#pick-{name_of(4)}")).to_be_focused()
    page.reload()
    assert page.locator("input[name=run]:checked").count() == 2
    page.locator("#side").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare?**")
    assert page.locator(".figs path.curve").count() == 2
    page.locator("#equal-setting summary").click()
    page.wait_for_url("**open=equal-setting**")
    page.reload()
    assert page.locator("#equal-setting").get_attribute("open") is not None


def test_a_run_is_followed_while_it_works(opened, root):
    folder = make_run(root, 60, steps=20, status="unfinished", finished=None, summary={})
    page = opened(f"/run/{name_of(60)}")
    assert page.locator("span.status").first.inner_text() == "running"
    page.evaluate("window.still = true")
    append_rows(folder, 21, 33, 60)
    (folder / "images").mkdir()
    (folder / "images" / "step-33.png").write_bytes(picture(3))
    page.wait_for_selector("figcaption:has-text('at step 33')")
    page.wait_for_selector("img[alt='step-33']")
    fresh = folder / "new.json"
    fresh.write_text(json.dumps(header_of(60, status="done", summary={"pictures": 4})))
    fresh.replace(folder / "run.json")
    page.wait_for_selector("#told:has-text('This run is done now.')", state="attached")
    page.wait_for_selector("h2:has-text('Result')")
    assert page.evaluate("window.still") is True
    shutil.rmtree(folder)


def test_the_graph_zooms_and_its_edges_say_their_evidence(opened):
    page = opened(f"/run/{DISCOVERY}/graph")
    whole = page.locator(".canvas svg").get_attribute("viewBox")
    page.locator(".canvas a").nth(2).focus()
    page.keyboard.press("Enter")
    chosen = page.locator(".edgelist li.chosen")
    assert "confidence" in chosen.inner_text()
    assert page.locator(".canvas a.chosen").count() == 1
    page.locator(".canvas").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**view=**")
    near = page.locator(".canvas svg").get_attribute("viewBox")
    assert near != whole
    page.reload()
    again = page.locator(".canvas svg").get_attribute("viewBox")
    assert [float(v) for v in again.split()] == pytest.approx([float(v) for v in near.split()], abs=1)
    assert page.locator(".edgelist li.chosen").count() == 1
    page.get_by_role("button", name="Whole graph").click()
    assert page.locator(".canvas svg").get_attribute("viewBox") == whole
    middle = page.locator(".canvas").bounding_box()
    page.mouse.move(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2)
    page.locator(".canvas").focus()
    page.mouse.wheel(0, -200)
    expect(page.locator(".canvas svg")).not_to_have_attribute("viewBox", whole)


def test_without_scripts_all_can_be_read(opened):
    page = opened(java_script_enabled=False)
    page.locator("#q").fill("seed=1")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/?q=seed*")
    page.locator(f"#pick-{name_of(1)}").check()
    page.locator(f"#pick-{name_of(4)}").check()
    page.locator("#side").click()
    page.wait_for_url("**/compare?**")
    assert page.locator(".keyed li").count() == 2
    page.goto(page.url.partition("/compare")[0] + f"/run/{DISCOVERY}/graph")
    page.locator(".canvas a").first.click()
    assert page.url.endswith("#edge-0") or "#edge-" in page.url


def test_the_command_prints_one_line_and_ends_in_one_sentence(server, address):
    assert address.startswith("http://127.0.0.1:")
    os.kill(server.pid, signal.SIGINT)
    rest, said = server.communicate(timeout=60)
    assert (server.returncode, rest) == (0, "")
    assert said == "The page is closed; the runs are as they were.\n"
