"""`intaglio explain collection` from the command line to its page, also in a browser, and what it refuses."""

import base64
import csv
import hashlib
import json
import re

import numpy as np
import pytest

from explain_scenes import classifier, pictures
from intaglio.bench.face.browsers import browser_path, launched
from intaglio.cli import main
from intaglio.explain.collection.result import CollectionMap
from intaglio.images.image_set import save_png
from intaglio.models.classifiers import save_classifier
from intaglio.view.run_page import report_policy

COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of two sorts by their given features, with captions, labels and answers."""
    root = tmp_path_factory.mktemp("collection")
    random = np.random.default_rng(0)
    rows = {"f.csv": ["picture,x,y"], "l.csv": ["picture,sort"], "p.csv": ["picture,sort"]}
    for k, pixels in enumerate(pictures(COUNT).pixels):
        name, sort = f"{'<i>' if k == 0 else ''}{k:02d}.png", "left" if k % 2 else "right"
        save_png(pixels, root / "pictures" / name)
        (root / "pictures" / name).with_suffix(".txt").write_text(f"a {sort} thing")
        rows["f.csv"].append(f"{name},{(k % 2) * 9 + random.normal():.3f},{random.normal():.3f}")
        rows["l.csv"].append(f"{name},{sort}")
        rows["p.csv"].append(f"{name},{'left' if k else 'neither'}")
    for name, lines in rows.items():
        (root / name).write_text("\n".join(lines))
    save_classifier(classifier(), root / "net.safetensors")
    return root


def line(folder, *further, method="dendromap"):
    words = f"explain collection {method} --images {folder}/pictures --resolution 16 --boxes 2 --quiet"
    return [*words.split(), "--runs", str(folder / "runs"), *further]


@pytest.fixture(scope="module")
def run(folder):
    words = line(folder, *(f"--{flag}={folder}/{flag[0]}.csv" for flag in ("features", "labels", "predictions")))
    assert main(words) == 0
    (found,) = (folder / "runs").glob("explain-collection-dendromap-*")
    return found, words


def test_a_map_has_tables_a_page_and_is_found_again(run, capsys):
    folder, words = run
    assert main(words) == 0  # it is found
    said = capsys.readouterr().out
    found = CollectionMap.load(folder)
    assert found.statement in said
    assert "purity 1.00 for sort" in found.statement
    rows = list(csv.DictReader((folder / "boxes.csv").read_text().splitlines()))
    assert sorted((row["words"], row["sort wrong"]) for row in rows) == [("left", "0.0"), ("right", "1.0")]
    pictures_of = list(csv.DictReader((folder / "pictures.csv").read_text().splitlines()))
    assert len(pictures_of) == COUNT
    page = (folder / "report.html").read_text()
    assert "<i>00.png" not in page
    assert "most of them in box" in page
    data = re.search(r'id="map-data">(.*?)</script>', page)[1]
    assert "<" not in data
    data = json.loads(data)
    assert sorted(data["names"]) == sorted(found.names)
    assert data["side"] == 16
    (script,) = re.findall(r"<script>(.*?)</script>", page[: page.index('id="boxes"')], re.DOTALL)
    assert len(script) < 10_000
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in report_policy()


@pytest.mark.skipif(browser_path() is None, reason="there is no browser")
def test_boxes_open_and_close_by_keys_and_nothing_is_asked_for(run):
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    folder, _ = run
    with launched() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(120_000)  # a machine may have other work
        asked, faults = [], []
        page.on("request", lambda one: asked.append(one.url))
        page.on("pageerror", lambda one: faults.append(str(one)))
        page.goto((folder / "report.html").as_uri())
        boxes, trail = page.locator("#treemap .boxes button"), page.locator("#treemap .trail span")
        assert boxes.count() == 2
        name = boxes.first.get_attribute("aria-label")
        boxes.first.press("Enter")
        assert trail.inner_text().startswith("All pictures › ")
        page.keyboard.press("Escape")
        assert trail.inner_text() == "All pictures"
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == name
        page.keyboard.press("Escape")  # there is nothing above
        assert boxes.count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert [one for one in asked if not one.startswith("data:")] == [(folder / "report.html").as_uri()]
        assert not faults
        plain = browser.new_context(java_script_enabled=False).new_page()
        plain.goto((folder / "report.html").as_uri())
        assert not plain.locator("#treemap").is_visible()
        assert plain.locator(".boxlist > li").count() == 2


def test_features_may_be_of_a_networks_layer(folder, capsys):
    assert main(line(folder, f"--network={folder}/net.safetensors", "--layer=stages.0", method="kmeans")) == 0
    assert "mean maps of layer stages.0 of the network" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--features={0}/f.csv", "--network={0}/net.safetensors"), "--network and --features both give features"),
        (("--layer=stages.0",), "--layer is of a network"),
        (("--predictions={0}/p.csv",), "give these with --labels"),
        (("--labels={0}/l.csv", "--predictions={0}/f.csv"), "none of the columns of --labels (sort)"),
        (("--similarity=ssim",), "ssim has no descriptors"),
        (("--features={0}/l.csv",), "in the row of"),
        (("--network={0}/net.safetensors", "--layer=stages.9"), "no layer 'stages.9' with maps"),
        (("--boxes=25",), "24 pictures do not make 25 boxes"),
    ],
)
def test_bad_input_is_told(folder, capsys, given, words):
    assert main(line(folder, *(one.format(folder) for one in given))) == 2
    assert words in " ".join(capsys.readouterr().err.split())
