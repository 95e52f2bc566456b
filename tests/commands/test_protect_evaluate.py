"""`intaglio protect evaluate`: what is left, the worst first; resumed; bad input in a sentence."""

import json
from functools import partial

import pytest
from PIL import Image

import tiny
from intaglio import cli
from intaglio.commands.kit.cluster_inputs import HERE_ALONE
from intaglio.protect.imitation import Imitator
from intaglio.protect.result import ProtectionResult
from intaglio.protect.robustness import Robustness
from loopback_cluster import in_place_of_ray
from protect_scenes import originals


@pytest.fixture
def command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("intaglio.protect.imitation.Imitator", partial(Imitator, steps=2))
    monkeypatch.setattr("intaglio.denoising.loss_difference.TIMESTEPS", 2)
    tiny.sd_folder(tmp_path / "base")
    for name in ("mine", "back"):
        (tmp_path / name).mkdir()
        originals(tmp_path / name, ((16, 16), (16, 24), (20, 16)))
    for path in (tmp_path / "back").iterdir():
        with Image.open(path) as image:
            negative = Image.eval(image.convert("RGB"), lambda level: 255 - level)
        negative.save(path)

    def run(*words):
        places = [
            "--model",
            str(tmp_path / "base"),
            "--images",
            str(tmp_path / "mine"),
            "--runs",
            str(tmp_path / "runs"),
        ]
        few = {"--tuning-steps": ["1"], "--drawn": ["5"], "--purifiers": ["none", "diffuse"], "--seeds": ["2"]}
        rest = [word for flag, values in few.items() if flag not in words for word in (flag, *values)]
        back = ["--protected", str(tmp_path / "back"), "--quiet"]
        code = cli.main(["protect", "evaluate", *places, *back, *rest, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def only_run(tmp_path):
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def test_what_is_left_is_said_stored_and_shown(command, tmp_path):
    code, out, err = command("--shares", "1", "0.4")
    assert code == 0, err
    folder = only_run(tmp_path)
    found = Robustness.load(folder)
    assert {(one.purifier, one.share) for one in found.found} == {
        (p, s) for p in ("none", "diffuse") for s in (1.0, 0.4)
    }
    assert found.statement in out
    assert json.loads((folder / "run.json").read_text())["summary"]["worst_purifier"] in ("none", "diffuse")
    page = (folder / "report.html").read_text()
    assert "What each purifier leaves, the worst first" in page
    assert page.count("drawn after ") >= 16
    for heading in ("Originals", "Protected", "The difference, magnified around grey"):
        assert f"<h3>{heading}</h3>" in page
    assert Robustness.from_dict(json.loads((folder / "robustness.json").read_text())) == found
    assert command("--shares", "1", "0.4")[0] == 0


def test_captions_controls_and_what_was_trained_on_are_taken_up(command, tmp_path):
    (tmp_path / "mine/0.txt").write_text("a red cat")
    made = ProtectionResult("advdm", "loss", 8.0, "base", tmp_path / "back", (), ("jpeg",))
    made.save(tmp_path)
    (tmp_path / "others").mkdir()
    for k in range(2):
        Image.new("RGB", (16, 16), (90 * k, 200, 40)).save(tmp_path / f"others/{k}.png")
    words = ("--purifiers", "jpeg-75", "blur", "--seeds", "1")
    code, out, err = command("--controls", str(tmp_path / "others"), *words)
    assert code == 0, err
    found = Robustness.load(only_run(tmp_path))
    assert found.seen == ("jpeg-90", "jpeg-75", "jpeg-50")
    assert found.worst.purifier == "blur"
    assert "yes, trained on" in out or "no, trained on" in out
    assert all(0 <= value <= 1 for value in found.membership)
    assert "An audit" in out
    assert "Originals found by an audit" in (only_run(tmp_path) / "report.html").read_text()


def test_a_killed_evaluation_goes_on(command, tmp_path, monkeypatch):
    done, original = [], Imitator.imitations

    def killed(self, pictures, originals, seed):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(seed)
        return original(self, pictures, originals, seed)

    with monkeypatch.context() as patch:
        patch.setattr(Imitator, "imitations", killed)
        assert command()[0] == 130
    again = []
    monkeypatch.setattr(Imitator, "imitations", lambda *a: again.append(1) or original(*a))
    assert command()[0] == 0
    assert len(again) == 8 - 3


def test_a_cluster_makes_the_same_fine_tunes(command, tmp_path, monkeypatch):
    monkeypatch.setattr("intaglio.protect.imitation.Imitator", Imitator)  # a class is sent by its name
    words = ("--purifiers", "diffuse", "--seeds", "1", "--drawn", "2", "--runs")
    assert command(*words, str(tmp_path / "here"))[0] == 0
    cluster = in_place_of_ray(monkeypatch)
    code, _, err = command(*words, str(tmp_path / "there"), "--cluster", "ray")
    assert code == 0, err
    assert cluster.pieces == 2
    (here,), (there,) = (list((tmp_path / name).iterdir()) for name in ("here", "there"))
    for file in ("robustness.json", "purifiers.csv", "images/diffuse-100-protected-0.png"):
        assert (here / file).read_bytes() == (there / file).read_bytes()
    assert HERE_ALONE in warnings_of(there)


def warnings_of(folder):
    return json.loads((folder / "run.json").read_text())["warnings"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--purifiers", "bleach"], "there is no purifier 'bleach'; choose from: none, jpeg-90"),
        (["--shares", "0"], "shares must lie above 0"),
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--tuning-rate", "-1"], "tuning_rate must be above 0"),
        (["--similarity", "ssim"], "has no descriptors to compare by"),
        (["--transformations", "bleach"], "there is no transformation 'bleach'"),
        (["--purifiers"], "purifiers must name at least one"),
        (["--controls", "mine"], "3 of --controls are among --images"),
    ],
)
def test_bad_input_is_named_before_any_work(command, tmp_path, monkeypatch, words, says):
    monkeypatch.setattr(Imitator, "imitations", lambda *_: pytest.fail("worked"))
    code, _, err = command(*(str(tmp_path / word) if word == "mine" else word for word in words))
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())


def test_a_whole_name_goes_before_a_stem(command, tmp_path):
    for name in ("mine", "back"):
        with Image.open(tmp_path / name / "0.png") as image:
            image.convert("RGB").rotate(90).save(tmp_path / name / "0.bmp")
    code, _, err = command("--purifiers", "none", "--seeds", "1")
    assert code == 0, err
    assert Robustness.load(only_run(tmp_path)).pictures == 4


def test_what_was_trained_on_is_part_of_a_runs_name(command, tmp_path):
    assert command("--purifiers", "blur", "none", "--seeds", "1")[0] == 0
    assert command("--purifiers", "blur", "none", "--seeds", "1", "--transformations", "blur")[0] == 0
    seen = {Robustness.load(folder).seen for folder in (tmp_path / "runs").iterdir()}
    assert seen == {(), ("blur",)}


def test_a_protected_picture_that_is_missing_is_named(command, tmp_path):
    (tmp_path / "back/1.png").unlink()
    code, _, err = command()
    assert code == 2
    assert "lacks 1.png; give the folder that the pictures came back in" in err
