"""Training of a classifier through a head on the few concepts that a picture has most of."""

import copy
import math
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm, linear, normalize

from intaglio.errors import IntaglioError, require
from intaglio.explain.heads.concept_reading import (
    FEWEST,
    centre_count,
    concept_scores,
    kept_count,
    kept_scores,
    unit_centres,
)
from intaglio.explain.heads.fitted_head import Places
from intaglio.explain.heads.place_features import layer_read, over_grid
from intaglio.explain.logistic_fits import chosen_logistic, plain_weights
from intaglio.explain.picture_features import FeatureSource, LayerFeatures
from intaglio.explain.probe_scores import Codes
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import Objective, StepLoss, backward, train
from intaglio.learning.settings import CosineSettings
from intaglio.learning.step_randomness import batch_at
from intaglio.learning.trainer import Trainer
from intaglio.models.classifiers import PictureClassifier
from intaglio.models.module_outputs import outputs_of
from intaglio.models.scored_network import classifier_score
from intaglio.runs.run import Run

HEAD = "label"
"""The only head of a trained network."""
THROUGH, PLAIN = "through concepts", "plain"
"""Names of the trainings, and of their states and logs."""
HEAD_SHARE = 5.0
"""Rate of the concepts and their head, as a multiple of the network's: they must follow its features as these move."""
SAVED_S = 20.0
"""Seconds between two saved states, beside one an epoch."""


Pixels = Float[Tensor, "m 3 h w"]
ConceptHead = tuple[Float[Tensor, "c d"], Float[Tensor, "k c"], Float[Tensor, "k"]]
"""Concepts, and weights and biases of a head on them."""


@dataclass(frozen=True, eq=False)
class TuningLessons:
    """Pictures that a network learns from, and the linear head that its training begins with."""

    pixels: Pixels
    codes: Int[Tensor, "m"]
    classes: tuple[str, ...]
    groups: Int[ndarray, "m"]
    device: torch.device
    """Where the network computes; pictures are on the CPU."""
    plain: tuple[Float[ndarray, "k f"], Float[ndarray, "k"]]
    """Weights and biases of a linear head on what the untouched network's own head takes."""


@dataclass(frozen=True, kw_only=True)
class NetworkTuning:
    """The training: Adam on all weights, while the statistics of normalisation stay as they are."""

    concepts: int
    """Concepts that are looked for, at most."""
    sparsity: float
    """Share of concepts left out."""
    weight: float
    """Of the loss through concepts, beside 1 of the plain one."""
    epochs: int
    rows: int
    """Pictures of an update."""
    learning_rate: float
    """Highest, which falls along half a cosine."""
    strengths: tuple[float, ...]
    """Of the heads that the training begins with."""
    side: int
    """Cells of a side of the grid of places."""
    seed: int

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, f"taught_sparsity must be in [0, 1), not {self.sparsity}")
        require(0 < self.weight < math.inf, f"weight must be above 0, not {self.weight}")
        require(0 < self.learning_rate < math.inf, f"learning_rate must be above 0, not {self.learning_rate}")
        require(self.epochs >= 1, f"epochs must be 1 or more, not {self.epochs}")
        require(self.rows >= 2, f"rows must be 2 or more, not {self.rows}")

    def refusal(self, source: FeatureSource) -> str:
        """Sentence on features of no network that can be trained; empty where there is one."""
        if isinstance(source, LayerFeatures) and isinstance(source.scored.network, PictureClassifier):
            return ""
        return (
            "this method trains the network that features are of, so it needs one that it can train: give --network "
            "a .safetensors file that Intaglio wrote"
        )

    def updates(self, pictures: int) -> int:
        """Updates of all epochs over so many pictures."""
        return math.ceil(self.epochs * pictures / self.rows)

    def lessons(
        self, source: LayerFeatures, pixels: Pixels, truth: Codes, groups: Codes, classes: tuple[str, ...]
    ) -> TuningLessons:
        """Lessons of m pictures."""
        with torch.no_grad():
            parts = [source.scored.features(part).cpu() for part in pixels.split(self.rows)]
        own = torch.cat(parts).double().numpy()
        plain = chosen_logistic(own, truth, groups, self.strengths, self.seed)
        return TuningLessons(
            pixels, torch.from_numpy(truth), classes, groups, source.scored.device, plain_weights(plain)
        )

    def taught(self, source: LayerFeatures, lessons: TuningLessons, name: str, run: Run) -> LayerFeatures:
        """Features of the same layer of a network that has learnt; `source` is left as it was.

        Args:
            source: of a classifier that Intaglio wrote.
            lessons: what it learns.
            name: `THROUGH`, or `PLAIN` for a training without the loss through concepts.
            run: log and state; a killed training goes on.
        """
        network = beginning(source, lessons)
        trainer, objective = self.begun(source, lessons, network, name)
        often = max(1, trainer.settings.steps // self.epochs)
        checkpoints = Checkpoints(run, every_s=SAVED_S, every=often, streams=(name,), state=name)
        checkpoints.restore(trainer)
        train(trainer, objective, run, checkpoints, label=name, stream=name)
        trainer.export()
        places = self._places(network, network.get_submodule(layer_read(source)), lessons)
        if centre_count(places.reshape(-1, places.shape[2]), self.concepts) < FEWEST:
            raise IntaglioError(
                "the training has made the features of all pictures alike; give a lower --learning-rate"
            )
        with torch.no_grad():
            for weight in network.parameters():  # measured as it will be read
                weight.copy_(weight.half().float() if weight.dim() > 1 else weight)
        return LayerFeatures(
            classifier_score(network.requires_grad_(False), HEAD, side=source.scored.side), source.layer
        )

    def begun(
        self, source: LayerFeatures, lessons: TuningLessons, network: PictureClassifier, name: str
    ) -> tuple[Trainer, Objective]:
        """The training of that name before its first update, and its objective."""
        if name != THROUGH:
            return self.training(source, lessons, network, None)
        module = network.get_submodule(layer_read(source))
        concepts, head = self.found_concepts(self._places(network, module, lessons), lessons)
        return self.training(source, lessons, network, (concepts, *head))

    def training(
        self, source: LayerFeatures, lessons: TuningLessons, network: PictureClassifier, given: ConceptHead | None
    ) -> tuple[Trainer, Objective]:
        """A training of a network and of given concepts with their head, or of the network alone; its objective."""
        steps, count = self.updates(len(lessons.pixels)), len(lessons.classes)
        settings = CosineSettings(steps=steps, learning_rate=self.learning_rate, weight_decay=0.0)
        device, module = lessons.device, network.get_submodule(layer_read(source))
        counts = lessons.codes.bincount(minlength=count)
        balance = (len(lessons.codes) / (count * counts)).float().to(device)
        parts = ("concepts/centres", "concepts/weight", "concepts/bias")
        through = dict[str, Tensor]()
        if given is not None:
            through |= zip(parts, given, strict=True)
        shares = dict.fromkeys(through, HEAD_SHARE)
        trainer = Trainer(dict(network.named_parameters()), settings, beside=through, shares=shares)

        def objective(step: int) -> StepLoss:
            places = batch_at(range(len(lessons.pixels)), step, self.rows, self.seed, "pictures")
            codes = lessons.codes[places].to(device)
            with outputs_of([module]) as maps:
                logits = network.logits(lessons.pixels[places].to(device), HEAD)
            loss = cross_entropy(logits, codes, balance)
            if through:
                centres, weight, bias = through.values()
                kept = kept_of(linear(over_grid(maps[-1], self.side).mean(1), normalize(centres)), self.sparsity)
                loss = loss + self.weight * cross_entropy(linear(kept, weight, bias), codes, balance)
            return backward(loss)

        return trainer, objective

    def found_concepts(self, places: Places, lessons: TuningLessons) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Concepts [c, d] of features, with weights [k, c] and biases [k] of the head on those that are left.

        Raises `BadInput` for features of places that hardly differ.
        """
        concepts = unit_centres(places.reshape(-1, places.shape[2]), self.concepts, self.seed)
        kept = kept_scores(concept_scores(places.mean(1), concepts), self.sparsity)
        truth = lessons.codes.numpy()
        fitted = plain_weights(chosen_logistic(kept, truth, lessons.groups, self.strengths, self.seed, centred=False))
        whole = (torch.from_numpy(np.ascontiguousarray(one)).float() for one in (concepts, *fitted))
        found, weight, bias = (one.to(lessons.device) for one in whole)
        return found, (weight, bias)

    @torch.no_grad()
    def _places(self, network: PictureClassifier, module: nn.Module, lessons: TuningLessons) -> Places:
        """Features of the places of all pictures."""
        parts = list[Tensor]()
        for some in lessons.pixels.split(self.rows):
            with outputs_of([module]) as maps:
                network.features(some.to(lessons.device))
            parts.append(over_grid(maps[-1], self.side).cpu())
        return torch.cat(parts).double().numpy()


def beginning(source: LayerFeatures, lessons: TuningLessons) -> PictureClassifier:
    """A copy of the network with one head of the lessons' labels, which begins as the linear head of its features."""
    network = cast(PictureClassifier, copy.deepcopy(source.scored.network))
    weights, biases = (torch.from_numpy(np.ascontiguousarray(one)).float() for one in lessons.plain)
    head = nn.utils.skip_init(nn.Linear, weights.shape[1], weights.shape[0])
    head.load_state_dict({"weight": weights, "bias": biases})
    network.classes, network.heads = {HEAD: lessons.classes}, nn.ModuleDict({HEAD: head.to(source.scored.device)})
    return network.eval()


def kept_of(scores: Float[Tensor, "m c"], sparsity: float) -> Float[Tensor, "m c"]:
    """`concept_scores` and `kept_scores` of products with concepts, which can be differentiated."""
    level = layer_norm(scores, scores.shape[1:])
    sizes = level.detach().abs()
    place = scores.shape[1] - 1 - kept_count(scores.shape[1], sparsity)
    return level * (sizes > sizes.sort(1).values[:, [place]])
