"""What the three trainings share: batches in a fixed random order, checkpoints that resume exactly."""

import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file


def pictures(path: Path) -> torch.Tensor:
    """The pictures of an .npz as uint8 [N, 3, 64, 64]."""
    return torch.from_numpy(np.load(path)["pixels"]).permute(0, 3, 1, 2).contiguous()


def batch_at(step: int, size: int, count: int, seed: int) -> torch.Tensor:
    """Indices of batch `step` in epochs of `count` items; a pure function, so a resumed run sees the same data."""
    per_epoch = count // size
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed * 100_003 + epoch))
    return order[place * size : (place + 1) * size]


def generator_at(step: int, seed: int) -> torch.Generator:
    """The noise source of one step: a function of the step, so that no generator state must be saved."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


class Checkpoint:
    """Tensors and the optimiser's moments in one safetensors file, replaced atomically."""

    def __init__(self, path: Path):
        self.path = path

    def save(self, step: int, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer) -> None:
        tensors = {f"{name}/{k}": v for name, m in modules.items() for k, v in m.state_dict().items()}
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in moments.items()}
        partial = self.path.with_suffix(".partial")
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, partial, {"step": str(step)})
        os.replace(partial, self.path)

    def restore(self, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer) -> int:
        """The next step to take: 0 where nothing was saved."""
        if not self.path.exists():
            return 0
        tensors = load_file(self.path)
        for name, module in modules.items():
            prefix = f"{name}/"
            module.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        state = optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, index, name = key.split("/")
                state["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(state)
        with open(self.path, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return int(header["__metadata__"]["step"])


class Log:
    """One JSON line an interval: step, seconds, the running mean of each number."""

    def __init__(self, path: Path, every: int):
        self.path, self.every, self.sums, self.count, self.start = path, every, {}, 0, time.monotonic()

    def __call__(self, step: int, **numbers: float) -> None:
        self.count += 1
        for name, value in numbers.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        if (step + 1) % self.every == 0:
            row = {"step": step + 1, "seconds": round(time.monotonic() - self.start, 1)}
            row |= {name: round(total / self.count, 5) for name, total in self.sums.items()}
            self.sums, self.count = {}, 0
            with open(self.path, "a") as file:
                file.write(json.dumps(row) + "\n")
