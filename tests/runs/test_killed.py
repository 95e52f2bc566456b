"""A process killed at any instant leaves a folder from which the same work ends with the same result."""

import _socket
import multiprocessing
import os
import random
import signal
import socket
import time

import pytest
import torch

from intaglio.errors import IntaglioError
from intaglio.runs.run import Run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")
STEPS = 60


def reopen(root):
    return Run.open(root, "finetune", "toy", {}, {}, seed=0, device="cpu", command=[], progress="none")


def work(root, tell, last):
    """A toy training, in a process of its own: each step halves a tensor and adds the step's number.

    After step `last` it waits for a signal.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background it is ignored
    with reopen(root) as run:
        tell.send(0)
        tensors, meta = run.load_state("training") or ({"x": torch.zeros(50_000)}, {"step": 0})
        run.rewind("train", meta["step"])
        for step in range(meta["step"] + 1, STEPS + 1):
            tensors["x"] = tensors["x"] * 0.5 + step
            run.log("train", step, loss=float(tensors["x"][0]))
            if step % 3 == 0:
                run.record("score", f"step {step}", {"value": float(tensors["x"][1])})
                run.save_image(f"grid/{step:03d}", torch.full((3, 8, 8), step / 100))
                run.save_state("training", tensors, {"step": step})
            tell.send(step)
            if step == last:
                signal.pause()
        run.save_tensors("result", tensors, {})
        run.finish({"value": float(tensors["x"][0])})


@pytest.fixture
def begin(monkeypatch):
    """Starts `work`; the fork server has imported torch once, so that a process starts in no time."""
    monkeypatch.setattr(socket.socket, "connect", connect_within_this_machine)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["intaglio.runs.run"])

    def start(root, last=None):
        mine, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(root, theirs, last), daemon=True)
        process.start()
        theirs.close()
        return process, mine

    return start


def connect_within_this_machine(self, address):
    # The fork server is asked for a process through a file; no test may go further.
    assert self.family == socket.AF_UNIX
    return _socket.socket.connect(self, address)


def wait_for(steps, step):
    """Until the work is open (0), or has done this step."""
    while steps.recv() < step:
        pass


def end(process, steps, number=None):
    if number is not None:
        os.kill(process.pid, number)
    else:
        wait_for(steps, STEPS)
    process.join()
    steps.close()
    return process.exitcode


def content(root):
    (folder,) = [child for child in root.iterdir() if child.is_dir()]
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.json", ".lock")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_killed_at_any_instant_ends_the_same(tmp_path, begin):
    assert end(*begin(tmp_path / "whole")) == 0
    expected = content(tmp_path / "whole")
    assert "tensors/result.safetensors" in expected
    assert not any(".tmp-" in name for name in expected)
    moments = random.Random(0)
    for step in (0, 1, 2, 9, 25, 40, 52):
        process, steps = begin(tmp_path / "killed", last=step + 5)  # a late signal still comes before the end
        wait_for(steps, step)
        time.sleep(moments.random() * 0.01)
        assert end(process, steps, signal.SIGKILL) == -signal.SIGKILL
    assert end(*begin(tmp_path / "killed")) == 0, "the dead processes' locks do not block"
    assert content(tmp_path / "killed") == expected
    run = reopen(tmp_path / "killed")
    assert run.status == "done"
    value = torch.tensor(0.0)
    for step in range(1, STEPS + 1):
        value = value * 0.5 + step
    assert run.summary == {"value": float(value)}
    assert [row["step"] for row in run.logged("train")] == list(range(1, STEPS + 1))
    assert len(run.recorded("score")) == STEPS // 3


def test_interrupted_run_is_unfinished_and_locked_meanwhile(tmp_path, begin):
    process, steps = begin(tmp_path, last=3)
    wait_for(steps, 3)
    with pytest.raises(IntaglioError, match="another process is working on"):
        reopen(tmp_path)
    assert end(process, steps, signal.SIGINT) == 1
    with reopen(tmp_path) as run:
        assert run.status == "unfinished"
        assert run.load_state("training")[1]["step"] >= 3
