"""Tiny examples of influence, and their gradients one backward pass at a time."""

import torch

from audit_scenes import model, pictures
from intaglio.denoising.examples import Examples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator

PROMPTS = ("red cat", "dog", "cat", "a red dog")
ATTENTION = ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight")


def examples() -> tuple[LatentDiffusion, Examples, Examples]:
    """A model, four training pictures, and two to ask about, of which the second is the third training picture."""
    net, images = model(), pictures(5)
    train = Examples.of(net, images[[0, 1, 2, 3]], PROMPTS)
    return net, train, Examples.of(net, images[[4, 2]], ["dog", "cat"])


def noises_of(shape, timesteps, noises=1, seed=0):
    """[T * G, c, h, w] noise and [T * G] timesteps, each noise from its timestep alone."""
    pairs = [(t, draw) for t in timesteps for draw in range(noises)]
    drawn = [torch.randn(*shape, generator=generator(seed, "influence", t, draw)) for t, draw in pairs]
    return torch.stack(drawn), torch.tensor([t for t, _ in pairs])


def gradients(net, one, number, *, timesteps, noises=1, endings=ATTENTION):
    """Rows of gradients of a picture's number, each by a backward pass, in the order of the weights."""
    noise, t = noises_of(one.latents.shape[1:], timesteps, noises)
    weights = [w for name, w in net.denoiser.named_parameters() if name.endswith(endings)]
    rows = []
    for latent, prompt in zip(one.latents, one.prompts, strict=True):
        many = latent.expand(len(t), *latent.shape)
        found = torch.autograd.grad(number(many, noise, t, net.embed([prompt] * len(t))), weights)
        rows.append(torch.cat([gradient.flatten() for gradient in found]).double())
    return torch.stack(rows)
