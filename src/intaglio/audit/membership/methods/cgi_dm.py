"""CGI-DM: contrasting gradient inversion for diffusion models."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, batches_of, in_micro_batches
from intaglio.audit.membership.family import AuditInputs, Authentication, Authenticator, check_least, check_range
from intaglio.audit.membership.refill import MaskedPictures, RefillState, Stopped, checkerboard, plateaued, project
from intaglio.audit.membership.work_key import work_key
from intaglio.denoising.contrast import Contrast
from intaglio.denoising.losses import Precision
from intaglio.denoising.samples import fixed_samples, standard_normal, stratified_timesteps
from intaglio.errors import IntaglioError
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.metrics.similarity.measures import Similarity, load_similarity
from intaglio.randomness import generator
from intaglio.runs.picture_groups import PictureResult, drop_groups, in_groups
from intaglio.runs.run import Run


@dataclass(frozen=True)
class CGIDM(Authenticator):
    """CGI-DM: removes half of each picture's latent and refills it from the difference of two models.

    If the suspect was trained on the picture, the filled-in half resembles the original; if not, it drifts. Half of
    the latent cells z0 [4, H, W] are kept, in a checkerboard M of small squares; the rest starts at u0, the latent of
    the masked picture, and a change d on the free cells climbs the gap

        G(d) = E_{t, eps}[ l_base(z(d); t, eps) - l_suspect(z(d); t, eps) ],   z(d) = M z0 + (1 - M)(u0 + d),

    where l is a model's mean squared denoising error, by normalised gradient steps of a fixed length inside the ball
    of root mean square `radius_rms`. The score is how similar the refilled picture is to the original, or by how
    much that rose. A score is no verdict: compare it with those of pictures that cannot have been in the set.

    How alike two pictures are is measured by SSIM unless another measure is given: a refilled picture lies on its
    original pixel by pixel, and encoders made to recognise a subject overlook what the filled half changes. Published:
    the cosine of CLIP's or DINO's features.

    The defaults are a faster estimate of the same ascent: both models are given the same noise, so that what their
    errors share cancels; each step averages several timesteps, one from each of as many equal bins, and is longer; only
    d collects gradients, and pictures are normalised, projected and seeded one by one, so that they can share batches.
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
    """Whether both models are given the same noise. Published: no."""
    gradient_mode: Literal["exact", "forward-only"] = "exact"
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
    """Stop a picture when its mean gap over so many steps is no higher than over as many before, so from twice as many
    steps on; 0: never."""
    max_skipped: float = 0.05
    """A picture fails when more than this share of its steps moved nothing, for want of a finite gradient."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; float16 and bfloat16 by autocast."""
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

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """Every step of every picture by both models, and the gaps of three pictures each; some may stop before."""
        groups = batches_of(pictures, self.batch)
        rows = [self.samples_per_step * count for count in groups]
        ascent = in_micro_batches(rows, self.micro_batch, times=models * self.steps)
        gaps = in_micro_batches([self.gap_samples * count for count in groups], self.micro_batch, times=3 * models)
        gradient = "input" if self.gradient_mode == "exact" else "none"
        return (DenoiserCalls(ascent, gradient, encoded=2 * pictures, decoded=3 * pictures), DenoiserCalls(gaps))

    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """Signals: `similarity`, `similarity_start` (of the masked picture, d = 0), `gain`, `refilled`, `gap_original`
        (of the untouched picture), `gap_initial`, `gap_final`. Pictures: `partial`, `recovered`.
        """
        similarity = inputs.similarity or load_similarity("ssim")
        how = {"micro_batch": self.micro_batch, "precision": self.precision, "checkpointing": self.checkpointing}
        with Contrast.of(*inputs.pair, inputs.prompt, **how) as contrast:
            # These act when a group is finished, which is always done anew, or change rounding alone.
            key = work_key(self, inputs, without=("score", "gap_samples", "max_skipped", "micro_batch"))
            refill = Refill(self, contrast, similarity)
            results = in_groups(
                run, self.name, key, images, refill, steps=self.steps, batch=self.batch, label="refilling"
            )
        return self._authentication(images, results, similarity)

    def _cautions(self) -> Iterator[str]:
        if self.steps and self.step_rms > self.radius_rms:
            yield f"a step ({self.step_rms:g} RMS) is longer than the radius ({self.radius_rms:g} RMS) and is cut to it"

    def forget(self, run: Run, pictures: int) -> None:
        drop_groups(run, self.name, pictures, self.batch)

    def _authentication(
        self, images: ImageSet, results: Sequence[PictureResult], similarity: Similarity
    ) -> Authentication:
        signals = {name: torch.tensor([r.signals[name] for r in results]) for name in results[0].signals}
        pictures = {kind: torch.stack([r.pictures[kind] for r in results]) for kind in results[0].pictures}
        if self.score == "gallery-max":
            signals["gallery-max"] = gallery_max(images.pixels, pictures["recovered"], similarity)
        scores = signals[{"gap": "gap_final"}.get(self.score, self.score)].clone()
        scores[torch.tensor([bool(r.failure) for r in results])] = torch.nan
        failed = {name: r.failure for name, r in zip(images.names, results, strict=True) if r.failure}
        details = {name: [r.diagnostics[name] for r in results] for name in results[0].diagnostics}
        return Authentication(
            method=self.name,
            names=images.names,
            scores=scores,
            signals=signals,
            pictures=pictures,
            diagnostics={"similarity": similarity.name, "failed": failed, **details},
            warnings=(*self._cautions(), *(f"{name} has no score: {why}" for name, why in failed.items())),
        )


def gallery_max(
    originals: Float[Tensor, "n 3 h w"], recovered: Float[Tensor, "n 3 h w"], similarity: Similarity
) -> Float[Tensor, "n"]:
    """The highest similarity of each original with any recovered picture of the run, its own or another's."""
    return similarity.matrix(originals, recovered).amax(1)


class Refill:
    """The algorithm of CGI-DM on one pair of models, as `in_groups` calls it: masked start, ascent, scores."""

    def __init__(self, method: CGIDM, contrast: Contrast, similarity: Similarity):
        self.method, self.contrast, self.similarity = method, contrast, similarity

    def prepare(self, images: ImageSet) -> MaskedPictures:
        """Mask the pictures' latents; encode the masked pictures again."""
        known = self._encoded(images.pixels, images.hashes, "picture")
        keep = checkerboard(known.shape[-2], known.shape[-1], self.method.square)
        partial = self._decoded(keep * known)
        return MaskedPictures(images, known, partial, self._encoded(partial, images.hashes, "masked picture"), keep)

    def start(self, group: MaskedPictures) -> RefillState:
        """No change yet: d = 0."""
        count = len(group.images)
        unseen, none = torch.full((count, self.method.steps), torch.nan), torch.zeros(count, dtype=torch.long)
        return RefillState(0, torch.zeros_like(group.known), unseen, unseen, none, none, none)

    def step(self, group: MaskedPictures, state: RefillState) -> RefillState:
        """One step of every picture that is still going: gradient, normalise, move, project.

        A picture whose gap is not finite stops for good; one whose gradient is zero or not finite stays where it is for
        this step, and that is counted. Neither touches another picture.
        """
        going = (state.stopped == Stopped.NO).nonzero().flatten()
        if not len(going):
            return replace(state, step=self.method.steps)
        try:
            gap, gradient = self.ascent(group, state, going)
        except torch.OutOfMemoryError as error:
            raise IntaglioError(
                "the device ran out of memory; pass a smaller --micro-batch, or --checkpointing"
            ) from error
        gradient = gradient * (1 - group.keep)
        norm = gradient.double().flatten(1).norm(dim=1)
        usable = (norm.isfinite() & (norm > 0) & gap.isfinite())[:, None, None, None]
        direction = torch.where(usable, gradient.double() / norm[:, None, None, None], 0.0)
        length, radius = (rms * group.free**0.5 for rms in (self.method.step_rms, self.method.radius_rms))
        moved = project(state.change[going] + (length * direction).float(), radius)
        change = state.change.index_copy(0, going, torch.where(usable, moved, state.change[going]))
        return self._counted(replace(state, change=change), going, gap, norm.float(), usable.flatten())

    def ascent(
        self, group: MaskedPictures, state: RefillState, going: Int[Tensor, "m"]
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m c h w"]]:
        """G(d) and the direction in which it rises, estimated for each picture from timesteps and noise of its own."""
        method, shape = self.method, tuple(state.change.shape[1:])
        times, for_suspect, for_base = [], [], []
        for i in going.tolist():
            source = generator(method.seed, group.images.hashes[i], "step", state.step)
            times.append(stratified_timesteps(method.samples_per_step, method.timesteps, source))
            for_suspect.append(standard_normal(method.samples_per_step, shape, source))
            if not method.shared_noise:
                for_base.append(standard_normal(method.samples_per_step, shape, source))
        z, t, noise = group.latents(state.change)[going], torch.stack(times), torch.stack(for_suspect)
        if method.gradient_mode == "forward-only":
            return self.contrast.loss_and_prediction_difference(z, noise, t)
        noises = (noise, noise if method.shared_noise else torch.stack(for_base))
        return self.contrast.loss_difference_and_gradient(z, noises, t)

    def _counted(self, state: RefillState, going: Tensor, gap: Tensor, norm: Tensor, usable: Tensor) -> RefillState:
        """The step just taken by the pictures `going`, noted, and the pictures that stop with it."""
        gaps, norms = state.gaps.clone(), state.norms.clone()
        gaps[going, state.step], norms[going, state.step] = gap, norm
        broken = ~gap.isfinite()
        taken = state.taken.index_add(0, going, torch.ones_like(going))
        skipped = state.skipped.index_add(0, going, (~usable & ~broken).long())
        stopped = state.stopped.clone()
        stopped[going[broken]] = int(Stopped.NOT_FINITE)
        done = state.step + 1
        stopped[plateaued(gaps, done, self.method.patience) & (stopped == Stopped.NO)] = int(Stopped.PLATEAU)
        return RefillState(done, state.change, gaps, norms, taken, skipped, stopped)

    def shown(self, state: RefillState) -> dict[str, float]:
        """The mean gap of the last step."""
        gaps = state.gaps[:, state.step - 1]
        return {"gap": gaps[gaps.isfinite()].mean().item()}

    def finish(self, group: MaskedPictures, state: RefillState) -> list[PictureResult]:
        """Similarities and gaps before and after the ascent."""
        method, originals = self.method, group.images.pixels
        samples = fixed_samples(method.gap_samples, tuple(group.known.shape[1:]), method.timesteps, method.seed)
        start, end = group.latents(torch.zeros_like(state.change)), group.latents(state.change)
        recovered = self._decoded(end)
        signals = {
            "similarity": self.similarity(originals, recovered),
            "similarity_start": self.similarity(originals, self._decoded(start)),
            "gap_original": self.contrast.loss_differences(group.known, *samples),
            "gap_initial": self.contrast.loss_differences(start, *samples),
            "gap_final": self.contrast.loss_differences(end, *samples),
        }
        signals["gain"] = signals["similarity"] - signals["similarity_start"]
        signals["refilled"] = signals["gain"] / (1 - signals["similarity_start"]).clamp_min(1e-6)
        return [
            PictureResult(
                signals={name: float(values[i]) for name, values in signals.items()},
                pictures={"partial": group.partial[i], "recovered": recovered[i]},
                diagnostics=self._diagnostics(state, i),
                failure=self._failure(state, i),
            )
            for i in range(len(originals))
        ]

    def _diagnostics(self, state: RefillState, i: int) -> dict[str, Any]:
        taken = int(state.taken[i])
        return {
            "gap_trace": state.gaps[i, :taken].tolist(),
            "gradient_norms": state.norms[i, :taken].tolist(),
            "steps_taken": taken,
            "skipped_steps": int(state.skipped[i]),
            "stopped": Stopped(int(state.stopped[i])).name.lower().replace("_", " "),
        }

    def _failure(self, state: RefillState, i: int) -> str:
        taken, skipped = int(state.taken[i]), int(state.skipped[i])
        if state.stopped[i] == Stopped.NOT_FINITE:
            return f"the gap was not finite at step {taken}; try --precision float32"
        if skipped > self.method.max_skipped * taken:
            return (
                f"{skipped} of {taken} steps moved nothing, since the gradient was zero or not finite; "
                "try --precision float32, or check that the suspect differs from the base at all"
            )
        return ""

    def _encoded(self, pixels: Tensor, hashes: Sequence[str], what: str) -> Float[Tensor, "n c h w"]:
        sources = [generator(self.method.seed, name, what) for name in hashes]
        return self.contrast.encode(pixels, sources if self.method.posterior == "sample" else None)

    def _decoded(self, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 H W"]:
        """Pictures, rounded to 8 bits."""
        return to_uint8(self.contrast.decode(latents)).float() / 255
