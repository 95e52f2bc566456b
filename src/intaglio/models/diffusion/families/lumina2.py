"""`Lumina2`: Lumina-Image 2, a transformer of one stream that reads the hidden states of Gemma 2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.family import (
    Family,
    Parts,
    Pipeline,
    TextSlot,
    share_of_noise,
    straight_schedule,
)
from intaglio.models.diffusion.families.gemma import gemma_states
from intaglio.models.diffusion.families.kept_norms import KeptNorms
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, attention_rows, blocks_in, first_of

WORDS = 256
"""Tokens of a prompt, what stands before it and padding included."""
BEFORE = (
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment based "
    "on textual prompts or user prompts. <Prompt Start> "
)
"""Text before every prompt, but for those that are led away from."""

_STACKS = ("layers", "noise_refiner", "context_refiner")
_PUBLISHED = (
    ("attn.to_out.0", "attention.out"),
    ("attn.norm_q", "attention.q_norm"),
    ("attn.norm_k", "attention.k_norm"),
    ("feed_forward.linear_1", "feed_forward.w1"),
    ("feed_forward.linear_2", "feed_forward.w2"),
    ("feed_forward.linear_3", "feed_forward.w3"),
    ("norm1.norm", "attention_norm1"),
    ("norm1.linear", "adaLN_modulation.1"),
    ("norm1", "attention_norm1"),
    ("norm2", "attention_norm2"),
    ("ffn_norm1", "ffn_norm1"),
    ("ffn_norm2", "ffn_norm2"),
)
NAMES = OriginalNames(
    rows=(
        *((f"{stack}.#.{name}", f"{stack}.#.{other}") for stack in _STACKS for name, other in _PUBLISHED),
        ("x_embedder", "x_embedder"),
        ("time_caption_embed.caption_embedder", "cap_embedder"),
        ("time_caption_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        ("time_caption_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        ("norm_out.linear_1", "final_layer.adaLN_modulation.1"),
        ("norm_out.linear_2", "final_layer.linear"),
    ),
    joined=[
        row for stack in _STACKS for row in attention_rows(f"{stack}.#", [("attn.to_*", f"{stack}.#.attention.qkv")])
    ],
)
"""Names in the code of Lumina-Image 2."""


class Lumina2(Family):
    """A `Lumina2Transformer2DModel` (arXiv 2503.21758), which reads the last hidden states but one of Gemma 2.

    It is told 1 - s, and gives the velocity with the other sign. A sentence stands before every prompt, but not before
    a negative or an empty one. Guidance keeps the norm of each row of the prompt's own prediction (`KeptNorms`).
    """

    name = "Lumina-Image 2"
    key = "lumina2"
    denoiser = "Lumina2Transformer2DModel"
    pipelines = ("Lumina2Pipeline", "Lumina2Text2ImgPipeline")
    original_names = NAMES
    kohya_text = ("lora_te_",)
    texts = (TextSlot("Gemma2Model", "GemmaTokenizer"),)
    padding_side = "right"
    further_targets = ("feed_forward.linear_1", "feed_forward.linear_2", "feed_forward.linear_3")

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Channels, widths and places that do not fit each other."""
        config, channels = parts.denoiser.config, self.latent_channels(parts.autoencoder)
        if (config["in_channels"], config["out_channels"] or config["in_channels"]) != (channels, channels):
            taken = f"{config['in_channels']} to {config['out_channels'] or config['in_channels']}"
            yield f"its denoiser goes from {taken} channels where the autoencoder's latents have {channels}"
        given, taken = parts.text_encoders[0].config.hidden_size, config["cap_feat_dim"]
        if given != taken:
            yield f"its text encoder gives {given} numbers a token where the denoiser takes {taken}"
        words, rows, columns = config["axes_lens"]
        side, patch = config["sample_size"], config["patch_size"]
        if side % patch:
            yield f"its patches of {patch} cells do not divide its side of {side}"
        if words <= WORDS or min(rows, columns) * patch < side:
            yield f"its denoiser has places for {words} words and {rows}x{columns} tokens, fewer than it is to take"

    def pipeline(self, parts: Parts) -> Pipeline:
        """With every component."""
        return Pipeline("Lumina2Pipeline")

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path."""
        return straight_schedule(config, flow_grid(config, "even", tokens, source), source)

    def image_tokens(self, parts: Parts) -> int:
        """The channels of the latents, which its pipeline counts as tokens where the shift grows with the picture."""
        return self.latent_channels(parts.autoencoder)

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """After the sentence that the model was trained with."""
        return f"{BEFORE}{prompt}"

    def negative_text(self, prompt: str, tokenizer: Any) -> str:
        """The prompt alone."""
        return prompt

    def prompt_length(self, index: int, parts: Parts) -> int:
        """256."""
        return min(WORDS, super().prompt_length(index, parts))

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Hidden states, the tokens that are no padding, and the rule of guidance."""
        hidden, mask = gemma_states(parts, tokens[0], -2)
        return Conditioning(hidden, mask=mask, rule=KeptNorms(parts.schedule, of_rows=True))

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depths and widths."""
        width, numbers = first_of(shapes, "x_embedder.weight")
        head = max(1, first_of(shapes, "layers.0.attention.q_norm.weight", 1)[0])
        cells, given = max(1, like["patch_size"] ** 2), first_of(shapes, "final_layer.linear.weight")[0]
        return {
            **like,
            "in_channels": numbers // cells,
            "out_channels": None if given == numbers else given // cells,
            "hidden_size": width,
            "num_layers": blocks_in(shapes, "layers"),
            "num_refiner_layers": blocks_in(shapes, "noise_refiner"),
            "num_attention_heads": width // head,
            "num_kv_heads": (first_of(shapes, "layers.0.attention.qkv.weight")[0] - width) // (2 * head),
            "cap_feat_dim": first_of(shapes, "cap_embedder.1.weight")[1],
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings and their mask."""
        dtype, hidden, mask = next(denoiser.parameters()).dtype, conditioning.hidden, conditioning.mask
        mask = hidden[..., 0].new_ones(hidden.shape[:2]).bool() if mask is None else mask
        return {"encoder_hidden_states": hidden.to(dtype), "encoder_attention_mask": mask}

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Latents as they are; the denoiser is told 1 - s."""
        return latents, {"timestep": 1 - share_of_noise(t), **inputs}

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The velocity: what the denoiser gives, with the other sign."""
        return -found

    def side(self, parts: Parts) -> int:
        """The denoiser's `sample_size`."""
        return parts.denoiser.config["sample_size"]
