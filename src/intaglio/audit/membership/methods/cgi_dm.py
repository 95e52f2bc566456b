"""CGI-DM: contrasting gradient inversion for diffusion models."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.family import AuditInputs, Authentication, Authenticator, check_least, check_range
from intaglio.audit.membership.refill import (
    GradientMode,
    PictureGroup,
    Refinement,
    State,
    Stopped,
    advance,
    checkerboard,
)
from intaglio.audit.membership.resume import work_key
from intaglio.denoising.contrast import Contrast, Precision, gap_at
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import IntaglioError
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.metrics.similarity.measures import Similarity, load_similarity
from intaglio.randomness import generator
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.runs.tables import without_nan

SAVE_EVERY_S = 20.0
"""Seconds between two stored states; a killed run repeats at most that much, with the same result."""


@dataclass(frozen=True)
class CGIDM(Authenticator):
    """CGI-DM: removes half of each picture's latent and refills it from the difference of two models.

    If the suspect saw the picture, the filled-in half resembles the original; if not, it drifts. Half of the latent
    cells z0 [4, H, W] are kept, in a checkerboard M of small squares; the rest starts at u0, the latent of the
    masked picture, and a change d on the free cells climbs

        G(d) = E_{t, eps}[ l_base(z(d); t, eps) - l_suspect(z(d); t, eps) ],   z(d) = M z0 + (1 - M)(u0 + d),

    where l is a model's mean squared denoising error, by normalised gradient steps of a fixed length inside the ball
    of root mean square `radius_rms`. The score is how similar the refilled picture is to the original, or by how
    much that rose. A score is no verdict: compare it with those of pictures that cannot have been in the set.

    How alike two pictures are is measured by SSIM unless another measure is given: a refilled picture lies on its
    original pixel by pixel, and encoders made to recognise a subject overlook what the filled half changes. Published:
    the cosine of CLIP's or DINO's features.

    The defaults are a faster estimate of the same ascent: both models see the same noise, so that what their errors
    share cancels; each step averages several timesteps, one from each of as many equal bins, and is longer; only d
    collects gradients, and pictures are normalised, projected and seeded one by one, so that they can share batches.
    `CGIDM.reference()`, on the command line `--preset reference`, is the published procedure. Differences from the
    authors' code that remain in both: the gradient is normalised for each picture (their batches hold one), the
    schedule is float64 (theirs half precision), and the clip of u0 + d to 100 standard deviations, out of the ball's
    reach, is left out.

    Source: arXiv 2403.11162 (CVPR 2024).
    """

    reading: ClassVar[str] = "how much closer the refilled picture came to the original than the masked one is"
    signals: ClassVar[tuple[str, ...]] = (
        "similarity",
        "similarity_start",
        "gain",
        "refilled",
        "gap_original",
        "gap_initial",
        "gap_final",
    )
    loss_difference: ClassVar[str | None] = "gap_original"
    captions: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"partial": "half of it removed", "recovered": "refilled by the models’ difference"}
    )
    story: ClassVar[str] = (
        "Half of each picture is removed in small squares and refilled by what the suspect knows and its base does "
        "not. If the suspect saw the picture, the refill comes close to it. Mind that the other half is the original "
        "itself: compare with the controls below before believing your eyes."
    )
    limits: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "Half of the recovered picture is the original": (
                "The kept squares make every recovery look familiar. The evidence is how the refilled squares compare "
                "with those of the controls; the score and its controls decide, not the look."
            )
        }
    )
    judges: ClassVar[bool] = False
    uses_similarity: ClassVar[bool] = True

    steps: int = 24
    """Gradient steps; 0 scores the masked picture. Published: 1000."""
    samples_per_step: int = 2
    """Timesteps, each with its own noise, averaged in a step, from 1. Published: 1."""
    step_rms: float = 0.06
    """Length of a step, root mean square per free latent entry. Published: 0.0221 (2 over 8192 entries)."""
    radius_rms: float = 0.773
    """Largest change, root mean square per free latent entry (70 over 8192 entries)."""
    shared_noise: bool = True
    """Whether both models see the same noise. Published: no."""
    gradient_mode: GradientMode = "exact"
    """`forward-only` steps along the difference of the two noise predictions: no backward pass, an approximation."""
    timesteps: tuple[int, int] = (1, 999)
    """First and last timestep that may be drawn."""
    square: int = 2
    """Latent cells a side of a kept or removed square; two of them must divide the latents' sides."""
    posterior: Literal["mean", "sample"] = "mean"
    """What the encoder gives: its mean, or a sample that the seed fixes. Published: an unseeded sample."""
    score: Literal["gain", "refilled", "similarity", "gallery-max", "gap"] = "gain"
    """`similarity` of the original and its own recovery (published idea); `gain` of it over the masked start;
    `refilled`, the share of the similarity missing at the start that came back, gain / (1 - similarity_start);
    `gallery-max`, the highest with any recovery of the run (the authors' evaluation); `gap`, the last of G."""
    gap_samples: int = 8
    """Timesteps, with noises shared by all pictures, at which the gap is measured before and after; from 1."""
    patience: int = 50
    """Stop a picture when its mean gap over so many steps is no higher than over as many before; 0: never."""
    max_skipped: float = 0.05
    """A picture fails when more than this share of its steps moved nothing, for want of a finite gradient."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; the halves by autocast."""
    batch: int = 32
    """Pictures refined together."""
    micro_batch: int = 64
    """Pictures times samples in one call of a network; lower it when memory is short, the result stays."""
    checkpointing: bool = False
    """Gradient checkpointing in the denoisers: less memory, about a third more time."""
    seed: int = 0
    """Fixes all noise, for each picture by its content."""

    def __post_init__(self) -> None:
        at_least = {"steps": 0, "samples_per_step": 1, "square": 1, "gap_samples": 1, "patience": 0, "batch": 1}
        check_least(self, at_least | {"micro_batch": 1})
        check_range(self.timesteps)
        for name in ("step_rms", "radius_rms"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.max_skipped <= 1:
            raise ValueError(f"max_skipped must lie between 0 and 1, not {self.max_skipped}")
        if self.gradient_mode == "forward-only" and not self.shared_noise:
            raise ValueError("gradient_mode forward-only needs shared_noise: with two noises it would follow the noise")

    @classmethod
    def reference(cls, **changes: Any) -> "CGIDM":
        """The published procedure: 1000 steps of one sample, two noises, one picture at a time; score: similarity."""
        published = cls(
            steps=1000,
            samples_per_step=1,
            step_rms=2 / 8192**0.5,
            radius_rms=70 / 8192**0.5,
            shared_noise=False,
            posterior="sample",
            score="similarity",
            patience=0,
            batch=1,
            micro_batch=1,
        )
        return replace(published, **changes)

    @property
    def cells(self) -> int:
        """Two squares of the checkerboard."""
        return 2 * self.square

    @property
    def last_timestep(self) -> int:
        """The last timestep that may be drawn."""
        return self.timesteps[1]

    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """Signals: `similarity`, `similarity_start` (of the masked picture, d = 0), `gain`, `refilled`, `gap_original`
        (of the untouched picture), `gap_initial`, `gap_final`. Pictures: `partial`, `recovered`.
        """
        similarity = inputs.similarity or load_similarity("ssim")
        # By content, so that the groups, and with them every rounding, do not depend on the order of the files.
        order = sorted(range(len(images)), key=lambda i: (images.hashes[i], images.names[i]))
        how = {"micro_batch": self.micro_batch, "precision": self.precision, "checkpointing": self.checkpointing}
        with Contrast.of(*inputs.pair, inputs.prompt, **how) as contrast:
            key = work_key(self, inputs, without=("score", "gap_samples", "max_skipped", "micro_batch"))
            work = _Work(self, contrast, similarity, run, key)
            found = dict(zip(order, work.results(images[order]), strict=True))
        return self._gathered(images, [found[i] for i in range(len(images))], similarity, tuple(self._cautions()))

    def _cautions(self) -> Iterator[str]:
        if self.steps and self.step_rms > self.radius_rms:
            yield f"a step ({self.step_rms:g} RMS) is longer than the radius ({self.radius_rms:g} RMS) and is cut to it"

    def forget(self, run: Run, pictures: int) -> None:
        for place in range(math.ceil(pictures / self.batch)):
            run.drop_state(_state_name(place))

    def _gathered(
        self, images: ImageSet, results: Sequence["_Result"], similarity: Similarity, warnings: tuple[str, ...]
    ) -> Authentication:
        signals = {name: torch.tensor([r.signals[name] for r in results]) for name in results[0].signals}
        pictures = {kind: torch.stack([r.pictures[kind] for r in results]) for kind in ("partial", "recovered")}
        if self.score == "gallery-max":
            signals["gallery-max"] = gallery_max(images.pixels, pictures["recovered"], similarity)
        scores = signals[{"gap": "gap_final"}.get(self.score, self.score)].clone()
        failed = {name: r.failure for name, r in zip(images.names, results, strict=True) if r.failure}
        scores[torch.tensor([bool(r.failure) for r in results])] = torch.nan
        details = {name: [r.diagnostics[name] for r in results] for name in results[0].diagnostics}
        return Authentication(
            method=self.name,
            names=images.names,
            scores=scores,
            signals=signals,
            pictures=pictures,
            diagnostics={"similarity": similarity.name, "failed": failed, **details},
            warnings=(*warnings, *(f"{name} has no score: {why}" for name, why in failed.items())),
        )


def _state_name(place: int) -> str:
    return f"{CGIDM.name}-{place}"


def gallery_max(
    originals: Float[Tensor, "n 3 h w"], recovered: Float[Tensor, "n 3 h w"], similarity: Similarity
) -> Float[Tensor, "n"]:
    """The highest similarity of each original with any recovered picture of the run, its own or another's."""
    return similarity.matrix(originals, recovered).amax(1)


@dataclass(frozen=True)
class _Result:
    """What is known of one picture at the end."""

    signals: dict[str, float]
    pictures: dict[str, Tensor]
    diagnostics: dict[str, Any]
    failure: str
    """Why there is no score; empty where there is one."""


@dataclass(frozen=True)
class _Work:
    """One call on one pair of models: the pictures, a group at a time, each group stored as it goes."""

    method: CGIDM
    contrast: Contrast
    similarity: Similarity
    run: Run
    key: str

    def results(self, images: ImageSet) -> Iterator[_Result]:
        """One result a picture, in the order of `images`, with one progress bar over the steps of all groups."""
        size, steps = self.method.batch, self.method.steps
        groups = [range(start, min(start + size, len(images))) for start in range(0, len(images), size)]
        states = [self.restored(place, images[group]) for place, group in enumerate(groups)]
        done = sum(state.step for state in states)
        # Groups are refined one after the other, so the rows of the log are as many as the steps done.
        self.run.rewind(self.method.name, done)
        with self.run.progress(len(groups) * steps, "refilling", done) as progress:
            for place, (group, state) in enumerate(zip(groups, states, strict=True)):
                yield from self.refined(place, images[group], state, progress)

    def refined(self, place: int, images: ImageSet, state: State, progress: Progress) -> Iterator[_Result]:
        """Take a group through its remaining steps and score it."""
        group, partial = self.prepared(images)
        how = self.how()
        try:
            while state.step < how.steps:
                before, state = state.step, advance(state, group, self.contrast, how)
                seen = state.loss_differences[:, before]
                gap = seen[seen.isfinite()].mean().item()
                progress.advance(state.step - before, gap=gap)
                self.run.log(self.method.name, place * how.steps + state.step, gap=gap)
                self.store(place, images, state, SAVE_EVERY_S)
        except torch.OutOfMemoryError as error:
            raise IntaglioError(
                "the device ran out of memory; pass a smaller --micro-batch, or --checkpointing"
            ) from error
        finally:
            # Reached by Ctrl-C too; a state is only ever replaced whole, so it is sound at any moment.
            self.store(place, images, state, 0.0)
        for name, result in zip(images.names, self.scored(images, group, partial, state), strict=True):
            self.run.record(
                self.method.name, name, without_nan({**result.signals, **result.diagnostics, "failure": result.failure})
            )
            yield result

    def how(self) -> Refinement:
        method = self.method
        return Refinement(
            steps=method.steps,
            samples=method.samples_per_step,
            step_rms=method.step_rms,
            radius_rms=method.radius_rms,
            timesteps=method.timesteps,
            shared_noise=method.shared_noise,
            gradient_mode=method.gradient_mode,
            patience=method.patience,
            seed=method.seed,
        )

    def prepared(self, images: ImageSet) -> tuple[PictureGroup, Float[Tensor, "n 3 h w"]]:
        """The latents of the pictures and of the masked pictures, and the masked pictures, rounded to 8 bits."""
        known = self.encoded(images.pixels, images.hashes, "picture")
        height, width = known.shape[-2:]
        keep = checkerboard(height, width, self.method.square)
        partial = self.decoded(keep * known)
        start = self.encoded(partial, images.hashes, "masked picture")
        return PictureGroup(images.hashes, known, start, keep), partial

    def scored(self, images: ImageSet, group: PictureGroup, partial: Tensor, state: State) -> Iterator[_Result]:
        start, end = group.latents(torch.zeros_like(state.change)), group.latents(state.change)
        recovered = self.decoded(end)
        samples = fixed_samples(
            self.method.gap_samples, tuple(start.shape[1:]), self.method.timesteps, self.method.seed
        )
        signals = {
            "similarity": self.similarity(images.pixels, recovered),
            "similarity_start": self.similarity(images.pixels, self.decoded(start)),
            "gap_original": gap_at(self.contrast, group.known, samples),
            "gap_initial": gap_at(self.contrast, start, samples),
            "gap_final": gap_at(self.contrast, end, samples),
        }
        signals["gain"] = signals["similarity"] - signals["similarity_start"]
        signals["refilled"] = signals["gain"] / (1 - signals["similarity_start"]).clamp_min(1e-6)
        for i in range(len(images)):
            taken, skipped = int(state.taken[i]), int(state.skipped[i])
            yield _Result(
                signals={name: float(values[i]) for name, values in signals.items()},
                pictures={"partial": partial[i], "recovered": recovered[i]},
                diagnostics={
                    "gap_trace": state.loss_differences[i, :taken].tolist(),
                    "gradient_norms": state.norms[i, :taken].tolist(),
                    "steps_taken": taken,
                    "skipped_steps": skipped,
                    "stopped": Stopped(int(state.stopped[i])).name.lower().replace("_", " "),
                },
                failure=self.failure(int(state.stopped[i]), taken, skipped),
            )

    def failure(self, stopped: int, taken: int, skipped: int) -> str:
        if stopped == Stopped.NOT_FINITE:
            return f"the gap was not finite at step {taken}; try --precision float32"
        if skipped > self.method.max_skipped * taken:
            return (
                f"{skipped} of {taken} steps moved nothing, since the gradient was zero or not finite; "
                "try --precision float32, or check that the suspect differs from the base at all"
            )
        return ""

    def encoded(self, pixels: Tensor, hashes: tuple[str, ...], what: str) -> Float[Tensor, "n c h w"]:
        """Latents by the base's autoencoder, which serves both models."""
        rows = []
        with torch.no_grad():
            for i in self.pieces(len(pixels)):
                sources = [generator(self.method.seed, name, what) for name in hashes[i]]
                sample = sources if self.method.posterior == "sample" else None
                rows.append(self.contrast.base.encode(pixels[i], sample).cpu())
        return torch.cat(rows)

    def decoded(self, latents: Tensor) -> Float[Tensor, "n 3 h w"]:
        """Pictures by the base's autoencoder, rounded to 8 bits."""
        base = self.contrast.base
        with torch.no_grad():
            pixels = [base.decode(latents[i].to(base.device)).cpu() for i in self.pieces(len(latents))]
        return to_uint8(torch.cat(pixels)).float() / 255

    def pieces(self, count: int) -> list[slice]:
        return [slice(start, start + self.method.micro_batch) for start in range(0, count, self.method.micro_batch)]

    def store(self, place: int, images: ImageSet, state: State, every_s: float) -> None:
        meta = {"key": self.key, "hashes": list(images.hashes), "step": state.step}
        self.run.save_state(_state_name(place), state.tensors(), meta, every_s)

    def restored(self, place: int, images: ImageSet) -> State:
        """The stored state of a group, or its beginning where there is none of this very work."""
        found = self.run.load_state(_state_name(place))
        if found is not None:
            tensors, meta = found
            if meta["key"] == self.key and meta["hashes"] == list(images.hashes):
                return State.of(int(meta["step"]), tensors)
        base, (height, width) = self.contrast.base, images.pixels.shape[-2:]
        shape = (len(images), base.latent_channels, height // base.factor, width // base.factor)
        return State.start(shape, self.method.steps)
