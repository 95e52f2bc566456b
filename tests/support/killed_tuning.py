"""Fine-tunes of several steps that go on where they were killed; as a script, some that are killed: ROOT."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import torch
from safetensors.torch import save_file

from adapt_scenes import model, training_set, weights
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


if __name__ == "__main__":
    root = Path(sys.argv[1])
    sys.stdout.write(
        json.dumps({name: kill_again_and_again(root, name, root / f"{name}.safetensors") for name in METHODS})
    )
