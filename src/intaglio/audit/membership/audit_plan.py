"""The time of a membership audit, before it begins: calls of denoisers as methods tell them, each kind timed once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, Gradient
from intaglio.audit.membership.family import AuditInputs, Authenticator
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

PROBED_ROWS = 8
"""Rows, at most, of a call that is timed; one of more rows takes as long a row."""


def audit_plan(methods: Sequence[Authenticator], inputs: AuditInputs, pictures: int, prompts: int = 1) -> TimePlan:
    """Seconds of each method.

    Args:
        methods: with their settings; one that does not say what it asks of denoisers is not counted, and named.
        inputs: the models; they are left as they were found.
        pictures: those of all roles, 1 or more.
        prompts: how often the whole is done, each time under another prompt.
    """
    parts, untold = {}, []
    for method in methods:
        asked = method.calls(pictures, inputs.model_count(method))
        if asked:
            parts[method.name] = prompts * sum(_seconds(calls, inputs) for calls in asked)
        else:
            untold.append(method.name)
    head = f"pictures   {pictures} of all roles"
    if untold:
        head += f"; {', '.join(untold)} cannot tell what it asks of the models, and is not counted"
    return TimePlan(parts, head, at_most=True)


def _seconds(calls: DenoiserCalls, inputs: AuditInputs) -> float:
    """Seconds of all calls of one kind, and of the autoencoder."""
    model = inputs.reference
    spent = 0.0
    if calls.batches:
        rows = min(PROBED_ROWS, max(calls.batches))
        spent += calls.rows * _call_seconds(inputs, calls.gradient, rows) / rows
    latents = _blank(model, 1)
    with torch.no_grad():
        if calls.encoded:
            side = model.resolution
            pixels = torch.zeros(1, 3, side, side, device=model.device)
            spent += calls.encoded * seconds_of(lambda: model.encode(pixels), model.device)
        if calls.decoded:
            spent += calls.decoded * seconds_of(lambda: model.decode(latents), model.device)
    return spent


def _call_seconds(inputs: AuditInputs, gradient: Gradient, rows: int) -> float:
    """Seconds of one call of a denoiser on so many rows, with its backward pass."""
    model = inputs.reference
    latents, t = _blank(model, rows), torch.zeros(rows, dtype=torch.long, device=model.device)
    with model.frozen():
        given = model.embed([""])[[0] * rows]
        weights = _weights(inputs, gradient)
        wanted = weights or [latents]

        def call() -> None:
            with torch.set_grad_enabled(gradient != "none"):
                for one in wanted if gradient != "none" else ():
                    one.requires_grad_(True)
                noise = model.predict(latents, t, given)
                if gradient != "none":
                    torch.autograd.grad(noise.square().sum(), wanted, allow_unused=True)

        try:
            return seconds_of(call, model.device)
        finally:
            for weight in weights:
                weight.requires_grad_(False)


def _weights(inputs: AuditInputs, gradient: Gradient) -> list[Tensor]:
    """The weights that a backward pass gives the gradient of; none where it gives that of the latents."""
    if gradient == "all weights":
        return [weight for weight in inputs.reference.denoiser.parameters() if weight.is_floating_point()]
    return _differing(inputs) if gradient == "weights" else []


def _differing(inputs: AuditInputs) -> list[Tensor]:
    """The weights of the reference's denoiser in which the models differ; all where there is one model."""
    named = dict(inputs.reference.denoiser.named_parameters())
    if inputs.base is None:
        return list(named.values())
    learned = dict(inputs.suspect.denoiser.named_parameters())
    found = [
        weight
        for path, weight in named.items()
        if weight.ndim > 1 and not torch.equal(learned[path].to(weight.device, weight.dtype), weight)
    ]
    return found or list(named.values())


def _blank(model: LatentDiffusion, rows: int) -> Tensor:
    side = model.resolution // model.factor
    return torch.zeros(rows, model.latent_channels, side, side, device=model.device)
