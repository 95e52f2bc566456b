"""The time of a search for an edit that evens values out, before it begins."""

import torch

from intaglio.explain.bias.code_family import CodeEditor
from intaglio.explain.bias.family import BiasEditor
from intaglio.explain.sparse_autoencoder import sparse_loss
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_edits import module_at
from intaglio.models.module_outputs import outputs_of
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of
from intaglio.sampling.plan import picture_calls, planned_seconds

ROWS = 512
"""Rows of an update of the autoencoder."""


def bias_plan(method: BiasEditor, model: LatentDiffusion, pictures: int) -> TimePlan:
    """Seconds of all drawings, by one call of the denoiser and one decoding, and of updates by one loss, all timed."""
    each, drawn = picture_calls(model, method.steps, method.guidance), 3 * pictures
    parts = {
        "samples": planned_seconds(each.times(method.samples), model, method.batch),
        "measured pictures": planned_seconds(each.times(drawn), model, method.batch),
    }
    if isinstance(method, CodeEditor):
        parts["the autoencoder"] = method.updates * _update_seconds(method, model)
    calls = (method.samples + drawn) * each.forward
    head = f"pictures   {method.samples} to find the edit, {drawn} to measure it: {calls:,} calls of the denoiser"
    return TimePlan(parts, head)


def _update_seconds(method: CodeEditor, model: LatentDiffusion) -> float:
    """An update: a loss with its gradients."""
    side = model.resolution // model.factor
    latents = torch.zeros(1, model.latent_channels, side, side, device=model.device)
    with torch.no_grad(), model.frozen(), outputs_of([module_at(model.denoiser, method.site)]) as seen:
        model.predict(latents, torch.zeros(1, dtype=torch.long, device=model.device), model.embed([""]))
    channels = seen[0].shape[1]
    count = method.expansion * channels
    encoder = torch.randn(count, channels, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rows = torch.randn(ROWS, channels, generator=torch.Generator().manual_seed(1))

    def update() -> None:
        sparse_loss(rows, rows @ encoder.T, encoder, min(method.active, count)).backward()

    return seconds_of(update, torch.device("cpu"))
