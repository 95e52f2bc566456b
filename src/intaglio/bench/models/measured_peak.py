"""The most memory that a call allocates at once on top of what is there, by torch's own allocator."""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def peak_bytes(call: Callable[[], Any], model: LatentDiffusion) -> int:
    """Bytes of a model's weights and of what a call with it has allocated at most; on the CPU and on CUDA."""
    if torch.device(model.device).type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        call()
    profiler: Any = found.profiler
    events = [event for event in profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return weight_bytes(model) + most


def weight_bytes(model: LatentDiffusion) -> int:
    """Bytes of a model's weights and buffers, each once."""
    tensors = (w for part in model.parts.values() for w in (*part.parameters(), *part.buffers()))
    return sum({w.data_ptr(): w.nbytes for w in tensors}.values())
