"""The plan of a sampling: calls of networks, and how long they take here."""

from dataclasses import replace

import torch

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.fixed_sampling import settled


def sampling_plan(planned: Calls, request: SamplingRequest, batch: int) -> TimePlan:
    """The plan of all pictures by the calls of one, from one call of the denoiser and one decoding that are timed."""
    pictures = len(request.prompts)
    calls, rows = planned.times(pictures), min(batch, pictures)
    parts = {
        "calls": planned_seconds(replace(calls, decodes=0), request.model, rows),
        "decodings": planned_seconds(Calls(decodes=calls.decodes + pictures), request.model, rows),
    }
    return TimePlan(parts, f"pictures   {pictures}: {calls}")


def picture_calls(model: LatentDiffusion, steps: int | None = None, scale: float | None = None) -> Calls:
    """Calls of one picture and its decoding, by steps and a guidance scale, or by those that are the model's own."""
    way = settled(model, steps, None, scale)
    rows = 2 if model.sampling.guidance == "outside" and way.scale != 1 else 1
    return Calls(forward=rows * way.steps, decodes=1)


def planned_seconds(calls: Calls, model: LatentDiffusion, rows: int) -> float:
    """Time of calls and decodings, by one call of the denoiser for twice as many rows and one decoding of them."""
    side = model.resolution // model.factor
    with torch.no_grad(), model.frozen():
        given = model.embed([""])[[0] * 2 * rows]
        latents = torch.zeros(2 * rows, model.latent_channels, side, side, device=model.device)
        t = torch.zeros(len(latents), dtype=torch.long, device=model.device)
        a_call = seconds_of(lambda: model.predict(latents, t, given), model.device) / len(latents)
        a_decoding = seconds_of(lambda: model.decode(latents[:rows]), model.device) / rows
    return calls.cost * a_call + calls.decodes * a_decoding
