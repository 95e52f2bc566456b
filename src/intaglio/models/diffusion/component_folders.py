"""Reading of a model's components, each from its own folder: networks, tokenizers, the scheduler's settings."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from intaglio.data_files import Fields
from intaglio.errors import BadInput, IntaglioError
from intaglio.files import open_regular
from intaglio.models.diffusion.denoiser_settings import UNUSED_OF_DENOISERS, check_settings, left_over
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.network_config import LONGEST, network_config, settings_in
from intaglio.models.diffusion.noise_schedule import SCHEDULER_REMEDY
from intaglio.models.diffusion.skeletons import Shapes, filled, shapes_of, skeleton
from intaglio.models.diffusion.unknown_settings import unknown_scheduler_settings
from intaglio.models.diffusion.weight_sets import WeightSet, weight_sets
from intaglio.models.foreign_keys import adapter_in, adapter_key, quantized_key
from intaglio.models.library_logging import quiet_libraries
from intaglio.models.packing.packed_file import NAME as PACKED
from intaglio.models.packing.packed_file import PackedFile, Packing
from intaglio.models.packing.rounded_inputs import check_grids, round_inputs, rounding_layers
from intaglio.models.weights_file import checked

UNSTATED_LENGTH = 10**6
"""Tokens of a prompt from which on a tokenizer counts as saying nothing: a library writes 1e30 for that."""
_UNUSED_BY_NATURE = re.compile(
    r"position_ids$|logit_scale$|^vision_model\.|^visual_projection\.|^text_projection\.|^lm_head\."
)
"""Keys in the files of a text encoder that belong to all of CLIP or a language model, or follow from the settings."""
_OLD_ATTENTION = ((".to_q.", ".query."), (".to_k.", ".key."), (".to_v.", ".value."), (".to_out.0.", ".proj_attn."))
_TIED = {"encoder.embed_tokens.weight": ("shared.weight",), "lm_head.weight": ("model.embed_tokens.weight",)}
"""Second names of embeddings, which files leave out: in T5, and in language models that write with what they read."""
_OLD_MISTRAL = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("lm_head.", "language_model.lm_head."),
    ("lm_head.weight", "language_model.model.embed_tokens.weight"),
    ("lm_head.weight", "model.language_model.embed_tokens.weight"),
)
"""The same of Mistral 3, of which some write with the embeddings that they read."""
_OLD_QWEN = (("model.language_model.", "model."), ("model.visual.", "visual."))
"""Beginnings of the names of Qwen 2.5 VL's modules, now and in earlier files."""
_ENGLISH = "a photo of a cat, the quick brown fox jumps over the lazy dog"
"""A text of which every tokenizer of CLIP knows tokens: it has all letters of the alphabet."""
_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""Files that hold a vocabulary, in either of its two forms."""
_TOKENIZER_FILES = (
    *(name for names in _VOCABULARIES for name in names),
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
)
_LONGEST_REASON = 200
"""Letters of a library's error that are repeated to the user."""
TOKENS = 4096
"""Image tokens that a scheduler's settings are tried with."""
_BETAS = ("beta_start", "beta_end", "beta_schedule", "trained_betas")


Base = Callable[[], Any]
"""Gives the model that parts, or the changes of a fine-tune, are taken on."""


@dataclass
class Remarks:
    """Remarks on components, gathered while they are read."""

    notes: list[str] = field(default_factory=list)
    """Sentences for the user."""
    unused: list[str] = field(default_factory=list)
    """`"file: key"` for each weight that no network takes."""
    packing: dict[str, Packing] = field(default_factory=dict)
    """How the files of parts were packed, of those that were."""


def read_network(
    part: str,
    kind: str,
    folder: Path,
    remarks: Remarks,
    base: Base | None = None,
    dtype: torch.dtype = torch.float32,
    check: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """A part's network, of a class in `skeletons.CLASSES`, with the folder's safetensors weights, in a precision.

    Each weight is brought to it as it is read, so that no more memory is taken than the network's own.

    `check` is given the network before its weights are read.

    Packed ones are unpacked. `base` gives the model that packed weights may be a change of; None: there is none. Layers
    that the files have an `input_grid` for round their inputs.

    Raises `BadInput` for weights that are missing, of another shape, quantized or not finite, and for an adapter among
    them.
    """
    weights = _weights_in(part, folder, remarks)
    with library_errors_as_bad_input(folder):
        config, notes = network_config(kind, folder, len(weights.places))
    remarks.notes += notes
    if part == "denoiser":
        check_settings(kind, folder, config)
    with library_errors_as_bad_input(folder):
        module = skeleton(kind, config)
    round_inputs(module, dict.fromkeys(rounding_layers(module, weights.shapes), torch.empty(2)))
    wanted = shapes_of(module)
    keys = {name: _key_of(part, name, weights.shapes) for name in wanted}
    _check_unused(kind, part, folder, weights, [key for key in weights.places if key not in keys.values()], remarks)
    _check_shapes(folder, wanted, keys, weights)
    if check is not None:
        check(module)
    opened_with = (_base_weights(part, weights, base),) if isinstance(weights, PackedFile) else ()
    with weights.reading(*opened_with) as file_of:

        def weight_of(name: str) -> Tensor:
            key = str(keys[name])
            return checked(file_of(key).get_tensor(key), weights.places[key], key).reshape(wanted[name])

        network = filled(module, weight_of, dtype)
    check_grids(network, str(folder))
    return network


def _weights_in(part: str, folder: Path, remarks: Remarks) -> WeightSet | PackedFile:
    """The packed weights of a folder, or else its set of plain ones."""
    if not (folder / PACKED).exists():
        weights, notes = weight_sets(folder)
        remarks.notes += notes
        return weights
    packed = PackedFile.read(folder / PACKED)
    packed.check_whole()
    remarks.packing[part] = packed.packing
    if others := sorted(path.name for path in folder.glob("*.safetensors") if path.name != PACKED):
        remarks.notes.append(f"{folder} also holds {others[0]}, which is not used: {PACKED} is")
    return packed


def _base_weights(part: str, packed: PackedFile, base: Base | None) -> Mapping[str, Tensor]:
    """The weights that a file's are a change of. Raises `BadInput` where it is another base, or none is given."""
    if (wanted := packed.packing.on) is None:
        return {}
    if base is None:
        raise BadInput(
            f"{packed.path} holds the change of a fine-tune alone; give its base too, as --like, --base or `like`"
        )
    model = base()
    if model.fingerprint != wanted:
        raise BadInput(
            f"{packed.path} holds the change from a base with the fingerprint {wanted[:12]}, and {model.name} has "
            f"{model.fingerprint[:12]}; give the base that it was made from"
        )
    return model.parts[part].state_dict()


def _key_of(part: str, name: str, shapes: Shapes) -> str | None:
    """The key of a weight under its present name or an earlier one; None where the files have none of them."""
    names = [name]
    if part.startswith("text"):
        bare = name.removeprefix("text_model.")
        names = [name, bare, f"text_model.{bare}", f"model.{name}", *_TIED.get(name, ())]
        names += [name.replace(now, before) for now, before in (*_OLD_QWEN, *_OLD_MISTRAL) if name.startswith(now)]
    elif part == "autoencoder":
        names += [name.replace(now, before) for now, before in _OLD_ATTENTION]
    return next((key for key in names if key in shapes), None)


def _check_unused(
    kind: str, part: str, folder: Path, weights: WeightSet | PackedFile, keys: list[str], remarks: Remarks
) -> None:
    if (key := adapter_key(keys)) is not None:
        raise BadInput(
            f"{weights.places[key]} holds {adapter_in([key])} beside the weights ({key}), which is not applied here; "
            "merge it into the weights and save them again, or save it as a file of its own and give it as the LoRA"
        )
    if (key := quantized_key(keys)) is not None:
        raise BadInput(f"{weights.places[key]} holds quantized weights ({key}); give the model unquantized")
    if part == "denoiser" and kind != "UNet2DConditionModel":
        if unread := [key for key in keys if not UNUSED_OF_DENOISERS.search(key)]:
            raise left_over(str(folder), unread)
        return
    if unused := [key for key in keys if not (part.startswith("text") and _UNUSED_BY_NATURE.search(key))]:
        remarks.notes.append(f"{len(unused)} weights in {folder} are not used ({unused[0]})")
        remarks.unused += [f"{weights.places[key]}: {key}" for key in unused]


def _check_shapes(folder: Path, wanted: Shapes, keys: dict[str, str | None], weights: WeightSet | PackedFile) -> None:
    if missing := [name for name, key in keys.items() if key is None]:
        raise BadInput(
            f"{folder} lacks {len(missing)} weights that its config.json asks for ({missing[0]}); export it again"
        )
    for name, key in keys.items():
        shape = weights.shapes[str(key)]
        if _as_matrix(shape) != _as_matrix(wanted[name]):
            raise BadInput(
                f"{folder} holds {key} in shape {shape}, where its config.json asks for {wanted[name]}; "
                "give the config.json that belongs to the weights, or export it again"
            )


def _as_matrix(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a 1x1 convolution as that of a matrix, any other as it is: the two hold the same numbers.

    It is applied to every weight. Old files hold the autoencoder's attention as convolutions, and a U-Net's projections
    are one or the other by `use_linear_projection`.
    """
    return shape[:2] if len(shape) == 4 and shape[2:] == (1, 1) else shape


# Tokenizers


def read_tokenizer(kind: str, folder: Path) -> Any:
    """The tokenizer of a folder, of a class of transformers. Its length may be unstated; see `fitted`.

    Raises `BadInput` where the files of its vocabulary are missing, or no word of an English text is in it.
    """
    _refuse_without_vocabulary(folder)
    settings = folder / "tokenizer_config.json"
    if settings.exists():
        length = Fields.read(settings).values.get("model_max_length", UNSTATED_LENGTH)
        given = Fields({"model_max_length": length}, str(settings))
        if given.number("model_max_length", UNSTATED_LENGTH) < UNSTATED_LENGTH:
            given.whole("model_max_length", low=3, high=LONGEST if kind == "CLIPTokenizer" else UNSTATED_LENGTH)
    with quiet_libraries(), library_errors_as_bad_input(folder):
        tokenizer = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
        tokens = tokenizer(_ENGLISH, add_special_tokens=False).input_ids
    if not set(tokens) - {tokenizer.unk_token_id}:
        raise BadInput(
            f"the tokenizer in {folder} knows none of the words and letters of an English text, so that all prompts "
            f"would be alike to it (it has {len(tokenizer)} tokens); copy the folder again, or export it again"
        )
    return tokenizer


def _refuse_without_vocabulary(folder: Path) -> None:
    """Raises `BadInput` for a folder without a vocabulary, which transformers reads as an empty one."""
    for name in _TOKENIZER_FILES:
        if (folder / name).exists():
            open_regular(folder / name).close()  # transformers passes over a pipe or a device without a word
    if not any(all((folder / name).exists() for name in names) for names in _VOCABULARIES):
        raise BadInput(
            f"{folder} has no vocabulary (neither tokenizer.json, nor vocab.json with merges.txt); "
            "copy the folder again, or export it again"
        )


# The scheduler


def read_scheduler(folder: Path, family: Family, remarks: Remarks) -> dict[str, Any]:
    """The settings of a scheduler's folder, of a model of a family.

    Raises `BadInput` where these say no betas, or are no schedule that is supported.
    """
    fields = settings_in(folder, "scheduler_config.json")
    schedule = dict(fields.values)
    made = family.schedule(schedule, TOKENS, fields.source)
    if made.straight:
        remarks.notes += unknown_scheduler_settings(fields)
        return schedule
    if all(schedule.get(name) is None for name in _BETAS):
        raise BadInput(f"{fields.source} has none of {', '.join(_BETAS)}; {SCHEDULER_REMEDY}")
    remarks.notes += unknown_scheduler_settings(fields)
    betas, count = schedule.get("trained_betas"), schedule.get("num_train_timesteps") or made.count
    if betas is not None and count != len(betas):
        remarks.notes.append(
            f"{fields.source} has {len(betas)} trained_betas, and says num_train_timesteps {count}; "
            f"the model has {len(betas)} timesteps here"
        )
    return schedule


@contextmanager
def library_errors_as_bad_input(folder: Path) -> Iterator[None]:
    """Raises, in place of any error of diffusers or transformers within, a `BadInput` of the folder and the reason."""
    try:
        yield
    except IntaglioError:
        raise
    except Exception as error:  # the libraries raise nearly every kind of error for files that are damaged
        reason = " ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__
        raise BadInput(f"{folder} cannot be read ({reason}); export the model again") from error
