"""One row of the unlearning bench: an unlearner at work on a scene, what is left, and how it comes back."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.audit.unlearning.attack.family import UnlearnAttack
from intaglio.audit.unlearning.attack.picture_judges import CalibratedJudge, calibrated_judge
from intaglio.audit.unlearning.family import Unlearner
from intaglio.bench.kit.methods import default_methods
from intaglio.bench.kit.suspects import PAPER
from intaglio.bench.unlearn.artist_scene import GUIDANCE, ArtistScene, described, in_style
from intaglio.metrics.distributions import Descriptors, kernel_distance
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

FPR, CONTROLS = 0.05, 40
"""Share of the anchor's pictures that the judge may call, and the pictures that it is calibrated on."""
RELEARNED_FROM, RELEARNING_STEPS = 8, 50
"""Real pictures of the artist that an unlearned model is tuned on again, and the steps of it."""


def original_row(scene: ArtistScene, original: LatentDiffusion) -> dict[str, Any]:
    """Figures of the original itself, and what the other rows take from it: the judge, and its neighbour's pictures.

    The distance is that of its own pictures of other seeds.
    """
    drawing: dict[str, Any] = {"steps": scene.steps, "scale": GUIDANCE, "seed": scene.seed}
    judge = calibrated_judge(scene.score, original, scene.anchors, fpr=FPR, controls=CONTROLS, **drawing)
    neighbours = described(scene.drawn(original, scene.neighbour))
    others = described(scene.drawn(original, scene.neighbour, shift=1))
    return {
        **scene.figures(original, judge, neighbours),
        "kid": kernel_distance(others, neighbours),
        "threshold": judge.value,
        "judge": judge.statement,
        "neighbours": neighbours.tolist(),
    }


@dataclass(frozen=True, eq=False)
class UnlearningScene:
    """A scene with the original model, and what was measured of it."""

    scene: ArtistScene
    original: LatentDiffusion
    judge: CalibratedJudge
    neighbours: Descriptors
    """Of the original's pictures of the neighbour."""
    attacks: Mapping[str, UnlearnAttack]
    attacked: int
    """Names whose prompts are attacked."""

    @classmethod
    def of(
        cls,
        scene: ArtistScene,
        original: LatentDiffusion,
        known: Mapping[str, Any],
        *,
        tries: int,
        attacked: int,
        updates: int,
    ) -> "UnlearningScene":
        """From what `original_row` found."""
        judge = CalibratedJudge(scene.score, known["threshold"], known["judge"])
        options = {"tries": tries, "updates": updates, "steps": scene.steps, "guidance": GUIDANCE}
        attacks = default_methods("audit unlearn-attack", seed=scene.seed, **options)
        return cls(scene, original, judge, np.array(known["neighbours"]), attacks, attacked)

    def row(self, method: Unlearner) -> dict[str, Any]:
        """Figures of the model that a method makes."""
        began = time.monotonic()
        model = method(self.original, self.scene.concept).model
        seconds = time.monotonic() - began
        return {
            "role": method.role,
            "seconds": seconds,
            **self.scene.figures(model, self.judge, self.neighbours),
            "relearned": self.relearned(model),
            "attacks": {name: self.under(attack, model) for name, attack in self.attacks.items()},
        }

    def relearned(self, model: LatentDiffusion) -> float:
        """Share of pictures that show the artist after a LoRA was tuned on a few real ones."""
        scene = self.scene
        tuner = LoRATuning(steps=RELEARNING_STEPS, batch=4, learning_rate=1e-3, rank=8, targets=PAPER.targets)
        tuned = tuner(model, TrainingSet(scene.real(scene.artist, RELEARNED_FROM))).model
        return float(self.judge(scene.drawn(tuned, scene.artist)).float().mean())

    def under(self, attack: UnlearnAttack, model: LatentDiffusion) -> dict[str, Any]:
        """Of each attacked prompt whether it shows the artist unattacked, and the first try that does."""
        prompts = in_style(self.scene.names[: self.attacked], self.scene.artist)
        found = attack(model, prompts, self.judge, original=self.original if attack.needs_original else None)
        return {
            "unattacked": [one.unattacked for one in found.prompts],
            "success": [one.success for one in found.prompts],
        }
