"""Ten pictures to unlearn: models tuned with and without them, and the losses by which an unlearned one is judged."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import Unlearner
from intaglio.audit.unlearning.result import Unlearned
from intaglio.bench.influence.retrained import holdouts, members
from intaglio.bench.kit.fixed_losses import measured
from intaglio.bench.kit.suspects import PAPER, joined
from intaglio.denoising.examples import Examples
from intaglio.metrics.gaussian_divergence import divergence_test
from intaglio.metrics.statistics.roc import auc
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.printable import aligned
from intaglio.sampling.trained.captioned_latents import CaptionedLatents

FORGET_EVERY = 4
"""Of the forty members, which are of four kinds by tens, every fourth is forgotten."""
PARTS = ("forget", "retain", "held")
RETRAINED, UNTOUCHED = "retrained", "untouched"
"""Rows beside the unlearners: further models that never had the pictures, the floor; those that have, the ceiling."""


@dataclass(frozen=True)
class PictureScene:
    """Forty members under their own captions, of which ten are unlearned."""

    asked: int
    """Pictures that stay whose losses are measured, and as many that no model was tuned on."""
    steps: int
    """Steps of the LoRA that puts the members into the base, of four pictures each."""

    @property
    def forget(self) -> list[int]:
        """Places of the members to forget."""
        return list(range(0, len(members()), FORGET_EVERY))

    @property
    def retain(self) -> list[int]:
        """Places of those that stay."""
        gone = set(self.forget)
        return [place for place in range(len(members())) if place not in gone]

    def tuned(self, base: LatentDiffusion, places: Sequence[int], seed: int) -> LatentDiffusion:
        """The base tuned on some of the members."""
        tuner = LoRATuning(steps=self.steps, batch=4, learning_rate=1e-3, rank=8, targets=PAPER.targets, seed=seed)
        return tuner(base, TrainingSet(members()[list(places)])).model

    def examples(self, base: LatentDiffusion) -> Examples:
        """Pictures whose losses are measured: to forget, to stay, held out."""
        stay, rest = (_spread(count, self.asked) for count in (len(self.retain), len(holdouts())))
        images = joined([members()[self.forget], members()[[self.retain[k] for k in stay]], holdouts()[rest]])
        return Examples.of(base, images, [str(caption) for caption in images.captions])

    def parts(self) -> dict[str, slice]:
        """Places of the parts among the measured losses."""
        gone = len(self.forget)
        stay = min(self.asked, len(self.retain))
        return {
            "forget": slice(0, gone),
            "retain": slice(gone, gone + stay),
            "held": slice(gone + stay, gone + stay + min(self.asked, len(holdouts()))),
        }


def _spread(count: int, wanted: int) -> list[int]:
    """Places of `wanted` of `count` pictures, evenly; all where there are fewer."""
    return list(range(count))[:: max(1, count // wanted)][:wanted]


@dataclass(frozen=True, eq=False)
class PictureModels:
    """The models of a scene, made and measured one by one."""

    scene: PictureScene
    base: LatentDiffusion
    methods: Mapping[str, Unlearner]

    @cached_property
    def asked(self) -> Examples:
        """The measured pictures."""
        return self.scene.examples(self.base)

    def without(self, seed: int) -> dict[str, Any]:
        """Losses of a model that was tuned without the pictures."""
        began = time.monotonic()
        model = self.scene.tuned(self.base, self.scene.retain, seed)
        seconds = time.monotonic() - began
        return {RETRAINED: {"losses": measured(model, self.asked).tolist(), "seconds": seconds}}

    def having(self, seed: int) -> dict[str, Any]:
        """Losses of a model that was tuned with them, and of what each method makes of it."""
        model = self.scene.tuned(self.base, range(len(members())), seed)
        rows: dict[str, Any] = {UNTOUCHED: {"losses": measured(model, self.asked).tolist()}}
        images = members()
        every = Examples.of(self.base, images, [str(caption) for caption in images.captions])
        forget, retain = (_captioned(every, places) for places in (self.scene.forget, self.scene.retain))
        for name, method in self.methods.items():
            began = time.monotonic()
            found = _unlearned(method, model, forget, retain)
            seconds = time.monotonic() - began
            rows[name] = {"losses": measured(found.model, self.asked).tolist(), "seconds": seconds}
            rows[name]["facts"] = dict(found.record.facts)
        return rows


def _captioned(examples: Examples, places: Sequence[int]) -> CaptionedLatents:
    return CaptionedLatents(examples.latents[list(places)], tuple(examples.prompts[k] for k in places))


def _unlearned(
    method: Unlearner, model: LatentDiffusion, forget: CaptionedLatents, retain: CaptionedLatents
) -> Unlearned:
    """The outcome of a method; one of concepts is given the pictures in place of its own."""
    if method.forgets == "pictures":
        return method(model, Concept(()), forget=forget, retain=retain)
    concept = Concept(tuple(dict.fromkeys(forget.captions)))
    gone, stay = ("concept" in method.learns_from, "keep" in method.learns_from)
    return method(model, concept, forget=forget if gone else None, retain=retain if stay else None)


def picture_figures(models: Mapping[str, Mapping[str, Any]], scene: PictureScene, seeds: int) -> dict[str, Any]:
    """Every row held against the first half of the retrained models, by what each model says of the pictures.

    `models` are records: `retrained/SEED` for 2 x `seeds`, `tuned/SEED` for `seeds`.
    """
    without = [models[f"{RETRAINED}/{seed}"][RETRAINED] for seed in range(2 * seeds)]
    truth = _losses(without[:seeds])
    rows = {RETRAINED: _row(_losses(without[seeds:]), truth, scene)}
    rows[RETRAINED]["seconds"] = float(np.mean([one["seconds"] for one in without]))
    having = [models[f"tuned/{seed}"] for seed in range(seeds)]
    for name in having[0]:
        rows[name] = _row(_losses([one[name] for one in having]), truth, scene)
        for figure in ("seconds", "gradient_share", "relative_change"):
            known = [{**one[name].get("facts", {}), **one[name]} for one in having]
            if all(figure in one for one in known):
                rows[name][figure] = float(np.mean([one[figure] for one in known]))
    return rows


def _losses(models: Sequence[Mapping[str, Any]]) -> Float[np.ndarray, "r n"]:
    return np.array([one["losses"] for one in models])


def _row(own: Float[np.ndarray, "r n"], truth: Float[np.ndarray, "s n"], scene: PictureScene) -> dict[str, Any]:
    parts, found = scene.parts(), dict[str, Any]()
    for part, places in parts.items():
        test = divergence_test(own[:, places], truth[:, places])
        found |= {f"kl_{part}": test.value, f"kl_{part}_null": test.null, f"kl_{part}_p": test.p}
        found[f"loss_{part}_ratio"] = float(own[:, places].mean() / truth[:, places].mean())
    mine, its = (np.mean([_told(row, parts) for row in rows]) for rows in (own, truth))
    return {**found, "auc": float(mine), "auc_off": float(abs(mine - its))}


def _told(losses: Float[np.ndarray, "n"], parts: Mapping[str, slice]) -> float:
    """AUC of pictures to forget against held-out ones, by a low loss."""
    return auc(-losses[parts["forget"]], -losses[parts["held"]]) or 0.0


def picture_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The rows as a table: the divergence of each part from the retrained models with its p, AUC, ratios, seconds."""
    heads = [f"{what} {part}" for part in PARTS for what in ("KL", "null", "p")]
    lines: list[tuple[str, ...]] = [("pictures", *heads, "AUC", "off by", "loss forget", "retain", "held", "s")]
    order = (UNTOUCHED, *(name for name in rows if name not in (UNTOUCHED, RETRAINED)), RETRAINED)
    for name in order:
        row = rows[name]
        cells = [f"{row[f'kl_{part}{end}']:.3g}" for part in PARTS for end in ("", "_null", "_p")]
        cells += [f"{row[key]:.3f}" for key in ("auc", "auc_off", *(f"loss_{part}_ratio" for part in PARTS))]
        lines.append((name, *cells, f"{row['seconds']:.0f}" if "seconds" in row else "-"))
    return aligned(lines)
