"""Settings of fine-tuning: those that determine the weights, and those of saved states and sample pictures."""

import math
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from intaglio.errors import require
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import AdamWSettings

MOST_PICTURES = 100_000
"""Most pictures of a step, or drawn at once: more than any machine holds."""


@dataclass(frozen=True, kw_only=True)
class Training(MixedPrecision, AdamWSettings):
    """Settings of a training on the denoising error.

    Together with the model and the data they determine the tuned weights; a wrong value raises `ValueError`.
    """

    usual_rate: ClassVar[float] = 1e-5
    """The learning rate where none is given."""

    steps: int = 800
    """Updates of the weights."""
    learning_rate: float | None = None
    """Highest learning rate of AdamW, above 0; None takes the usual one of the method."""
    batch: int = 1
    """Pictures a step; with class pictures, as many of those again."""
    micro_batch: int | None = None
    """Pictures in memory at once, class pictures included; less memory, the same result up to rounding.
    None takes the whole step at once."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """Course of the learning rate after the warm-up; cosine and linear end at 0."""
    snr_gamma: float | None = None
    """Weigh the squared error of the noise by min(SNR, gamma) / SNR (arXiv 2303.09556, which takes 5); None weighs
    all timesteps alike in the network's own target."""
    prior_weight: float = 1.0
    """Weight of the class pictures' loss beside the instance pictures' (lambda in arXiv 2208.12242)."""
    caption_dropout: float = 0.0
    """Probability in [0, 1] that a picture is given an empty prompt."""
    text_encoder: bool = False
    """Train the text encoders along with the denoiser."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: about a third slower, with far less memory."""
    seed: int = 0
    """Decides the order of the pictures, their noise and their timesteps, and random weights, each as a function of
    (seed, step); 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_precision(self.precision)
        require(
            1 <= self.batch <= MOST_PICTURES, f"batch must be at least 1 and at most {MOST_PICTURES}, not {self.batch}"
        )
        require(
            self.micro_batch is None or self.micro_batch >= 1, f"micro_batch must be at least 1: {self.micro_batch}"
        )
        require(self.warmup <= self.steps, f"warmup must lie in 0..steps ({self.steps}), not {self.warmup}")
        require(self.snr_gamma is None or self.snr_gamma > 0, f"snr_gamma must be above 0, or None: {self.snr_gamma}")
        require(0 <= self.prior_weight < math.inf, f"prior_weight must not be negative: {self.prior_weight}")
        require(0 <= self.caption_dropout <= 1, f"caption_dropout must lie in [0, 1], not {self.caption_dropout}")
        given = self.highest_rate
        require(0 < given < math.inf, f"learning_rate must be above 0, not {given}")
        require(self.seed >= 0, f"seed must not be negative: {self.seed}")

    @property
    def highest_rate(self) -> float:
        """The learning rate that is given, or else the usual one."""
        return self.usual_rate if self.learning_rate is None else self.learning_rate

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        if step < self.warmup:
            return self.highest_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        share = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
        return self.highest_rate * share[self.schedule]

    def step_size(self, prior: bool) -> int:
        """Pictures of a step: class pictures (`prior`) come on top of the batch, unless they weigh nothing."""
        return self.batch * (2 if prior and self.prior_weight else 1)


@dataclass(frozen=True, kw_only=True)
class BayesianTraining(Training):
    """`Training` of weights that may be random in training (arXiv 2405.19931); by default none is."""

    bayesian: bool = False
    """Let some weights be Gaussian random variables while training, against the corruption stage of few-shot tuning
    (arXiv 2405.19931); every micro-batch has its own draw, and the means are exported, as ordinary weights."""
    sigma: float = 0.01
    """Standard deviation of each random weight at the start, above 0; absolute, and learned from there on."""
    random_targets: tuple[str, ...] = ("attn1", "ff")
    """The random weights: those whose path holds one of these, between dots. By default the linear layers of
    self-attention and feed-forward."""
    kl_weight: float = 0.0
    """Weight of the divergence from the prior, N(start, prior_sigma^2) for each random weight (lambda); 0 in the
    paper."""
    kl_direction: Literal["prior-to-posterior", "posterior-to-prior"] = "prior-to-posterior"
    """KL(prior || posterior) is what the published runs used, KL(posterior || prior) the evidence bound."""
    kl_reduction: Literal["sum", "mean"] = "sum"
    """Sum or mean of the divergence over all random weights. A sum grows with the model: on Stable Diffusion 0.1 of it
    outweighs the loss."""
    prior_sigma: float = 0.01
    """Standard deviation of the prior, above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.sigma < math.inf, f"sigma must be above 0, not {self.sigma}; leave out bayesian for none")
        require(0 < self.prior_sigma < math.inf, f"prior_sigma must be above 0, not {self.prior_sigma}")
        require(0 <= self.kl_weight < math.inf, f"kl_weight must not be negative: {self.kl_weight}")
        require(bool(self.random_targets), "random_targets must name at least one part of a path, such as attn1")
        require(
            not (self.bayesian and self.text_encoder),
            "text_encoder does not go with bayesian: only the denoiser's weights can be random; leave one of them out",
        )
        idle = () if self.kl_weight else ("kl_direction", "kl_reduction", "prior_sigma")
        idle = idle if self.bayesian else ("sigma", "random_targets", "kl_weight", *idle)
        for field in fields(self):
            needed = "kl_weight above 0" if self.bayesian else "bayesian"
            unused = field.name in idle and getattr(self, field.name) != field.default
            require(not unused, f"{field.name} acts only with {needed}; give that too, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Settings of the states that are saved, and of the pictures that are drawn and judged, in training.

    None of them changes a step: `keep` chooses which step's weights are exported, `on_corruption` whether to stop.
    """

    checkpoint_every_s: float = 15.0
    """Seconds between two saved states, stretched so that saving takes at most a twentieth of the time."""
    checkpoint_every: int = 0
    """Also save the state every so many steps; 0 leaves it to the clock."""
    sample_every: int = 0
    """Draw sample pictures every so many steps; 0 draws them at the end only."""
    sample_prompt: tuple[str, ...] = ()
    """Prompts of the sample pictures; none takes the first picture's."""
    sample_count: int = 4
    """Sample pictures a prompt, each with its own fixed seed; 0 draws none."""
    sample_steps: int = 30
    """Sampler steps of each sample picture."""
    sample_guidance: float | None = None
    """Guidance scale of the sample pictures, 0 or more; 1 draws without guidance. None takes the usual one of the
    model: 5, or that which it was made for."""
    watch_every: int | None = 0
    """Judge pictures of fixed seeds every so many steps, for likeness to the training pictures and for noise; 0 never.
    None takes 100 steps or 40 for each picture, if that is more, and at most a tenth of all steps."""
    watch_count: int = 8
    """Pictures judged each time, at least 2, of the sample pictures' prompts."""
    watch_steps: int = 10
    """Sampler steps of each judged picture."""
    watch_similarity: str = "embedded"
    """Measure of likeness: `embedded`, which is made for emoji, `ssim`, or the path of a local encoder. A TorchScript
    file is a program, and is run only where all it can do is compute."""
    keep: Literal["last", "best"] = "last"
    """Export the last step's weights, or those of the step that was judged best."""
    on_corruption: Literal["warn", "stop"] = "warn"
    """Action when likeness falls for two judgements in a row while noise rises: a warning, or a warning and a stop."""

    def __post_init__(self) -> None:
        require(self.checkpoint_every_s >= 0, f"checkpoint_every_s must not be negative: {self.checkpoint_every_s}")
        for name in ("checkpoint_every", "sample_every", "sample_count"):
            require(getattr(self, name) >= 0, f"{name} must not be negative: {getattr(self, name)}")
        for name in ("sample_steps", "watch_steps"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        scale = self.sample_guidance
        require(scale is None or 0 <= scale < float("inf"), f"sample_guidance must be 0 or more, not {scale}")
        require(
            self.watch_every is None or self.watch_every >= 0, f"watch_every must not be negative: {self.watch_every}"
        )
        require(2 <= self.watch_count <= MOST_PICTURES, f"watch_count must be at least 2, not {self.watch_count}")
        require(
            self.sample_count <= MOST_PICTURES, f"sample_count must be at most {MOST_PICTURES}: {self.sample_count}"
        )
        if self.watch_every == 0:
            require(self.keep == "last", "keep best needs judgements: give watch_every too")
            require(self.on_corruption == "warn", "on_corruption stop needs judgements: give watch_every too")

    def interval(self, pictures: int, steps: int) -> int:
        """Steps between two judgements of a fine-tune on `pictures` distinct ones; 0 for none."""
        if self.watch_every is not None:
            return self.watch_every
        return min(max(100, 40 * pictures), max(1, steps // 10))


UNWATCHED = Watch(sample_count=0)
"""The default of calls from Python: no pictures are drawn."""
