"""`Flux2Dev`: FLUX.2 dev, the transformer of FLUX.2 that is told the guidance scale, beside Mistral Small 3."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.chat import template_reasons
from intaglio.models.diffusion.families.family import Parts, Pipeline, TextSlot
from intaglio.models.diffusion.families.flux2 import Flux2Klein
from intaglio.models.diffusion.families.shown_tokens import tokens_shown

LAYERS = (10, 20, 30)
"""Hidden states of the text encoder that stand side by side."""
SYSTEM = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object "
    "relationships, object\nattribution and actions without speculation."
)
"""The system's message before every prompt, as in the pipeline."""
PICTURE = "[IMG]"
"""A word that stands for a picture, which is left out of prompts."""
GUIDED = BakedSampling(guidance="input", scales=(1.0, 30.0), usual=4.0)
"""Its sampling: the guidance scale is an input, 4 in the pipeline of diffusers."""


class Flux2Dev(Flux2Klein):
    """A `Flux2Transformer2DModel` with a guidance input, which reads hidden states 10, 20 and 30 of Mistral Small 3.

    It makes one prediction a step; where a conditioning names no scale it is told 1, as in training.
    """

    name = "FLUX.2 dev"
    key = "flux2-dev"
    pipelines = ("Flux2Pipeline",)
    texts = (TextSlot("Mistral3ForConditionalGeneration", "PreTrainedTokenizerFast"),)
    special_tokens = False

    def takes(self, config: Mapping[str, Any]) -> bool:
        """With a guidance input."""
        return not super().takes(config)

    def reasons(self, parts: Parts) -> Iterator[str]:
        """Another text encoder, and widths that do not fit each other."""
        yield from self.latent_reasons(parts)
        kinds = [type(encoder).__name__ for encoder in parts.text_encoders]
        if kinds != [self.texts[0].network]:
            yield f"it takes the guidance scale as an input (FLUX.2 dev), and reads {', '.join(kinds)}, not Mistral 3"
            return
        words, taken = parts.text_encoders[0].config.text_config, parts.denoiser.config["joint_attention_dim"]
        if (given := len(LAYERS) * words.hidden_size) != taken:
            yield f"three layers of its text encoder give {given} numbers a token where the denoiser takes {taken}"
        if words.num_hidden_layers < LAYERS[-1]:
            yield f"its text encoder has {words.num_hidden_layers} layers where {LAYERS[-1]} are due"
        if parts.tokenizers[0].pad_token_id is None:
            yield "its tokenizer has no token for padding"
        yield from template_reasons(parts.tokenizers[0], self.prompt_text)

    def pipeline(self, parts: Parts) -> Pipeline:
        """With every component."""
        return Pipeline("Flux2Pipeline")

    def sampling(self, parts: Parts) -> BakedSampling:
        """Guidance as an input."""
        return GUIDED

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """The prompt as a message after the system's."""
        texts = {"system": SYSTEM, "user": prompt.replace(PICTURE, "")}
        messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in texts.items()]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)

    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Three layers' hidden states side by side, those of padding too."""
        encoder, given = parts.text_encoders[0], tokens[0].to(parts.text_encoders[0].device)
        mask = tokens_shown(given, parts.tokenizers[0].pad_token_id)
        words = encoder.model.language_model
        found = words(given, attention_mask=mask.long(), output_hidden_states=True, use_cache=False).hidden_states
        return Conditioning(torch.cat([found[layer].float() for layer in LAYERS], -1))

    def inputs(self, denoiser: Any, conditioning: Conditioning) -> dict[str, Any]:
        """Text embeddings with their places, and the guidance scale."""
        scales = conditioning.guidance
        if scales is None:
            scales = conditioning.hidden.new_ones(len(conditioning))
        return {**super().inputs(denoiser, conditioning), "guidance": scales.float()}
