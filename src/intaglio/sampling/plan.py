"""The plan of a sampling: calls of networks, and how long they take here."""

from dataclasses import dataclass

import torch

from intaglio.amounts import duration_words
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.timed import seconds_of
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.fixed_sampling import settled


@dataclass(frozen=True)
class SamplingPlan:
    """Cost of pictures, before any is drawn."""

    pictures: int
    calls: Calls
    """Of all pictures."""
    seconds: float
    """Of the denoiser and the decoders, from one call of each that was timed here."""

    def __str__(self) -> str:
        many = "s" if self.pictures > 1 else ""
        return f"{self.pictures} picture{many}: {self.calls}; about {duration_words(self.seconds)}"


def sampling_plan(planned: Calls, request: SamplingRequest, batch: int) -> SamplingPlan:
    """Calls of all pictures by those of one, and their time by one call of the denoiser and one decoding of a batch."""
    pictures = len(request.prompts)
    calls = planned.times(pictures)
    finished = calls + Calls(decodes=pictures)
    return SamplingPlan(pictures, calls, planned_seconds(finished, request.model, min(batch, pictures)))


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
