"""`ZImage`: Z-Image and Z-Image-Turbo, a transformer of one stream that reads a language model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.chat import as_message, template_reasons
from intaglio.models.diffusion.families.family import (
    Family,
    Parts,
    Pipeline,
    TextSlot,
    share_of_noise,
    stated_side,
    straight_schedule,
)
from intaglio.models.diffusion.families.rotations import rotation_reasons
from intaglio.models.diffusion.families.shown_tokens import tokens_shown
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, attention_rows, blocks_in, first_of

WORDS = 512
"""Most tokens of a prompt."""
PATCH = 2
"""Cells along a side of a token."""
TURBO_SHIFT = 3.0
"""The scheduler's shift of Z-Image-Turbo, by which alone its files differ from those of Z-Image, which has 6."""
TURBO = BakedSampling(usual=1.0)
"""The sampling of Z-Image-Turbo: without guidance unless the caller names a scale."""

_STACKS = ("layers", "noise_refiner", "context_refiner")
_PUBLISHED = (
    ("attention.to_out.0", "attention.out"),
    ("attention.norm_q", "attention.q_norm"),
    ("attention.norm_k", "attention.k_norm"),
)
_UNCHANGED = ("t_embedder", "cap_embedder", "x_pad_token", "cap_pad_token")
NAMES = OriginalNames(
    rows=(
        *((f"{stack}.#.{name}", f"{stack}.#.{other}") for stack in _STACKS for name, other in _PUBLISHED),
        *((f"{stack}.#", f"{stack}.#") for stack in _STACKS),
        *((name, name) for name in _UNCHANGED),
        ("all_x_embedder.2-1", "x_embedder"),
        ("all_final_layer.2-1", "final_layer"),
    ),
    joined=[
        row
        for stack in _STACKS
        for row in attention_rows(f"{stack}.#.attention", [("to_*", f"{stack}.#.attention.qkv")])
    ],
)
"""Names in the code of Z-Image."""


class ZImage(Family):
    """A `ZImageTransformer2DModel` (arXiv 2511.22699), which reads the last hidden states but one of Qwen 3.

    Prompts are messages of a chat, of at most 512 tokens; the denoiser sees a prompt's own tokens alone. It is told
    1 - s, and gives the velocity with the other sign. A scale g of its pipeline is the scale g + 1 here.
    """

    name = "Z-Image"
    key = "zimage"
    denoiser = "ZImageTransformer2DModel"
    pipelines = ("ZImagePipeline",)
    original_names = NAMES
    shifts = True
    side_of_autoencoder = True
    texts = (TextSlot("Qwen3Model", "Qwen2Tokenizer"),)
    further_targets = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Heads and rotations that do not fit the width."""
        width, heads = config["dim"], config["n_heads"]
        if width % heads:
            yield f"its n_heads {heads} do not divide its dim {width}"
        else:
            yield from rotation_reasons(config, "axes_dims", 3, width // heads)

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Kinds that take pictures besides text, and widths that do not fit each other."""
        config, encoders = parts.denoiser.config, parts.text_encoders
        if config["siglip_feat_dim"] is not None:
            yield "it takes pictures besides text (Z-Image-Omni)"
        if (list(config["all_patch_size"]), list(config["all_f_patch_size"])) != ([PATCH], [1]):
            yield f"its denoiser has other patches than of {PATCH}x{PATCH} cells"
        needed = _places(self.prompt_length(0, parts), self.side(parts) // PATCH)
        given = list(config["axes_lens"])
        if len(given) != 3 or any(have < need for have, need in zip(given, needed, strict=True)):
            yield f"its axes_lens are {given}, where prompts and pictures of its size need {needed}"
        channels = self.latent_channels(parts.autoencoder)
        if config["in_channels"] != channels:
            yield f"its denoiser takes {config['in_channels']} channels where the autoencoder's latents have {channels}"
        if len(encoders) != 1:
            yield f"it has {len(encoders)} text encoders where Qwen 3 alone is due"
            return
        if encoders[0].config.hidden_size != config["cap_feat_dim"]:
            given, taken = encoders[0].config.hidden_size, config["cap_feat_dim"]
            yield f"its text encoder gives {given} numbers a token where the denoiser takes {taken}"
        yield from template_reasons(parts.tokenizers[0])

    def pipeline(self, parts: Parts) -> Pipeline:
        """Nothing is absent."""
        return Pipeline("ZImagePipeline")

    def sampling(self, parts: Parts) -> BakedSampling:
        """Guidance of the caller's choice; for the shift of Z-Image-Turbo none is usual."""
        dynamic, shift = parts.scheduler.get("use_dynamic_shifting"), parts.scheduler.get("shift")
        return TURBO if shift == TURBO_SHIFT and not dynamic else FREE

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path."""
        return straight_schedule(config, flow_grid(config, "even", tokens, source), source)

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """The prompt as a message, with room for thoughts."""
        return as_message(prompt, tokenizer, thinking=True)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """512."""
        return min(WORDS, super().prompt_length(index, parts))

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Hidden states, zeros at padding, and the tokens that are none."""
        encoder, given = parts.text_encoders[0], tokens[0].to(parts.text_encoders[0].device)
        mask = tokens_shown(given, parts.tokenizers[0].pad_token_id)
        hidden = encoder(given, attention_mask=mask, output_hidden_states=True, use_cache=False).hidden_states[-2]
        return Conditioning(hidden.float() * mask[:, :, None], mask=mask)

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depths and widths."""
        width, numbers = first_of(shapes, "x_embedder.weight")
        heads = width // max(1, first_of(shapes, "layers.0.attention.q_norm.weight", 1)[0])
        return {
            **like,
            "in_channels": numbers // PATCH**2,
            "dim": width,
            "n_layers": blocks_in(shapes, "layers"),
            "n_refiner_layers": blocks_in(shapes, "noise_refiner"),
            "n_heads": heads,
            "n_kv_heads": heads,
            "cap_feat_dim": first_of(shapes, "cap_embedder.0.weight", 1)[0],
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings of each prompt's own tokens."""
        dtype, mask = next(denoiser.parameters()).dtype, conditioning.mask
        if mask is None:
            raise ValueError("a conditioning of Z-Image has a mask of its tokens")
        return {"cap_feats": [rows[own].to(dtype) for rows, own in zip(conditioning.hidden, mask, strict=True)]}

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[list[Tensor], dict[str, Any]]:
        """A list of pictures of one frame; the denoiser is told 1 - s."""
        return list(latents[:, :, None].unbind()), {"t": 1 - share_of_noise(t), **inputs}

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The velocity: what the denoiser gives, with the other sign."""
        return -torch.stack(found)[:, :, 0]

    def side(self, parts: Parts) -> int:
        """By the pixels that the autoencoder's `sample_size` says."""
        return stated_side(self, parts.autoencoder)


def _places(words: int, side: int) -> list[int]:
    """Places along the three axes: words, padded to 32 and counted from 1, then the picture; its rows; its columns."""
    return [-(-words // 32) * 32 + 2, side, side]
