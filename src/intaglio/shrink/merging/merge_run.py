"""A merge as a run: what names it, its plan, and the work that a folder keeps."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.fixed_sampling import own_method, settled
from intaglio.sampling.loop import sample
from intaglio.sampling.plan import picture_calls, planned_seconds
from intaglio.shrink.merging.family import Merger
from intaglio.shrink.merging.loss_rows import gain, loss_rows, mean_with_interval
from intaglio.shrink.merging.merged import CARD, MODEL, Merged
from intaglio.shrink.merging.weight_places import weight_bytes, weights_of

BASE, MERGED = "base", "merged"
"""Names of the base and of the result among a run's pictures and losses; the k-th model is `model-k`."""
PROBE = 1 << 20
"""Numbers of the sum that is timed for the plan."""


@dataclass(frozen=True, eq=False)
class MergeJob:
    """A merge with all that it is given."""

    merger: Merger
    models: Sequence[LatentDiffusion]
    base: LatentDiffusion | None
    choosing: PictureSamples | None
    """Samples of the held-out pictures that models are chosen by."""
    judging: PictureSamples | None
    """Samples of those that the result is judged by."""
    prompt: str
    """Prompt of the pictures that are drawn."""
    samples: int
    """Pictures that each model draws, 0 or more."""
    seed: int
    """Seed of these pictures."""
    batch: int
    """Pictures drawn and samples judged at once, at least 1."""

    @property
    def shown(self) -> dict[str, LatentDiffusion]:
        """The models that are drawn and judged beside the result, by their names in the run."""
        given = {f"model-{k}": model for k, model in enumerate(self.models)}
        return given if self.base is None else {BASE: self.base, **given}

    @property
    def planned(self) -> Calls:
        """Calls of networks of the whole work, beside the merging itself."""
        models, calls = len(self.shown) + 1, Calls()
        if self.samples:
            calls += picture_calls(self.models[0]).times(self.samples * models)
        if self.judging is not None:
            calls += Calls(forward=len(self.judging)).times(models)
        if self.choosing is not None and self.merger.needs_pictures:
            calls += Calls(forward=len(self.choosing)).times(2 * len(self.models) - 1)
        return calls

    def plan(self) -> dict[str, Any]:
        """Bytes of all models that are given and of the merged one, calls, and about how many seconds all takes."""
        numbers = sum(weight.numel() for weight in weights_of(self.models[0]).values())
        merging = self.merger.sums * numbers * _seconds_a_number(len(self.models))
        networks = planned_seconds(self.planned, self.models[0], self.batch)
        given = [*self.models, *(() if self.base is None else (self.base,))]
        return {
            "models": len(self.models),
            "bytes_before": sum(map(weight_bytes, given)),
            "bytes_after": weight_bytes(self.models[0]),
            "calls": asdict(self.planned),
            "seconds": merging + networks,
        }


def run_hashes(
    models: Sequence[LatentDiffusion], base: LatentDiffusion | None, images: Sequence[tuple[str, str]] = ()
) -> dict[str, str]:
    """Sha256 of each input that names the run, by its role; `images` has hash and prompt of each picture."""
    found = {f"model_{k}": model.fingerprint for k, model in enumerate(models)}
    if base is not None:
        found["base"] = base.fingerprint
    return {**found, "images": digest(list(images))} if images else found


def merge(job: MergeJob, run: Run) -> None:
    """Merges, stores the model in the run's folder with pictures and losses, and finishes the run.

    Errors are those of the method.
    """
    found = job.merger(job.models, job.base, judged=job.choosing, run=run)
    for note in found.notes:
        run.warn(note)
    folder = run.folder or Path()
    found.save(folder)
    every = {**job.shown, MERGED: found.model}
    losses = dict(_losses(job, every, run))
    for name, model in every.items():
        _draw(job, name, model, run)
    run.finish(_summary(job, found, losses), (MODEL, CARD))


def _losses(job: MergeJob, every: Mapping[str, LatentDiffusion], run: Run) -> Iterator[tuple[str, np.ndarray]]:
    """Losses of each picture by the model's name; each is a record of the run."""
    if job.judging is None:
        return
    known = run.recorded("losses")
    with run.progress(len(every), "models judged", len(known)) as progress:
        for name, model in every.items():
            if (row := known.get(name)) is None:
                row = {"losses": job.judging.errors(model, job.batch).double().tolist()}
                run.record("losses", name, row)
                progress.advance()
            yield name, np.array(row["losses"])


def _draw(job: MergeJob, name: str, model: LatentDiffusion, run: Run) -> None:
    """Pictures of the same seeds by one model, as `NAME/00` and on."""
    if not job.samples or name in run.recorded("drawn"):
        return
    seeds = [seed_32bit(job.seed, "merged", place) for place in range(job.samples)]
    way = settled(model, None, None, None)
    method, prompts = own_method(model), [job.prompt] * len(seeds)
    drawn = sample(model, prompts, seeds, method=method, **way.options, batch=job.batch, run=run)
    for place, pixels in enumerate(drawn.pixels):
        run.save_image(f"{name}/{place:02d}", pixels, {"prompt": job.prompt, "seed": str(seeds[place])})
    run.record("drawn", name, {"model": model.name, "pictures": job.samples})


def _summary(job: MergeJob, found: Merged, losses: Mapping[str, np.ndarray]) -> dict[str, Any]:
    judged = None
    if losses:
        parts = [losses[f"model-{k}"] for k in range(len(job.models))]
        others = {name: each for name, each in losses.items() if name != MERGED}
        judged = {
            "pictures": len(losses[MERGED]),
            "merged": mean_with_interval(losses[MERGED]),
            "others": loss_rows(others, losses[MERGED]),
            **gain(parts, losses[MERGED]),
        }
    return {
        "weights": MODEL,
        "name": found.model.name,
        "models": [dict(row) for row in found.rows],
        "base": None if found.base is None else dict(found.base),
        "chosen_by": 0 if job.choosing is None else len(job.choosing.latents),
        "losses": judged,
        "prompt": job.prompt,
    }


def _seconds_a_number(models: int) -> float:
    """Time of one number of a sum of so many models in float64, by a sum that is timed here."""
    each = [torch.rand(PROBE) for _ in range(models)]
    began = time.perf_counter()
    total = torch.zeros(PROBE, dtype=torch.float64)
    for one in each:
        total += one.double()
    total.float()
    return (time.perf_counter() - began) / PROBE
