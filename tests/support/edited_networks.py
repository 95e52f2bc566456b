"""Numbers and predictions of tiny models whose modules are others, for the tests of such modules."""

import torch

import tiny


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def predicted(model, side: int = 8) -> torch.Tensor:
    """Of two rows of noise on a grid of this side, under two prompts."""
    latents = drawn(2, tiny.CHANNELS, side, side)
    with torch.no_grad():
        return model.predict(latents, torch.tensor([3, 700]), model.embed(["red cat", "dog"]))
