"""Every verb whose result is gone: the same command makes it again, and never points to what is not there."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import tiny
from intaglio import cli
from intaglio.images.image_set import read_png_text, save_png
from intaglio.models.flow.tarflow_files import save_flow
from intaglio.runs.run import Run


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    root = tmp_path_factory.mktemp("scene")
    tiny.sd_folder(root / "base", seed=0)
    tiny.sd_folder(root / "suspect", seed=1)
    for name, count in (("pictures", 2), ("controls", 4)):
        for k in range(count):
            pixels = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(k + 10 * count))
            save_png(pixels, root / name / f"{k}.png")
    save_flow(tiny.flow(double=False), root / "flow")
    rows = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)).tolist()
    (root / "t.csv").write_text("a,b\n" + "".join(f"{a},{a + 0.1 * b}\n" for a, b in rows))
    return root


FLOW = "--resolution 8 --patch-size 4 --hidden-size 8 --head-dim 8 --blocks 1 --layers 1 --batch 2 --steps 2"
COMMANDS = {
    "finetune": "finetune lora --model {0}/base --images {0}/pictures --prompt x --steps 1 --sample-count 0 "
    "--watch-every 0",
    "authenticate": "authenticate loss-gap --suspect {0}/suspect --base {0}/base --images {0}/pictures "
    "--controls {0}/controls --fpr 0.25 --levels 1",
    "extract": "extract direct --suspect {0}/suspect --base {0}/base --authority mine --generations 4 --pictures 1 "
    "--steps 1 --no-control --workers 1 --prompt x",
    "flow sample": "flow sample sequential --model {0}/flow --count 2",
    "flow train": "flow train --images {0}/pictures " + FLOW,
    "discover": "discover sicl {0}/t.csv",
}
LOST = [
    ("finetune", "*.safetensors"),
    ("authenticate", "verdict.json"),
    ("authenticate", "scores.csv"),
    ("authenticate", "images"),
    ("extract", "extraction.json"),
    ("extract", "images/finds"),
    ("flow sample", "result/pictures/00001.png"),
    ("flow sample", "result"),
    ("flow train", "model/*.safetensors"),
    ("flow train", "model"),
    ("discover", "result/graph.json"),
    ("discover", "result/graph.svg"),
    ("discover", "columns.json"),
]


def call(scene: Path, runs: Path, verb: str) -> int:
    return cli.main([*COMMANDS[verb].format(scene).split(), "--runs", str(runs), "--quiet"])


@pytest.fixture(scope="module")
def finished(scene):
    """The folder of a finished run by verb, made once."""
    made: dict[str, Path] = {}

    def run(verb: str) -> Path:
        if verb not in made:
            assert call(scene, scene / "runs" / verb, verb) == 0
            (made[verb],) = (scene / "runs" / verb).iterdir()
        return made[verb]

    return run


@pytest.mark.parametrize(("verb", "lost"), LOST, ids=[f"{verb} {lost}" for verb, lost in LOST])
def test_the_same_command_makes_it_again(scene, finished, tmp_path, capsys, verb, lost):
    folder = tmp_path / "runs" / finished(verb).name
    shutil.copytree(finished(verb), folder)
    (path,) = folder.glob(lost)
    before = {file.relative_to(folder) for file in ([path] if path.is_file() else path.rglob("*.*"))}
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    capsys.readouterr()
    assert call(scene, folder.parent, verb) == 0
    assert before
    assert all((folder / file).is_file() for file in before)
    about = json.loads((folder / "run.json").read_text())
    assert about["status"] == "done"
    assert "missing from this finished run" in about["warnings"][-1]
    shown = capsys.readouterr().out.splitlines()[-1]
    assert Path(shown).exists()
    assert [other.name for other in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("verb", COMMANDS)
def test_what_is_no_result_may_go(scene, finished, tmp_path, verb):
    folder = tmp_path / "runs" / finished(verb).name
    shutil.copytree(finished(verb), folder)
    for path in (*folder.glob("report.html"), *folder.glob("images/data/*"), *folder.glob("metrics/*")):
        path.unlink()
    assert call(scene, folder.parent, verb) == 0
    assert not any("missing" in line for line in json.loads((folder / "run.json").read_text())["warnings"])


def test_a_summary_without_its_entry_is_no_finished_run(scene, finished, tmp_path):
    folder = tmp_path / "runs" / finished("finetune").name
    shutil.copytree(finished("finetune"), folder)
    about = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**about, "summary": {}}))
    assert call(scene, folder.parent, "finetune") == 0
    assert "weights" in json.loads((folder / "run.json").read_text())["summary"]


def test_a_cut_verdict_names_the_remedy_and_the_remedy_works(scene, finished, tmp_path, capsys):
    folder = tmp_path / "runs" / finished("authenticate").name
    shutil.copytree(finished("authenticate"), folder)
    (folder / "verdict.json").write_text('{"method": "loss')
    assert call(scene, folder.parent, "authenticate") == 2
    assert "verdict.json is no readable JSON" in (err := capsys.readouterr().err)
    assert "delete it, and the same command does the audit again" in err
    (folder / "verdict.json").unlink()
    assert call(scene, folder.parent, "authenticate") == 0


def test_states_of_a_flow_are_dropped_also_after_a_kill_just_before(scene, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(self, name):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Run, "drop_state", die)
        with pytest.raises(Killed):
            call(scene, tmp_path, "flow sample")
    (folder,) = tmp_path.iterdir()
    assert list((folder / "states").iterdir()) != []
    assert call(scene, tmp_path, "flow sample") == 0
    assert list((folder / "states").iterdir()) == []


def test_no_place_on_the_machine_is_in_the_pictures_of_a_flow(scene, tmp_path):
    pictures = []
    for runs in (tmp_path / "one", tmp_path / "two"):
        assert call(scene, runs, "flow sample") == 0
        pictures.append([path.read_bytes() for path in sorted(runs.glob("*/result/pictures/*.png"))])
    assert pictures[0] == pictures[1]
    text = read_png_text(next((tmp_path / "one").glob("*/result/pictures/00000.png")))
    assert not any(str(place) in json.dumps(text) for place in (tmp_path, scene, scene.parent))
    assert json.loads(text["intaglio"])["command"] == [
        "flow",
        "sample",
        "sequential",
        "--model",
        "flow",
        "--count",
        "2",
    ]
