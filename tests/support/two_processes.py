"""Two forked processes at one piece of work, each with its rank."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def both(folder: Path, work: Callable[[int], dict[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
    """What `work(rank)` gives in each of the processes, as tensors by name."""
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=_child, args=(folder, rank, work)) for rank in range(2)]
    for one in children:
        one.start()
    for one in children:
        one.join(120)
    codes = [one.exitcode for one in children]
    for one in children:
        one.kill()  # those that wait for each other for good
    assert codes == [0, 0]
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


def _child(folder: Path, rank: int, work: Callable[[int], dict[str, torch.Tensor]]) -> None:
    torch.set_num_threads(1)
    found = work(rank)
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, folder / f"{rank}.safetensors")
