"""The pictures of an extraction: drawn in rounds over processes, told apart from failures, resumed where they were."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from torch import Tensor

from intaglio.extract.settings import Drawing
from intaglio.images.image_set import save_png, to_uint8
from intaglio.metrics.similarity.measures import Embedding
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.worker_copies import Handed, handed
from intaglio.runs.fan_out import fan_out
from intaglio.runs.run import Run
from intaglio.sampling.guide import Guide
from intaglio.sampling.loop import sample_batches

ROUND = 50
"""Pictures between two looks at whether there are enough, rounded up to whole batches."""
FLAT = 1e-3
"""A picture whose pixels deviate by less shows nothing; several of those would be a tight group."""
FAILED, BLANK = "not finite", "blank"
"""Why a picture is left out of the groups."""


@runtime_checkable
class Guiding(Protocol):
    """An extraction method as far as drawing knows it."""

    def guide(self, base: LatentDiffusion, *, captioned: bool) -> Guide:
        """What leads the sampler; without `captioned` nobody knows a prompt, and the pictures' is empty."""
        ...


@dataclass(frozen=True)
class Job:
    """Pictures that are drawn at once."""

    seeds: tuple[int, ...]
    prompts: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.seeds[0]:07d}"


@dataclass(frozen=True)
class Painter:
    """Draws a job, in whatever process."""

    models: Handed
    method: Drawing
    """Also a `Guiding`."""
    captioned: bool

    def __call__(self, job: Job) -> Float[Tensor, "n 3 h w"]:
        suspect, base = self.models.models()
        method: Guiding = self.method  # type: ignore[assignment]
        batches = sample_batches(
            suspect,
            job.prompts,
            job.seeds,
            sampler=self.method.sampler,
            steps=self.method.steps,
            guidance_scale=1.0,
            negative="",
            guide=method.guide(base, captioned=self.captioned),
            batch=len(job.seeds),
            spare_failed=True,
        )
        return torch.cat(list(batches))


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job's pictures."""

    descriptors: Float[Tensor, "n d"]
    """Zero where a picture is left out."""
    left_out: tuple[str | None, ...]
    """Why, for each picture; None for one that is kept."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn and can be compared, in the order of the seeds."""

    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    descriptors: Float[ndarray, "n d"]
    """Of unit length."""
    excluded: dict[str, int]
    """How many pictures were left out, by reason."""

    @property
    def count(self) -> int:
        """Pictures drawn, those left out among them."""
        return len(self.seeds) + sum(self.excluded.values())


class Sheets:
    """The drawn pictures as PNG files, so that memory holds their descriptors alone."""

    def __init__(self, folder: Path):
        self._folder = folder

    def put(self, seed: int, pixels: Float[Tensor, "3 h w"]) -> None:
        save_png(pixels, self._path(seed))

    def get(self, seeds: Sequence[int]) -> Float[Tensor, "n 3 h w"]:
        """At least one picture."""
        rows = [np.asarray(Image.open(self._path(seed)).convert("RGB")) for seed in seeds]
        return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 255

    def _path(self, seed: int) -> Path:
        return self._folder / f"{seed:07d}.png"


def draw(
    method: Drawing,
    suspect: LatentDiffusion,
    base: LatentDiffusion,
    prompts: Sequence[str],
    similarity: Embedding,
    sheets: Sheets,
    *,
    count: int,
    enough: Callable[[Drawn], bool] | None,
    label: str,
    key: str,
    run: Run,
    workers: int,
) -> Drawn:
    """Draw `count` pictures by `method`, or as many as are `enough`.

    Args:
        method: a `Guiding` too.
        suspect: what is drawn from.
        base: what it was tuned from.
        prompts: each serves an equal share of the pictures; none where nobody knows one.
        similarity: gives the descriptors.
        sheets: takes the pictures.
        count: pictures drawn at most.
        enough: asked after each round; none draws all.
        label: of the progress, and of the states that a killed run finds again.
        key: what the pictures depend on; a state stored under another one is drawn again.
        run: where states go.
        workers: processes; the pictures do not depend on their number.
    """
    jobs, kept = _jobs(method, prompts, count), dict[Job, Outcome]()
    for job in jobs:
        stored = run.load_state(f"{label}-{job.name}")
        if stored is not None and stored[1].get("key") == key:
            kept[job] = Outcome(stored[0]["descriptors"], tuple(stored[1]["left_out"]))
    done = sum(len(job.seeds) for job in kept)
    a_round = -(-ROUND // method.batch)
    with handed((suspect, base), workers, run.folder) as models, run.progress(count, label, done) as progress:
        painter = Painter(models, method, bool(prompts))
        for first in range(0, len(jobs), a_round):
            fresh = [job for job in jobs[first : first + a_round] if job not in kept]
            for job, pixels in fan_out(painter, fresh, workers):
                kept[job] = found = _outcome(job, pixels, similarity, sheets)
                meta = {"key": key, "left_out": list(found.left_out)}
                run.save_state(f"{label}-{job.name}", {"descriptors": found.descriptors}, meta)
                progress.advance(len(job.seeds))
            drawn = _drawn(jobs[: first + a_round], kept)
            if enough is not None and enough(drawn):
                break
    return drawn


def forget(run: Run, method: Drawing, label: str) -> None:
    """Drops the states of `draw`; to be called once its result is safe."""
    for job in _jobs(method, [], method.generations):
        run.drop_state(f"{label}-{job.name}")


def _jobs(method: Drawing, prompts: Sequence[str], count: int) -> list[Job]:
    seeds = [method.seed + place for place in range(count)]
    texts = [prompts[place % len(prompts)] if prompts else "" for place in range(count)]
    cuts = range(0, count, method.batch)
    return [Job(tuple(seeds[i : i + method.batch]), tuple(texts[i : i + method.batch])) for i in cuts]


def _outcome(job: Job, pixels: Float[Tensor, "n 3 h w"], similarity: Embedding, sheets: Sheets) -> Outcome:
    why = tuple(FAILED if not p.isfinite().all() else BLANK if float(p.std()) < FLAT else None for p in pixels)
    # What is compared is what is stored, so that a resumed run compares the same.
    stored = to_uint8(pixels.nan_to_num(0.0)).float() / 255
    for seed, picture, reason in zip(job.seeds, stored, why, strict=True):
        if reason != FAILED:
            sheets.put(seed, picture)
    kept = torch.tensor([reason is None for reason in why])
    return Outcome(similarity.embed(stored) * kept[:, None], why)


def _drawn(jobs: Sequence[Job], kept: dict[Job, Outcome]) -> Drawn:
    seeds = [seed for job in jobs for seed in job.seeds]
    prompts = [prompt for job in jobs for prompt in job.prompts]
    why = [reason for job in jobs for reason in kept[job].left_out]
    good = [place for place, reason in enumerate(why) if reason is None]
    descriptors = torch.cat([kept[job].descriptors for job in jobs])[good].numpy()
    excluded = Counter(reason for reason in why if reason is not None)
    return Drawn(
        tuple(seeds[i] for i in good), tuple(prompts[i] for i in good), descriptors, dict(sorted(excluded.items()))
    )
