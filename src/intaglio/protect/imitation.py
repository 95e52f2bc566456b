"""Imitation of pictures by a fine-tune, and the protection that is left of a change after a purifier.

Unlikeness of imitations is 1 less the mean, over pictures that the fine-tune draws, of the largest similarity with a
clean original. Net protection after a purifier is the unlikeness that the fine-tune of protected pictures reaches less
that of the fine-tune of clean ones, both cleaned by the purifier: purifiers themselves cost likeness.
"""

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.family import FineTuner
from intaglio.denoising.loss_difference import loss_difference
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import Embedding
from intaglio.metrics.statistics.roc import auc
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.protect.purify.family import Purifier
from intaglio.runs.fan_out import fan_out, workers_of_cluster
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

KIND = "imitations"
"""Kind of the records of fine-tunes."""
PAIR = ("original", "protected", "difference")
"""Kinds of pictures beside the drawn ones."""
SHOWN = 4
"""Pictures that are kept for the report: of each fine-tune with the first seed, and of each of `PAIR`."""


def _stays(pixels: Tensor) -> Tensor:
    raise RuntimeError("likeness is measured by the first process")


NOT_SENT = Embedding("not sent", "", _stays, torch.device("cpu"))
"""Stands where imitations are made: the measure may be a program, which cannot be sent, and is asked here alone."""


@dataclass(frozen=True, eq=False)
class Imitations:
    """Pictures that a fine-tune draws, and how far it betrays those that it learned."""

    pixels: Float[Tensor, "n 3 h w"]
    membership: float | None = None
    """AUC of the originals against pictures that nobody trained on, by how much better the fine-tune denoises them than
    the base does; 0.5 hides them. None where there are no such pictures."""


@dataclass(frozen=True)
class Imitator:
    """An imitator: the base, the way of fine-tuning, and what is drawn afterwards."""

    model: LatentDiffusion
    tuner: FineTuner
    prompt: str
    """Of pictures without captions, in the fine-tune and in what is drawn."""
    similarity: Embedding
    drawn: int = 20
    """Pictures drawn by each fine-tune, by the prompts of its pictures in turns."""
    steps: int = 25
    """Sampling steps."""
    guidance: float = 3.0
    others: ImageSet | None = None
    """Pictures like the originals that no fine-tune sees, to tell members from; None leaves that question out."""

    def imitations(self, pictures: ImageSet, originals: ImageSet, seed: int) -> Imitations:
        """Pictures that a fine-tune on `pictures`, the originals as they were changed and cleaned, draws."""
        data = TrainingSet(pictures, prompt=self.prompt)
        tuned = replace(self.tuner, seed=seed)(self.model, data).model
        seeds = [1_000_000 * seed + k for k in range(self.drawn)]
        prompts = [data.prompts[k % len(pictures)] for k in range(self.drawn)]
        drawn = sample(tuned, prompts, seeds, steps=self.steps, guidance_scale=self.guidance).pixels
        if self.others is None:
            return Imitations(drawn)
        inside, outside = (
            loss_difference(tuned, self.model, images.pixels, self.prompt) for images in (originals, self.others)
        )
        return Imitations(drawn, auc(inside.numpy(), outside.numpy()))

    def unlikeness(self, drawn: Float[Tensor, "n 3 h w"], originals: ImageSet) -> float:
        """1 less the mean of each drawn picture's largest similarity with an original, in [0, 2]."""
        return 1 - float(self.similarity.matrix(drawn, originals.pixels).max(1).values.mean())


@dataclass(frozen=True)
class NetProtection:
    """Net protection after one purifier, at one share of protected pictures."""

    purifier: str
    share: float
    """Share of the pictures that were protected, in (0, 1]."""
    clean: tuple[float, ...]
    """Unlikeness after fine-tunes on clean pictures, a number a seed."""
    protected: tuple[float, ...]
    """Unlikeness after fine-tunes on protected pictures, with the same seeds."""
    membership: tuple[tuple[float, float], ...] = ()
    """AUC of an audit of the fine-tunes for the originals, on clean and on protected pictures, a pair a seed; empty
    where it was not asked for."""

    @property
    def by_seed(self) -> tuple[float, ...]:
        """Net protection of each seed."""
        return tuple(b - a for a, b in zip(self.clean, self.protected, strict=True))

    @property
    def net(self) -> float:
        """Mean net protection."""
        return statistics.fmean(self.by_seed)

    @property
    def spread(self) -> float:
        """Standard deviation of the net protection over seeds; 0 for one seed."""
        return statistics.stdev(self.by_seed) if len(self.by_seed) > 1 else 0.0

    @property
    def noise(self) -> float:
        """Standard deviation of the unlikeness of clean fine-tunes over seeds; 0 for one seed."""
        return statistics.stdev(self.clean) if len(self.clean) > 1 else 0.0

    @property
    def survives(self) -> bool:
        """Whether the protection is above two standard errors of its mean, and above the noise of clean fine-tunes.

        One seed tells neither, so with one it never does.
        """
        if len(self.by_seed) < 2:
            return False
        error = self.spread / len(self.by_seed) ** 0.5
        return self.net > max(2 * error, self.noise, 0.0)


def net_protection(
    imitator: Imitator,
    originals: ImageSet,
    protected: Float[Tensor, "n 3 h w"],
    purifiers: Sequence[Purifier],
    *,
    purifying_model: LatentDiffusion | None = None,
    shares: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    run: Run = Run.none(),
) -> tuple[NetProtection, ...]:
    """The net protection after each purifier, for each share of protected pictures.

    Every fine-tune is recorded when it is done, so that a killed call goes on with those that are missing. Inside
    `on_cluster` each is a piece of work there.

    Args:
        imitator: who imitates.
        originals: clean pictures at the model's resolution.
        protected: the same pictures, protected.
        purifiers: that both are cleaned by.
        purifying_model: for purifiers that use one; None takes the imitator's.
        shares: of protected pictures, in (0, 1]; the first pictures are the protected ones.
        seeds: of fine-tunes and drawings.
        run: progress and records.
    """
    _show_pairs(run, originals.pixels, protected)
    jobs = [
        _Job(purifier, share, seed, arm)
        for purifier in purifiers
        for share in shares
        for seed in seeds
        for arm in ("clean", "protected")
        if arm == "protected" or share == shares[0]
    ]
    known = run.recorded(KIND)
    done = {job.key: known[job.key] for job in jobs if job.key in known}
    found = {key: _Found(float(one["unlikeness"]), one.get("membership")) for key, one in done.items()}
    left = [job for job in jobs if job.key not in found]
    workers = workers_of_cluster()
    sent = imitator if workers == 1 else replace(imitator, similarity=NOT_SENT)
    work = _Imitating(sent.imitations, originals, protected, purifying_model or imitator.model)
    with run.progress(len(jobs), KIND, len(found)) as progress:
        for job, made in fan_out(work, left, workers):
            if job.seed == seeds[0]:
                _show(run, job, made.pixels)
            found[job.key] = _Found(imitator.unlikeness(made.pixels, originals), made.membership)
            run.record(KIND, job.key, asdict(found[job.key]))
            progress.advance()
    return tuple(_net(found, purifier, share, shares[0], seeds) for purifier in purifiers for share in shares)


def shown_name(purifier: str, share: float, arm: str, place: int) -> str:
    """Name, below the run's `images`, of a drawn picture that is kept for the report."""
    return f"{purifier}-{round(100 * share)}-{arm}-{place}"


def pair_name(kind: str, place: int) -> str:
    """Name, below the run's `images`, of an original, its protected copy or their difference (`PAIR`)."""
    return f"{kind}-{place}"


def _show_pairs(run: Run, originals: Float[Tensor, "n 3 h w"], protected: Float[Tensor, "n 3 h w"]) -> None:
    """Keeps the first originals, their protected copies, and the difference scaled so that the largest fills the
    range around grey.
    """
    difference = protected - originals
    scaled = (0.5 + 0.5 * difference / difference.abs().max().clamp(min=1 / 255)).clamp(0, 1)
    for kind, pictures in zip(PAIR, (originals, protected, scaled), strict=True):
        for place, pixels in enumerate(pictures[:SHOWN]):
            run.save_image(pair_name(kind, place), pixels)


def _show(run: Run, job: "_Job", drawn: Float[Tensor, "n 3 h w"]) -> None:
    for place, pixels in enumerate(drawn[:SHOWN]):
        run.save_image(shown_name(job.purifier.label, job.share, job.arm, place), pixels)


@dataclass(frozen=True)
class _Job:
    """One fine-tune: on clean or on protected pictures, cleaned by a purifier."""

    purifier: Purifier
    share: float
    seed: int
    arm: str

    @property
    def key(self) -> str:
        return _key(self.purifier.label, self.share, self.seed, self.arm)


@dataclass(frozen=True, eq=False)
class _Imitating:
    """Does a job, in whatever process."""

    imitations: Callable[[ImageSet, ImageSet, int], Imitations]
    """Those of the imitator."""
    originals: ImageSet
    protected: Float[Tensor, "n 3 h w"]
    purifying_model: LatentDiffusion | None
    """For purifiers that use one."""

    def __call__(self, job: _Job) -> Imitations:
        clean = self.originals.pixels
        pixels = _mixed(clean, self.protected, job.share) if job.arm == "protected" else clean
        cleaned = job.purifier.clean(pixels, self.purifying_model, job.seed)
        taught = ImageSet.from_pixels(cleaned, self.originals.names, self.originals.captions)
        return self.imitations(taught, self.originals, job.seed)


def _key(purifier: str, share: float, seed: int, arm: str) -> str:
    return f"{purifier}, {share:g}, seed {seed}, {arm}"


def _mixed(clean: Tensor, protected: Tensor, share: float) -> Tensor:
    """The first pictures protected, the others clean."""
    count = max(1, round(share * len(clean)))
    return torch.cat([protected[:count], clean[count:]])


@dataclass(frozen=True)
class _Found:
    """The measurements of one fine-tune."""

    unlikeness: float
    membership: float | None


def _net(
    found: Mapping[str, _Found], purifier: Purifier, share: float, first: float, seeds: Sequence[int]
) -> NetProtection:
    clean = [found[_key(purifier.label, first, seed, "clean")] for seed in seeds]
    protected = [found[_key(purifier.label, share, seed, "protected")] for seed in seeds]
    pairs = tuple(
        (one.membership, other.membership)
        for one, other in zip(clean, protected, strict=True)
        if one.membership is not None and other.membership is not None
    )
    unlike_clean, unlike_protected = (tuple(one.unlikeness for one in arm) for arm in (clean, protected))
    return NetProtection(purifier.label, share, unlike_clean, unlike_protected, pairs)


def worst(found: Sequence[NetProtection], seen: Collection[str] = ()) -> NetProtection:
    """The purifier that leaves least, among those of the largest share; of those in `seen` only if there are no others.

    `seen` names purifiers that a change was trained to survive: it must show on others that it does.
    """
    most = max(one.share for one in found)
    full = [one for one in found if one.share == most]
    return min([one for one in full if one.purifier not in seen] or full, key=lambda one: one.net)
