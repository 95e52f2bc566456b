"""Whole calls of a diffusion model, as networks that are measured as they are: U-Net, U-Net in training, decoder."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.profile.profiling import WholeNetwork
from intaglio.energy.workloads import all_trained, decoder_step, denoiser_step
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def model_networks(device: TorchDevice, model: LatentDiffusion, batch: int) -> list[WholeNetwork]:
    """A call of the U-Net, a pass of its training, and a decoding, at a batch; the model is left as it was."""
    latents = torch.zeros(batch, model.latent_channels, *[model.resolution // model.factor] * 2, device=model.device)
    times, text = torch.zeros(batch, dtype=torch.long, device=model.device), model.embed([""]).detach()
    with all_trained(model.denoiser):
        training = denoiser_step(model, batch, train=True)

    def predicted() -> None:
        with torch.no_grad():
            model.predict(latents, times, text)

    def decoded() -> None:
        with torch.no_grad():
            model.decode(latents)

    def trained() -> Any:
        with all_trained(model.denoiser):
            return device.measure_step(lambda: _pass(model, latents, times, text))

    return [
        _network(f"U-Net at batch {batch}", denoiser_step(model, batch), device, predicted),
        _network(f"decoder at batch {batch}", decoder_step(model, batch), device, decoded),
        WholeNetwork(f"U-Net in training at batch {batch}", training, trained),
    ]


def _network(name: str, step: Any, device: TorchDevice, call: Callable[[], None]) -> WholeNetwork:
    return WholeNetwork(name, step, lambda: device.measure_step(call))


def _pass(model: LatentDiffusion, latents: Tensor, times: Tensor, text: Any) -> None:
    model.predict(latents, times, text).square().mean().backward()
    model.denoiser.zero_grad(set_to_none=True)
