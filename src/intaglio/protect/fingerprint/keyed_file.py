"""`KeyedDecoder`: what a mark learnt once for a model's decoder, for all messages, and its `.safetensors` file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from safetensors.torch import save_file
from torch import Tensor, nn

from intaglio.data_files import parse_json
from intaglio.errors import BadInput
from intaglio.files import atomic_path
from intaglio.models.bit_extractors import BitExtractor
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.weights_file import checked, read_weights
from intaglio.protect.fingerprint.decoder_tuning import decoder_of, with_own_decoder
from intaglio.protect.fingerprint.keyed_decoder import KeyMap, Scales, bake, channels_of, keyed_layers, new_key_map

KIND = "intaglio-keyed-decoder-1"
"""The mark of the file's metadata."""
REMEDY = "give the file that intaglio protect fingerprint made with the first user's mark"
MOST = 4096
"""Largest number of layers, of channels of one, and of bits that a file may ask for."""


@dataclass(frozen=True, eq=False)
class KeyedDecoder:
    """The weights of a decoder, the map from messages to scales of them, and the reader of the messages."""

    autoencoder: str
    """Fingerprint of the autoencoder that it was trained from."""
    decoder: Mapping[str, Tensor]
    """The trained weights before they are scaled, by their names in the decoder."""
    map: KeyMap
    reader: BitExtractor
    settings: Mapping[str, Any]
    """Of the training, plain values."""

    @property
    def bits(self) -> int:
        """Length of the messages."""
        return self.reader.bits

    @torch.no_grad()
    def scales(self, message: Bool[Tensor, " b"]) -> Scales:
        """The scales that a message gives each layer, one row."""
        return self.map(message.float()[None])

    def baked(self, model: LatentDiffusion, scales: Scales, name: str) -> LatentDiffusion:
        """A model with the trained decoder, its weights times the scales.

        Raises `BadInput` for a model with another autoencoder than that of the training.
        """
        self.check_model(model)
        changed = with_own_decoder(model, name)
        try:
            decoder_of(changed).load_state_dict(self.decoder)
            bake(list(keyed_layers(changed).values()), scales)
        except (RuntimeError, ValueError) as error:
            raise BadInput(
                f"what the mark was trained to does not fit the decoder of {model.name}; {REMEDY}"
            ) from error
        return changed

    def check_model(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model with another autoencoder than that of the training."""
        if (found := model.part_fingerprint("autoencoder")) != self.autoencoder:
            raise BadInput(
                f"the mark was trained for another autoencoder ({self.autoencoder[:16]}) than that of {model.name} "
                f"({found[:16]}); give the model that it was trained for, or train it anew with another --key"
            )

    def save(self, path: Path) -> None:
        """Writes all weights in single precision, atomically; their owner alone may read the file."""
        parts = {"decoder": self.decoder, "map": self.map.state_dict(), "reader": _floats(self.reader)}
        tensors = {
            f"{part}/{k}": one.detach().cpu().float().contiguous()
            for part, of in parts.items()
            for k, one in of.items()
        }
        channels = [head.out_features for head in self.map.heads]
        about = {"autoencoder": self.autoencoder, "bits": self.bits, "widths": self.reader.widths, "channels": channels}
        metadata = {name: json.dumps(value) for name, value in {**about, "settings": dict(self.settings)}.items()}
        with atomic_path(path) as temporary:
            temporary.touch(0o600)
            save_file(tensors, temporary, {"kind": KIND, **metadata})
            temporary.chmod(0o600)

    @classmethod
    def load(cls, path: Path) -> "KeyedDecoder":
        """A file that `save` wrote, on the CPU, without gradients. Raises `BadInput` for any other file."""
        tensors, about = read_weights(path, "trained decoder of a mark")
        if about.get("kind") != KIND:
            raise BadInput(f"{path} holds no trained decoder of a mark; {REMEDY}")
        groups: dict[str, dict[str, Tensor]] = {"decoder": {}, "map": {}, "reader": {}}
        try:
            known = {name: parse_json(text, str(path)) for name, text in about.items() if name != "kind"}
            (bits,), channels, widths = (_sizes(one) for one in ([known["bits"]], known["channels"], known["widths"]))
            for name, one in tensors.items():
                part, _, own = name.partition("/")
                groups[part][own] = checked(one, path, name).float().clone()  # the file may be written over
            keys, reader = KeyMap(bits, channels), _reader(bits, widths, groups["reader"])
            keys.load_state_dict(groups["map"], assign=True)
            autoencoder, settings = str(known["autoencoder"]), dict(known["settings"])
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise BadInput(f"{path} is damaged: its tensors do not fit its metadata; {REMEDY}") from error
        parts: tuple[nn.Module, nn.Module] = (keys, reader)
        for one in parts:
            one.eval().requires_grad_(False)
        return cls(autoencoder, groups["decoder"], keys, reader, settings)


def new_keyed_parts(model: LatentDiffusion, source: BitExtractor, bits: int, seed: int) -> tuple[KeyMap, BitExtractor]:
    """An untrained map for a model's decoder, and a copy of an extractor with its first logits alone."""
    state = _floats(source)
    state |= {name: state[name][:bits] for name in ("head.weight", "head.bias")}
    reader = _reader(bits, source.widths, {name: one.clone() for name, one in state.items()})
    keys = new_key_map(bits, [channels_of(layer) for layer in keyed_layers(model).values()], seed)
    return keys.to(model.device), reader.eval().to(model.device)


def _reader(bits: int, widths: Sequence[int], state: Mapping[str, Tensor]) -> BitExtractor:
    """An extractor with these weights, whose memory alone is taken. Raises `RuntimeError` where they do not fit."""
    with torch.device("meta"):
        reader = BitExtractor(bits, widths)
    counters = {k: torch.zeros((), dtype=torch.long) for k in reader.state_dict() if "num_batches" in k}
    reader.load_state_dict({**state, **counters}, assign=True)
    return reader


def _floats(reader: BitExtractor) -> dict[str, Tensor]:
    return {name: one for name, one in reader.state_dict().items() if "num_batches" not in name}


def _sizes(stored: object) -> Sequence[int]:
    """Whole numbers from 1, one or more. Raises `ValueError` for others."""
    if not isinstance(stored, list) or not 1 <= len(stored) <= MOST:
        raise ValueError("no sizes")
    if not all(type(one) is int and 1 <= one <= MOST for one in stored):
        raise ValueError("sizes beyond reason")
    return stored
