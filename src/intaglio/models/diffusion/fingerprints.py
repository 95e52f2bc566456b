"""Content hashes of a latent-diffusion model: of a network's weights, and of all else that results depend on."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.components import Components
from intaglio.models.diffusion.config_spelling import class_defaults, one_spelling
from intaglio.models.diffusion.text_cache import SETTING as TEXT_CACHE
from intaglio.models.library_logging import quiet_libraries

PROBE = "A photo of Zürich's 12 CATS: naïve  &  (don't)!"
"""A text with capitals, accents, digits and signs: its tokens show how a tokenizer splits, pads and ends a prompt."""
TEXT_SETTINGS = ("hidden_act", "num_attention_heads", "layer_norm_eps", "attention_dropout", "eos_token_id")
LANGUAGE_SETTINGS = ("rope_parameters", "rms_norm_eps", "num_key_value_heads", "query_pre_attn_scalar")
LANGUAGE_SETTINGS = (*LANGUAGE_SETTINGS, "attn_logit_softcapping")
"""Further settings of text encoders that are language models."""
_UNUSED_OPTIONS = frozenset({"requires_safety_checker"})

LONGEST_PROBE = 512
"""Most tokens that the probe is padded to: language models take prompts of any length."""


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes, precision and bytes of a network's weights, 64 hex digits."""
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        digest.update(_bytes(weight))
    return digest.hexdigest()


def settings_digest(model: Components) -> str:
    """SHA-256 over all but the weights that results depend on, 64 hex digits.

    These are the noise schedule and the prediction type, the settings of every network (the autoencoder's scaling and
    the text encoders' pooling among them), the tokenizers, the resolution, and what a saved copy hands on: the
    scheduler's further settings and the pipeline's options.
    """
    digest = hashlib.sha256()
    for table in (model.schedule.signals, model.schedule.noises):
        digest.update(_bytes(table))
    facts = {
        "prediction": model.schedule.prediction,
        "resolution": model.resolution,
        "denoiser": _chosen(model.denoiser),
        "autoencoder": _chosen(model.autoencoder),
        "text_encoders": [_text_facts(encoder.config) for encoder in model.text_encoders],
        "tokenizers": [list(_tokenizer_facts(tokenizer)) for tokenizer in model.tokenizers],
        "scheduler": _public(model.scheduler),
        "options": {key: value for key, value in _public(model.options).items() if key not in _UNUSED_OPTIONS},
    }
    if model.sampling != FREE:  # so that models without it keep their fingerprints
        facts["sampling"] = model.sampling.facts
    if (stairs := model.denoiser.config.get(TEXT_CACHE)) is not None:
        facts["text_cache"] = stairs
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode(errors="surrogatepass"))
    return digest.hexdigest()


def _text_facts(config: Any) -> dict[str, Any]:
    """Settings of a text encoder; of one that sees pictures too, those of its language model, which a table holds."""
    words = getattr(config, "text_config", config)
    more = [name for name in LANGUAGE_SETTINGS if getattr(words, name, None) is not None]
    return {name: getattr(words, name, None) for name in (*TEXT_SETTINGS, *more)}


def _bytes(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data


def _chosen(module: Any) -> dict[str, Any]:
    """Settings of a network of diffusers that are not its class's defaults, so that a later version's new ones are out.

    The size of the samples is left to the resolution.
    """
    kind = type(module)
    given, usual = one_spelling(module.config, kind), one_spelling({**module.config, **class_defaults(kind)}, kind)
    return {key: value for key, value in given.items() if key != "sample_size" and value != usual[key]}


def _public(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith("_")}


def _tokenizer_facts(tokenizer: Any) -> Iterator[Any]:
    """The vocabulary, the merges, the length of a prompt in tokens, and the tokens of no text and of `PROBE`."""
    yield sorted(tokenizer.get_vocab().items())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    merges = [] if backend is None else json.loads(backend.to_str())["model"].get("merges", [])
    yield [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    length = min(tokenizer.model_max_length, LONGEST_PROBE)
    yield length
    if getattr(tokenizer, "chat_template", None):  # so that tokenizers without one keep their fingerprints
        yield tokenizer.chat_template
    with quiet_libraries():
        yield tokenizer(["", PROBE], padding="max_length", max_length=length, truncation=True).input_ids
