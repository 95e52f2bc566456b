"""Figures of merges: fine-tunes of the embedded base on few-shot sets, merged, and judged on members and holdouts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from intaglio.adapt.data import training_hash
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.settings import Watch
from intaglio.bench.kit.suspects import PAPER, PROMPT
from intaglio.denoising.picture_samples import picture_samples
from intaglio.images.image_set import ImageSet
from intaglio.learning.checkpoints import STATE
from intaglio.metrics.statistics.roc import auc
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.progress import Show
from intaglio.runs.run import Run
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.loss_rows import gain
from intaglio.shrink.merging.methods.dare import Dare
from intaglio.shrink.merging.methods.linear import LinearMerge
from intaglio.shrink.merging.methods.slerp import Slerp
from intaglio.shrink.merging.methods.soup import Soup
from intaglio.shrink.merging.methods.ties import Ties

SETS, QUICK_SETS = 4, 2
"""Few-shot sets, evenly spaced in their list; an even number, since they are also merged in pairs."""
STEPS, QUICK_STEPS = 120, 30
"""Updates of each fine-tune."""
SEEDS = (0, 1)
"""Of the two fine-tunes of a set."""
DRAWS, BATCH = 16, 16
"""Timesteps and noises of each picture, and samples at once."""
SAME_SET: Mapping[str, Merger] = {"soup": Soup(), "slerp": Slerp(), "halfway": LinearMerge(scale=0.5)}
"""Merges of the two fine-tunes of one set; `halfway` is the middle between the base and their soup."""
TWO_SETS: Mapping[str, Merger] = {
    "soup": Soup(),
    "sum": LinearMerge(weights=(1.0, 1.0)),
    "ties": Ties(),
    "dare": Dare(),
    "dare_sum": Dare(weights=(1.0, 1.0)),
    "dare_ties": Dare(form="ties"),
}
"""Merges of two fine-tunes of two sets, with the settings that each method has by default, and sums of updates."""
PARTS = ("members", "holdouts")
Losses = dict[str, np.ndarray]
"""Losses of the pictures of one part, by model; pooled over sets."""


@dataclass(frozen=True)
class MergeBench:
    """Fine-tunes of a base on few-shot sets, in folders of runs, so that none is trained twice."""

    base: LatentDiffusion
    runs: Path
    """Folder of the runs of the fine-tunes."""
    quick: bool = False
    """Two sets and 30 updates in place of four and 120."""
    command: Sequence[str] = ()
    """The command that asks, for the runs."""
    progress: Show = "none"

    @property
    def sets(self) -> tuple[str, ...]:
        """The sets that are tuned on."""
        known, count = testbed.sets(), QUICK_SETS if self.quick else SETS
        return tuple(known[place * len(known) // count] for place in range(count))

    def tuner(self, seed: int) -> DreamBooth:
        """The fine-tune: the dose a step of the audit bench's regime `paper`."""
        steps = {**PAPER.steps, "dreambooth": QUICK_STEPS if self.quick else STEPS}
        found = replace(PAPER, steps=steps).tuner("dreambooth", seed)
        return found if isinstance(found, DreamBooth) else DreamBooth(seed=seed)

    def tuned(self, name: str, seed: int) -> LatentDiffusion:
        """The base tuned on a set's members under one prompt, from its run, or trained into it."""
        data, tuner = PAPER.training_set(name), self.tuner(seed)
        inputs = {
            "model": {"path": self.base.name, "sha256": self.base.fingerprint},
            "images": {"path": name, "sha256": training_hash(data.images, data.prompts)},
        }
        about = {"seed": seed, "device": str(self.base.device), "command": self.command, "progress": self.progress}
        with Run.open(self.runs, "finetune", f"{tuner.name}-to-merge", asdict(tuner), inputs, **about) as run:
            weights = (run.folder or Path()) / "model"
            if run.status != "done":
                found = tuner(self.base, data, run=run, watch=Watch(sample_count=0))
                found.model.save(weights)
                run.finish({"weights": "model", "steps": tuner.steps}, ("model",))
            run.drop_state(STATE)
        model = load_model(weights, device=self.base.device)
        model.name = f"{name} {seed}"
        return model

    def losses(self, models: Mapping[str, LatentDiffusion], images: ImageSet) -> Losses:
        """Denoising losses of pictures under the fine-tunes' prompt, at the same draws for all models."""
        samples = picture_samples(self.base, images.pixels, [PROMPT] * len(images), DRAWS, 0)
        return {name: samples.errors(model, BATCH).double().numpy() for name, model in models.items()}


def merge_figures(
    base: LatentDiffusion, runs: Path, *, quick: bool = False, command: Sequence[str] = (), progress: Show = "none"
) -> dict[str, Any]:
    """Figures of merges of the embedded base's fine-tunes.

    `soup_gain` is how much lower the uniform soup's loss on holdouts is than the mean of the two fine-tunes' that it is
    made of, with a 95% interval by the bootstrap over the pictures of all sets; `soup_gain_members` is the same on the
    pictures that they were trained on. `same_set` has mean losses, and the AUC of members against holdouts by the fall
    of the loss since the base (0.5: nothing leaks). `two_sets` has merges of fine-tunes of two sets, judged on the
    members and holdouts of both: mean losses, and how much lower they are than the mean of both fine-tunes'.

    Args:
        base: the embedded base.
        runs: folder in which the fine-tunes are kept.
        quick: fewer sets and updates.
        command: the command that asks, for the runs.
        progress: how progress is shown.
    """
    bench = MergeBench(base, runs, quick, command, progress)
    same, pairs = _same_set(bench), _two_sets(bench)
    found: dict[str, Any] = {"sets": list(bench.sets), "steps": bench.tuner(0).steps}
    for part, name in (("holdouts", "soup_gain"), ("members", "soup_gain_members")):
        told = gain([same[part][f"tuned_{k}"] for k in range(len(SEEDS))], same[part]["soup"])
        found |= {name: told["gain"], f"{name}_interval_95": told["gain_interval_95"]}
        found[f"{part}_pictures"] = len(same[part]["soup"])
        found[f"sets_soup_below_both_{part}"] = _below_both(same[part], len(bench.sets))
    return {**found, "same_set": _means(same, leak=True), "two_sets": _means(pairs, parts=("own", "other"))}


def _same_set(bench: MergeBench) -> dict[str, Losses]:
    """Losses of the base, of both fine-tunes of each set and of their merges, by part."""
    pooled: dict[str, list[Losses]] = {part: [] for part in PARTS}
    for name in bench.sets:
        tuned = [bench.tuned(name, seed) for seed in SEEDS]
        models = {"base": bench.base, **{f"tuned_{k}": model for k, model in enumerate(tuned)}}
        models |= {key: merger(tuned, bench.base).model for key, merger in SAME_SET.items()}
        for part in PARTS:
            pooled[part].append(bench.losses(models, getattr(testbed.few_shot(name), part)))
    return {part: _joined(each) for part, each in pooled.items()}


def _two_sets(bench: MergeBench) -> dict[str, Losses]:
    """Losses of merges of fine-tunes of two sets, on both sets; `own` is the fine-tune of a picture's own set."""
    pooled: dict[str, list[Losses]] = {part: [] for part in PARTS}
    for pair in zip(bench.sets[::2], bench.sets[1::2], strict=True):
        tuned = [bench.tuned(name, SEEDS[0]) for name in pair]
        models = {key: merger(tuned, bench.base).model for key, merger in TWO_SETS.items()}
        for k, name in enumerate(pair):
            every = {"base": bench.base, "own": tuned[k], "other": tuned[1 - k], **models}
            for part in PARTS:
                pooled[part].append(bench.losses(every, getattr(testbed.few_shot(name), part)))
    return {part: _joined(each) for part, each in pooled.items()}


def _joined(losses: Sequence[Losses]) -> Losses:
    return {name: np.concatenate([each[name] for each in losses]) for name in losses[0]}


def _below_both(losses: Losses, sets: int) -> int:
    """Sets in which the soup's mean loss is below that of each of its fine-tunes."""
    means = {name: values.reshape(sets, -1).mean(1) for name, values in losses.items()}
    lowest = np.minimum(*(means[f"tuned_{k}"] for k in range(len(SEEDS))))
    return int((means["soup"] < lowest).sum())


def _means(losses: Mapping[str, Losses], *, leak: bool = False, parts: Sequence[str] = ()) -> dict[str, Any]:
    """Mean losses by model and part; with `leak` the AUC, with `parts` how much lower than the mean of these models."""
    found: dict[str, dict[str, Any]] = {}
    for name in losses[PARTS[0]]:
        found[name] = {part: float(losses[part][name].mean()) for part in PARTS}
        if leak:
            members, holdouts = (losses[part]["base"] - losses[part][name] for part in PARTS)
            found[name]["leak_auc"] = auc(members, holdouts)
        if parts and name not in (*parts, "base"):
            for part in PARTS:
                told = gain([losses[part][one] for one in parts], losses[part][name])
                found[name] |= {f"{part}_{key}": value for key, value in told.items()}
    return found
