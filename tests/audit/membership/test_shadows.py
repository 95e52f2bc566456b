"""Shadow models: from runs of halves to a verdict, and what is refused of them."""

import json
import shutil

import pytest
import torch

import tiny
from audit_scenes import model, nudged, pictures, shadows
from half_tunes import folder_of_noise, half_tunes
from intaglio import cli
from intaglio.adapt.data import TrainingSet
from intaglio.audit.membership.audit import check_pool
from intaglio.audit.membership.family import AuditInputs
from intaglio.audit.membership.methods.gsa import GSA
from intaglio.audit.membership.methods.lira import LiRA
from intaglio.audit.membership.pictures import AuditPictures
from intaglio.audit.membership.shadow_runs import shadow_runs
from intaglio.audit.membership.shadows import Shadow, Shadows
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet


def test_a_half_is_of_the_contents_and_the_seed_alone():
    images = ImageSet.from_pixels(tiny.pixels(7), captions=[f"cat {k}" for k in range(7)])
    half = TrainingSet(images).half(1)
    turned = TrainingSet(images[[6, 5, 4, 3, 2, 1, 0]]).half(1)
    assert len(half.images) == 3
    assert set(half.images.hashes) == set(turned.images.hashes)
    assert set(half.prompts) == set(turned.prompts)
    assert len({frozenset(TrainingSet(images).half(seed).images.hashes) for seed in range(6)}) > 1
    with pytest.raises(BadInput, match="no half of a single picture"):
        TrainingSet(images[:1]).half(1)


def test_shadows_that_are_no_other_fine_tunes_of_the_base_are_refused():
    base, images = model(), pictures(2)
    suspect, another = nudged(base), nudged(base, seed=5)

    def refused(said, *models):
        given = Shadows.of(models, [images] * len(models))
        with pytest.raises(BadInput, match=said):
            given.check_models(suspect, base)

    refused("is the suspect itself", another, suspect)
    refused("has the weights of the base", another, base)
    refused("are one model", another, another)
    refused("does not fit tiny-0: .*; tune shadows from the base", model(build=tiny.sdxl_pipeline))
    Shadows.of([another], [images]).check_models(suspect, base)


def test_questioned_pictures_and_controls_are_to_be_alike_to_the_shadows():
    base, asked, controls = model(), pictures(4, seed=1), pictures(4, seed=2)
    every = AuditPictures.of(asked, controls)

    def pool(method, images):
        return check_pool((method,), AuditInputs(base, None, "", shadows=shadows(base, images)), every)

    both = ImageSet.from_pixels(torch.cat([asked.pixels, controls.pixels]))
    assert pool(GSA(), both) == pool(LiRA(), both) == ()
    assert pool(LiRA(), pictures(2, seed=7)) == ()
    assert "questioned pictures are, and no control is" in pool(LiRA(), asked)[0]
    assert "controls are, and no questioned is" in pool(GSA(), controls)[0]
    with pytest.raises(BadInput, match="gsa learns from pictures .* and no control is one"):
        pool(GSA(), asked)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """Pictures, and runs of four fine-tunes on halves of them."""
    folder = tmp_path_factory.mktemp("shadows")
    base = tiny.sd_folder(folder / "base")
    for kind, seed in (("images", 1), ("controls", 2)):
        folder_of_noise(folder / kind, 4, seed)
        for picture in (folder / kind).iterdir():
            (folder / "pool").mkdir(exist_ok=True)
            shutil.copy(picture, folder / "pool" / f"{kind}-{picture.name}")
    half_tunes(base, folder / "pool", folder / "runs")
    return folder


def test_a_tune_of_a_half_says_what_it_was_tuned_on_and_is_another_run(tuned, tmp_path):
    words = "--prompt cat --steps 1 --watch-every 0 --sample-count 0 --rank 1 --batch 1 --half 3 --quiet"
    given = ["--model", tuned / "base", "--images", tuned / "pool", "--runs", tmp_path]
    assert cli.main(["finetune", "lora", *words.split(), *map(str, given)]) == 0
    (run,) = shadow_runs([tmp_path])
    assert run.members == set(TrainingSet(ImageSet.load(tuned / "pool", 16), "cat").half(3).images.hashes)
    assert run.weights.is_file()
    assert json.loads((run.folder / "run.json").read_text())["settings"]["half"] == 3


def test_runs_of_halves_say_what_they_were_tuned_on(tuned):
    runs = shadow_runs([tuned / "runs"])
    pool = ImageSet.load(tuned / "pool", 16)
    assert len(runs) == 4
    assert runs == shadow_runs([run.folder for run in reversed(runs)])
    halves = {TrainingSet(pool, "cat").half(seed).images.hashes for seed in (1, 2, 3, 4)}
    assert {run.members for run in runs} == {frozenset(half) for half in halves}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda run: shutil.rmtree(run / "records"), "does not say which pictures it was tuned on"),
        (lambda run: next(run.glob("*.safetensors")).unlink(), "has lost pytorch_lora_weights.safetensors"),
        (lambda run: _change(run, status="failed"), "is not finished"),
        (lambda run: _change(run, verb="sample"), "is a run of sample, and no fine-tune"),
        (lambda run: _change(run, summary={"weights": "../../base"}, results=[]), "has lost"),
        (lambda run: _record(run, {"hashes": [3]}), "lists no hashes of pictures"),
        (lambda run: shutil.rmtree(run), "holds no run of a fine-tune"),
    ],
)
def test_runs_that_do_not_serve_are_refused_before_torch_is_needed(tuned, tmp_path, spoil, said):
    first = shadow_runs([tuned / "runs"])[0].folder
    run = shutil.copytree(first, tmp_path / "one" / first.name)
    spoil(run)
    with pytest.raises(BadInput, match=said):
        shadow_runs([run if run.exists() else run.parent])


def _change(run, **fields):
    path = run / "run.json"
    header = json.loads(path.read_text())
    named = {"name": "other"} if "verb" in fields else {}
    path.write_text(json.dumps({**header, **fields, **named}))


def _record(run, value):
    (path,) = (run / "records" / "training").glob("*.json")
    path.write_text(json.dumps({"key": "pictures", "value": value}))


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("lira", False, "lira compares the suspect with models of the same recipe"),
        ("loss-gap", True, "loss-gap compares the suspect with no shadow models"),
        ("lira", True, "1 shadow model is too few for lira, which takes 4 or more; 16 are usual"),
    ],
)
def test_too_few_shadows_and_idle_ones_are_told_before_models_are_read(tuned, tmp_path, method, given, said, capsys):
    words = ["authenticate", method, "--suspect", tuned / "base", "--images", tuned / "images", "--fpr", "0.2"]
    words += ["--controls", tuned / "controls", "--runs", tmp_path / "audits"]
    words += ["--shadows", shadow_runs([tuned / "runs"])[0].folder] if given else []
    assert cli.main([str(word) for word in words]) == 2
    assert said in capsys.readouterr().err


def test_a_model_is_read_when_it_is_asked_and_not_before():
    asked = []
    given = Shadow("one", "0" * 64, frozenset("a"), lambda: asked.append(1))
    assert len(Shadows((given,))) == 1
    assert not asked
