"""Word mappers: the contract of a method that tells which places of a drawn picture each word is about."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError, require
from intaglio.explain.words.prompt_words import AskedWords, asked_words, change_size
from intaglio.explain.words.result import WordMaps
from intaglio.models.capabilities import Encodes, PredictsNoise, ReadsPrompts, check_needs
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.fixed_sampling import sampling_grid
from intaglio.sampling.guide import GuideContext, Predict
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import sample_batches
from intaglio.verbs import FileName


@dataclass(frozen=True, kw_only=True)
class WordMapper(ABC):
    """A way to tell, while a picture is drawn, which places each word of its prompt is about.

    Every map is tested: at some steps the picture is predicted without each word, and where that changes it most is set
    beside the map.
    """

    name = FileName()
    """The method's name, which is that of its file."""
    role: ClassVar[Literal["method", "baseline"]] = "method"
    """`baseline`: what others are measured against."""
    reading: ClassVar[str]
    """The map in words, as the end of a sentence that begins "A place is dark where"."""
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise)
    """What a model must be able to do (`intaglio.models.capabilities`)."""

    steps: int = 20
    """Steps of DDIM, at least 1."""
    guidance: float = 5.0
    """Guidance scale of the drawn pictures, 0 or more, 1 for none."""
    tested: int = 5
    """Steps at which the map is tested, 1 to `steps`, spread evenly."""
    batch: int = 4
    """Pictures drawn at once, at least 1; the result is the same, up to its rounding."""
    seed: int = 0
    """Seed of the first picture, 0 to 2**32 - 1; each further one has the next."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        require(1 <= self.tested <= self.steps, f"tested must be 1 to {self.steps}, the steps, not {self.tested}")
        scale = self.guidance
        require(0 <= scale < float("inf"), f"guidance must be 0 or more, and finite, not {scale}")
        require(0 <= self.seed < 2**32, f"seed must be 0 to 2**32 - 1, not {self.seed}")

    @abstractmethod
    def step_maps(
        self, asked: AskedWords, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"]
    ) -> Float[Tensor, "n k h w"]:
        """Numbers of 0 or more: how much each place is about each of k words at one step; on the model's device.

        Args:
            asked: the words, with the model.
            latents: noised, before the step.
            t: the timestep.
        """

    @abstractmethod
    def step_rows(self, words: int) -> int:
        """Rows that go through the denoiser for a picture's maps at one step."""

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model that it cannot ask."""
        check_needs(self, model)

    def __call__(self, model: LatentDiffusion, prompt: str, pictures: int = 4, *, run: Run = Run.none()) -> WordMaps:
        """Maps of the words of one prompt, in pictures that are drawn from it.

        Args:
            model: left as it was found.
            prompt: a text.
            pictures: how many are drawn, at least 1.
            run: progress, pictures and states; a killed call goes on after the last batch.

        Raises:
            BadInput: for a prompt without words, and a model that cannot be asked.
            IntaglioError: for maps that are not finite.
        """
        self.check(model)
        if pictures < 1:
            raise BadInput(f"pictures must be at least 1, not {pictures}")
        with torch.no_grad(), model.frozen():
            asked = asked_words(model, prompt)
            seeds = [(self.seed + k) % 2**32 for k in range(pictures)]
            cuts = [seeds[first : first + self.batch] for first in range(0, pictures, self.batch)]
            key = self._key(model, asked, cuts)
            known = {k: one for k in range(len(cuts)) if (one := _stored(run, k, key)) is not None}
            with run.progress(len(cuts), self.name, len(known)) as progress:
                for k, cut in enumerate(cuts):
                    if k not in known:
                        known[k] = self._drawn(asked, cut)
                        for seed, pixels in zip(cut, known[k]["pixels"], strict=True):
                            run.save_image(f"{seed}-picture", pixels)
                        run.save_state(_state(k), known[k], {"key": key})
                        progress.advance()
        parts = [known[k] for k in range(len(cuts))]
        pixels, maps, effects = (torch.cat([part[name] for part in parts]) for name in ("pixels", "maps", "effects"))
        return WordMaps(self.name, self.reading, asked.prompt, asked.words, tuple(seeds), pixels, maps, effects)

    def forget(self, run: Run, pictures: int) -> None:
        """Drops what a run kept to go on from, with so many pictures; to be called once its result is safe."""
        for k in range(pictures):
            run.drop_state(_state(k))

    def _key(self, model: LatentDiffusion, asked: AskedWords, cuts: Sequence[Sequence[int]]) -> str:
        return digest([self.name, asdict(self), model.fingerprint, asked.prompt, [list(cut) for cut in cuts]])

    def _drawn(self, asked: AskedWords, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Pictures, maps and effects of one batch, on the CPU."""
        maps, effects = list[Tensor](), list[Tensor]()
        count = len(sampling_grid(asked.model, self.steps)) - 1
        tested = set(spread_steps(count, min(self.tested, count)))

        def watch(latents: Tensor, t: Tensor) -> None:
            if len(maps) in tested:
                effects.append(removal_effects(asked, latents, t).cpu())
            maps.append(self.step_maps(asked, latents, t).float().cpu())

        guide, prompts = _Watching(ClassifierFree(self.guidance), watch), [asked.prompt] * len(seeds)
        options: dict[str, Any] = {"sampler": "ddim", "steps": self.steps, "guidance_scale": self.guidance}
        (pixels,) = sample_batches(
            asked.model, prompts, list(seeds), guide=guide, negative="", batch=len(seeds), **options
        )
        found = torch.stack(maps).mean(0)
        if not bool(found.isfinite().all()):
            raise IntaglioError(f"{self.name} gives numbers that are not finite; check the model")
        return {"pixels": pixels, "maps": found, "effects": torch.stack(effects).mean(0)}


def spread_steps(count: int, tested: int) -> list[int]:
    """Numbers of the tested steps, spread evenly over all."""
    return [int((k + 0.5) * count / tested) for k in range(tested)]


def removal_effects(
    asked: AskedWords, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"]
) -> Float[Tensor, "n k h w"]:
    """Length of the change of the predicted clean latents, at each place, when each of k words is left out."""
    whole = asked.model.clean(latents, t, asked.whole[[0] * len(latents)])
    found = [
        change_size(whole, asked.model.clean(latents, t, asked.without[[word] * len(latents)]))
        for word in range(len(asked.words))
    ]
    return torch.stack(found, 1)


@dataclass(frozen=True, eq=False)
class _Watching:
    """A guide whose latents are shown before each step."""

    guide: ClassifierFree
    watch: Callable[[Tensor, Tensor], None]

    def init(self, context: GuideContext) -> Conditioning:
        return self.guide.init(context)

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        self.watch(latents, t)
        return self.guide.step(state, latents, t, predict)


def _state(number: int) -> str:
    return f"words-{number}"


def _stored(run: Run, number: int, key: str) -> dict[str, Tensor] | None:
    read = run.load_state(_state(number))
    return None if read is None or read[1].get("key") != key else dict(read[0])
