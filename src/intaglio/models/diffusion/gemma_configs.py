"""Settings of a text encoder that is Gemma 2, checked by type, range and size before it is built."""

from transformers import Gemma2Config

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.diffusion.transformer_configs import DEEPEST, MOST_WORDS, WIDEST, refuse_more_layers


def gemma2_config(fields: Fields, weights: int) -> Gemma2Config:
    """The settings of a text encoder that is the language model Gemma 2.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    if (kind := fields.text("model_type", "gemma2")) != "gemma2":
        raise BadInput(f"{fields.source} is of a text encoder of type {kind}, where Gemma 2 is due; {fields.remedy}")
    refuse_more_layers(fields, fields.whole("num_hidden_layers", 26, 1, DEEPEST), weights)
    for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
        fields.whole(key, None, 1, WIDEST)
    for key in ("vocab_size", "max_position_embeddings", "sliding_window"):
        fields.whole(key, None, 1, MOST_WORDS)
    fields.number("rms_norm_eps", None, 0.0, 1.0)
    fields.number("attention_dropout", None, 0.0, 1.0)
    for key in ("query_pre_attn_scalar", "attn_logit_softcapping", "final_logit_softcapping"):
        fields.number(key, None, 1e-6, float(WIDEST))
    for key in ("hidden_act", "hidden_activation"):
        fields.text(key, None)
    fields.flag("attention_bias", None)
    return Gemma2Config.from_dict({**fields.values, "return_dict": True})
