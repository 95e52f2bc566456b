"""`intaglio energy estimate --module`: a module of the user's own file, and the errors of such files."""

import json
import sys

import pytest
import torch
from torch import nn

from intaglio.cli import main
from intaglio.commands.kit.user_module import shape_of
from intaglio.energy.layers.parse import parse
from intaglio.energy.workloads import update_step
from planted_profiles import plant, planted_cost

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, width, 3, padding=1), nn.Linear(width * 64, 10)

    def forward(self, x):
        return self.last(torch.flatten(torch.relu(self.first(x)), 1))

def made():
    return Net(8)

def wants(width):
    return Net(width)

def broken():
    raise RuntimeError("no weights here")

ready = Net(8)
words = nn.Embedding(100, 4)
number = 3
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """A home with a user's file, and a profile that covers its module at a batch of 4, trained and not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))
    x = torch.zeros(4, 3, 8, 8)
    steps = parse(model, x), parse(model, x, train=True), update_step(model.parameters())
    words = parse(nn.Embedding(100, 4), torch.zeros(2, 5, dtype=torch.int64))
    plant([*steps, words], tmp_path)
    return steps


def told(capsys, *words):
    assert main(["energy", "estimate", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", ["Net", "made", "ready"])
def test_a_module_is_estimated_by_its_calls(net, capsys, name):
    found = told(capsys, "--module", f"net.py:{name}", "--inputs", "4x3x8x8", "--steps", "10")
    assert found["amount"] == pytest.approx(10 * planted_cost(net[0]), rel=1e-3)
    assert list(found["parts"]) == ["calls"]


def test_a_file_finds_its_neighbours_and_leaves_no_trace(net, tmp_path, capsys):
    (tmp_path / "beside.py").write_text("width = 8\n")
    lines = [
        "from __future__ import annotations",
        "from dataclasses import dataclass",
        "import beside, net",
        "@dataclass",
    ]
    text = "\n".join([*lines, "class Size:", "    width: int = beside.width", "made = lambda: net.Net(Size().width)"])
    (tmp_path / "own.py").write_text(text)
    before = list(sys.path)
    assert told(capsys, "--module", "own.py:made", "--inputs", "4x3x8x8")["coverage"] == pytest.approx(1.0)
    assert sys.path == before
    for name in ("beside", "net"):
        sys.modules.pop(name)


def test_a_training_step_has_a_backward_pass_and_an_update(net, capsys):
    found = told(capsys, "--module", "net.py:Net", "--inputs", "4x3x8x8", "--steps", "10", "--train")
    assert found["amount"] == pytest.approx(10 * (planted_cost(net[1]) + planted_cost(net[2])), rel=1e-3)
    assert found["parts"]["updates"] == pytest.approx(10 * planted_cost(net[2]), rel=1e-3)


def test_inputs_may_be_whole_numbers(net, capsys):
    assert told(capsys, "--module", "net.py:words", "--inputs", "2x5:int64")["coverage"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--module", "gone.py:Net", "--inputs", "1x3"], "there is no file gone.py"),
        (["--module", "net.py:Other", "--inputs", "1x3"], "net.py has nothing named Other"),
        (["--module", "net.py:number", "--inputs", "1x3"], "net.py:number is of int and no torch.nn.Module"),
        (["--module", "net.py:wants", "--inputs", "1x3"], "net.py:wants wants width"),
        (["--module", "net.py:broken", "--inputs", "1x3"], "RuntimeError: no weights here"),
        (["--module", "ends.py:Net", "--inputs", "1x3"], "ends.py fails when it is run: SystemExit"),
        (["--module", "bad.py:Net", "--inputs", "1x3"], "bad.py fails when it is run: SyntaxError"),
        (["--module", "net.py:Net", "--inputs", "4x5x8x8"], "the forward pass of Net fails"),
        (["--module", "net.py", "--inputs", "1x3"], "module must be FILE.py:NAME"),
        (["--module", "net.py:Net"], "module needs inputs"),
        (["--module", "net.py:Net", "--inputs", "0x3"], "inputs are sides of 1 or more"),
        (["--module", "net.py:Net", "--inputs", "1x3", "--job", "finetune"], "leave job finetune out"),
        (["--job", "module"], "job module needs module"),
        (["--train"], "train belongs to module"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(net, tmp_path, capsys, words, said):
    (tmp_path / "bad.py").write_text("def (:\n")
    (tmp_path / "ends.py").write_text("raise SystemExit(3)\n")
    assert main(["energy", "estimate", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_shapes_are_read():
    assert shape_of("8x3x32x32") == ((8, 3, 32, 32), "float32")
    assert shape_of("8x77:int64") == ((8, 77), "int64")
    for wrong in ("", "x3", "3x", "3:int", "-1x2", "99999x99999"):
        with pytest.raises(ValueError, match="inputs"):
            shape_of(wrong)
