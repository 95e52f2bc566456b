"""`intaglio explain counterfactuals` from the command line to its page, and what it refuses."""

import csv

import pytest

import attribute_scenes
from intaglio.cli import main
from intaglio.explain.counterfactuals.result import Counterfactuals
from intaglio.images.image_set import save_png


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("set")
    images, table = attribute_scenes.squares()
    rows = [("picture", "<i>light", "size", "note", "same")]
    for name, pixels, values in zip(images.names, images.pixels, table.values, strict=True):
        save_png(pixels, root / "pictures" / name)
        rows.append((name, *map(str, values.tolist()), "old", "1"))
    with (root / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    for name, edges in (("g", "<i>light,size"), ("noted", "size,note"), ("same", "size,same"), ("x", "size,x")):
        (root / f"{name}.csv").write_text(f"source,target\n{edges}\n")
    (root / "cycle.csv").write_text("source,target\nsize,<i>light\n<i>light,size\n")
    (root / "line.csv").write_text("source,target,mark\nsize,<i>light,---\n")
    return root


def line(folder, *further, method="causal-diffae", graph="g"):
    words = f"explain counterfactuals {method} --images {folder}/pictures --table {folder}/t.csv"
    few = "--resolution 16 --updates 3 --channels 8 --rows 4 --pictures 5 --quiet"
    given = () if any(one.startswith("--set") for one in further) else ("--set", "<i>light=0.5")
    return [
        *words.split(),
        "--graph",
        f"{folder}/{graph}.csv",
        *few.split(),
        *given,
        "--runs",
        f"{folder}/runs",
        *further,
    ]


def test_pictures_are_shown_before_and_after_on_a_page(folder, capsys):
    words = line(folder, "--steps", "2", "--measure", "size=ink-side", "<i>light=ink-brightness")
    assert main(words) == 0
    said = capsys.readouterr().out
    (run,) = (folder / "runs").glob("explain-counterfactuals-causal-diffae-*")
    found = Counterfactuals.load(run)
    assert found.statement in said
    assert found.edges == (("<i>light", "size"),)
    assert (found.after[:, 0] == found.after[0, 0]).all()
    assert len(found.pictures) == 5
    assert found.learnt_from == 12
    assert found.fits[1] > 0.9
    page = (run / "report.html").read_text()
    assert "<i>light" not in page
    assert "12 pictures are few to learn from" in page
    assert page.count('<img class="pic') == 15 == len(list((run / "images").glob("*.png")))
    assert not list((run / "states").glob("*"))
    assert main(words) == 0  # the second time it is found


def test_the_others_of_a_baseline_stay(folder):
    assert main(line(folder, "--set=size=70", method="label-only")) == 0
    (run,) = (folder / "runs").glob("explain-counterfactuals-label-only-*")
    found = Counterfactuals.load(run)
    assert found.after[:, 0].tolist() == pytest.approx(found.before[:, 0].tolist())
    assert found.after[:, 1].tolist() == pytest.approx([70.0] * 5, abs=1e-3)
    assert found.measures == ("", "")


@pytest.fixture(scope="module")
def poor(folder):
    """Labels of ten of the twelve pictures: one has no row, one an empty cell."""
    lines = (folder / "t.csv").read_text().splitlines()
    cells = lines[5].split(",")
    few = [*lines[:5], ",".join([cells[0], "", *cells[2:]]), *lines[6:-1]]
    (folder / "few.csv").write_text("\n".join(few))
    (folder / "misspelt.csv").write_text("\n".join([*few, lines[-1].replace("11.png", "11.PNG")]))
    return folder


def test_pictures_without_labels_are_learnt_and_those_held_out_judge(poor, capsys):
    table = f"--table={poor}/few.csv"
    assert main([*line(poor, table, "--steps", "1"), "--dry-run"]) == 0
    assert "labels     for 10 of 12 pictures, 2 of them held out to judge by" in capsys.readouterr().out
    assert main(line(poor, table, "--steps", "1", "--measure", "size=ink-side", "--set=size=70")) == 0
    said = capsys.readouterr().out
    run = max((poor / "runs").glob("explain-counterfactuals-causal-diffae-*"), key=lambda path: path.stat().st_mtime)
    found = Counterfactuals.load(run)
    assert (found.learnt_from, found.taught, found.held.tolist()) == (12, 8, [True] * 2 + [False] * 3)
    assert set(found.pictures[2:4]) == {"04.png", "11.png"}
    assert "Labels of 8 of 12 pictures were learnt; values read off those whose labels were held out (2) miss" in said
    page = (run / "report.html").read_text()
    assert "as read off 2 pictures whose labels were held out" in page
    assert "as given: no labels" in page
    assert "labels of 8 pictures are few to learn from" in page


def test_a_method_that_needs_labels_says_what_it_leaves_out(poor):
    assert main(line(poor, f"--table={poor}/few.csv", "--steps=2", method="without-graph")) == 0
    (run,) = (poor / "runs").glob("explain-counterfactuals-without-graph-*")
    found = Counterfactuals.load(run)
    assert (found.learnt_from, found.taught, len(found.pictures)) == (8, 8, 5)
    page = (run / "report.html").read_text()
    assert "without-graph learns from pictures with labels alone: 2 of 12 have none" in page


def test_a_row_of_no_picture_is_refused_where_a_picture_has_none(poor, capsys):
    assert main(line(poor, f"--table={poor}/misspelt.csv")) == 2
    assert "has no row for 11.png, and a row for 11.PNG, which is no picture" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize(
    ("graph", "given", "words"),
    [
        ("g", ("--set", "size"), "--set size is no pair; give it as NAME=VALUE"),
        ("g", ("--set", "size=big"), "--set size=big is no finite number"),
        ("g", ("--set", "size=1", "size=2"), "--set has size twice"),
        ("g", ("--set", "x=1"), "x is no attribute of the graph; it has: <i>light, size"),
        ("g", ("--measure", "size"), "--measure size is no pair; give it as NAME=MEASURE"),
        ("g", ("--measure", "size=ink"), "there is no measure 'ink'; choose from: ink-area, ink-side"),
        ("g", ("--measure", "x=ink-side"), "x of --measure is no attribute of the graph"),
        ("g", ("--resolution", "36"), "cannot be halved often enough; give --resolution 32 or 64"),
        ("g", ("--pictures", "0"), "pictures must be at least 1, not 0"),
        ("cycle", (), "cycle"),
        ("line", (), "is a CPDAG, which leaves open what causes what; give a DAG"),
        ("x", (), "has no column x, which the graph names"),
        ("noted", ("--set", "size=1"), "'old' as note of 00.png; give a number"),
        ("same", ("--set", "size=1"), "same is 1 in every picture; leave it out"),
        ("none", (), "none.csv"),
    ],
)
def test_bad_input_is_told(folder, capsys, graph, given, words):
    assert main(line(folder, *given, graph=graph)) == 2
    assert words in " ".join(capsys.readouterr().err.split())
