"""Tiny models, pictures and suspects for the audit's tests."""

from dataclasses import replace
from functools import cache

import torch

import tiny
from intaglio.audit.membership.family import Authenticator
from intaglio.audit.membership.shadows import Shadows
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def model(seed: int = 0, prediction: str = "epsilon", build=tiny.sd_pipeline) -> LatentDiffusion:
    pipe = build(seed, prediction)
    twice = [pipe.text_encoder_2] if hasattr(pipe, "text_encoder_2") else []
    return LatentDiffusion(
        denoiser=pipe.unet,
        autoencoder=pipe.vae,
        text_encoders=[pipe.text_encoder, *twice],
        tokenizers=[pipe.tokenizer, *([pipe.tokenizer_2] if twice else [])],
        scheduler=dict(pipe.scheduler.config),
        name=f"tiny-{seed}",
    )


def nudged(base: LatentDiffusion, amount: float = 0.05, seed: int = 1) -> LatentDiffusion:
    """A suspect with slightly other weights."""
    suspect = base.copy()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in suspect.parts["denoiser"].parameters():
            weight += amount * weight.std().nan_to_num(0) * torch.randn(weight.shape, generator=generator)
    suspect.name = "suspect"
    return suspect


def overfitted(base: LatentDiffusion, images: ImageSet, prompt: str, steps: int = 150) -> LatentDiffusion:
    """A suspect whose denoiser was trained on these pictures alone."""
    suspect = base.copy()
    suspect.name = "suspect"
    generator = torch.Generator().manual_seed(0)
    weights = list(suspect.parts["denoiser"].parameters())
    optimizer = torch.optim.Adam(weights, lr=2e-3)
    with torch.no_grad():
        latents, text = base.encode(images.pixels), base.embed([prompt])
    for _ in range(steps):
        rows = torch.randint(len(latents), (8,), generator=generator)
        noise = torch.randn(8, *latents.shape[1:], generator=generator)
        t = torch.randint(1, 1000, (8,), generator=generator)
        optimizer.zero_grad()
        suspect.error(latents[rows], noise, t, text).mean().backward()
        optimizer.step()
    return suspect


@cache
def planted() -> tuple[LatentDiffusion, LatentDiffusion, ImageSet, int]:
    """A suspect that was overfitted on one of six pictures of one colour, its base, the six, and the index of the one.

    A network that predicts the latents themselves learns such a picture by heart in a few steps.
    """
    colours = torch.rand(6, 3, 1, 1, generator=torch.Generator().manual_seed(7))
    images, member = ImageSet.from_pixels(colours.expand(-1, -1, 16, 16).clone()), 3
    base = model(3, "sample")
    return overfitted(base, images[[member]], "cat", 60), base, images, member


def pictures(count: int = 3, seed: int = 0) -> ImageSet:
    """Pictures of noise, so that a network can tell them apart."""
    return ImageSet.from_pixels(torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)))


def captioned(images: ImageSet, *texts: str) -> ImageSet:
    """The pictures with these captions; without any, each with one of its own."""
    return replace(images, captions=texts or tuple(f"{content[:6]} cat" for content in images.hashes))


def shadows(model: LatentDiffusion, images: ImageSet, count: int = 4) -> Shadows:
    """Shadow models, each said to be tuned on every second picture, from the first or from the next."""
    return Shadows.of(_nudges(model, count), [images[k % 2 :: 2] for k in range(count)])


@cache
def _nudges(model: LatentDiffusion, count: int) -> list[LatentDiffusion]:
    return [nudged(model, seed=10 + k) for k in range(count)]


def audited(method: Authenticator, suspect, base, images: ImageSet, *, prompt: str = "cat", **further):
    """A method's call, with captions for one that needs them, and shadow models likewise."""
    if method.needs_shadows:
        # By content, so that the same pictures in another order are those that the same shadows were tuned on.
        order = sorted(range(len(images)), key=lambda place: images.hashes[place])
        further = {"shadows": shadows(suspect if base is None else base, images[order]), **further}
    if method.own_captions == "needed":
        return method(suspect, base, captioned(images), own_captions=True, **further)
    return method(suspect, base, images, prompt=prompt, **further)


class Closeness:
    """A similarity that tests can work out: one less the mean absolute difference."""

    name = "closeness"
    hash = "0" * 64

    def __call__(self, a, b):
        return 1 - (a - b).abs().mean((1, 2, 3))

    def matrix(self, a, b):
        return torch.stack([self(picture.expand_as(b), b) for picture in a])
