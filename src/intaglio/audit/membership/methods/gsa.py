"""GSA: norms of a picture's gradients by blocks of the network, told apart by what shadow models show."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, in_micro_batches
from intaglio.audit.membership.family import Authentication, check_least, check_range
from intaglio.audit.membership.per_model import PromptedModel
from intaglio.audit.membership.shadow_score import Measured, ShadowScore
from intaglio.audit.membership.shadows import Shadows
from intaglio.denoising.losses import arithmetic, pieces
from intaglio.denoising.samples import standard_normal
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.learning.per_sample import per_sample_gradients, tensor_norms
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.randomness import generator

BLOCK = re.compile(r"\w+(?:\.\d+)?(?:\.(?:resnets|attentions|downsamplers|upsamplers)\.\d+)?")
"""The beginning of a weight's name that says which block of the denoiser it stands in."""
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Inverse penalties that the folds choose from."""
FOLDS = 5
LEAST_NORM = 1e-12
"""A gradient below this counts as so much, since its logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class GSA(ShadowScore):
    """GSA: whether a picture's gradients, block by block, look as those of members of shadow models.

    The gradient of a picture's denoising loss by each tensor of weights theta_j is taken at equidistant timesteps with
    one noise each, the same for all pictures and models; its norm is small for what was learned. With l_t the mean
    squared error at timestep t,

        mean-loss (GSA1):   f_j = || d (mean_t l_t) / d theta_j ||
        mean-norm (GSA2):   f_j = mean_t || d l_t / d theta_j ||

    The features are log sqrt(sum of f_j^2) over the tensors j of a block of the network: some thirty of a U-Net, as
    hundreds would be learnt by heart from few rows. Each is standardised by the shadows' own mean and deviation. A
    logistic regression of the shadows' rows on whether each was tuned on the picture gives the score, the suspect's
    log odds; its penalty is chosen by five folds that leave shadows out. Published: each tensor by itself, boosted
    trees, and the suspect's features standardised by themselves.

    Signal: `norm`, the negated log norm of the whole gradient. Tune the shadows on random halves of the questioned
    pictures and the controls together (`intaglio finetune ... --half`), by the suspect's own recipe; 8 are usual.

    Source: White-box Membership Inference Attacks against Diffusion Models, arXiv 2308.06405 (PoPETs 2025).
    """

    reading: ClassVar[str] = "how far the picture’s gradients look as those of what shadow models were tuned on"
    signals: ClassVar[tuple[str, ...]] = ("norm",)
    usual_shadows: ClassVar[int] = 8
    drawn_controls: ClassVar[bool] = True

    levels: int = 10
    """Timesteps, at equal distances; from 1."""
    timesteps: tuple[int, int] = (1, 999)
    """First and last timestep."""
    aggregate: Literal["mean-loss", "mean-norm"] = "mean-loss"
    """The norm of the mean loss's gradient (GSA1), or the mean of the norms at each timestep (GSA2), which takes a
    backward pass a timestep."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, {"levels": 1})
        check_range(self.timesteps)
        if self.aggregate not in ("mean-loss", "mean-norm"):
            raise ValueError(f"aggregate must be mean-loss or mean-norm, not {self.aggregate!r}")

    @property
    def last_timestep(self) -> int:
        """The last timestep."""
        return self.timesteps[1]

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """A call with its backward pass a timestep, or as many timesteps as go at once."""
        batches = in_micro_batches([self.levels], self._at_once, times=pictures * models)
        return (DenoiserCalls(batches, gradient="all weights", encoded=pictures),)

    @property
    def _at_once(self) -> int:
        return 1 if self.aggregate == "mean-norm" else self.micro_batch

    def check_known(self, shadows: Shadows, images: ImageSet) -> None:
        """Raises `BadInput` where no shadow was tuned on a picture, or all were on all."""
        kept = shadows.kept(images)
        if not kept.any() or kept.all():
            raise BadInput(
                f"gsa learns what members look like, and the shadows were tuned on {'all' if kept.any() else 'none'} "
                "of these pictures; tune them on halves of the questioned pictures and the controls together"
            )

    def numbers(self, model: PromptedModel, latents: Float[Tensor, "n c h w"]) -> Measured:
        """The log norm of the gradient by each block."""
        shape = tuple(latents.shape[1:])
        noise = standard_normal(self.levels, shape, generator(self.seed, "gradient samples", *shape))
        times = torch.tensor([model.at(int(t)) for t in torch.linspace(*self.timesteps, self.levels).round()])
        texts = [model.text[[i if len(model.text) > 1 else 0]] for i in range(len(latents))]
        rows = [self._norms(model, one, noise, times, text) for one, text in zip(latents, texts, strict=True)]
        return {block: torch.tensor([row[block] for row in rows]) for block in rows[0]}

    def _norms(
        self,
        model: PromptedModel,
        latent: Float[Tensor, "c h w"],
        noise: Float[Tensor, "k c h w"],
        times: Int[Tensor, "k"],
        text: Conditioning,
    ) -> dict[str, float]:
        """The log norms of one picture's gradient, by block."""
        network, device = model.model.denoiser, model.model.device
        names = [name for name, weight in network.named_parameters() if weight.is_floating_point()]
        latents = latent.expand_as(noise)

        def loss(z: Tensor, eps: Tensor, t: Tensor) -> Tensor:
            with arithmetic(model.model, model.precision):
                return model.model.error(z, eps, t, text).float().sum() / len(times)

        norms, sums = torch.zeros(len(names), dtype=torch.float64), dict[str, Tensor]()
        for piece in pieces(len(times), self._at_once):
            samples = [one[piece][None].to(device) for one in (latents, noise, times)]
            (found,) = per_sample_gradients(network, names, loss, samples)
            if self.aggregate == "mean-norm":
                norms += tensor_norms(found)[0].double().cpu()
            else:
                sums = {name: row + sums[name] if sums else row for name, row in found.items()}
        if sums:
            norms = tensor_norms(sums)[0].double().cpu()
        return by_block(dict(zip(names, norms.tolist(), strict=True)))

    def judged(
        self, suspect: Measured, shadows: Measured, kept: Bool[Tensor, "s n"], images: ImageSet
    ) -> Authentication:
        """The log odds of the logistic regression."""
        mine = np.stack([values.double().numpy() for values in suspect.values()], -1)
        theirs = np.stack([values.double().numpy() for values in shadows.values()], -1)
        odds, strength, weights = log_odds(mine, theirs, kept.numpy())
        total = np.log(np.exp(2 * mine).sum(-1)) / 2
        return Authentication(
            method=self.name,
            names=images.names,
            scores=torch.from_numpy(odds).float(),
            signals={"norm": -torch.from_numpy(total).float()},
            diagnostics={
                "shadows": len(kept),
                "inverse_penalty": strength,
                "weights": dict(zip(suspect, weights.tolist(), strict=True)),
            },
        )


def by_block(norms: Mapping[str, float]) -> dict[str, float]:
    """The log norm of each block's gradient, from the norms by the weights' names."""
    squares = Counter[str]()
    for name, norm in norms.items():
        found = BLOCK.match(name)
        squares[found[0] if found else name] += norm**2  # type: ignore[assignment]
    return {block: float(np.log(max(total**0.5, LEAST_NORM))) for block, total in squares.items()}


def log_odds(
    suspect: Float[np.ndarray, "m f"], shadows: Float[np.ndarray, "s n f"], kept: Bool[np.ndarray, "s n"]
) -> tuple[Float[np.ndarray, "m"], float, Float[np.ndarray, "f"]]:
    """Log odds of membership under the suspect, by a logistic regression learnt on the shadows.

    Args:
        suspect: features of pictures under the suspect.
        shadows: features of n pictures, mostly the same, under each shadow.
        kept: whether each shadow was tuned on each picture.

    Returns:
        The odds, the inverse penalty that the folds chose, and a weight for each standardised feature.
    """
    from sklearn.linear_model import LogisticRegression

    count, pictures, features = shadows.shape
    rows, labels = shadows.reshape(-1, features), kept.reshape(-1)
    mean, deviation = rows.mean(0), np.maximum(rows.std(0), 1e-9)
    rows = (rows - mean) / deviation
    strength = _strength(rows, labels, np.repeat(np.arange(count), pictures))
    fitted = LogisticRegression(C=strength, class_weight="balanced", max_iter=10_000).fit(rows, labels)
    return fitted.decision_function((suspect - mean) / deviation), strength, fitted.coef_[0]


def _strength(rows: Float[np.ndarray, "m f"], labels: Bool[np.ndarray, "m"], groups: Int[np.ndarray, "m"]) -> float:
    """The inverse penalty with the least loss over folds that leave shadows out; 1 where a fold lacks a class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_score

    folds = list(GroupKFold(min(FOLDS, len(set(groups.tolist())))).split(rows, labels, groups))
    if any(labels[part].all() or not labels[part].any() for fold in folds for part in fold):
        return 1.0
    scores = [
        cross_val_score(
            LogisticRegression(C=strength, class_weight="balanced", max_iter=10_000),
            rows,
            labels,
            cv=folds,
            scoring="neg_log_loss",
        ).mean()
        for strength in STRENGTHS
    ]
    return STRENGTHS[int(np.argmax(scores))]
