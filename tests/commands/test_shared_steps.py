"""A fine-tune that a launcher starts twice, and commands that are no such training."""

import json
import os
import socket
import sys

import pytest
import torch
from safetensors.torch import load_file

import tiny
from intaglio import cli
from intaglio.commands.finetune import FineTune
from intaglio.commands.kit.shared_steps import joined_processes, launched
from intaglio.errors import BadInput
from intaglio.images.image_set import save_png
from intaglio.learning.sharing_processes import Processes
from intaglio.runs import rows
from two_processes import both

FEW = ["--steps", "3", "--batch", "3", "--rank", "2", "--learning-rate", "1e-3", "--prompt", "dog", "--quiet"]
LITTLE = [
    "--sample-count",
    "1",
    "--sample-steps",
    "1",
    "--watch-every",
    "2",
    "--watch-steps",
    "1",
    "--watch-count",
    "2",
]
forked = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked")


@pytest.fixture
def words(tmp_path):
    """A small fine-tune whose runs lie in a folder of this name."""
    base = tiny.sd_folder(tmp_path / "base")
    for index, picture in enumerate(tiny.pixels(3)):
        save_png(picture, tmp_path / "dog" / f"{index}.png")
    given = ["finetune", "lora", "--model", str(base), "--images", str(tmp_path / "dog"), *FEW, *LITTLE]
    return lambda runs: [*given, "--watch-similarity", "ssim", "--runs", str(tmp_path / runs)]


def launch(tmp_path, words) -> list[tuple[int, int]]:
    """Exit code of each process, and the characters that it wrote."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def work(rank: int) -> dict[str, torch.Tensor]:
        os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        written = tmp_path / f"said-{rank}"
        sys.stdout = sys.stderr = written.open("w")
        code = cli.main(words)
        sys.stdout.flush()
        return {"code": torch.tensor(code), "size": torch.tensor(written.stat().st_size)}

    return [(int(found["code"]), int(found["size"])) for found in both(tmp_path, work)]


@forked
def test_two_launched_processes_leave_the_run_of_one(tmp_path, words, capsys):
    assert cli.main(words("one")) == 0
    (first, second) = launch(tmp_path, words("two"))
    assert first[0] == 0
    assert second == (0, 0)  # the main process alone speaks
    (one,), (two,) = (list((tmp_path / runs).iterdir()) for runs in ("one", "two"))
    assert one.name == two.name
    assert json.loads((two / "run.json").read_text())["status"] == "done"
    for stream in ("train", "watch"):
        logged = [rows.read(run / "metrics" / f"{stream}.jsonl") for run in (one, two)]
        assert [row["step"] for row in logged[0]] == [row["step"] for row in logged[1]]
    weights = [load_file(run / "pytorch_lora_weights.safetensors") for run in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-5, atol=2e-6)
    # Of a run that is done both learn that there is nothing to do.
    assert [code for code, _ in launch(tmp_path, words("two"))] == [0, 0]


@forked
def test_bad_input_of_the_main_process_ends_both(tmp_path, words, monkeypatch):
    """The last of the checks is made when the others have long joined: that of the folder, were it not made before."""
    monkeypatch.setattr("intaglio.commands.kit.dispatch.check_early", lambda command: None)
    (tmp_path / "file").touch()
    assert [code for code, _ in launch(tmp_path, words("file"))] == [1, 0]


def test_other_commands_are_refused_in_several_processes(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launched() == 1  # other programs set this one alone
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert launched() == 2
    assert cli.main(["runs", "list"]) == 2
    assert "runs works in one process, and 2 were launched; start it by itself" in capsys.readouterr().err


def test_one_gpu_for_all_processes_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "0")
    with (
        pytest.raises(BadInput, match="cuda:1 is one device, and 2 processes were launched"),
        joined_processes("cuda:1"),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"class_count": 2, "class_prompt": "dog"}, "--class-count draws pictures, which several processes do not"),
        ({"energy_budget": "1 kJ"}, "--energy-budget counts one process"),
    ],
)
def test_flags_that_one_process_alone_can_serve(tmp_path, given, sentence):
    command = FineTune(method=None, images=tmp_path, **given)
    command._check_shared(Processes())
    with pytest.raises(BadInput, match=sentence):
        command._check_shared(Processes(0, 2))
