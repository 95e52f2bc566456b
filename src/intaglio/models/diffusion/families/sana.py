"""`Sana`: SANA, a transformer with linear attention on latents of 32 pixels a cell, which attends to Gemma 2."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.family import Family, Parts, Pipeline, TextSlot, straight_schedule
from intaglio.models.diffusion.families.gemma import gemma_states
from intaglio.models.diffusion.families.linear_attention import LinearAttention
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, attention_rows, blocks_in, first_of

WORDS = 300
"""Tokens of a prompt that are left, padding included, which is not attended to."""
INSTRUCTION = "\n".join(
    [
        "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions suitable for "
        "image generation. Evaluate the level of detail in the user prompt:",
        "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial "
        "relationships to create vivid and concrete scenes.",
        "- If the prompt is already detailed, refine and enhance the existing details slightly without "
        "overcomplicating.",
        "Here are examples of how to transform or refine prompts:",
        "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping "
        "peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.",
        "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street "
        "lamps, a diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass "
        "skyscrapers.",
        "Please generate only the enhanced description for the prompt below and avoid including any additional "
        "commentary or evaluations:",
        "User Prompt: ",
    ]
)
"""Text before every prompt, but for those that are led away from: the default of diffusers' pipeline."""
_JOINT = 2
"""Tokens at the end of the instruction that its first words may be one with."""

_BLOCK = "transformer_blocks.#"
NAMES = OriginalNames(
    rows=(
        (f"{_BLOCK}.attn1.to_out.0", "blocks.#.attn.proj"),
        (f"{_BLOCK}.attn2.to_q", "blocks.#.cross_attn.q_linear"),
        (f"{_BLOCK}.attn2.to_out.0", "blocks.#.cross_attn.proj"),
        (f"{_BLOCK}.ff.conv_inverted", "blocks.#.mlp.inverted_conv.conv"),
        (f"{_BLOCK}.ff.conv_depth", "blocks.#.mlp.depth_conv.conv"),
        (f"{_BLOCK}.ff.conv_point", "blocks.#.mlp.point_conv.conv"),
        (f"{_BLOCK}.scale_shift_table", "blocks.#.scale_shift_table"),
        ("patch_embed.proj", "x_embedder.proj"),
        ("time_embed.emb.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        ("time_embed.emb.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        ("time_embed.linear", "t_block.1"),
        ("caption_projection.linear_1", "y_embedder.y_proj.fc1"),
        ("caption_projection.linear_2", "y_embedder.y_proj.fc2"),
        ("caption_norm", "attention_y_norm"),
        ("scale_shift_table", "final_layer.scale_shift_table"),
        ("proj_out", "final_layer.linear"),
    ),
    joined=(
        *attention_rows(_BLOCK, [("attn1.to_*", "blocks.#.attn.qkv")]),
        (f"{_BLOCK}.attn2.to_k", "blocks.#.cross_attn.kv_linear", 0),
        (f"{_BLOCK}.attn2.to_v", "blocks.#.cross_attn.kv_linear", 1),
    ),
)
"""Names in the code of SANA."""


class Sana(Family):
    """A `SanaTransformer2DModel` (arXiv 2410.10629), with an autoencoder of 32 pixels a cell that has no posterior.

    An instruction stands before every prompt, but not before a negative or an empty one; of its tokens the denoiser
    sees the first alone. It is told whole timesteps: s = 0.3014 is 301, as in diffusers.
    """

    name = "SANA"
    key = "sana"
    denoiser = "SanaTransformer2DModel"
    autoencoder = "AutoencoderDC"
    pipelines = ("SanaPipeline",)
    original_names = NAMES
    kohya_text = ("lora_te_",)
    texts = (TextSlot("Gemma2Model", "GemmaTokenizer"),)
    padding_side = "right"
    further_targets = ("ff.conv_inverted", "ff.conv_point")

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Distilled kinds, and parts that do not fit each other."""
        config, channels = parts.denoiser.config, self.latent_channels(parts.autoencoder)
        if config["guidance_embeds"]:
            yield "it takes the guidance scale as an input (SANA Sprint), and is sampled by no path that is known here"
        if not parts.schedule.straight:
            yield "its scheduler is of discrete timesteps, where the denoiser is of flow matching"
        if (config["in_channels"], config["out_channels"] or config["in_channels"]) != (channels, channels):
            taken = f"{config['in_channels']} to {config['out_channels'] or config['in_channels']}"
            yield f"its denoiser goes from {taken} channels where the autoencoder's latents have {channels}"
        given, taken = parts.text_encoders[0].config.hidden_size, config["caption_channels"]
        if given != taken:
            yield f"its text encoder gives {given} numbers a token where the denoiser takes {taken}"
        width = config["num_attention_heads"] * config["attention_head_dim"]
        if config["cross_attention_dim"] != width:
            yield f"its denoiser attends to {config['cross_attention_dim']} numbers a token where it makes {width}"
        if config["sample_size"] % config["patch_size"]:
            yield f"its patches of {config['patch_size']} cells do not divide its side of {config['sample_size']}"
        if self.prompt_length(0, parts) > parts.tokenizers[0].model_max_length:
            yield f"its text encoder takes {parts.tokenizers[0].model_max_length} tokens, fewer than an instruction has"

    def pipeline(self, parts: Parts) -> Pipeline:
        """With every component."""
        return Pipeline("SanaPipeline")

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path."""
        if not NoiseSchedule.from_config(config, source).straight:
            return super().schedule(config, tokens, source)
        return straight_schedule(config, flow_grid(config, "smallest", tokens, source), source)

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """After the instruction, in small letters."""
        return INSTRUCTION + self.negative_text(prompt, tokenizer)

    def negative_text(self, prompt: str, tokenizer: Any) -> str:
        """The prompt alone, in small letters, without blanks around it."""
        return prompt.lower().strip()

    def prompt_length(self, index: int, parts: Parts) -> int:
        """The instruction's, and 298."""
        return len(parts.tokenizers[index](INSTRUCTION).input_ids) + WORDS - 2

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Last hidden states: the first and the last 299 after an instruction, else the first 300."""
        hidden, mask = gemma_states(parts, tokens[0], -1)
        start = torch.tensor(parts.tokenizers[0](INSTRUCTION).input_ids[:-_JOINT], device=hidden.device)
        opening = tokens[0].to(hidden.device)[:, : len(start)]
        led = (opening == start).all(1) if opening.shape[1] == len(start) else hidden.new_zeros(len(hidden)).bool()
        places = torch.arange(min(WORDS, hidden.shape[1]), device=hidden.device)
        last = torch.where(places == 0, 0, places + hidden.shape[1] - len(places))
        rows, columns = (
            torch.arange(len(hidden), device=hidden.device)[:, None],
            torch.where(led[:, None], last, places),
        )
        return Conditioning(hidden[rows, columns], mask=mask[rows, columns])

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depth and widths; the widths of heads are as in the base."""
        width, channels, patch, _ = first_of(shapes, "x_embedder.proj.weight", 4)
        return {
            **like,
            "in_channels": channels,
            "out_channels": first_of(shapes, "final_layer.linear.weight")[0] // max(1, patch**2),
            "patch_size": patch,
            "num_layers": blocks_in(shapes, "blocks"),
            "num_attention_heads": width // max(1, like["attention_head_dim"]),
            "num_cross_attention_heads": width // max(1, like["cross_attention_head_dim"]),
            "cross_attention_dim": width,
            "caption_channels": first_of(shapes, "y_embedder.y_proj.fc1.weight")[1],
            "mlp_ratio": first_of(shapes, "blocks.0.mlp.point_conv.conv.weight", 4)[1] / max(1, width),
        }

    def prepare(self, denoiser: Any) -> None:
        """Linear attention in float32: outside of it a sum of weights may round to 0, by which is divided."""
        for block in denoiser.transformer_blocks:
            block.attn1.set_processor(LinearAttention())

    def inputs(self, denoiser: Any, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings and their mask."""
        dtype, mask = next(denoiser.parameters()).dtype, conditioning.mask
        return {
            "encoder_hidden_states": conditioning.hidden.to(dtype),
            "encoder_attention_mask": None if mask is None else mask.to(dtype),
            "scale": denoiser.config["timestep_scale"],
        }

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Latents as they are; the denoiser is told the whole part of 1000 s, scaled."""
        told = (t.double() + 1 + 1e-6).floor() * inputs["scale"]  # a timestep may lie a rounding error below
        return latents, {"timestep": told.float(), **{key: one for key, one in inputs.items() if key != "scale"}}

    def encoded(
        self, autoencoder: Any, pictures: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c hl wl"], Float[Tensor, "n c hl wl"]]:
        """Latents, with a deviation of 0."""
        latents = autoencoder.encode(pictures, return_dict=False)[0]
        return latents, torch.zeros_like(latents)

    def side(self, parts: Parts) -> int:
        """The denoiser's `sample_size`."""
        return parts.denoiser.config["sample_size"]

    def image_tokens(self, parts: Parts) -> int:
        """A token a patch."""
        return (self.side(parts) // parts.denoiser.config["patch_size"]) ** 2

    def factor(self, autoencoder: Any) -> int:
        """Two for each halving."""
        return 2 ** (len(autoencoder.config["encoder_block_out_channels"]) - 1)
