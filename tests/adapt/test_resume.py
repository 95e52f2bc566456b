import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapt_scenes import model, same, training_set, weights
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.runs.run import Run

STEPS = 14
METHODS = {
    "dreambooth": DreamBooth(
        steps=STEPS,
        batch=2,
        learning_rate=1e-3,
        schedule="cosine",
        warmup=3,
        ema=0.9,
        caption_dropout=0.2,
        text_encoder=True,
        seed=3,
    ),
    "lora": LoRATuning(steps=STEPS, batch=3, micro_batch=2, learning_rate=1e-2, rank=2, snr_gamma=5.0),
}


def opened(root: Path, name: str) -> Run:
    return Run.open(root, "finetune", name, {}, {}, seed=0, device="cpu", command=["x"], progress="none")


def trained(name: str, run: Run) -> dict[str, torch.Tensor]:
    watch = Watch(checkpoint_every=2, sample_count=0)
    result = METHODS[name](model(), training_set(3, 2), run=run, watch=watch)
    found = weights(result.model)
    for part, path, layer in result.adapter.items() if result.adapter else ():
        found |= {f"{part}.{path}.down": layer.down.clone(), f"{part}.{path}.up": layer.up.clone()}
    return {**found, "losses": result.losses.clone()}


def rows(root: Path, name: str) -> list[dict]:
    paths = root.glob(f"finetune-{name}-*/metrics/train.jsonl")
    lines = [line for path in paths for line in path.read_bytes().split(b"\n")]
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def kill_at(aim: int) -> None:
    """From now on another thread kills this process once step `aim` is logged, whatever it is doing then."""
    reached, whole = threading.Event(), Run.log

    def log(self, stream, step, **numbers):
        whole(self, stream, step, **numbers)
        if stream == "train" and step >= aim:
            reached.set()
        if stream == "train" and step == aim + 3:
            threading.Event().wait()  # on a busy machine the other thread may come late, but not after the end

    def kill():
        reached.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    Run.log = log
    threading.Thread(target=kill, daemon=True).start()


def kill_again_and_again(root: Path, name: str, out: Path) -> list[int]:
    """Fork a worker that is killed some four steps further, until one comes to the end; returns their ends.

    Forks are cheap where torch is imported, and safe where it has not computed yet.
    """
    ends = []
    while not out.exists() and len(ends) < 8:
        if (worker := os.fork()) == 0:
            torch.set_num_threads(1)
            kill_at(4 * (len(ends) + 1))
            with opened(root, name) as run:
                save_file(trained(name, run), out)
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]))
    return ends


@pytest.mark.parametrize("name", METHODS)
def test_killed_again_and_again_it_ends_with_the_same_bits(tmp_path, name):
    """SIGKILL after every few steps, whatever the process is doing then."""
    out = tmp_path / "out.safetensors"
    call = f"kill_again_and_again(Path({str(tmp_path)!r}), {name!r}, Path({str(out)!r}))"
    told = subprocess.run(
        [sys.executable, "-c", f"from test_resume import *; print({call})"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    ends = json.loads(told.stdout)
    assert len(ends) > 2
    assert (set(ends[:-1]), ends[-1]) == ({-signal.SIGKILL}, 0), told.stderr
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = trained(name, Run.none())
    torch.set_num_threads(before)
    assert same(expected, load_file(out))
    logged = rows(tmp_path, name)
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
