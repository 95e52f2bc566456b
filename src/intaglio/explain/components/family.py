"""Component patchers: the contract of a method that tells how much of a difference goes through each component."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.components.denoiser_branches import Asked, DenoiserBranch, denoiser_branches
from intaglio.explain.components.exact_checks import CheckedComponents, ExactChecks, chosen_components, exact_checks
from intaglio.explain.components.patch_points import PatchPoint, patch_point
from intaglio.explain.components.result import PatchedComponents
from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import seed_32bit
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.loop import latent_batches
from intaglio.verbs import FileName

Pair = tuple[LatentDiffusion, str, str]
"""A model with the clean and the corrupted prompt."""
EFFECTS, CHECKS = "effects", "checks"
"""Names of a run's states."""
NOTHING = {"values": torch.zeros(0), "sizes": torch.zeros(0, dtype=torch.int64)}
"""What is known of a draw before it is begun."""


@dataclass(frozen=True)
class PatchedDraw:
    """One draw: a picture's seed, and the noise level at which both prompts are predicted."""

    seed: int
    t: int
    """Timestep."""
    steps: int
    """Steps of DDIM that lead there."""


@dataclass(frozen=True, kw_only=True)
class ComponentPatcher(ABC):
    """A way to tell how much of the difference between the predictions for two prompts goes through each component.

    A component is a channel of what a branch of the denoiser gives, or a whole branch. Its effect is how far the
    prediction for the corrupted prompt goes to that for the clean one, at the same noised latents, when the component
    alone gives what it gives for the clean prompt: 0 is not at all, 1 all the way. Effects need not add up to 1, since
    what goes through several components in turn counts in each of them.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The effect in words, as the end of a sentence that begins "An effect is"."""
    exact: ClassVar[bool] = False
    """Whether effects are measured, so that there is nothing to check."""
    by_branch: ClassVar[bool] = False
    """Whether branches are worked at one after the other, and not together."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    branches: Asked = "all"
    """Branches that are asked about: all, resnet, attention or feed-forward."""
    unit: Literal["channel", "branch"] = "channel"
    """A component: each channel of a branch's output, or the branch as a whole."""
    draws: int = 8
    """Pictures at whose noised latents both prompts are predicted, at least 1: each has a seed and a timestep of its
    own, spread evenly, and effects are means over them."""
    steps: int = 20
    """Steps of DDIM, at least 1, of a whole drawing of the corrupted prompt; a draw is led to its timestep in its
    share of them."""
    batch: int = 16
    """Rows that go through the denoiser at once, at least 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of the draws, 0 to 2**32 - 1."""

    def __post_init__(self) -> None:
        for name in ("draws", "steps", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def effects(self, point: PatchPoint, chosen: Sequence[int]) -> list[Float[Tensor, "c"]]:
        """Effects at a point: of each channel of each chosen branch, or one of each branch as a whole; on the CPU.

        Args:
            point: with the predictions for both prompts.
            chosen: numbers of branches: all of them, or one where the method is `by_branch`.
        """

    @abstractmethod
    def passes(self, components: Sequence[int]) -> int:
        """Rows through the denoiser and back for a draw, each counted as one, with so many components a branch."""

    def planned_draws(self, model: LatentDiffusion) -> list[PatchedDraw]:
        """Seeds and timesteps, from the noisiest on."""
        last = model.schedule.count - 1
        found = []
        for k in range(self.draws):
            t = min(last - 1, round(last * (1 - (k + 0.5) / self.draws)))
            steps = max(1, round(self.steps * (last - t) / last))
            found.append(PatchedDraw(seed_32bit(self.seed, "components", k), t, steps))
        return found

    def check(self, model: LatentDiffusion) -> tuple[DenoiserBranch, ...]:
        """The branches; raises `BadInput` for a model that it cannot ask."""
        check_needs(self, model)
        return denoiser_branches(model.denoiser, self.branches)

    def point(self, model: LatentDiffusion, clean: str, corrupted: str, draw: PatchedDraw) -> PatchPoint:
        """The point of a draw, by two passes and the steps that lead there; the model is frozen.

        Raises `BadInput` as `patch_point` does.
        """
        options: dict[str, Any] = {"sampler": "ddim", "guidance_scale": 1.0, "negative": ""}
        walk = latent_batches(model, [corrupted], [draw.seed], steps=draw.steps, until=draw.t, batch=1, **options)
        (latents,) = walk
        t = torch.tensor([draw.t], device=model.device)
        given = [model.embed([prompt]) for prompt in (clean, corrupted)]
        return patch_point(model, self.check(model), latents.float(), t, *given, whole=self.unit == "branch")

    def __call__(
        self, model: LatentDiffusion, clean: str, corrupted: str, *, verify: int = 0, run: Run = Run.none()
    ) -> PatchedComponents:
        """Effects of the components for one pair of prompts.

        Args:
            model: left as it was found.
            clean: the prompt whose outputs are put in.
            corrupted: the prompt whose prediction is changed by them.
            verify: components that are patched exactly as a check: those of the largest effect, and as many that are
                drawn from the others. 0 checks none.
            run: progress and states; a killed call goes on after the last branch, or the last draw.

        Raises:
            BadInput: for two equal prompts or such that the model predicts alike, and for a model that it cannot ask.
            IntaglioError: for effects that are not finite.
        """
        branches = self.check(model)
        if clean == corrupted:
            raise BadInput("the clean and the corrupted prompt are the same; give two that differ")
        if verify < 0:
            raise BadInput(f"verify must be 0 or more, not {verify}")
        pair: Pair = (model, clean, corrupted)
        with torch.no_grad(), model.frozen():
            key = digest([self.name, asdict(self), model.fingerprint, clean, corrupted])
            parts = self._estimated(pair, key, run)
            values = torch.stack([part["values"] for part in parts])
            if not bool(values.isfinite().all()):
                raise IntaglioError(f"{self.name} gives numbers that are not finite; check the model")
            sizes = [int(size) for size in parts[0]["sizes"]]
            checks = None
            if verify and not self.exact:
                chosen = chosen_components(values.mean(0), verify, self.seed)
                checks = self._checked(pair, chosen, sizes, key, run)
        draws, distances = self.planned_draws(model), [float(part["distance"]) for part in parts]
        about = (self.name, self.reading, self.exact, clean, corrupted, branches, tuple(sizes))
        places = (tuple(one.seed for one in draws), tuple(one.t for one in draws), tuple(distances))
        return PatchedComponents(*about, *places, self.passes(sizes), values, checks)

    def forget(self, run: Run) -> None:
        """Drops what a run kept to go on from; to be called once its result is safe."""
        for k in range(self.draws):
            for kind in (EFFECTS, CHECKS):
                run.drop_state(f"{kind}-{k}")

    def _estimated(self, pair: Pair, key: str, run: Run) -> list[dict[str, Tensor]]:
        """Of each draw: effects, components of each branch, and the distance of the predictions."""
        draws, branches = self.planned_draws(pair[0]), len(self.check(pair[0]))
        each = 1 if self.by_branch else branches
        parts = [_stored(run, f"{EFFECTS}-{k}", key) or dict(NOTHING) for k in range(len(draws))]
        known = [len(part["sizes"]) for part in parts]
        with run.progress(len(draws) * branches // each, self.name, sum(known) // each) as progress:
            for k, draw in enumerate(draws):
                if known[k] == branches:
                    continue
                point = self.point(*pair, draw)
                for first in range(known[k], branches, each):
                    found = self.effects(point, range(first, first + each))
                    sizes = torch.tensor([len(one) for one in found])
                    parts[k] = {
                        "values": torch.cat([parts[k]["values"], *found]),
                        "sizes": torch.cat([parts[k]["sizes"], sizes]),
                        "distance": torch.tensor(point.distance),
                    }
                    run.save_state(f"{EFFECTS}-{k}", parts[k], {"key": key})
                    progress.advance()
        return parts

    def _checked(self, pair: Pair, chosen: CheckedComponents, sizes: Sequence[int], key: str, run: Run) -> ExactChecks:
        """The exact effects of some components at each draw, one by one and together."""
        own = digest([key, chosen.numbers.tolist(), chosen.top])
        draws = self.planned_draws(pair[0])
        parts = [_stored(run, f"{CHECKS}-{k}", own) for k in range(len(draws))]
        with run.progress(len(draws), "exact patching", sum(part is not None for part in parts)) as progress:
            for k, draw in enumerate(draws):
                if parts[k] is None:
                    found = exact_checks(self.point(*pair, draw), chosen, sizes, self.batch)
                    run.save_state(f"{CHECKS}-{k}", found, {"key": own})
                    parts[k] = found
                    progress.advance()
        known = [part for part in parts if part is not None]
        exact, joint = (torch.stack([part[name] for part in known]) for name in ("exact", "joint"))
        return ExactChecks(chosen, exact, joint)


def _stored(run: Run, name: str, key: str) -> dict[str, Tensor] | None:
    read = run.load_state(name)
    return None if read is None or read[1].get("key") != key else dict(read[0])
