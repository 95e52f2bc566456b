"""Settings of a text encoder that is Mistral Small 3, checked by type, range and size before it is built."""

from transformers import Mistral3Config

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.models.diffusion.transformer_configs import DEEPEST, MOST_WORDS, WIDEST, refuse_more_layers


def mistral3_config(fields: Fields, weights: int) -> Mistral3Config:
    """The settings of a Mistral 3, with those of its language model and of its eye each in a table.

    Raises `BadInput` for values of a wrong type or out of their range, and for more layers than weights.
    """
    if (kind := fields.text("model_type", "mistral3")) != "mistral3":
        raise BadInput(f"{fields.source} is of a text encoder of type {kind}, where Mistral 3 is due; {fields.remedy}")
    words, eye = fields.table("text_config"), fields.table("vision_config")
    layers = sum(part.whole("num_hidden_layers", usual, 1, DEEPEST) for part, usual in ((words, 40), (eye, 24)))
    refuse_more_layers(fields, layers, weights)
    for part in (words, eye):
        for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
            part.whole(key, None, 1, WIDEST)
    for key in ("image_size", "patch_size"):
        eye.whole(key, None, 1, WIDEST)
    for key in ("vocab_size", "max_position_embeddings"):
        words.whole(key, None, 1, MOST_WORDS)
    words.number("rms_norm_eps", None, 0.0, 1.0)
    return Mistral3Config.from_dict({**fields.values, "return_dict": True})
