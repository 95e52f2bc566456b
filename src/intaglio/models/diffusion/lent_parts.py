"""Parts of a model of one family that another family's denoiser was trained between."""

import copy
from typing import Any

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from intaglio.errors import BadInput
from intaglio.models.diffusion.components import suffix
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.families.sd3 import StableDiffusion3
from intaglio.models.diffusion.families.unets import UNets
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion


def lent_parts(base: LatentDiffusion, family: Family, denoiser: Any = None) -> dict[str, Any]:
    """The components of a base, by their names in `model_index.json`, for a denoiser of a family; weights are shared.

    A base of another family lends its parts in one case, that of a small transformer in the layout of Stable
    Diffusion 3 that was trained between the parts of a Stable Diffusion 1: its CLIP stands in both places, with the
    identity as projection, and latents have no offset. Raises `BadInput` for other pairs of families.
    """
    if base.family is family:
        encoders, tokenizers, autoencoder = base.text_encoders, base.tokenizers, base.autoencoder
    elif isinstance(family, StableDiffusion3) and _trained_between(denoiser, base):
        encoders, tokenizers = (projected(base.text_encoders[0]),) * 2, base.tokenizers * 2
        autoencoder = copy.deepcopy(base.autoencoder)
        autoencoder.register_to_config(shift_factor=0.0)
    else:
        raise BadInput(f"{base.name} is a model of {base.family.name}, and the parts given are of {family.name}")
    given = {"vae": autoencoder, "scheduler": base.scheduler}
    if base.family is family:
        given[family.folder] = base.denoiser
    for place, (encoder, tokenizer) in enumerate(zip(encoders, tokenizers, strict=True)):
        given |= {f"text_encoder{suffix(place)}": encoder, f"tokenizer{suffix(place)}": tokenizer}
    return given


def _trained_between(denoiser: Any, base: LatentDiffusion) -> bool:
    """Whether a transformer reads as many numbers as a Stable Diffusion 1's only text encoder gives in both places."""
    if denoiser is None or not isinstance(base.family, UNets) or len(base.text_encoders) != 1:
        return False
    return denoiser.config["pooled_projection_dim"] == 2 * base.text_encoders[0].config.hidden_size


def projected(encoder: Any) -> CLIPTextModelWithProjection:
    """A `CLIPTextModel` as one that projects, by the identity; in the precision of the given one."""
    config = CLIPTextConfig.from_dict({**encoder.config.to_dict(), "projection_dim": encoder.config.hidden_size})
    made = CLIPTextModelWithProjection(config).to(encoder.dtype)
    own = {name.removeprefix("text_model."): weight for name, weight in encoder.state_dict().items()}
    own["text_projection.weight"] = torch.eye(encoder.config.hidden_size, dtype=encoder.dtype)
    made.load_state_dict({name: own[name.removeprefix("text_model.")] for name in made.state_dict()})
    return made.eval().requires_grad_(False)
