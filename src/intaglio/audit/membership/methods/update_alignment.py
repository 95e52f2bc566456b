"""Update alignment: the product of a picture's gradient with the update that made the suspect."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.membership.cost import DenoiserCalls, in_micro_batches
from intaglio.audit.membership.family import AuditInputs, Authentication, Authenticator, check_least, check_range
from intaglio.audit.membership.work_key import work_key
from intaglio.denoising.losses import Precision, arithmetic, micro_batches
from intaglio.denoising.samples import fixed_samples
from intaglio.denoising.weight_update import UpdateBasis, half_way, update_bases
from intaglio.errors import IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.adapted import with_own_weights
from intaglio.models.diffusion.latent_diffusion import Conditioning, LatentDiffusion
from intaglio.runs.picture_batches import content_order, in_batches
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState, in_steps, stored_steps

FLOOR = 1e-3
"""Share of the mean of v that is added to every entry of v, so that entries without gradient have a finite weight."""


@dataclass(frozen=True)
class UpdateAlignment(Authenticator):
    """Update alignment: how much of a picture's own gradient lies in the update from base to suspect.

    Fine-tuning adds up steps along the gradients of its pictures and of no others. With D the suspect's weights less
    the base's, g(x) the gradient of a picture's mean squared denoising error, and W a diagonal weighting, the score is

        < -D, g(x) >_W / || g(x) ||_W .

    Unweighted, < -D, g > is to first order the gap of the two models' denoising errors. Three things make it sharper.
    Each matrix is taken in the basis of the update's own right singular vectors, and only within their span: outside of
    it a low-rank update is zero whatever the pictures were. In that basis W = 1 / sqrt(v), with v the mean square of
    the gradients, takes weight from the entries in which every picture's gradient is large, and undoes the scaling of
    Adam, whose step in an entry is the gradient over sqrt(v). And the norm takes off what makes a picture's gradient
    long without pointing anywhere.

    g is taken half way between base and suspect, over pairs (t, eps) that all pictures share; the early timesteps
    separate best. v comes from `pilot` of the pictures of the call, picked by their content and so whatever their role,
    which leaves a questioned picture exchangeable with the controls; a score is comparable within its own call only.

    Only the denoiser's update counts, not the text encoders'. Memory: some five times the weights that differ, which is
    little for a LoRA.

    Intaglio's own. Related: influence as products of gradients, TracIn, arXiv 2002.08484; gradients of diffusion
    models as features of membership, arXiv 2308.06405.
    """

    reading: ClassVar[str] = (
        "how far the weights moved, from the base to the suspect, the way this very picture pulls them"
    )
    signals: ClassVar[tuple[str, ...]] = ("product", "coefficient")

    levels: int = 12
    """Timesteps, one from each of as many equal bins; from 1."""
    noises: int = 2
    """Draws of noise a timestep; from 1."""
    timesteps: tuple[int, int] = (1, 600)
    """First and last timestep that may be drawn."""
    pilot: int = 16
    """Pictures that the weighting is estimated from; 0 takes all."""
    precision: Precision = "float32"
    """Arithmetic inside the network; float16 and bfloat16 by autocast."""
    micro_batch: int = 64
    """Samples in one call of the network; lower it when memory is short, the result stays."""
    seed: int = 0
    """Fixes timesteps and noise."""

    def __post_init__(self) -> None:
        check_least(self, {"levels": 1, "noises": 1, "pilot": 0, "micro_batch": 1})
        check_range(self.timesteps)

    @property
    def last_timestep(self) -> int:
        """The last timestep that may be drawn."""
        return self.timesteps[1]

    def calls(self, pictures: int, models: int) -> tuple[DenoiserCalls, ...]:
        """The gradient of every picture at one model half way, and before that those of the pilot."""
        count = pictures + min(self.pilot or pictures, pictures)
        batches = in_micro_batches([self.levels * self.noises], self.micro_batch, times=count)
        return (DenoiserCalls(batches, "weights", encoded=count),)

    def audit(self, inputs: AuditInputs, images: ImageSet, run: Run) -> Authentication:
        """Signals: `product`, < -D, g >_W, and `coefficient`, that over < g, g >_W: the number of steps along -g that
        explains the update best. Raises `BadInput` too where no matrix of the denoiser differs.
        """
        suspect, base = with_own_weights(inputs.pair[0]), inputs.pair[1]
        bases = update_bases(suspect, base)
        pilot = images[content_order(images)[: self.pilot or None]]
        key = "\n".join((work_key(self, inputs, without=("micro_batch",)), *pilot.hashes))
        with half_way(suspect, base, bases) as model:
            with torch.no_grad():
                text = suspect.embed([inputs.prompt]).to(base.device)
            gradients = _PictureGradients(self, model, text, bases)
            weights = weighting(gradients.square_sums(pilot, run, key))
            found = in_batches(run, self.name, key, images, lambda part: gradients.products(part, weights))
        product, square = found["product"], found["square"]
        return Authentication(
            method=self.name,
            names=images.names,
            scores=product / square.sqrt(),
            signals={"product": product, "coefficient": product / square},
        )

    def forget(self, run: Run, pictures: int) -> None:
        run.drop_state(self.name)


@dataclass(frozen=True, eq=False)
class _SquareSums(StepState):
    """The sums of squared gradients over the first pictures of the pilot, a step a picture."""

    sums: Mapping[str, Float[Tensor, "o r"]]
    """By the weight's path."""

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.sums)

    def restored(self, step: int, tensors: Mapping[str, Tensor]) -> "_SquareSums":
        return replace(self, step=step, sums=tensors)

    def plus(self, gradient: Mapping[str, Tensor]) -> "_SquareSums":
        """The sums with one more picture's gradient."""
        sums = {path: square + gradient[path].square() for path, square in self.sums.items()}
        return replace(self, step=self.step + 1, sums=sums)


def weighting(square_sums: Mapping[str, Float[Tensor, "o r"]]) -> dict[str, Float[Tensor, "o r"]]:
    """W = 1 / sqrt(v) by path, from any multiple of v, in units of the mean of v.

    In these units neither squares of small gradients nor their roots leave float32.
    """
    entries = sum(square.numel() for square in square_sums.values())
    floor = FLOOR * float(sum(square.double().sum() for square in square_sums.values())) / entries
    return {path: (floor / FLOOR / (square + floor)).sqrt() for path, square in square_sums.items()}


@dataclass(frozen=True, eq=False)
class _PictureGradients:
    """The gradients of pictures at the model half way, in the bases of the update."""

    method: UpdateAlignment
    model: LatentDiffusion
    text: Conditioning
    bases: Mapping[str, UpdateBasis]

    def square_sums(self, pilot: ImageSet, run: Run, key: str) -> Mapping[str, Float[Tensor, "o r"]]:
        """The pilot's size times v, by path; a sum over its pictures, stored as it grows."""
        none = _SquareSums(0, {path: torch.zeros_like(basis.update) for path, basis in self.bases.items()})
        done = stored_steps(run, self.method.name, {"key": key})
        with run.progress(len(pilot), "weighting", done) as progress:
            return in_steps(
                run,
                self.method.name,
                {"key": key},
                none,
                lambda state: state.plus(self.gradient(pilot[state.step : state.step + 1])),
                steps=len(pilot),
                noted=lambda before, after: progress.advance(),
            ).sums

    def products(self, image: ImageSet, weights: Mapping[str, Tensor]) -> dict[str, list[float]]:
        """< -D, g >_W and < g, g >_W of one picture."""
        product = square = 0.0
        for path, gradient in self.gradient(image).items():
            weighted = gradient * weights[path]
            product -= float((weighted * self.bases[path].update).double().sum())
            square += float((weighted * gradient).double().sum())
        return {"product": [product], "square": [square]}

    def gradient(self, image: ImageSet) -> dict[str, Float[Tensor, "o r"]]:
        """g(x) of one picture, by path, up to one constant. Raises `IntaglioError` where it is zero or not finite."""
        model, method = self.model, self.method
        with torch.no_grad():
            latents = model.encode(image.pixels).cpu()
        noise, t = fixed_samples(method.levels, tuple(latents.shape[1:]), method.timesteps, method.seed, method.noises)
        named = dict(model.denoiser.named_parameters())
        total: dict[str, Tensor] = {}
        for z, eps, times in micro_batches(model, latents, noise, t, method.micro_batch):
            with torch.enable_grad(), arithmetic(model, method.precision):
                # Summed over entries, since the gradient of a mean underflows in half precision.
                loss = model.error(z, eps, times, self.text).sum() * z[0].numel() / t.numel()
                # A last block may have weights of the text's stream that no output depends on: zeros.
                pieces = torch.autograd.grad(loss, [named[path] for path in self.bases], materialize_grads=True)
            for (path, basis), piece in zip(self.bases.items(), pieces, strict=True):
                part = basis.project(piece.float())
                total[path] = total[path] + part if path in total else part
        size = sum(float(part.double().square().sum()) for part in total.values())
        if not 0 < size < math.inf:
            raise IntaglioError(f"the gradient of {image.names[0]} is zero or not finite; try --precision float32")
        return total
