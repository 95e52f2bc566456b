"""The time of an encoding, before it is taught."""

import torch

from intaglio.explain.encodings.encoding_networks import PictureEncoder
from intaglio.explain.encodings.family import EACH, MOST_ASKED, SlottedEncoding
from intaglio.explain.encodings.noise_slots import NoiseSlots
from intaglio.explain.encodings.shifted_noise import CodedDenoiser
from intaglio.explain.encodings.swapped_slots import swapped_codes
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def encoding_plan(method: SlottedEncoding, model: LatentDiffusion, images: ImageSet) -> TimePlan:
    """Seconds of the training, of errors and of drawings, by one step and one call of the networks that are timed."""
    some = images[: min(method.batch, len(images))].pixels.to(model.device)
    slots = method.slots(torch.linspace(0, 0.5, model.schedule.count))
    with model.frozen():
        with torch.no_grad():
            latents = model.encode(some).float()
        encoder, denoiser = method.networks(model, latents.shape[1], slots)
        step = seconds_of(lambda: _step(encoder, denoiser, some, latents, taught=True), model.device)
        call = seconds_of(lambda: _step(encoder, denoiser, some, latents, taught=False), model.device) / len(some)
    held = -(-len(images) // EACH)
    asked, pairs = min(MOST_ASKED, held), min(method.pairs, held // 2)
    drawings = pairs * _drawings(slots)
    parts = {
        "training": step * method.steps,
        "errors": call * asked * method.levels,
        "drawings": call * drawings * method.swap_steps,
    }
    shown = f"{method.steps:,} steps of {len(some)} pictures"
    return TimePlan(parts, f"pictures   {len(images):,}; {shown}; {pairs} pairs with swapped slots")


def _drawings(slots: NoiseSlots) -> int:
    return len(swapped_codes(torch.zeros(2, slots.numbers), slots))


def _step(
    encoder: PictureEncoder, denoiser: CodedDenoiser, pixels: torch.Tensor, latents: torch.Tensor, taught: bool
) -> None:
    t = torch.full((len(latents),), denoiser.schedule.count // 2, device=latents.device)
    with torch.set_grad_enabled(taught):
        _, coded = denoiser.errors(latents, torch.ones_like(latents), t, encoder(pixels))
        if taught:
            coded.mean().backward()
