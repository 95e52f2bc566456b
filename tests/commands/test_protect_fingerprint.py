"""`intaglio protect fingerprint` and `protect detect`: from pictures, or prompts, to marked files and their owner."""

import json
import shutil
import stat

import pytest
import torch
from PIL import Image

import tiny
from intaglio.cli import main
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.protect.fingerprint import detection
from intaglio.protect.fingerprint.mark_key import KeptKey
from intaglio.protect.fingerprint.methods.gaussian_shading import GaussianShading
from intaglio.runs.read import read_run


@pytest.fixture
def work(tmp_path, monkeypatch):
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for place, pixels in enumerate(pictures):
        save_png(pixels, tmp_path / "mine" / f"{place}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(folder, beginning):
    (found,) = [path for path in (folder / "runs").iterdir() if path.name.startswith(beginning)]
    return found


def test_pictures_are_marked_copied_and_found_again(work, capsys):
    line = "protect fingerprint dwt-dct --images mine --key k.json --user 4 --out given"
    assert main(line.split()) == 0
    shown = capsys.readouterr()
    assert "made the key k.json" in shown.err
    assert "3 pictures are marked for user 4" in shown.out
    assert sorted(path.name for path in (work / "given").iterdir()) == ["0.png", "1.png", "2.png"]
    shutil.copytree(work / "mine", work / "mixed")
    shutil.copy(work / "given" / "1.png", work / "mixed" / "marked.png")
    found = "protect detect --key k.json --images mixed --users 10 --fpr 1e-4 --controls mine"
    assert main(found.split()) == 0
    shown = capsys.readouterr()
    assert "1 of 4 pictures called marked" in shown.out
    rows = json.loads((run_of(work, "protect-detect") / "detections.json").read_text())["pictures"]
    assert [(row["name"], row["user"]) for row in rows if row["p"] <= 1e-4] == [("marked.png", 4)]
    report = (run_of(work, "protect-detect") / "report.html").read_text()
    assert "marked.png" in report
    assert main(line.split()) == 0
    assert "made the key" not in capsys.readouterr().err


def test_drawings_are_marked_and_looked_for_by_their_model(work, capsys, monkeypatch):
    base = tiny.sd_folder(work / "base")
    line = f"protect fingerprint gaussian-shading --model {base} --prompt cat dog --count 2 --steps 2 --key k"
    assert main([*line.split(), "--user", "3", "--seed", "7"]) == 0
    folder = run_of(work, "protect-fingerprint")
    names = sorted(path.name for path in (folder / "marked").iterdir())
    assert names == ["0000-7.png", "0001-8.png", "0002-9.png", "0003-10.png"]
    with Image.open(folder / "marked" / names[2]) as image:
        assert image.text == {"prompt": "dog", "seed": "9"}
    assert read_run(folder).summary["user"] == 3
    key, net = KeptKey.load(work / "k").key, load_model(base)
    pixels = ImageSet.load(folder / "marked", net.resolution).pixels
    mark = GaussianShading()
    p = [
        float(mark.agreement(mark.read(net, one[None]), mark.meant(key, [3], (4, 8, 8)), key, 7 + k).p)
        for k, one in enumerate(pixels)
    ]
    stored = json.loads((folder / "marked.json").read_text())["pictures"]
    assert [row["p"] for row in stored] == pytest.approx(p)
    capsys.readouterr()
    asked, original = [], detection.detect
    monkeypatch.setattr(detection, "detect", lambda *args, **given: asked.append(given) or original(*args, **given))
    found = f"protect detect --model {base} --key k --images {folder}/marked --controls mine --users 4"
    assert main([*found.split(), "--first-seed", "7", "--seeds", "4", "--json"]) == 0
    assert (asked[0]["users"], list(asked[0]["seeds"]), len(asked[0]["controls"])) == (4, [7, 8, 9, 10], 3)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]["controls"] == 3


def test_a_model_is_marked_and_its_pictures_are_told_without_it(work, capsys):
    base = tiny.sd_folder(work / "base")
    line = f"protect fingerprint stable-signature --model {base} --images mine --key k --user 2 --bits 8 --updates 2"
    assert main([*line.split(), "--dry-run"]) == 0
    assert "2 updates of the decoder" in capsys.readouterr().out
    assert not (work / "k").exists()
    assert main(line.split()) == 0
    folder = run_of(work, "protect-fingerprint")
    assert f"{folder.name}/model" in capsys.readouterr().out
    assert KeptKey.load(work / "k").settings == {"bits": 8}, "how the decoder was tuned is no part of the key"
    marked, given = load_model(folder / "model"), load_model(base)
    assert marked.part_fingerprint("autoencoder") != given.part_fingerprint("autoencoder")
    assert marked.same_weights(given)
    (row,) = json.loads((folder / "marked.json").read_text())["pictures"]
    assert row["saved"] == "0002.png"
    assert not (folder / "states" / "training").exists()
    assert main(f"sample --model {folder}/model --prompt cat --steps 2 --out drawn".split()) == 0
    found = ["protect", "detect", "--key", "k", "--images", "drawn", "--users", "5"]
    assert main(found) == 2
    assert "calls nothing; give a larger --fpr" in capsys.readouterr().err
    assert main([*found, "--fpr", "0.1"]) == 0
    assert "called marked" in capsys.readouterr().out


def test_what_is_trained_once_marks_for_every_user_and_is_read_by_a_file_beside_the_key(work, capsys):
    base = tiny.sd_folder(work / "base")
    # The key is drawn at random: two users' messages of a few bits would now and then be the same.
    line = f"protect fingerprint wouaf --model {base} --images mine --key k --bits 32"
    assert main([*line.split(), "--updates", "2", "--dry-run"]) == 0
    assert "2 updates of the decoder" in capsys.readouterr().out
    assert main([*line.split(), "--updates", "2"]) == 0
    assert "kept k.trained.safetensors" in capsys.readouterr().err
    assert KeptKey.load(work / "k").settings == {"bits": 32}
    assert stat.S_IMODE((work / "k.trained.safetensors").stat().st_mode) == 0o600
    first = run_of(work, "protect-fingerprint")
    assert not (first / "states" / "training").exists()
    assert main([*line.split(), "--user", "3", "--dry-run"]) == 0
    assert "0 updates of the decoder" in capsys.readouterr().out
    assert main([*line.split(), "--user", "3"]) == 0
    (second,) = [path for path in (work / "runs").iterdir() if path != first]
    prints = [load_model(path / "model").part_fingerprint("autoencoder") for path in (first, second)]
    assert len({*prints, load_model(base).part_fingerprint("autoencoder")}) == 3
    (work / "k.trained.safetensors").rename(work / "kept")
    capsys.readouterr()
    found = ["protect", "detect", "--key", "k", "--images", str(second / "marked"), "--users", "5", "--fpr", "0.9"]
    assert main(found) == 2
    assert "k.trained.safetensors is not there; put the file beside the key" in capsys.readouterr().err
    assert main([*line.split(), "--updates", "2"]) == 0, "the finished run has it still"
    assert (work / "k.trained.safetensors").read_bytes() == (work / "kept").read_bytes()
    assert main(found) == 0
    capsys.readouterr()
    (work / "other").write_bytes(b"x")
    for more, sentence in (
        (["--trained", "other"], "k has a trained file of its own, k.trained.safetensors, and other is another"),
        (["--user", "4", "--updates", "9"], "trained already, so --updates would have no effect"),
        (["--model", str(tiny.sd_folder(work / "far", seed=1))], "trained for another autoencoder"),
        (["--key", "new", "--trained", "kept", "--model", str(work / "far")], "trained for another autoencoder"),
    ):
        assert main([*line.split(), *more]) == 2
        assert sentence in capsys.readouterr().err
    assert not (work / "new").exists()
    shutil.rmtree(work / "runs")
    assert main([*line.split(), "--key", "new", "--trained", "kept"]) == 0
    assert (work / "new.trained.safetensors").read_bytes() == (work / "kept").read_bytes()


def test_a_line_that_fails_makes_no_key(work, capsys):
    base = tiny.sd_folder(work / "base")
    for method in ("gaussian-shading --factor 3", "tree-ring --channels 9"):
        assert main(f"protect fingerprint {method} --model {base} --prompt x --key k".split()) == 2
        assert not (work / "k").exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("protect fingerprint dwt-dct --key k", "none of --images, --prompt and --prompts was given"),
        ("protect fingerprint dwt-dct --key k --images mine --prompt x", "2 of --images, --prompt and --prompts were"),
        ("protect fingerprint tree-ring --key good.json --prompt x", "good.json is a key of dwt-dct, not of tree-ring"),
        ("protect fingerprint dwt-dct --key k --prompt x", "dwt-dct marks pictures that are there"),
        (
            "protect fingerprint dwt-dct --key k --images mine --steps 3",
            "draws nothing, so --steps would have no effect",
        ),
        ("protect fingerprint tree-ring --key k --images mine", "give --prompt, not --images"),
        (
            "protect fingerprint stable-signature --key k --prompt x",
            "whose decoder it tunes on pictures; give --images",
        ),
        (
            "protect fingerprint stable-signature --key k --images mine --steps 3",
            "own folder, so --steps would have no effect",
        ),
        ("protect fingerprint stable-signature --key k --images mine/0.png", "1 picture is too few"),
        ("protect fingerprint dwt-dct --key k --images mine --bits 65", "room for 64 bits of the 65"),
        ("protect fingerprint dwt-dct --key k --images mine --out mine/x", "lies in --images"),
        ("protect fingerprint dwt-dct --key other.json --images mine", "holds no key of a mark"),
        ("protect detect --key other.json --images mine", "holds no key of a mark"),
        ("protect detect --key nowhere --images mine", "nowhere does not exist"),
        ("protect detect --key good.json --images mine --seeds 5", "read from pixels alone, so --seeds"),
        ("protect detect --key strange.json --images mine", "none of dwt-dct's (colour)"),
        ("protect detect --key wrong.json --images mine", "do not go together: bits must be 8"),
        ("protect detect --key led.json --images mine", "none of wouaf's (trained)"),
        ("protect detect --key gone.json --images mine", "a key of 'gone', which is not here"),
        ("protect fingerprint dwt-dct --key good.json --images mine --bits 16", "other settings (bits 32"),
    ],
)
def test_wrong_lines_are_told_in_a_sentence(line, sentence, work, capsys):
    settings = {"bits": 32, "step": 36.0, "published": False}
    keys = {"good": settings, "strange": settings | {"colour": 1}, "wrong": settings | {"bits": 1}, "gone": {}}
    keys["led"] = {"bits": 16, "trained": "elsewhere/a.safetensors"}
    (work / "led.json.trained.safetensors").touch()
    (work / "other.json").write_text("{}")
    for name, own in keys.items():
        method = {"gone": "gone", "led": "wouaf"}.get(name, "dwt-dct")
        content = {"intaglio_mark_key": 1, "method": method, "settings": own}
        (work / f"{name}.json").write_text(json.dumps({**content, "secret": "ab" * 16}))
    assert main(line.split()) == 2
    assert sentence in capsys.readouterr().err
