"""Published names of transformer denoisers, against diffusers' converters of single files."""

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_auraflow_transformer_checkpoint_to_diffusers,
    convert_chroma_transformer_checkpoint_to_diffusers,
    convert_flux2_transformer_checkpoint_to_diffusers,
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_lumina2_to_diffusers,
    convert_sana_transformer_to_diffusers,
    convert_sd3_transformer_checkpoint_to_diffusers,
    convert_z_image_transformer_checkpoint_to_diffusers,
)

from intaglio.models.diffusion.families.auraflow import NAMES as AURA_FLOW
from intaglio.models.diffusion.families.chroma import NAMES as CHROMA
from intaglio.models.diffusion.families.flux1 import NAMES as FLUX
from intaglio.models.diffusion.families.flux2 import NAMES as FLUX_2
from intaglio.models.diffusion.families.lumina2 import NAMES as LUMINA_2
from intaglio.models.diffusion.families.qwen_image import NAMES as QWEN
from intaglio.models.diffusion.families.sana import NAMES as SANA
from intaglio.models.diffusion.families.sd3 import NAMES as SD3
from intaglio.models.diffusion.families.zimage import NAMES as Z_IMAGE
from intaglio.models.diffusion.skeletons import skeleton

FLUX_1 = {"guidance_embeds": True, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128}
FLUX_1 |= {"num_attention_heads": 24, "joint_attention_dim": 4096, "pooled_projection_dim": 768, "in_channels": 64}
SD_35 = {"sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 24}
SD_35 |= {"attention_head_dim": 64, "num_attention_heads": 24, "joint_attention_dim": 4096}
SD_35 |= {"caption_projection_dim": 1536, "pooled_projection_dim": 2048, "pos_embed_max_size": 384}
SD_35 |= {"qk_norm": "rms_norm", "dual_attention_layers": list(range(13))}
KLEIN_4B = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680}
KLEIN_4B |= {"guidance_embeds": False}
UNREAD = {"pos_embed": torch.zeros(1), "y_embedder.y_embedding": torch.zeros(1)}
"""What a published SANA holds besides."""
REAL = {
    "sana": (
        "SanaTransformer2DModel",
        {},
        SANA,
        lambda weights: convert_sana_transformer_to_diffusers({**weights, **UNREAD}),
        396,
    ),
    "qwen-image": ("QwenImageTransformer2DModel", {}, QWEN, dict, 1933),  # both have one set of names
    "auraflow": (
        "AuraFlowTransformer2DModel",
        {"pos_embed_max_size": 9216},
        AURA_FLOW,
        convert_auraflow_transformer_checkpoint_to_diffusers,
        331,
    ),
    "lumina2": ("Lumina2Transformer2DModel", {"cap_feat_dim": 2304}, LUMINA_2, convert_lumina2_to_diffusers, 459),
    "chroma": ("ChromaTransformer2DModel", {}, CHROMA, convert_chroma_transformer_checkpoint_to_diffusers, 1023),
    "flux1-dev": ("FluxTransformer2DModel", FLUX_1, FLUX, convert_flux_transformer_checkpoint_to_diffusers, 1160),
    "sd35-medium": ("SD3Transformer2DModel", SD_35, SD3, convert_sd3_transformer_checkpoint_to_diffusers, 909),
    "z-image": ("ZImageTransformer2DModel", {}, Z_IMAGE, convert_z_image_transformer_checkpoint_to_diffusers, 521),
    "flux2-dev": ("Flux2Transformer2DModel", {}, FLUX_2, convert_flux2_transformer_checkpoint_to_diffusers, 331),
    "klein-4b": ("Flux2Transformer2DModel", KLEIN_4B, FLUX_2, convert_flux2_transformer_checkpoint_to_diffusers, 169),
}


@pytest.mark.parametrize("kind", REAL)
def test_every_weight_of_a_published_model_goes_where_diffusers_puts_it(kind):
    """Every row of every weight has a number of its own, by which it is found again."""
    network, config, names, convert, count = REAL[kind]
    shapes = {name: weight.shape for name, weight in skeleton(network, config).state_dict().items()}
    assert len(shapes) == count
    rows = {name: torch.arange(shape[0]) + 10**6 * k for k, (name, shape) in enumerate(sorted(shapes.items()))}
    published: dict[str, torch.Tensor] = {}
    joined: dict[str, dict[int, torch.Tensor]] = {}
    for name, place in names.places(shapes).items():
        numbers = torch.cat(rows[name].chunk(2)[::-1]) if place.swapped else rows[name]
        if place.place is None:
            published[place.name] = numbers[:, None]
        else:
            joined.setdefault(place.name, {})[place.place] = numbers
    published |= {key: torch.cat([parts[k] for k in sorted(parts)])[:, None] for key, parts in joined.items()}
    found = convert(dict(published))
    assert set(found) == set(rows)
    assert all(torch.equal(found[name].flatten(), numbers) for name, numbers in rows.items())
