"""Checks that a model is supported, and that two models can be compared, from their components."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.components import Components
from intaglio.models.diffusion.config_spelling import one_spelling
from intaglio.models.diffusion.hidden_widths import SETTING as HIDDEN_WIDTHS
from intaglio.models.diffusion.long_convolutions import SETTING as LONG_CONVOLUTIONS
from intaglio.models.diffusion.predicted_units import SETTING as PREDICTED_UNITS
from intaglio.models.diffusion.prompt_lengths import check_prompts
from intaglio.models.diffusion.removed_branches import SETTING as REMOVED_BRANCHES
from intaglio.models.diffusion.text_cache import SETTING as TEXT_CACHE
from intaglio.models.diffusion.unet_edits import SETTINGS as EDITS
from intaglio.models.diffusion.wavelet_gates import SETTING as WAVELET_GATES

CONFIG_REMEDY = "give the config.json that belongs to the weights"
COMPARABLE_SETTINGS = frozenset({"sample_size", "upcast_attention", "dropout", "attention_type", TEXT_CACHE})
"""Settings of a denoiser's config in which two models may differ and still be compared."""
BLOCK_NAMES = {REMOVED_BRANCHES: "removed branches", PREDICTED_UNITS: "predicted units"}
"""Settings that name blocks, and what differs where two models name others."""
SIZES = {HIDDEN_WIDTHS: ("hidden widths", "full"), LONG_CONVOLUTIONS: ("sides of the long convolutions", "none")}
"""Settings that give modules a size, what differs where two models have others, and the word for a module of none."""


def refuse_unsupported(name: str, model: Components) -> None:
    """Raises `BadInput` for a model whose denoiser takes more inputs than latents, a timestep and text.

    Such are inpainting, image-conditioned and class-conditioned models, and the refiner of SDXL; the guidance scale is
    an input that a model's `sampling.json` must tell of. `name` is the model's name in the error.
    """
    refuse_misfits(name, model)
    check_prompts(name, model.tokenizers, model.text_encoders)


def refuse_misfits(name: str, model: Components) -> None:
    """Raises `BadInput` for parts whose settings do not fit each other; no weight of the denoiser is looked at."""
    if reason := next(model.family.setting_reasons(_config(model.denoiser)), None):
        raise BadInput(f"{name} cannot be used: {reason}; {CONFIG_REMEDY}")
    if reason := next(model.family.reasons(model), None):
        raise BadInput(f"{name} cannot be used: {reason}; give a plain text-to-image model")
    scaling = _scaling_reasons(_config(model.autoencoder), model.latent_channels, model.family.shifts)
    if reason := next(scaling, None):
        raise BadInput(f"{name} cannot be used: {reason}; give the config.json that belongs to the autoencoder")


def _scaling_reasons(config: Mapping[str, Any], channels: int, shifts: bool) -> Iterator[str]:
    factor = config.get("scaling_factor", 1.0)
    if not _is_number(factor) or factor <= 0:
        yield f"its autoencoder's scaling_factor is {factor!r}, where a number above 0 is due"
    if shifts and config.get("shift_factor") is None:
        yield "its autoencoder says no shift_factor, which those of its family have"
    if not _is_number(config.get("shift_factor") or 0):
        yield f"its autoencoder's shift_factor is {config['shift_factor']!r}, where a number is due"
    mean, deviation = (config.get(name) for name in ("latents_mean", "latents_std"))
    if (mean is None) != (deviation is None):
        yield "its autoencoder has only one of latents_mean and latents_std"
    for key, numbers in (("latents_mean", mean), ("latents_std", deviation)):
        if numbers is not None and not (len(numbers) == channels and all(map(_is_number, numbers))):
            yield f"its autoencoder's {key} is not a number for each of its {channels} channels"
    if deviation is not None and min(deviation) <= 0:
        yield "its autoencoder has a latents_std that is not above 0"
    if mean is not None and config.get("shift_factor"):
        yield "its autoencoder has both a shift_factor and a latents_mean"


def differences(one: Components, two: Components) -> list[str]:
    """Fields that keep two models from being compared, as text with both values where these are short.

    No weights are compared; for those see `LatentDiffusion.part_fingerprint`.
    """
    facts = (_facts(one), _facts(two))
    found = [f"{key} ({facts[0][key]} and {facts[1][key]})" for key in facts[0] if facts[0][key] != facts[1][key]]
    found += _config_differences(one.denoiser, two.denoiser)
    if not found and _shapes(one.denoiser) != _shapes(two.denoiser):
        found.append("shapes of the denoiser's weights")
    if not one.schedule.same_as(two.schedule):
        found.append("noise schedule")
    if not all(map(_one_vocabulary, one.tokenizers, two.tokenizers)):
        found.append("tokenizer vocabulary")
    return found


def _facts(model: Components) -> dict[str, Any]:
    autoencoder = _config(model.autoencoder)
    return {
        "denoiser class": type(model.denoiser).__name__,
        "latent channels": model.latent_channels,
        "pixels a latent cell": model.factor,
        "resolution": model.resolution,
        "autoencoder scaling factor": model.scaling_factor,
        "autoencoder shift factor": autoencoder.get("shift_factor") or 0.0,
        "autoencoder latents_mean": _plain(autoencoder.get("latents_mean")),
        "autoencoder latents_std": _plain(autoencoder.get("latents_std")),
        "prediction type": model.schedule.prediction,
        "text hidden size": tuple(encoder.get_input_embeddings().embedding_dim for encoder in model.text_encoders),
    }


def _config_differences(one: nn.Module, two: nn.Module) -> list[str]:
    mine, theirs = one_spelling(_config(one), type(one)), one_spelling(_config(two), type(two))
    keys = sorted({*mine, *theirs} - COMPARABLE_SETTINGS - set(EDITS))
    pairs = [(key, mine.get(key), theirs.get(key)) for key in keys]
    found = [f"denoiser {key} ({first} and {second})" for key, first, second in pairs if first != second]
    for key, words in BLOCK_NAMES.items():
        one_has, other_has = (set(config.get(key) or ()) for config in (mine, theirs))
        if apart := sorted(one_has ^ other_has):
            found.append(f"{words} of the denoiser ({len(apart)}, the first {apart[0]})")
    gated = [bool(config.get(WAVELET_GATES)) for config in (mine, theirs)]
    if gated[0] != gated[1]:
        found.append(f"denoiser {WAVELET_GATES} ({gated[0]} and {gated[1]})")
    for setting, (words, default) in SIZES.items():
        found += _size_differences(mine.get(setting) or {}, theirs.get(setting) or {}, words, default)
    return found


def _size_differences(mine: Mapping[str, int], theirs: Mapping[str, int], words: str, default: str) -> list[str]:
    """An edited U-Net and another: how many sizes of their modules differ, and the first of them."""
    apart = sorted(scope for scope in {*mine, *theirs} if mine.get(scope) != theirs.get(scope))
    if not apart:
        return []
    first, second = (sizes.get(apart[0], default) for sizes in (mine, theirs))
    more = f" and {len(apart) - 1} more" if len(apart) > 1 else ""
    return [f"{words} of the denoiser ({apart[0]} {first} and {second}{more})"]


def _plain(numbers: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if numbers is None else tuple(numbers)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in module.state_dict().items()}


def _one_vocabulary(one: Any, two: Any) -> bool:
    """Whether the smaller vocabulary is part of the larger; textual inversion only adds tokens at the end."""
    small, large = sorted((one.get_vocab(), two.get_vocab()), key=len)
    return small.items() <= large.items()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _config(module: nn.Module) -> Any:
    config: Any = module.config
    return config if isinstance(config, Mapping) else vars(config)
