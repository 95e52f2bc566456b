"""`QwenImage`: Qwen-Image, a transformer of two streams that reads the hidden states of a language model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
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
from intaglio.models.diffusion.families.flux1 import Flux1
from intaglio.models.diffusion.families.kept_norms import KeptNorms
from intaglio.models.diffusion.families.packing import packed, unpacked
from intaglio.models.diffusion.families.rotations import rotation_reasons
from intaglio.models.diffusion.families.shown_tokens import tokens_shown
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.path_grid import flow_grid
from intaglio.models.original_names import OriginalNames, blocks_in, first_of

SIDE = 128
"""Cells along a side of the latents, where the model's index says no `sample_size`."""
BEFORE = (
    "<|im_start|>system\nDescribe the image by detailing the color, shape, size, texture, quantity, text, spatial "
    "relationships of the objects and background:<|im_end|>\n<|im_start|>user\n"
)
AFTER = "<|im_end|>\n<|im_start|>assistant\n"
"""Text around every prompt, as the model was trained with it."""
DROPPED, WORDS = 34, 512
"""Tokens at the beginning, those of `BEFORE`, that are dropped once they are read; most tokens that are left."""
_MODULES = ("img_in", "txt_in", "txt_norm", "time_text_embed", "transformer_blocks", "norm_out", "proj_out")
NAMES = OriginalNames(rows=tuple((name, name) for name in _MODULES))
"""Names in the code of Qwen-Image, which are those of diffusers."""


class QwenImage(Family):
    """A `QwenImageTransformer2DModel` (arXiv 2508.02324), with an autoencoder of videos of one frame.

    Guidance keeps the norm of the prompt's own prediction (`KeptNorms`).
    """

    name = "Qwen-Image"
    key = "qwen-image"
    denoiser = "QwenImageTransformer2DModel"
    autoencoder = "AutoencoderKLQwenImage"
    pipelines = ("QwenImagePipeline",)
    original_names = NAMES
    kohya_text = ("lora_te_",)
    texts = (TextSlot("Qwen2_5_VLForConditionalGeneration", "Qwen2Tokenizer"),)
    targets = Flux1.targets
    further_targets = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Rotations that do not fit the heads."""
        yield from rotation_reasons(config, "axes_dims_rope", 3, config["attention_head_dim"])

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Kinds that take pictures or a guidance scale, and widths that do not fit each other."""
        config, autoencoder = parts.denoiser.config, parts.autoencoder.config
        for setting in ("zero_cond_t", "use_additional_t_cond", "use_layer3d_rope"):
            if config.get(setting):
                yield f"its denoiser says {setting}, and takes pictures besides text (Qwen-Image-Edit or -Layered)"
        if config.get("guidance_embeds"):
            yield "its denoiser takes the guidance scale as input, which no published Qwen-Image does"
        if autoencoder.get("input_channels", 3) != 3:
            yield f"its autoencoder reads {autoencoder['input_channels']} channels, which is Qwen-Image-Layered"
        cells = 4 * self.latent_channels(parts.autoencoder)
        given = config["patch_size"] ** 2 * parts.denoiser.out_channels
        if (config["in_channels"], given) != (cells, cells):
            taken = f"{config['in_channels']} to {given}"
            yield f"its denoiser goes from {taken} numbers a token where four cells of the latents have {cells}"
        width, taken = parts.text_encoders[0].config.text_config.hidden_size, config["joint_attention_dim"]
        if width != taken:
            yield f"its text encoder gives {width} numbers a token where the denoiser takes {taken}"
        side = parts.options.get("sample_size", SIDE)
        if type(side) is not int or not 2 <= side <= 4096 or side % 2:
            yield f"its model_index.json says sample_size {side!r}, where an even number of cells up to 4096 is due"

    def pipeline(self, parts: Parts) -> Pipeline:
        """With every component."""
        return Pipeline("QwenImagePipeline")

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """A straight path, whose shift grows with the picture; its grid ends at a level of noise that is said."""
        return straight_schedule(config, flow_grid(config, "even", tokens, source), source)

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """As a question to the language model."""
        return f"{BEFORE}{prompt}{AFTER}"

    def prompt_length(self, index: int, parts: Parts) -> int:
        """34, and 512 that are left."""
        return DROPPED + WORDS

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Last hidden states, without the first 34 and padding; zeros follow those of shorter prompts, masked."""
        encoder, given = parts.text_encoders[0], tokens[0]
        read = tokens_shown(given, parts.tokenizers[0].pad_token_id)
        longest = read.any(0)
        given, read = given[:, longest].to(encoder.device), read[:, longest].to(encoder.device)
        hidden = encoder.model(input_ids=given, attention_mask=read.long(), use_cache=False).last_hidden_state.float()
        rows = [states[valid][DROPPED:] for states, valid in zip(hidden, read, strict=True)]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        counts = torch.tensor([len(row) for row in rows], device=hidden.device)
        mask = torch.arange(padded.shape[1], device=hidden.device) < counts[:, None]
        return Conditioning(padded, mask=None if bool(mask.all()) else mask, rule=KeptNorms(parts.schedule))

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Depth and widths."""
        width, channels = first_of(shapes, "img_in.weight")
        head = first_of(shapes, "transformer_blocks.0.attn.norm_q.weight", 1)[0]
        return {
            **like,
            "in_channels": channels,
            "out_channels": first_of(shapes, "proj_out.weight")[0] // max(1, like["patch_size"] ** 2),
            "num_layers": blocks_in(shapes, "transformer_blocks"),
            "attention_head_dim": head,
            "num_attention_heads": width // max(1, head),
            "joint_attention_dim": first_of(shapes, "txt_in.weight")[1],
        }

    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings and their mask."""
        dtype = next(denoiser.parameters()).dtype
        return {"encoder_hidden_states": conditioning.hidden.to(dtype), "encoder_hidden_states_mask": conditioning.mask}

    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Packed latents with their sides in tokens; the denoiser is told s."""
        shapes = [[(1, latents.shape[-2] // 2, latents.shape[-1] // 2)]] * len(latents)
        return packed(latents), {"timestep": share_of_noise(t), "img_shapes": shapes, **inputs}

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Unpacked."""
        return unpacked(found, latents.shape[-2], latents.shape[-1])

    def encoded(
        self, autoencoder: Any, pictures: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c hl wl"], Float[Tensor, "n c hl wl"]]:
        """Of a video of one frame."""
        posterior = autoencoder.encode(pictures[:, :, None]).latent_dist
        return posterior.mean[:, :, 0], posterior.std[:, :, 0]

    def decoded(self, autoencoder: Any, raw: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
        """Of a video of one frame, clamped to [-1, 1] by the autoencoder itself."""
        return autoencoder.decode(raw[:, :, None], return_dict=False)[0][:, :, 0]

    def side(self, parts: Parts) -> int:
        """128, or the `sample_size` of the model's index."""
        return parts.options.get("sample_size", SIDE)

    def latent_channels(self, autoencoder: Any) -> int:
        """`z_dim` of the autoencoder."""
        return autoencoder.config["z_dim"]

    def factor(self, autoencoder: Any) -> int:
        """Two for each halving."""
        return 2 ** len(autoencoder.config["temperal_downsample"])
