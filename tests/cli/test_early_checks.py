"""A wrong path, picture, count or device is told before torch is imported."""

import dataclasses
import os
import subprocess
import sys

import pytest
from PIL import Image

from intaglio.commands.kit.early_checks import OF_WEIGHTS
from intaglio.commands.kit.source_settings import class_variable, load
from intaglio.metrics.statistics.conformal import threshold
from intaglio.metrics.statistics.enough_controls import fewest_controls
from intaglio.models.weights_file import PICKLE_SUFFIXES
from intaglio.verbs import VERBS

AUDIT = "authenticate loss-gap --suspect {m} --images {f} --controls {f}"
WRONG = {
    "finetune lora --images none": "none does not exist; check the path of --images",
    "finetune lora --images {f}": "a.png has no caption; give --prompt",
    "finetune lora --images {f} --class-images {f} --prompt x": "a.png has no caption; give --class-prompt",
    "finetune lora --images {f} --prompt x --model none": "none does not exist, and no embedded model is called so",
    "finetune lora --images {empty} --prompt x": "holds no PNG",
    "finetune lora --images {link} --prompt x": "is a link that leads nowhere",
    f"{AUDIT.replace('loss-gap', 'secmi')} --fpr 0.5": "for which 3 are needed where scores to both sides count",
    f"{AUDIT} --fpr 0.5 --signals secmi": "for which 3 are needed where scores to both sides count",
    f"{AUDIT.replace('loss-gap', 'secmi')} --fpr 0.4 --signals secmi loss-gap": "for which 2 are needed: nothing",
    AUDIT: "1 different control cannot show a false-positive rate of 0.05, for which 19 are needed",
    f"{AUDIT} --fpr 0.5 --boxes none": "none does not exist; check the path of --boxes",
    f"{AUDIT} --fpr 0.5 --similarity none.pt": "none.pt does not exist; check the path of --similarity",
    "extract cfg --suspect {m} --authority mine --generations 8": "cannot be shown with 8 generations; draw 9",
    "extract cfg --suspect {m} --authority mine --held-out {f}": "--held-out stands beside --training",
    "sample --prompt x --device gpu": "--device 'gpu' cannot compute here",
    "sample --prompt x --out {f}/a.png/in": "lies below",
    "sample --prompt x --out {f}/a.png": "is a file; give a folder",
    "sample --prompt x --model {f}": "is no model; give a diffusers folder or a .safetensors file",
    "authenticate loss-gap --suspect {f}/a.png --images {f} --controls {f} --fpr 0.5": "a.png is no model",
    "finetune lora --images {notes} --prompt x": "notes.txt cannot be used: it is not a PNG, JPEG",
    "finetune lora --images {pipe} --prompt x": "pipe.png cannot be used: it is a pipe",
    "finetune dp-lora --images {f} --prompt x --keep best": "--keep best looks at the private pictures",
    "finetune dp-lora --images {f} --prompt x --class-count 2 --class-prompt y": "--class-count gives class pictures",
    "sample --prompts none": "none does not exist; check the path of --prompts",
    "protect advdm --images none": "none does not exist; check the path of --images",
    "protect advdm --images {f} --out {f}": "lies in --images",
    "protect evaluate --images {f} --protected none": "none does not exist; check the path of --protected",
    "flow sample --model none": "none is neither a folder nor a flow of the package",
    "flow train --images none": "none does not exist; check the path of --images",
    "merge soup none {f}": "none does not exist",
    "shrink rtn --calibration none": "none does not exist; check the path of --calibration",
    "discover none.csv": "none.csv does not exist; check the path",
    "audit queries averaging --table none": "none does not exist; check the path of --table",
    "audit queries averaging --table {notes} --secret x --known y": "has no records under its line of names",
    "energy estimate --profile none": "none does not exist; check the path of --profile",
    "bench authenticate --model none": "none does not exist",
    "report none": "none",
}


def test_what_is_wrong_with_paths_pictures_and_devices_is_told_without_torch(tmp_path):
    places = {"f": tmp_path / "pictures", "empty": tmp_path / "empty", "link": tmp_path / "link"}
    places |= {"m": tmp_path / "model", "notes": tmp_path / "notes.txt", "pipe": tmp_path / "pipe.png"}
    for name in ("f", "empty", "m"):
        places[name].mkdir()
    (places["m"] / "model_index.json").touch()
    places["notes"].write_text("no picture")
    os.mkfifo(places["pipe"])
    Image.new("RGB", (8, 8)).save(places["f"] / "a.png")
    places["link"].symlink_to(tmp_path / "gone")
    lines = [line.format(**places) for line in WRONG]
    code = "\n".join(
        [
            "import sys",
            "from intaglio.cli import main",
            f"for line in {lines!r}:",
            "    sys.stdout.write(f'{main(line.split())} ')",
            "    assert 'torch' not in sys.modules, line",
        ]
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stderr.replace("\n", " ")
    for (line, sentence), shown in zip(WRONG.items(), said.split("intaglio: ")[1:], strict=True):
        assert sentence in shown, line
    assert done.stdout.split() == ["2"] * len(WRONG)
    assert not list(tmp_path.glob("runs/*"))


def test_pickles_are_told_apart_by_the_reader_of_weights():
    assert PICKLE_SUFFIXES < OF_WEIGHTS


def test_folders_of_pictures_are_flags_of_their_command():
    for verb in VERBS.values():
        command = load(verb.command)
        named = {field.name for field in dataclasses.fields(command)}
        assert named.issuperset(getattr(command, "picture_folders", ())), command


@pytest.mark.parametrize("rate", [0.5, 0.34, 1 / 3, 0.1, 0.05, 0.07, 0.01])
def test_the_fewest_controls_are_the_first_that_give_a_threshold(rate):
    for sides in ("upper", "both"):
        with_threshold = [n for n in range(1, 240) if threshold(range(n), rate, sides=sides).value is not None]
        assert fewest_controls(rate, sides) == with_threshold[0]


@pytest.mark.parametrize("name", list(VERBS["authenticate"].methods))
def test_class_variables_read_from_the_source_are_those_of_the_class(name):
    target = VERBS["authenticate"].methods[name].target
    for variable in ("sides", "judges", "role"):
        assert class_variable(target, variable) == getattr(load(target), variable)
    assert class_variable(target, "needs_base") is load(target).needs_base
