"""`SeveralNetworks`: settings of what asks further models of one layout beside the one at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.models.diffusion.feature_routers import FeatureRouters
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.unet_lockstep import place_channels, refuse_other_blocks

Loaded = tuple[LatentDiffusion, ...]


@dataclass(frozen=True, kw_only=True)
class SeveralNetworks:
    """Further models, which have the layout of the first and all of its parts but the denoiser."""

    others: tuple[Path, ...] = ()
    """Models beside the first, one or more, each another: folders, .safetensors files, or LoRAs of the first."""

    def __post_init__(self) -> None:
        if len(set(self.others)) < len(self.others):
            raise ValueError(f"others must differ, not {', '.join(map(str, self.others))}")

    def networks(self, model: LatentDiffusion) -> Loaded:
        """The model and the others, whose denoisers are frozen, read once.

        Raises `BadInput` without others, for one that cannot run in lock-step with the model, and for two that are the
        same.
        """
        key = f"{model.fingerprint} {model.device}"
        if key not in self._read:
            found = read_others(model, self.others)
            self._read.clear()
            self._read[key] = found
        return (model, *self._read[key])

    @cached_property
    def _read(self) -> dict[str, Loaded]:
        """The others of the last model that they were asked for."""
        return {}


def read_others(model: LatentDiffusion, paths: Sequence[Path]) -> Loaded:
    """Models from their files, which share all parts but the denoiser with the one at hand."""
    if not paths:
        raise BadInput("the features of one model are merged with none; give --others, models of the same layout")
    refuse_other_blocks(model.denoiser)
    found, seen = list[LatentDiffusion](), {model.part_fingerprint("denoiser"): model.name}
    for path in paths:
        other = load_model(path, like=model, device=model.device, dtype=model.dtype)
        _refuse_unlike(model, other, path)
        mark = other.part_fingerprint("denoiser")
        if mark in seen:
            raise BadInput(f"{path} has the denoiser of {seen[mark]}; leave one of them out")
        seen[mark] = str(path)
        other.autoencoder, other.text_encoders = model.autoencoder, model.text_encoders  # held once
        other.denoiser.requires_grad_(False)
        found.append(other)
    return tuple(found)


def _refuse_unlike(model: LatentDiffusion, other: LatentDiffusion, path: Path) -> None:
    """Raises `BadInput` for a model that differs from the one at hand in more than its denoiser's weights."""
    apart = model.differences(other)
    if not apart:
        parts = [name for name in model.parts if name != "denoiser"]
        apart = [name for name in parts if model.part_fingerprint(name) != other.part_fingerprint(name)]
    if not apart and model.sampling != other.sampling:
        apart = ["sampling that it was made for"]
    if apart:
        raise BadInput(
            f"{path} cannot run in lock-step with {model.name}, since it has another {apart[0]}; give fine-tunes of "
            "one base whose denoiser alone was trained"
        )


def routers_of(networks: Loaded, width: int, seed: int) -> FeatureRouters:
    """Routers for networks in lock-step, with their first weights, on the networks' device."""
    denoiser = networks[0].denoiser
    text = sum(encoder.get_input_embeddings().embedding_dim for encoder in networks[0].text_encoders)
    made = FeatureRouters(len(networks), place_channels(denoiser), text, width, seed)
    return made.to(networks[0].device)
