import csv
import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

import tiny
from half_tunes import folder_of_noise, half_tunes
from intaglio import cli
from intaglio.audit.membership.family import Authentication
from intaglio.audit.membership.methods.pia import PIA
from intaglio.audit.membership.methods.secmi import SecMI
from intaglio.audit.membership.methods.update_alignment import UpdateAlignment
from intaglio.commands.authenticate import Authenticate
from intaglio.commands.kit.source_settings import load
from intaglio.images.image_set import save_png
from intaglio.verbs import VERBS
from rows import flags, matrix

FAST = {row.method: flags(row.small) for row in matrix().values() if row.verb == "authenticate"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny.pair_folders(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def halves(tmp_path_factory, models):
    """Gives, made when it is asked for, the runs of shadow models on the questioned pictures and the controls."""

    @cache
    def made() -> Path:
        folder = tmp_path_factory.mktemp("halves")
        for part, count, seed in (("images", 2, 1), ("controls", 4, 2)):
            folder_of_noise(folder / part, count, seed)
            for picture in (folder / part).iterdir():
                picture.rename(folder / f"{part}-{picture.name}")
        return half_tunes(models[0], folder, folder / "runs", (1, 2, 14, 38))

    return made


@pytest.fixture
def scene(tmp_path, models, capsys, halves):
    """Runs an audit of tiny models; returns the exit code, standard output and standard error."""
    for folder, count, seed in (("images", 2, 1), ("controls", 4, 2), ("holdouts", 2, 3)):
        pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
        for i, picture in enumerate(pixels):
            save_png(picture, tmp_path / folder / f"{i}.png")
            (tmp_path / folder / f"{i}.txt").write_text(f"{folder[0]}{i}")

    def run(method, *words, suspect=models[1], base=models[0]):
        inputs = ["--suspect", str(suspect), "--base", str(base), "--images", str(tmp_path / "images")]
        places = ["--controls", str(tmp_path / "controls"), "--runs", str(tmp_path / "runs")]
        if load(VERBS["authenticate"].methods[method].target).needs_shadows:
            inputs += ["--shadows", str(halves())]
            capsys.readouterr()
        code = cli.main(["authenticate", method, *inputs, *places, *FAST[method], "--quiet", "--fpr", "0.2", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_method_that_the_verdict_rests_on_spares_memory_as_the_named_one_does(scene, monkeypatch):
    """CGI-DM's verdict rests on update alignment, which otherwise has its own default."""
    asked, audit = [], UpdateAlignment.audit

    def noted(self, *given):
        asked.append(self)
        return audit(self, *given)

    monkeypatch.setattr(UpdateAlignment, "audit", noted)
    assert scene("cgi-dm", "--fpr", "0.3", "--micro-batch", "3", "--precision", "bfloat16")[0] == 0
    assert asked
    assert set(asked) == {replace(UpdateAlignment(), micro_batch=3)}


def only_run(tmp_path):
    (folder,) = (tmp_path / "runs").glob("authenticate-*")
    return folder


def test_captions_are_asked_for_before_any_work(scene, tmp_path):
    (tmp_path / "controls" / "3.txt").unlink()
    code, _, said = scene("pia", "--own-captions")
    assert code == 2
    assert "--own-captions needs a caption for every picture, and 3.png of --controls has none" in said
    (tmp_path / "controls" / "3.txt").write_text("dog")
    assert "takes the place of --prompt" in scene("pia", "--own-captions", "--prompt", "cat")[2]
    assert "update-alignment takes one prompt for all" in scene("update-alignment", "--own-captions")[2]
    signals = ["--own-captions", "--signals", "score", "update-alignment"]
    assert "leave it out of --signals" in scene("clid", *signals)[2]
    assert "cgi-dm takes one prompt for all pictures; leave --own-captions out" in scene("cgi-dm", "--own-captions")[2]
    assert "leave --other-prompts out" in scene("clid", "--own-captions", "--other-prompts", "x")[2]
    assert "give --own-captions" in scene("clid")[2]
    (tmp_path / "images" / "1.txt").write_text(" ")
    assert "1.png of --images has none" in scene("pia", "--own-captions")[2]


def test_no_words_are_another_prompt_beside_captions(scene, tmp_path):
    assert scene("pia", "--own-captions", "--other-prompts", "")[0] == 0
    (other,) = json.loads((only_run(tmp_path) / "verdict.json").read_text())["other_prompts"]
    assert other["prompt"] == ""


def test_the_plan_counts_every_prompt_once():
    about = {"method": PIA(), "suspect": Path("s"), "images": Path("i"), "controls": Path("c")}
    counts = [
        Authenticate(**about, prompt=prompt, own_captions=own, other_prompts=others)._prompt_count
        for prompt, own, others in (("cat", False, ("cat", "dog", "dog")), ("", False, ("",)), ("", True, ("", "dog")))
    ]
    assert counts == [2, 1, 3]


def test_other_captions_are_another_run(scene, tmp_path):
    assert scene("loss-gap", "--own-captions")[0] == 0
    (tmp_path / "images" / "1.txt").write_text("dog")
    assert scene("loss-gap", "--own-captions")[0] == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.parametrize("method", list(FAST))
def test_an_audit_from_folders_to_its_report(scene, tmp_path, method):
    words = ["--signals", "score", "loss-gap"] if method == "cgi-dm" else []
    kind = load(VERBS["authenticate"].methods[method].target)
    own, tails = kind.own_captions == "needed", 2 if kind.sides == "both" else 1
    code, out, said = scene(
        method, "--fpr", f"{tails / 5}", *(["--own-captions"] if own else ["--prompt", "cat"]), *words
    )
    folder = only_run(tmp_path)
    assert code == 0, said
    assert ("each picture’s own caption" in (folder / "report.html").read_text()) is own
    assert out.splitlines()[-1] == str(folder / "report.html")
    assert "0.png" in out
    verdict = json.loads((folder / "verdict.json").read_text())
    assert [row["name"] for row in verdict["questioned"]] == ["0.png", "1.png"]
    assert all(
        row["p_value"] in ((0.4, 0.8, 1.0) if tails == 2 else (0.2, 0.4, 0.6, 0.8, 1.0))
        for row in verdict["questioned"]
    )
    assert verdict["threshold"]["controls"] == 4
    assert verdict["separation"] is None
    kinds = {"original", "partial", "recovered"} if method == "cgi-dm" else {"original"}
    for row in (*verdict["questioned"], *verdict["controls"]):
        assert set(row["images"]) == kinds
        assert all((folder / path).is_file() for path in row["images"].values())
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["role"] for row in rows] == ["questioned"] * 2 + ["controls"] * 4
    assert float(rows[0]["score"]) == verdict["questioned"][0]["score"]
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "done"
    assert record["settings"].get("two_sided") == (["score"] if tails == 2 else None)
    assert record["settings"]["prompt"] == ("" if own else "cat")
    assert set(record["inputs"]) >= {"suspect", "base", "images", "controls"}
    assert ("shadows" in record["inputs"]) is kind.needs_shadows
    assert len(list((folder / "records" / "picture").iterdir())) == 6
    assert not list((folder / "states").glob("*")) if (folder / "states").exists() else True


def test_the_same_command_again_only_tells(scene, tmp_path, monkeypatch):
    first = scene("loss-gap")
    stored = (only_run(tmp_path) / "verdict.json").read_bytes()
    monkeypatch.setattr("intaglio.audit.membership.audit.run_audit", lambda *a, **k: pytest.fail("worked again"))
    assert scene("loss-gap")[:2] == first[:2]
    assert (only_run(tmp_path) / "verdict.json").read_bytes() == stored


def test_the_verdict_of_cgi_dm_rests_on_update_alignment(scene, tmp_path):
    code, _, _ = scene("cgi-dm")
    assert code == 0
    verdict = json.loads((only_run(tmp_path) / "verdict.json").read_text())
    assert verdict["score"] == "update-alignment"
    assert all(row["score"] == row["signals"]["update-alignment"] for row in verdict["questioned"])


def test_other_prompts_show_how_far_the_verdict_hangs_on_the_words(scene, tmp_path):
    words = ["--fpr", "0.5", "--prompt", "cat", "--other-prompts", "", "red dog", "cat"]
    code, _, _ = scene("loss-gap", *words)
    assert code == 0
    folder = only_run(tmp_path)
    verdict = json.loads((folder / "verdict.json").read_text())
    empty, dog = verdict["other_prompts"]
    assert (empty["prompt"], dog["prompt"]) == ("", "red dog"), "the audit's own prompt is not compared with itself"
    shutil.rmtree(folder)
    scene("loss-gap", "--fpr", "0.5", "--prompt", "red dog")
    alone = json.loads((only_run(tmp_path) / "verdict.json").read_text())
    called = [row["called"] for row in alone["questioned"]]
    before = [row["called"] for row in verdict["questioned"]]
    assert dog["called"] == sum(called)
    assert dog["changed"] == sum(a != b for a, b in zip(before, called, strict=True))


def test_a_box_is_the_picture_that_is_judged(scene, tmp_path):
    wide = torch.rand(3, 16, 40, generator=torch.Generator().manual_seed(9))
    save_png(wide, tmp_path / "images" / "0.png")
    (tmp_path / "boxes.csv").write_text("name,left,top,right,bottom\n0.png,20,0,36,16\n")
    code, _, _ = scene("loss-gap", "--boxes", str(tmp_path / "boxes.csv"))
    assert code == 0
    folder = only_run(tmp_path)
    boxed = json.loads((folder / "verdict.json").read_text())["questioned"][0]["score"]
    assert json.loads((folder / "run.json").read_text())["settings"]["boxes"] == {"0.png": [20, 0, 36, 16]}
    shutil.rmtree(folder)
    save_png(wide[:, :, 20:36], tmp_path / "images" / "0.png")
    scene("loss-gap")
    assert json.loads((only_run(tmp_path) / "verdict.json").read_text())["questioned"][0]["score"] == boxed


def test_a_suspect_alone_is_judged_by_its_own_score(scene, tmp_path):
    code, _, _ = scene("secmi", "--alone", "--fpr", "0.4")
    assert code == 0
    verdict = json.loads((only_run(tmp_path) / "verdict.json").read_text())
    assert all("base" not in row["signals"] for row in verdict["questioned"])
    assert all(row["score"] == row["signals"]["suspect"] for row in verdict["questioned"])
    page = (only_run(tmp_path) / "report.html").read_text()
    assert "not compared with" in page
    assert "the weights of the suspect" in page


def test_too_few_controls_are_refused_before_a_model_is_read(scene, monkeypatch):
    monkeypatch.setattr("intaglio.models.diffusion.loading.load_model", None)
    code, out, err = scene("loss-gap", "--fpr", "0.01")
    assert (code, out) == (2, "")
    assert "4 different controls cannot show a false-positive rate of 0.01, for which 99 are needed" in err
    assert "or ask for --fpr 0.2" in err
    code, out, err = scene("secmi", "--fpr", "0.2")
    assert (code, out) == (2, "")
    assert "for which 9 are needed where scores to both sides count" in err
    assert "or ask for --fpr 0.4" in err


def test_the_table_has_low_scores_first_too_where_both_sides_count(scene, monkeypatch):
    """By p-value: of two pictures the one below all four controls comes first."""
    scores = torch.tensor([0.15, -5.0, 0.1, 0.2, 0.3, 0.4])

    def told(self, inputs, images, run):
        return Authentication("secmi", images.names, scores, {"suspect": scores})

    monkeypatch.setattr(SecMI, "audit", told)
    code, out, _ = scene("secmi", "--alone", "--fpr", "0.4")
    assert code == 0
    lines = out.splitlines()
    assert lines[1].split()[:3] == ["1.png", "-5", "0.4"]
    assert "in the set, below the lower threshold (p = 0.4)" in lines[1]
    assert lines[2].split()[:3] == ["0.png", "0.15", "0.8"]


def test_known_holdouts_measure_the_audit(scene, tmp_path):
    code, _, _ = scene("loss-gap", "--known-holdouts", str(tmp_path / "holdouts"))
    assert code == 0
    verdict = json.loads((only_run(tmp_path) / "verdict.json").read_text())
    assert [(row["name"], row["truth"]) for row in verdict["questioned"]] == [
        ("0.png", True),
        ("1.png", True),
        ("holdouts/0.png", False),
        ("holdouts/1.png", False),
    ]
    scores = [row["score"] for row in verdict["questioned"]]
    wins = sum(a > b for a in scores[:2] for b in scores[2:])
    assert verdict["separation"]["auc"] == wins / 4
    assert verdict["separation"]["tpr_at_fpr"] == {"0.01": None, "0.05": None}
    assert verdict["set_test"]["pictures"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fpr", "0"], "fpr must lie between 0 and 1"),
        (["--signals", "nonsense"], "gives no signal nonsense"),
        (["--controls", "{images}", "--fpr", "0.5"], "the same pictures stand among the questioned and the controls"),
        (["--suspect", "{base}"], "the models are identical"),
        (["--images", "{nowhere}"], "nowhere"),
        (["--levels", "0"], "levels must be at least 1"),
        (["--alone"], "loss-gap compares the suspect with its base; leave --alone out"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(scene, tmp_path, models, words, says):
    places = {"images": tmp_path / "images", "base": models[0], "nowhere": tmp_path / "nowhere"}
    code, _, err = scene("loss-gap", *(word.format(**places) for word in words))
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())


def test_a_killed_audit_ends_with_the_same_verdict(scene, tmp_path, monkeypatch):
    from intaglio.audit.membership.methods import cgi_dm

    scene("cgi-dm", "--batch", "2")
    folder = only_run(tmp_path)
    whole = (folder / "verdict.json").read_bytes()
    shutil.rmtree(tmp_path / "runs")
    sound, calls = cgi_dm.Refill.step, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return sound(*arguments)

    monkeypatch.setattr(cgi_dm.Refill, "step", dying)
    code, _, _ = scene("cgi-dm", "--batch", "2")
    assert code == 130
    assert json.loads((folder / "run.json").read_text())["status"] == "unfinished"
    code, _, _ = scene("cgi-dm", "--batch", "2")
    assert code == 0
    steps = int(FAST["cgi-dm"][FAST["cgi-dm"].index("--steps") + 1])
    assert len(calls) == 3 * steps + 1, "six pictures in groups of two; one step was cut short"
    assert (folder / "verdict.json").read_bytes() == whole


def test_a_picture_questioned_twice_is_warned_of(scene, tmp_path):
    shutil.copy(tmp_path / "images/0.png", tmp_path / "images/again.png")
    code, _, _ = scene("loss-gap")
    assert code == 0
    warnings = json.loads((only_run(tmp_path) / "run.json").read_text())["warnings"]
    assert any("0.png and again.png" in warning for warning in warnings)
