"""Settings in a model's files that nothing reads: said to the user, as they may come from another kind of model."""

from collections.abc import Collection

from intaglio.data_files import Fields
from intaglio.models.diffusion.config_spelling import class_defaults
from intaglio.models.diffusion.noise_schedule import FLOW_CLASSES
from intaglio.models.diffusion.skeletons import CLASSES, network_class
from intaglio.models.diffusion.unet_edits import SETTINGS as EDITS

_OF_EVERY_FILE = frozenset(
    {"architectures", "auto_map", "dtype", "model_type", "quantization_config", "torch_dtype", "transformers_version"}
)
"""Entries on the file itself, of whatever library wrote it."""
_OF_AVERAGING = frozenset(
    {"decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup"}
)
"""Entries that diffusers' `EMAModel` leaves in the config of a U-Net whose mean it saves."""
_OF_EARLIER_TRANSFORMERS = frozenset(
    {
        "add_cross_attention",
        "bad_words_ids",
        "begin_suppress_tokens",
        "cache_implementation",
        "chunk_size_feed_forward",
        "cross_attention_hidden_size",
        "decoder_start_token_id",
        "diversity_penalty",
        "do_sample",
        "dropout",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "gradient_checkpointing",
        "is_decoder",
        "length_penalty",
        "logit_scale_init_value",
        "max_length",
        "min_length",
        "n_positions",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_labels",
        "num_return_sequences",
        "output_attentions",
        "output_past",
        "output_scores",
        "prefix",
        "pruned_heads",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict_in_generate",
        "scalable_attention",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "text_config_dict",
        "tf_legacy_loss",
        "tie_encoder_decoder",
        "tie_word_embeddings",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torchscript",
        "typical_p",
        "use_bfloat16",
        "use_cache",
    }
)
"""Entries that earlier versions of transformers wrote into every config, without effect on a text encoder."""
SCHEDULER_SETTINGS = frozenset(
    {
        "algorithm_type",
        "beta_end",
        "beta_schedule",
        "beta_start",
        "clip_sample",
        "clip_sample_range",
        "corrector_order",
        "disable_corrector",
        "dynamic_thresholding_ratio",
        "euler_at_final",
        "final_sigmas_type",
        "flow_shift",
        "interpolation_type",
        "lambda_min_clipped",
        "lower_order_final",
        "noise_sampler_seed",
        "num_train_timesteps",
        "original_inference_steps",
        "predict_x0",
        "prediction_type",
        "predictor_order",
        "rescale_betas_zero_snr",
        "sample_max_value",
        "set_alpha_to_one",
        "shift_terminal",
        "sigma_max",
        "sigma_min",
        "skip_prk_steps",
        "solver_order",
        "solver_p",
        "solver_type",
        "steps_offset",
        "tau_func",
        "tensor_format",
        "thresholding",
        "time_shift_type",
        "timestep_scaling",
        "timestep_spacing",
        "timestep_type",
        "trained_betas",
        "use_beta_sigmas",
        "use_dynamic_shifting",
        "use_exponential_sigmas",
        "use_flow_sigmas",
        "use_karras_sigmas",
        "use_lu_lambdas",
        "variance_type",
    }
)
"""Settings of diffusers' schedulers for discrete timesteps: a file keeps those of a scheduler that it had before."""


FLOW_SETTINGS = frozenset(
    {
        "base_image_seq_len",
        "base_shift",
        "invert_sigmas",
        "max_image_seq_len",
        "max_shift",
        "num_train_timesteps",
        "shift",
        "shift_terminal",
        "time_shift_type",
        "use_beta_sigmas",
        "use_dynamic_shifting",
        "use_exponential_sigmas",
        "use_karras_sigmas",
    }
)
"""Settings of diffusers' schedulers for flow matching, which choose the levels that samplers ask at."""


def unknown_network_settings(kind: str, fields: Fields) -> list[str]:
    """A note on the settings of a `config.json` that the network's class does not have; none where it has them all."""
    made = network_class(kind)
    if CLASSES[kind] == "transformers":
        usual = made.config_class().to_dict()
        known = {*usual, *(usual.get("text_config") or ()), *_OF_EARLIER_TRANSFORMERS}
        if kind.startswith(("Qwen", "Gemma")):
            known |= {"rope_theta", "rope_scaling", "hidden_act"}  # read by both spellings; Gemma's activation has two
        return _note(fields, known, "a text encoder of CLIP" if kind.startswith("CLIP") else kind)
    own = set(EDITS) if kind == "UNet2DConditionModel" else set[str]()
    return _note(fields, {*class_defaults(made), *_OF_AVERAGING, *own}, kind)


def unknown_scheduler_settings(fields: Fields) -> list[str]:
    """A note on the settings of a scheduler that no scheduler of its kind has in diffusers."""
    if fields.values.get("_class_name") in FLOW_CLASSES:
        off = {"stochastic_sampling"} if not fields.values.get("stochastic_sampling") else set[str]()
        return _note(fields, {*FLOW_SETTINGS, *off}, "no sampler here", "takes")
    harmless = {"predict_epsilon"} if fields.values.get("predict_epsilon") is True else set()
    return _note(fields, {*SCHEDULER_SETTINGS, *harmless}, "no scheduler for discrete timesteps", "has")


def _note(fields: Fields, known: Collection[str], owner: str, verb: str = "does not have") -> list[str]:
    """A note on settings outside of `known` that say something; those that are null do not."""
    unknown = sorted(
        key
        for key, value in fields.values.items()
        if not key.startswith("_") and value is not None and key not in known and key not in _OF_EVERY_FILE
    )
    if not unknown:
        return []
    more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
    return [f"{fields.source} says {', '.join(unknown[:3])}{more}, which {owner} {verb}; this is without effect"]
