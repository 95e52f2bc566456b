"""text-norm: the magnitude of a diffusion model's text-conditional prediction, which memorised prompts raise."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.audit.prompts.family import AskedPrompt, PromptAudit
from intaglio.audit.prompts.result import WORD
from intaglio.audit.prompts.word_gradients import PromptLeaves, prompt_leaves
from intaglio.denoising.losses import Precision, arithmetic, pieces
from intaglio.errors import BadInput, IntaglioError, require
from intaglio.learning.precision import check_precision
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.sampling.calls import Calls
from intaglio.sampling.fixed_sampling import Settled, refuse_contradiction, sampling_grid
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.sampling_batch import NOT_FINITE, seen
from intaglio.sampling.step import ddim_step


@dataclass(frozen=True, kw_only=True)
class TextNorm(PromptAudit):
    """Text-conditional norm: how far the words of a prompt move the prediction, high if memorised.

    Along k steps of DDIM under guidance w, from G noises that all prompts share, with eps_c and eps_u the noise
    predicted in latents x_t of d entries with the prompt and with the empty one,

        M = mean over noises and steps of ||eps_c(x_t) - eps_u(x_t)||_2,    score = M / sqrt(d), less the base's.

    At noise level (s, n) eps_c - eps_u = (s/n) (xhat_u - xhat_c), the clean latents expected without and with the
    prompt: a prompt that stands for one picture pulls all starts there. M / sqrt(d) is a root mean square, from 0, and
    does not depend on the resolution; the published bound of 3 on M, for d = 16,384, is 0.0234.

    The share of a word is the norm of the gradient of M in the embeddings of its tokens, summed over them, of all
    words'; the latents of a step are held fixed. The embeddings are those that the text encoder begins with; the
    published code takes those that it ends with, where later tokens and the padding have taken in earlier words.

    Source: Wen et al., "Detecting, Explaining, and Mitigating Memorization in Diffusion Models", ICLR 2024, arXiv
    2407.21720. Published scores are not less a base's.
    """

    reading: ClassVar[str] = "how far the prompt’s words move the predicted noise, root mean square over the latents"

    steps: int = 50
    """Steps k of DDIM, from 1."""
    guidance: float = 7.5
    """Guidance scale w of the path, 0 or more."""
    noises: int = 4
    """Starting noises G of each prompt, from 1."""
    at: Literal["path", "first"] = "path"
    """path: all steps; first: the first step alone, which is k times cheaper and sees less."""
    word_steps: int = 5
    """Steps, evenly spread over those taken, at which the shares of words are measured, 0 for none; more than there
    are takes all. Published: all."""
    seed: int = 0
    """Seed of the first noise, and of its picture in `sample`; the others follow it. From 0."""
    precision: Precision = "float32"
    """Arithmetic inside the networks; float16 and bfloat16 by autocast."""
    micro_batch: int = 8
    """Noises that go through the network together, from 1; lower it when memory is short, the result stays."""

    def __post_init__(self) -> None:
        for name, least in {"steps": 1, "noises": 1, "micro_batch": 1, "word_steps": 0}.items():
            require(getattr(self, name) >= least, f"{name} must be at least {least}, not {getattr(self, name)}")
        require(0 <= self.guidance < float("inf"), f"guidance must be 0 or more, and finite, not {self.guidance}")
        require(self.at in ("path", "first"), f"at must be path or first, not {self.at!r}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")
        check_precision(self.precision)

    @property
    def rows(self) -> int:
        """Noises that go through the network together."""
        return min(self.noises, self.micro_batch)

    @property
    def drawing(self) -> dict[str, str | int | float]:
        """Those of the path, whose ends the pictures of the seeds from `seed` on are."""
        return {"sampler": "ddim", "steps": self.steps, "guidance_scale": self.guidance}

    def calls(self, words: bool) -> Calls:
        """Two rows a noise and step, and a gradient where shares are measured."""
        graded = len(self._graded()) if words else 0
        return Calls(forward=2 * self.noises * self._visited, backward=self.noises * graded)

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a distilled guidance, for steps that cannot be taken, or a first without words."""
        inside = model.sampling.guidance
        if inside == "baked" or (inside == "input" and model.sampling != model.family.sampling(model.components)):
            raise BadInput(
                f"{model.name} was distilled with its guidance, so that what it predicts without a prompt is not its "
                "own; ask the model that it was distilled from"
            )
        refuse_contradiction(model, Settled(self.steps, "ddim", self.guidance), plain=False)
        if not sampling_grid(model, self.steps)[0].has_signal and self._visited == 1:
            raise BadInput(
                f"at its first step {model.name} sees noise alone, in which words change no prediction of the noise; "
                "take --at path with two --steps or more"
            )

    @property
    def _visited(self) -> int:
        return self.steps if self.at == "path" else 1

    def _graded(self) -> set[int]:
        """The places of the steps at which shares are measured: the middles of equal parts."""
        count = min(self.word_steps, self._visited)
        return {int((k + 0.5) * self._visited / count) for k in range(count)}

    def ask(self, model: LatentDiffusion, prompt: str, *, words: bool) -> AskedPrompt:
        """The root mean square, and the shares of the words."""
        shape = (model.latent_channels, *[model.resolution // model.factor] * 2)
        seeds = range(self.seed, self.seed + self.noises)
        start = unit_noise(shape, [torch.Generator().manual_seed(seed) for seed in seeds]).double()
        norms = torch.zeros(self.noises, dtype=torch.float64)
        gradients = torch.zeros(len(WORD.findall(prompt)), dtype=torch.float64)
        graded = self._graded() if words else set()
        for part in pieces(self.noises, self.micro_batch):
            walk = _Walk(model, prompt, self.guidance, self.precision, start[part])
            for place, (now, then) in enumerate(pairwise(sampling_grid(model, self.steps)[: self._visited + 1])):
                norms[part] += walk.step(now, then, gradients if place in graded else None)
        rms = float(norms.mean()) / self._visited / start[0].numel() ** 0.5
        if not rms < float("inf"):
            raise IntaglioError(f"the predictions of {model.name} for {prompt!r} are not finite; {NOT_FINITE}")
        total = float(gradients.sum())
        return AskedPrompt(rms, tuple((gradients / total).tolist()) if total > 0 else ())


class _Walk:
    """Latents of one prompt on their way down a grid of noise levels, under guidance."""

    def __init__(
        self, model: LatentDiffusion, prompt: str, scale: float, precision: Precision, start: Float[Tensor, "n c h w"]
    ):
        self.model, self.prompt, self.scale, self.x = model, prompt, scale, start
        self.precision: Precision = precision
        with torch.no_grad():
            self.empty = model.embed([""], negative=True).detach()[[0] * len(start)]
            self.given = model.embed([prompt]).detach()[[0] * len(start)]
            self.both = Conditioning.cat([self.empty, self.given])

    def step(self, now: NoiseLevel, then: NoiseLevel, gradients: Float[Tensor, "words"] | None) -> Float[Tensor, "n"]:
        """Norms of the difference of the two predictions at `now`; goes on to `then`.

        The norms of the words' gradients, summed over the rows, are added to `gradients`, where they are wanted.
        """
        x = seen(self.x, now).to(self.model.device)
        t = now.batch(len(x), self.model.device)
        with torch.no_grad(), arithmetic(self.model, self.precision):
            empty, given = self.model.predict(torch.cat([x, x]), torch.cat([t, t]), self.both).chunk(2)
        if gradients is not None:
            gradients += self._words(x, t, empty)
        rule = self.both.rule
        noise = empty + self.scale * (given - empty) if rule is None else rule(x, t, empty, given, self.scale)
        self.x = ddim_step(self.x, noise.double().cpu(), now, then)
        return (given - empty).double().flatten(1).norm(dim=1).cpu()

    def _words(self, x: Float[Tensor, "n c h w"], t: Tensor, empty: Float[Tensor, "n c h w"]) -> Float[Tensor, "words"]:
        leaves: PromptLeaves = prompt_leaves(self.model, self.prompt, len(x))
        with torch.enable_grad(), arithmetic(self.model, self.precision):
            given = self.model.predict(x, t, leaves.text)
            norms = torch.linalg.vector_norm((given - empty).double().flatten(1), dim=1)
        return leaves.norms(norms).sum(0)
