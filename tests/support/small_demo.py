"""The demo on a tiny model and tiny pictures; as a script, one that kills itself: BASE RUNS WRITES."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import tiny
from intaglio import files
from intaglio.adapt import watching
from intaglio.commands.demo import Demo
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity import measures
from intaglio.models import testbed

COUNTS = {"members": 2, "holdouts": 2, "near": 1, "controls": 4, "other_hands": 1}
load_similarity = measures.load_similarity
finetune_words, audit_words = Demo.finetune_words, Demo.audit_words
FEW = ("--sample-steps", "2", "--sample-count", "2", "--watch-steps", "1", "--watch-count", "2")
FAST = ("--steps", "2", "--gap-samples", "1", "--samples-per-step", "1", "--fpr", "0.25")


def few_shot(name: str) -> testbed.FewShot:
    if name != "mammals":
        raise BadInput(f"there is no few-shot set called {name!r}; choose one of: mammals")
    parts = {}
    for seed, (part, count) in enumerate(COUNTS.items()):
        names = [f"{part}-{k:02d}.png" for k in range(count)]
        parts[part] = ImageSet.from_pixels(tiny.pixels(count, seed), names, [None] * count)
    return testbed.FewShot(**parts)


def use_tiny(setattr_: Callable, base: Path) -> None:
    """The testbed is a tiny model, likeness needs no encoder, sampling and audits take two steps."""
    setattr_(testbed, "base_path", lambda: base)
    setattr_(testbed, "few_shot", few_shot)
    for user in (measures, watching):  # the second has its own name for it, whenever it was imported
        setattr_(user, "load_similarity", lambda *_: load_similarity("ssim"))
    setattr_(Demo, "finetune_words", lambda *given: [*finetune_words(*given), *FEW])
    setattr_(Demo, "audit_words", lambda *given: [*audit_words(*given), *FAST])


def run_demo(runs: Path, **more) -> None:
    Demo(steps=3, runs=runs, **more)()


def kill_at_write(number: int) -> None:
    """SIGKILL in the middle of the write of that number."""
    whole, calls = files._sync, []

    def sync(path: Path) -> None:
        calls.append(path)
        if len(calls) == number:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        whole(path)

    files._sync = sync


if __name__ == "__main__":
    use_tiny(setattr, Path(sys.argv[1]))
    kill_at_write(int(sys.argv[3]))
    run_demo(Path(sys.argv[2]))
