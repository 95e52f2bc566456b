"""jacobian: for each picture, the directions of the bottleneck that its predicted noise answers to most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.directions.family import DirectionFinder, DirectionJudge
from intaglio.explain.directions.jacobian_products import SiteJacobian
from intaglio.explain.directions.result import Directions
from intaglio.explain.directions.singular_directions import SPARE, singular_directions
from intaglio.explain.site_walks import noised_walks
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_edits import module_at
from intaglio.models.module_outputs import outputs_of
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class JacobianDirections(DirectionFinder):
    """Directions of a site that the predicted noise of one picture answers to most.

    h_t [c, h, w] is what the site gives along the picture's own walk, and J = d eps / d h_t the Jacobian of the noise
    predicted for the prompt, whatever passes the site by held still. The directions are its first right singular
    vectors, by power iteration of all of them at once with one product of either kind, J v and u J, an iteration; a
    step begins with the vectors of the step before, and signs agree with these. The edit is
    h_t + alpha size |h_t| v_{i,t}.

    Source: arXiv 2303.11073. Between the steps at which they are found, which is ours, directions stay.
    """

    reading: ClassVar[str] = "one that the picture's predicted noise answers to most; each picture has its own"
    unit: ClassVar[str] = "the share --size of the length of the picture's activations"
    number: ClassVar[str] = "singular value"
    own: ClassVar[bool] = True

    site: str = "mid_block"
    """Module of the denoiser whose output is shifted, such as mid_block or up_blocks.0."""
    count: int = 3
    """Directions of a picture, at least 1."""
    every: int = 5
    """Steps from one at which directions are found to the next, at least 1; 1 finds them at each."""
    iterations: int = 15
    """Most iterations at a step, at least 1."""
    tolerance: float = 1e-3
    """Change of the singular values, as a share of them, at which iterations end; 0 or more."""
    size: float = 0.1
    """Length of a shift at strength 1, as a share of that of the activations; above 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("count", "every", "iterations"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(self.tolerance >= 0, f"tolerance must be 0 or more, not {self.tolerance}")
        require(self.size > 0, f"size must be above 0, not {self.size}")

    @property
    def planned_directions(self) -> int:
        """Those of `count`."""
        return self.count

    @property
    def place(self) -> str:
        """The site."""
        return self.site

    @property
    def found_at(self) -> list[int]:
        """Steps, from 0, at which directions are found."""
        return list(range(0, self.steps, self.every))

    def forget(self, run: Run, pictures: int) -> None:
        """Drops the vectors of each picture."""
        for place in range(pictures):
            for step in self.found_at:
                run.drop_state(_state(place, step))

    def calls(self, pictures: int) -> tuple[int, int]:
        """The pictures' walks, and products with the Jacobian, of which one takes two or three passes of a row."""
        products = len(self.found_at) * (self.count + SPARE) * (5 * self.iterations + 2)
        return pictures, pictures * products

    def find(
        self,
        model: LatentDiffusion,
        prompts: Sequence[str],
        seeds: Sequence[int],
        judge: DirectionJudge | None,
        run: Run,
    ) -> Directions:
        """Picture by picture."""
        if not seeds:
            raise BadInput(f"{self.name} finds directions of single pictures, and there is none; give --pictures 1")
        steps, texts = self.found_at, [prompts[k % len(prompts)] for k in range(len(seeds))]
        known = self._known(model, texts, seeds, run)
        with run.progress(len(seeds) * len(steps), self.name, len(known)) as progress:
            for place, seed in enumerate(seeds):
                left = [step for step in steps if (place, step) not in known]
                walk = noised_walks(model, texts[place], seed, self.walk) if left else None
                start = torch.Tensor()
                for step in steps:
                    if walk is not None and step in left:
                        known[place, step] = self._at(model, walk, texts[place], seed, step, start)
                        key = self._key(model, texts[place], seed)
                        run.save_state(_state(place, step), known[place, step], {"key": key})
                        progress.advance()
                    start = known[place, step]["vectors"]
        near = [steps[k // self.every] for k in range(self.steps)]
        shifts = torch.stack([torch.stack([known[p, k]["shifts"] for k in near], 1) for p in range(len(seeds))])
        values = torch.stack([one["values"] for one in known.values()]).double().mean(0)
        return self._directions(model, shifts, values.tolist(), [nan] * self.count, seeds)

    def _key(self, model: LatentDiffusion, text: str, seed: int) -> str:
        return digest([model.fingerprint, text, seed, repr(self)])

    def _known(
        self, model: LatentDiffusion, texts: Sequence[str], seeds: Sequence[int], run: Run
    ) -> dict[tuple[int, int], Mapping[str, Tensor]]:
        """Finds of an earlier, killed call, by picture and step."""
        found = dict[tuple[int, int], Mapping[str, Tensor]]()
        for place, (text, seed) in enumerate(zip(texts, seeds, strict=True)):
            for step in self.found_at:
                stored = run.load_state(_state(place, step))
                if stored is not None and stored[1].get("key") == self._key(model, text, seed):
                    found[place, step] = stored[0]
        return found

    def _at(
        self, model: LatentDiffusion, walk: Float[Tensor, "s c hl wl"], prompt: str, seed: int, step: int, start: Tensor
    ) -> dict[str, Tensor]:
        """Vectors at one step, with shifts and singular values of those that count."""
        t = torch.tensor([self.walk.timesteps(model)[step]], device=model.device)
        latents, given = walk[step : step + 1].to(model.device), model.embed([prompt])
        with outputs_of([module_at(model.denoiser, self.site)]) as seen:
            model.predict(latents, t, given)
        value = seen[0][0].cpu()
        if not len(start):
            shape = (min(self.count + SPARE, value.numel()), *value.shape)
            start = torch.randn(shape, generator=generator(self.seed, "jacobian", prompt, seed))
        jacobian = SiteJacobian(model, self.site, latents, t, given, value)
        options = {"iterations": self.iterations, "tolerance": self.tolerance}
        vectors, values, _ = singular_directions(jacobian.forward, jacobian.backward, start, **options)
        along = (vectors * start.to(vectors)).flatten(1).sum(1)
        vectors = vectors * torch.where(along < 0, -1.0, 1.0).view(-1, *[1] * value.dim())
        shifts = vectors[: self.count] * (self.size * value.norm())
        return {"vectors": vectors, "shifts": shifts, "values": values[: self.count]}


def _state(place: int, step: int) -> str:
    return f"jacobian-{place}-{step}"
