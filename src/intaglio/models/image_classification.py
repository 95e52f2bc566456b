"""Image classifiers from local files, ours, transformers' or TorchScript's, as networks whose scores are explained."""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from intaglio.data_files import Fields
from intaglio.errors import BadInput
from intaglio.files import file_hash
from intaglio.metrics.similarity.local_networks import IMAGENET, Preprocessing, pretrained, read_preprocessing
from intaglio.metrics.similarity.script_check import first_line, load_script
from intaglio.models.classifiers import load_classifier
from intaglio.models.scored_network import Score, ScoredNetwork, classifier_score
from intaglio.runs.plain_json import digest

ENDING = "ForImageClassification"
"""Of the architecture's name in `config.json`."""
ONLY_HEAD = "class"
"""Name of the head of a network whose heads have none."""
SIDE = 64
"""Pixels of a side of pictures for a network that does not say what it wants, as those of the testbed are."""
PUBLISHED = Preprocessing(resize=(224, 224), filter="bilinear", mean=IMAGENET[0], deviation=IMAGENET[1])
"""Of a folder that says nothing of it."""

Pictures = Float[Tensor, "n 3 h w"]


def load_scored(
    path: Path, head: str = "", *, score: Score = "log-odds", side: int = SIDE, device: str | torch.device = "cpu"
) -> ScoredNetwork:
    """A classifier from a file or folder.

    Args:
        path: a `.safetensors` file that Intaglio wrote, a folder of transformers with an image classifier and
            `model.safetensors`, or a TorchScript file, which is loaded only where it does nothing but compute.
        head: of a file of Intaglio's that has several; empty takes its first.
        score: of a class.
        side: pixels of a side of the pictures that will be asked about.
        device: where it computes.

    Raises:
        BadInput: for a file that is none of these, damaged, or pickled; for a head that there is not; and for a network
            whose output is no row of logits.
    """
    if path.is_dir():
        found: ScoredNetwork = _of_transformers(path, score, side, torch.device(device))
    elif path.suffix == ".safetensors":
        classifier = load_classifier(path, device)
        return classifier_score(classifier, head or next(iter(classifier.classes)), score, side)
    else:
        unnamed = ScoredScript(load_script(path, torch.device(device)), ONLY_HEAD, (), side, score, path=path)
        with torch.no_grad():
            count = unnamed.raw_logits(torch.ones(1, 3, side, side, device=unnamed.device)).shape[1]
        found = replace(unnamed, classes=tuple(map(str, range(count))))
    if head not in ("", ONLY_HEAD):
        raise BadInput(f"{path} has one head, called {ONLY_HEAD!r}, and no {head!r}; leave --head out")
    return found


def network_side(path: Path) -> int:
    """Pixels of a side that a network prepares its pictures to; 64 where it takes them as they are."""
    if not path.is_dir():
        return SIDE
    return _preprocessing(path).side or SIDE


def network_hash(path: Path) -> str:
    """SHA-256 over all files that a network is read from; 64 hex digits."""
    if not path.is_dir():
        return file_hash(path)
    files = [path / name for name in ("config.json", "model.safetensors", "preprocessor_config.json")]
    return digest([file_hash(one) if one.is_file() else None for one in files])


@dataclass(frozen=True, eq=False)
class ScoredTransformer(ScoredNetwork):
    """An image classifier of transformers."""

    preprocessing: Preprocessing = PUBLISHED
    """Pictures to the network's input."""

    def raw_logits(self, pixels: Pictures) -> Float[Tensor, "n k"]:
        """Logits of pictures that are prepared as the network wants them. Raises `BadInput` where it does not."""
        given = self.preprocessing(pixels)
        try:
            return self.network(pixel_values=given).logits
        except ValueError as error:
            raise BadInput(
                f"the network cannot take pictures of {given.shape[-1]}x{given.shape[-2]} pixels "
                f"({first_line(error)}); correct its preprocessor_config.json"
            ) from error

    def features(self, pixels: Pictures) -> Float[Tensor, "n f"]:
        """The pooled output of the network below the head, or the mean of its last hidden state."""
        given = self.preprocessing(pixels.to(self.device))
        found = getattr(self.network, "base_model")(pixel_values=given)  # noqa: B009 - transformers' own property
        pooled = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        last = found.last_hidden_state
        return last.flatten(2).mean(2) if last.dim() == 4 else last.mean(1)


@dataclass(frozen=True, eq=False)
class ScoredScript(ScoredNetwork):
    """A TorchScript program from pictures to logits; its modules cannot be hooked."""

    path: Path | None = None
    """Of the file, for errors."""

    @property
    def device(self) -> torch.device:
        """Of the weights; the CPU where there are none."""
        return next((one.device for one in self.network.parameters()), torch.device("cpu"))

    def raw_logits(self, pixels: Pictures) -> Float[Tensor, "n k"]:
        """The output of the program. Raises `BadInput` for what is no row of two logits or more for each picture."""
        try:
            found: object = self.network(pixels)
        except RuntimeError as error:
            raise BadInput(
                f"{self.path} cannot take pictures of {self.side}x{self.side} pixels ({first_line(error)}); give "
                "another --resolution"
            ) from error
        if isinstance(found, Tensor) and found.dim() == 2 and len(found) == len(pixels) and found.shape[1] > 1:
            return found
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise BadInput(f"{self.path} gives {shape}, where a row of logits a picture is due; export a classifier")

    def features(self, pixels: Pictures) -> Float[Tensor, "n f"]:
        """The logits: there is no other layer to be asked."""
        return self.raw_logits(pixels.to(self.device))

    @property
    def layers(self) -> tuple[str, ...]:
        """None: hooks on the modules of TorchScript do not fire."""
        return ()

    @property
    def stage_ends(self) -> tuple[str, ...]:
        """None, as there are no `layers`."""
        return ()

    def check_layers(self) -> None:
        """Raises `BadInput`."""
        raise BadInput(
            f"{self.path} is TorchScript, whose layers cannot be looked into; give the network as a folder of "
            "transformers, or take a method that asks it from outside, such as rise"
        )


def _of_transformers(folder: Path, score: Score, side: int, device: torch.device) -> ScoredTransformer:
    """Raises `BadInput` for a folder without an image classifier, or whose shape is not that of its weights."""
    from transformers import AutoConfig, AutoModelForImageClassification

    config = Fields.read(folder / "config.json", "give a folder written by transformers' save_pretrained")
    names = config.values.get("architectures") or [""]
    if not str(names[0]).endswith(ENDING):
        raise BadInput(f"{folder} holds {names[0] or 'no named network'}, and no image classifier ({ENDING})")
    if not (folder / "model.safetensors").is_file():
        raise BadInput(
            f"{folder} has no model.safetensors; pickled weights (.bin) are not loaded: convert them with "
            "save_pretrained(safe_serialization=True) where you trust their source"
        )
    try:
        known = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):  # memory is taken for what the file has alone
            empty: Any = AutoModelForImageClassification.from_config(known, trust_remote_code=False)
    except Exception as error:  # transformers raises whatever it likes
        raise BadInput(f"{folder} cannot be read as an image classifier ({first_line(error)})") from error
    _check_size(empty, folder / "model.safetensors")
    network = pretrained(AutoModelForImageClassification, folder, device)
    labels = getattr(network.config, "id2label", {})
    classes = tuple(str(labels.get(place, place)) for place in range(int(network.config.num_labels)))
    return ScoredTransformer(network, ONLY_HEAD, classes, side, score, _preprocessing(folder))


def _preprocessing(folder: Path) -> Preprocessing:
    return read_preprocessing(folder / "preprocessor_config.json", PUBLISHED, both_sides=True)


def _check_size(empty: nn.Module, weights: Path) -> None:
    """Raises `BadInput` where the configuration asks for more numbers than the file has."""
    try:
        with safe_open(weights, framework="pt") as file:
            stored = sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{weights} is damaged ({first_line(error)}); export the network again") from error
    if (wanted := sum(one.numel() for one in empty.parameters())) > stored:
        raise BadInput(
            f"{weights} has {stored:,} numbers, where its config.json asks for {wanted:,}; export the network again"
        )
