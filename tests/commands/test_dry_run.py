"""`--dry-run` of every verb that works for long: the plan with its time, and nothing else."""

import dataclasses
import json
import shlex

import numpy as np
import pytest

import feature_scenes
import tiny
from intaglio.causal.methods.sicl.method import SiCL
from intaglio.causal.tables.table import Table
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load
from intaglio.images.image_set import save_png
from intaglio.models.testbed import classifier
from intaglio.protect.fingerprint.mark_key import KeptKey, MarkKey
from intaglio.runs.time_plan import TimePlan
from intaglio.verbs import VERBS

LINES = {
    "finetune": "finetune lora --model {base} --images {pictures} --prompt x --steps 4 --watch-every 2",
    "protect": "protect advdm --model {base} --images {pictures} --steps 2",
    "protect evaluate": "protect evaluate --model {base} --images {pictures} --protected {pictures} --seeds 1 "
    "--purifiers none jpeg-75 --tuning-steps 2 --drawn 2",
    "protect purify": "protect purify diffuse --model {base} --images {pictures}",
    "protect certify": "protect certify smoothing --images {pictures} --resolution 16 --votes 4 --first 2",
    "protect private": "protect private few-shot --train a={pictures} b={controls} --resolution 16 --steps 4",
    "protect fingerprint": "protect fingerprint tree-ring --model {base} --prompt x --count 2 --steps 2 --key {key}",
    "protect detect": "protect detect --model {base} --images {pictures} --key {key}",
    "authenticate": "authenticate cgi-dm --base {base} --suspect {suspect} --images {pictures} --controls {controls} "
    "--fpr 0.2 --steps 2",
    "audit prompts": "audit prompts text-norm --model {suspect} --base {base} --prompt x y --steps 2",
    "audit attribution": "audit attribution cnn --source a={pictures} b={controls} --images {pictures}",
    "audit components": "audit components switched-off --model {base} --images {pictures} --component w=words:x "
    "g=guidance:2 --prompt y --steps 2 --pictures 8",
    "audit inference": "audit inference fides --known {controls} --images {pictures} --answers {answers}",
    "audit influence": "audit influence trak --model {suspect} --train {pictures} --images {controls} --prompt x",
    "audit selection": "audit selection mean-gradient --size 1 --model {base} --candidates {pictures} "
    "--target {controls} --prompt x",
    "audit unlearning": "audit unlearning uce --model {base} --concept x --pictures 2",
    "audit unlearn-attack": "audit unlearn-attack seeds --model {suspect} --base {base} --prompt x --tries 2 --steps 2",
    "explain collection": "explain collection tsne --images {pictures} --boxes 2",
    "explain bias": "explain bias steering --model {base} --prompt x --samples 4 --steps 2 --pictures 2",
    "explain directions": "explain directions h-space --model {base} --prompt x --samples 4 --count 1 --steps 2",
    "explain slices": "explain slices domino --images {labelled} --labels {kinds}",
    "explain weights": "explain weights filter-statistics --model {base}",
    "explain blindspots": "explain blindspots dictionary --model {base} --images {pictures} --prompt x --steps 2",
    "explain encodings": "explain encodings diti --model {base} --images {labelled} --labels {labels}",
    "explain features": "explain features denoiser --model {base} --images {labelled} --labels {labels}",
    "explain counterfactuals": "explain counterfactuals label-only --images {labelled} --table {numbers} "
    "--graph {graph} --set a=1 --resolution 16 --updates 3",
    "explain heads": "explain heads rule-tree --images {labelled} --labels {labels}",
    "explain selectors": "explain selectors comet --images {labelled} --labels {labels} --resolution 16 --widths 4",
    "explain concepts": "explain concepts craft --images {pictures}",
    "explain evaluate": "explain evaluate --images {pictures} --methods input-gradient",
    "explain components": "explain components relp --model {base} --clean cat --corrupted dog --draws 1 --steps 1",
    "explain paths": "explain paths interventions --images {pictures}",
    "explain repair": "explain repair cut-edges --images {labelled} --labels {marks} --shortcut mark --head artist",
    "explain series": "explain series series-gradients --series {series}",
    "explain sharpening": "explain sharpening genhancer --images {labelled} --model {base} --rows 4",
    "explain surrogate": "explain surrogate two-phase --features {rows} --predictions {said}",
    "explain words": "explain words removal --model {base} --prompt cat --steps 2 --tested 1",
    "explain": "explain lima --images {pictures} --cut grid",
    "extract": "extract cfg --base {base} --suspect {suspect} --authority mine --prompt x --generations 9 --pictures 2",
    "sample": "sample --model {base} --prompt x --count 3 --steps 2",
    "sample train": "sample train ot --model {base} --prompt x",
    "distill": "distill guided --model {base} --prompt x --own 4 --steps 4",
    "shrink": "shrink gptq --model {base} --prompt x --rows 32",
    "merge": "merge soup {suspect} {base} --images {pictures}",
    "energy profile": "energy profile --model {base} --batches 1",
    "energy prune": None,  # needs a profile of this machine; see test_energy_prune
    "discover": "discover sicl {table}",
    "causal cate": "causal cate t-learner --table {trial} --covariates a",
    "causal transfer": "causal transfer erm --table {moved} --environment place --outcome outcome --target c "
    "--covariates a b --labelled 2",
    "causal train": "causal train --preset trial --steps 6 --calibrated-on 8 --proved-on 8",
    "causal train-skeleton": "causal train-skeleton --models 40 --variables 4 --rows 50 100 --trees 5",
    "causal recalibrate": "causal recalibrate --tables 100",
    "flow train": "flow train --images {pictures} --resolution 8 --patch-size 2 --hidden-size 16 --head-dim 8",
    "flow calibrate": "flow calibrate --model cpu-tiny --batch 2",
    "flow sample": "flow sample sequential --model cpu-tiny --count 3",
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("planned")
    base, suspect = tiny.pair_folders(root)
    for name, count, seed in (("pictures", 4, 1), ("controls", 4, 2)):
        images = tiny.some_pictures(seed, count)
        for picture, pixels in zip(images.names, images.pixels, strict=True):
            save_png(pixels, root / name / f"{picture}.png")
    images, columns = feature_scenes.labelled(24)
    for name, pixels in zip(images.names, images.pixels, strict=True):
        save_png(pixels, root / "labelled" / name)
    lit = [f"{name},{light}" for name, light in zip(images.names, columns["light"], strict=True)]
    (root / "l.csv").write_text("\n".join(["picture,light", *lit]))
    (root / "n.csv").write_text(
        "\n".join(["picture,a,b", *(f"{name},{k},{k % 3}" for k, name in enumerate(images.names))])
    )
    (root / "g.csv").write_text("source,target\na,b\n")
    of_kinds = [f"{name},{classifier().classes['kind'][0]}" for name in images.names]
    (root / "k.csv").write_text("\n".join(["picture,kind", *of_kinds]))
    artists = classifier().classes["artist"]
    marked = [f"{name},{artists[k // 20]},{['no', 'yes'][k % 2]}" for k, name in enumerate(images.names)]
    (root / "m.csv").write_text("\n".join(["picture,artist,mark", *marked]))
    random = np.random.default_rng(0)
    lines = [",".join(f"{x:.6f}" for x in row) for row in random.standard_normal((60, 3))]
    (root / "t.csv").write_text("\n".join(["a,b,c", *lines]))
    units = [f"u{k},{row[0]},{k % 2},{row[1]}" for k, row in enumerate(random.standard_normal((60, 2)))]
    (root / "trial.csv").write_text("\n".join(["picture,outcome,treated,a", *units]))
    moved = [f"{'abc'[k % 3]},{k % 2},{line}" for k, line in enumerate(lines)]
    (root / "moved.csv").write_text("\n".join(["place,outcome,a,b,c", *moved]))
    numbered = [",".join(f"{x:.6f}" for x in row) for row in random.standard_normal((60, 2))]
    (root / "rows.csv").write_text("\n".join(["picture,a,b", *(f"u{k},{line}" for k, line in enumerate(numbered))]))
    (root / "said.csv").write_text("\n".join(["picture,x", *(f"u{k},{k % 2}" for k in range(60))]))
    steps = [f"s{k},{t},{k % 2},{k + t}" for k in range(12) for t in range(4)]
    (root / "series.csv").write_text("\n".join(["series,time,label,x", *steps]))
    KeptKey(
        MarkKey.of_seed(0), "tree-ring", {"inversion_steps": 20, "radius": 0.25, "pattern": "noise", "channels": ()}
    ).save(root / "key.json")
    kinds = classifier().classes["kind"]
    rows = [[f"{name}.png", *[f"{1 / len(kinds):.6f}"] * len(kinds)] for name in tiny.some_pictures(1, 4).names]
    (root / "a.csv").write_text("\n".join(",".join(one) for one in (["picture", *kinds], *rows)))
    return {
        "answers": root / "a.csv",
        "key": root / "key.json",
        "table": root / "t.csv",
        "numbers": root / "n.csv",
        "graph": root / "g.csv",
        "rows": root / "rows.csv",
        "said": root / "said.csv",
        "series": root / "series.csv",
        "trial": root / "trial.csv",
        "moved": root / "moved.csv",
        "base": base,
        "suspect": suspect,
        "pictures": root / "pictures",
        "labelled": root / "labelled",
        "labels": root / "l.csv",
        "kinds": root / "k.csv",
        "marks": root / "m.csv",
        "controls": root / "controls",
    }


def test_every_command_that_takes_the_flag_is_asked_here():
    with_flag = {
        name
        for name, verb in VERBS.items()
        if "dry_run" in {field.name for field in dataclasses.fields(load(verb.command))}
    }
    assert with_flag == set(LINES)


@pytest.mark.parametrize("line", [line for line in LINES.values() if line], ids=[k for k, v in LINES.items() if v])
def test_the_plan_has_a_time_and_nothing_is_made(line, places, tmp_path, capsys):
    runs = tmp_path / "runs"
    flag = "--out" if line.startswith("sample --") else "--plans" if line.startswith("flow calibrate") else "--runs"
    into = [flag, str(runs)]
    assert main([*shlex.split(line.format(**places)), *into, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "\ntime       " in f"\n{said}"
    assert not runs.exists()


@pytest.mark.parametrize("verb", ["sample", "discover"])
def test_the_plan_is_one_line_of_json_where_that_is_asked_for(verb, places, tmp_path, capsys):
    """Of a command that has a flag --json of its own too."""
    into = ["--out" if verb == "sample" else "--runs", str(tmp_path / "runs")]
    assert main([*shlex.split(LINES[verb].format(**places)), *into, "--dry-run", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert told["planned_seconds"] > 0
    assert any(one.startswith("time ") for one in told["plan"])


def test_a_plan_is_the_sum_of_its_parts_and_names_those_that_matter():
    plan = TimePlan({"steps": 60.0, "pictures": 30.0, "crumbs": 0.5}, "pictures   4")
    assert plan.seconds == 90.5
    assert str(plan) == "pictures   4\ntime       about 2 min: 60 s for steps, 30 s for pictures"
    assert "judging" not in str(TimePlan({"steps": 1.5, "pictures": 0.7, "judging": 0.4}))
    assert str(TimePlan({"steps": 3.0}, at_most=True)) == "time       about 3 s at most for steps"
    assert (TimePlan().seconds, str(TimePlan({"steps": 0.4}))) == (0, "time       under 1 s")


def test_a_search_keeps_its_plan_where_making_one_is_quick(places, tmp_path):
    assert main(shlex.split(f"discover sicl {places['table']} --subsamples 1 --runs {tmp_path} --quiet")) == 0
    (header,) = (json.loads(path.read_text()) for path in tmp_path.rglob("run.json"))
    assert header["planned_seconds"] > 0
    few, many = (Table.from_frame(np.random.default_rng(0).standard_normal((60, count))) for count in (15, 16))
    quick = [
        (SiCL(subsamples=count).plans_quickly(few), SiCL(subsamples=count).plans_quickly(many)) for count in (0, 1, 150)
    ]
    assert quick == [(False, False), (True, False), (True, True)]
