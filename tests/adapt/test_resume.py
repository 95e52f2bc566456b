import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import killed_tuning
from adapt_scenes import model, same, training_set
from intaglio.adapt.settings import Watch
from intaglio.runs.run import Run
from killed_tuning import METHODS, STEPS, opened, trained


def rows(root: Path, name: str) -> list[dict]:
    paths = root.glob(f"finetune-{name}-*/metrics/train.jsonl")
    lines = [line for path in paths for line in path.read_bytes().split(b"\n")]
    return [json.loads(line) for line in lines if line.endswith(b"}")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder of the killed fine-tunes, and how their processes ended, all in one process that forks."""
    root = tmp_path_factory.mktemp("killed")
    script = [sys.executable, killed_tuning.__file__, str(root)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    told = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return root, json.loads(told.stdout)


@pytest.mark.parametrize("name", METHODS)
def test_killed_again_and_again_it_ends_with_the_same_bits(killed, name):
    """SIGKILL after every few steps, whatever the process is doing then."""
    root, ends = killed[0], killed[1][name]
    assert len(ends) > 2
    assert (set(ends[:-1]), ends[-1]) == ({-signal.SIGKILL}, 0)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = trained(name, Run.none())
    torch.set_num_threads(before)
    assert same(expected, load_file(root / f"{name}.safetensors"))
    logged = rows(root, name)
    assert [row["step"] for row in logged] == list(range(1, STEPS + 1))
    assert [row["loss"] for row in logged] == expected["losses"].tolist()


@pytest.mark.parametrize("name", METHODS)
def test_ctrl_c_saves_the_step_and_the_next_run_goes_on(tmp_path, monkeypatch, name):
    expected, calls = trained(name, Run.none()), []
    whole = Run.log

    def interrupting(self, *arguments, **numbers):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        whole(self, *arguments, **numbers)

    monkeypatch.setattr(Run, "log", interrupting)
    before = signal.getsignal(signal.SIGINT)
    with opened(tmp_path, name) as run, pytest.raises(KeyboardInterrupt):
        METHODS[name](model(), training_set(3, 2), run=run, watch=Watch(sample_count=0))
    assert signal.getsignal(signal.SIGINT) is before
    with opened(tmp_path, name) as run:
        assert run.load_state("training")[1]["step"] == 5
        assert same(expected, trained(name, run))
        assert run.load_state("training")[1]["step"] == STEPS


def test_a_finished_state_needs_no_more_steps(tmp_path, monkeypatch):
    with opened(tmp_path, "lora") as run:
        first = trained("lora", run)
        monkeypatch.setattr("intaglio.adapt.training.accumulate", None)
        assert same(first, trained("lora", run))
