"""Marks of a single-file checkpoint beside its weights: prediction type, noise schedule, averaged copy, other keys."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.single_file_configs import FAMILIES, SCHEDULER
from intaglio.models.diffusion.single_file_layout import Layout, Shapes
from intaglio.models.foreign_keys import adapter_in, adapter_key, quantized_key

EMA = "model_ema."
"""Prefix of an exponential mean of the denoiser's weights."""
_PREDICTIONS = {
    **dict.fromkeys(("epsilon", "eps"), "epsilon"),
    **dict.fromkeys(("v", "v_prediction", "v_pred", "vpred"), "v_prediction"),
}
_ARCHITECTURES = {"stable-diffusion-v2-768-v": "v_prediction", "stable-diffusion-v2-512": "epsilon"}
_EDM = ("edm_mean", "edm_std", "edm_vpred.sigma_max", "edm_vpred.sigma_min")
_BALLAST = re.compile(  # tables that training code computes anew, and counters
    r"(?:model\.)?(?:betas|alphas_cumprod(?:_prev)?|sqrt_\w+|log_one_minus_\w+|posterior_\w+|logvar|lvlb_weights|"
    r"scale_factor|v_pred|ztsnr|global_step|iteration|epoch)|denoiser\.[\w.]+|embedding_manager\.[\w.]+|"
    r"model_ema\.(?:decay|num_updates)|__index_timestep_zero__"
)


def refuse_marked(path: object, shapes: Shapes) -> None:
    """Raises `BadInput`, naming the file, for an EDM model, quantized weights, and an adapter among the weights."""
    if mark := next((key for key in _EDM if key in shapes), None):
        raise BadInput(
            f"{path} holds an EDM model ({mark}), whose noise levels are continuous and whose network is "
            "preconditioned, which is not supported; give a model that was trained on discrete timesteps"
        )
    if mark := quantized_key(shapes):
        raise BadInput(f"{path} holds quantized weights ({mark}); give the model in float32, float16 or bfloat16")
    if mark := adapter_key(shapes):
        raise BadInput(
            f"{path} holds {adapter_in([mark])} beside the weights ({mark}), which is not applied here; "
            "merge it into the weights and save them again, or save it as a file of its own and give it as the LoRA"
        )


def notes_on_other_keys(path: object, shapes: Shapes, prefixes: Iterable[str]) -> tuple[list[str], list[str]]:
    """Notes on keys that belong to no part, and `"file: key"` for each that may hold weights that matter.

    `prefixes` are those of the parts.
    """
    known = tuple(prefix for prefix in prefixes if prefix)
    others = [key for key in shapes if not key.startswith(known) and not _BALLAST.fullmatch(key)]
    averaged = [key for key in others if key.startswith(EMA)]
    notes = []
    if averaged:
        notes.append(
            f"{path} also holds an exponential mean of the denoiser ({len(averaged)} weights in {EMA[:-1]}), "
            "which is not used: the denoiser's own weights are"
        )
    rest = [key for key in others if not key.startswith(EMA) and not _text_ballast(key)]
    if rest:
        notes.append(f"{len(rest)} keys of {path} are not used ({rest[0]})")
    return notes, [f"{path}: {key}" for key in rest]


def _text_ballast(key: str) -> bool:
    return key.startswith(("cond_stage_model.", "conditioner.")) and key.endswith(("logit_scale", "position_ids"))


def scheduler_settings(
    path: object,
    layout: Layout,
    donor: tuple[str, Mapping[str, Any]] | None,
    shapes: Shapes,
    metadata: Mapping[str, str],
    alphas_cumprod: Tensor | None,
) -> tuple[dict[str, Any], list[str]]:
    """The scheduler's settings with the prediction type, and notes on their source.

    Args:
        path: the file's, for errors.
        layout: the file's.
        donor: name and scheduler of the model that gives what the file does not say; None where there is none.
        shapes: the file's keys with their shapes.
        metadata: the file's.
        alphas_cumprod: the file's own squared signal levels, where it has them.
    """
    scheduler, notes = dict(donor[1] if donor else SCHEDULER), []
    stated, note = _stated_prediction(path, shapes, metadata)
    notes += note
    if stated is not None:
        if donor and donor[1].get("prediction_type", "epsilon") != stated:
            notes.append(f"prediction type {stated} as {path} says, unlike {donor[0]}")
        scheduler["prediction_type"] = stated
    elif donor is not None:
        scheduler.setdefault("prediction_type", "epsilon")
        notes.append(f"prediction type {scheduler['prediction_type']} and noise schedule as in {donor[0]}")
    elif layout.family and FAMILIES[layout.family].prediction:
        scheduler["prediction_type"] = FAMILIES[layout.family].prediction
    else:
        raise BadInput(
            f"{path} does not say whether it predicts noise or velocity, and models of its family do either; "
            "give the whole diffusers folder of its base with --like."
        )
    if "ztsnr" in shapes or metadata.get("ss_zero_terminal_snr", "").lower() == "true":
        scheduler["rescale_betas_zero_snr"] = True
    elif alphas_cumprod is not None:
        notes += _apply_own_schedule(path, scheduler, alphas_cumprod)
    return scheduler, notes


def _stated_prediction(path: object, shapes: Shapes, metadata: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The prediction type by the file's own words, and a note where these contradict its keys."""
    word = metadata.get("modelspec.prediction_type", "").strip().lower().replace("-", "_")
    if word and word not in _PREDICTIONS:
        raise BadInput(f"{path} says that it predicts {word!r}, which is not supported; give a model of another kind.")
    if "v_pred" in shapes:
        contradicted = _PREDICTIONS.get(word) == "epsilon"
        note = f"{path} has the key v_pred and metadata that say epsilon; it is taken to predict the velocity"
        return "v_prediction", [note] if contradicted else []
    if word:
        return _PREDICTIONS[word], []
    architecture = metadata.get("modelspec.architecture", "").partition("/")[0].strip().lower()
    return _ARCHITECTURES.get(architecture), []


def _apply_own_schedule(path: object, scheduler: dict[str, Any], alphas_cumprod: Tensor) -> list[str]:
    """Puts the file's own noise schedule into the settings where it is another one; returns a note on that."""
    own = alphas_cumprod.double().flatten()
    falling = bool((own.diff() <= 0).all()) and bool(((own >= 0) & (own <= 1)).all())  # neither holds of a NaN
    if len(own) < 2 or not falling or float(own[0]) in (0.0, 1.0):
        return [f"the alphas_cumprod in {path} are no noise schedule and are not used"]
    usual = NoiseSchedule.from_config(scheduler).alphas_cumprod
    if len(usual) == len(own) and torch.allclose(own, usual, rtol=1e-2, atol=1e-3):  # half precision rounds them
        return []
    before = torch.cat([torch.ones(1, dtype=torch.float64), own[:-1]])
    scheduler |= {
        "trained_betas": (1 - own / before.clamp(min=1e-30)).clamp(0, 1).tolist(),
        "num_train_timesteps": len(own),
        "rescale_betas_zero_snr": False,
    }
    return [f"noise schedule as in the alphas_cumprod of {path}, which is not the usual one"]
