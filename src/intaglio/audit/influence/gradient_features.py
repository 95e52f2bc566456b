"""Gradients of pictures by the denoiser's weights, sketched, and each stored as it is known; influences by them."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.audit.influence.example_method import Asked, ExampleMethod
from intaglio.audit.influence.family import Influence
from intaglio.denoising.examples import Examples
from intaglio.errors import BadInput, IntaglioError, require
from intaglio.learning.per_sample import Gradients, per_sample_gradients
from intaglio.learning.projection import Sketch
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls

Weights = Literal["attention", "layers", "all"]
"""Weights of a denoiser; see `GradientFeatures.weights`."""
Change = Callable[[Gradients], Gradients]
"""A linear map of gradients, weight by weight, a row a picture."""


@dataclass(frozen=True, kw_only=True)
class GradientFeatures(ExampleMethod):
    """The settings of sketched gradients, and their making.

    A gradient is that of a number of the denoiser's answers, averaged over timesteps and noises that all pictures
    share, by the chosen weights of the model as it stands. Where a LoRA was merged into them, its factors' gradients
    are linear images of these: d/d up = scale * G down^T, d/d down = scale * up^T G, with G that of the sum.
    """

    differentiated: ClassVar[str] = "loss"
    """Name of `numbers`: methods that differentiate the same take each other's stored gradients."""
    afterwards: ClassVar[frozenset[str]] = frozenset({"micro_batch", "damping"})
    """Settings that have no part in a stored gradient."""

    weights: Literal["attention", "layers", "all"] = "attention"
    """Weights of the denoiser whose gradients are taken: attention, the projections that a LoRA changes by default;
    layers, the feed-forward layers and convolutions too that a LoRA can change; all, every one. A LoRA is asked about
    as merged into them."""
    width: int = 2048
    """Numbers k to which a gradient is sketched, from 1; 0 keeps it whole, for at most 200,000 weights."""
    timesteps: int = 10
    """Timesteps of each picture, from 1, evenly spaced from 0, of Stable Diffusion 1's thousand or those like them."""
    noises: int = 1
    """Noises at each timestep, from 1, the same for all pictures."""
    seed: int = 0
    """Seed of the noises and of the sketch, from 0."""
    micro_batch: int = 16
    """Noised latents that go through the network together, from 1; lower it when memory is short, the result stays."""

    def __post_init__(self) -> None:
        for name, least in {"width": 0, "timesteps": 1, "noises": 1, "micro_batch": 1}.items():
            require(getattr(self, name) >= least, f"{name} must be at least {least}, not {getattr(self, name)}")
        require(self.timesteps <= 1000, f"timesteps must be at most 1000, not {self.timesteps}")
        require(0 <= self.seed < 2**62, f"seed must be 0 to 2**62 - 1, not {self.seed}")
        known = ("attention", "layers", "all")
        require(self.weights in known, f"weights must be one of {', '.join(known)}, not {self.weights!r}")

    def numbers(
        self,
        model: LatentDiffusion,
        latents: Float[Tensor, "m c h w"],
        noise: Float[Tensor, "m c h w"],
        t: Int[Tensor, "m"],
        text: Conditioning,
    ) -> Float[Tensor, "m"]:
        """The numbers of clean latents whose gradients are taken: here the denoising loss."""
        return model.error(latents, noise, t, text)

    def check(self, model: LatentDiffusion) -> None:
        """Raises `BadInput` for a model without such weights, and for more of them than can be kept whole."""
        super().check(model)
        if not self.width:
            self._sketch(model)
        else:
            self.sizes(model)

    def calls(self) -> Calls:
        """A call and a gradient a timestep and noise."""
        return Calls(forward=self._count, backward=self._count)

    @property
    def rows(self) -> int:
        """Noised latents that go through the network together."""
        return min(self.micro_batch, self._count * self._at_once)

    def features(
        self, model: LatentDiffusion, train: Examples, others: Examples, run: Run
    ) -> tuple[Float[Tensor, "n k"], Float[Tensor, "q k"]]:
        """The sketches of training pictures and of others, float64, each stored when it is known.

        Raises `IntaglioError` for one that is not finite.
        """
        known = self._sketches(model, train, _latents_of(train, others), run)
        of_train, of_others = (torch.stack([known[one] for one in examples.asked]) for examples in (train, others))
        for examples, rows in ((train, of_train), (others, of_others)):
            if bad := [name for name, row in zip(examples.names, rows, strict=True) if not bool(row.isfinite().all())]:
                raise IntaglioError(
                    f"the gradient of {bad[0]} is not finite with {model.name}; check the model, and use float32"
                )
        return of_train, of_others

    def change(self, model: LatentDiffusion, train: Examples, run: Run) -> Change:
        """A linear map of gradients by what a method learns of the training set; here none."""
        return lambda gradients: gradients

    def depends(self, train: Iterable[Asked]) -> str:
        """A key of all that `change` follows from beside model and settings; here nothing."""
        return ""

    def forget(self, model: LatentDiffusion, train: Iterable[Asked], queries: Iterable[Asked], run: Run) -> None:
        """Drops the gradients that a call on these pictures stored."""
        train = list(train)
        for state in self._states(model, train, {*train, *queries}).values():
            run.drop_state(state)

    @property
    def _count(self) -> int:
        """Noised latents of a picture."""
        return self.timesteps * self.noises

    @property
    def _at_once(self) -> int:
        """Pictures whose gradients are taken together."""
        return max(1, self.micro_batch // self._count)

    def _sketches(
        self, model: LatentDiffusion, train: Examples, latents: dict[Asked, Float[Tensor, "c h w"]], run: Run
    ) -> dict[Asked, Float[Tensor, "k"]]:
        """The sketch of each gradient; cut by content, so that a kill leaves the bits as they would have been."""
        states = self._states(model, train.asked, latents)
        found = {one: state[0]["gradient"] for one, name in states.items() if (state := run.load_state(name))}
        work = list(latents)
        parts = [work[start : start + self._at_once] for start in range(0, len(work), self._at_once)]
        change = self.change(model, train, run) if len(found) < len(work) else None
        with run.progress(len(work), "gradients", len(found)) as progress, model.frozen():
            sketch = self._sketch(model) if change is not None else None
            for part in parts:
                left = [one for one in part if one not in found]
                if not left or sketch is None or change is None:
                    continue
                rows = self._gradients(model, sketch, change, torch.stack([latents[one] for one in part]), part)
                for one, row in zip(part, rows, strict=True):
                    if one in left:
                        found[one] = row.clone()
                        run.save_state(states[one], {"gradient": row}, {})
                        progress.advance()
        return found

    def _gradients(
        self,
        model: LatentDiffusion,
        sketch: Sketch,
        change: Change,
        latents: Float[Tensor, "m c h w"],
        part: Sequence[Asked],
    ) -> Float[Tensor, "m k"]:
        """The sketched gradients of a few pictures, averaged over timesteps and noises."""
        with torch.no_grad():
            text = model.embed([prompt for _, prompt in part]).detach()
        columns = {one.name: getattr(text, one.name) for one in fields(text)}
        columns = {name: column for name, column in columns.items() if isinstance(column, Tensor)}
        samples = [latents.to(model.device), *columns.values()]
        total = torch.zeros(0)
        for noise, t in self.noised(model, tuple(latents.shape[1:])):
            value = self._share(model, noise, t, text, list(columns))
            (rows,) = per_sample_gradients(model.denoiser, list(sketch.places), value, samples, at_once=len(part))
            own = sketch(change(rows))
            total = total + own if len(total) else own
        return total

    def _share(
        self, model: LatentDiffusion, noise: Tensor, t: Tensor, text: Conditioning, names: Sequence[str]
    ) -> Callable[..., Float[Tensor, ""]]:
        """The share of a few noises in one picture's mean, as a function of its latent and rows of conditioning."""
        rows = len(t)

        def value(latent: Tensor, *own: Tensor) -> Tensor:
            given = {name: row.expand(rows, *row.shape) for name, row in zip(names, own, strict=True)}
            numbers = self.numbers(model, latent.expand(rows, *latent.shape), noise, t, replace(text, **given))
            return numbers.sum() / self._count

        return value

    def noised(self, model: LatentDiffusion, shape: tuple[int, ...]) -> Iterator[tuple[Tensor, Tensor]]:
        """Noise [m, c, h, w] and timesteps [m], which follow from seed and timestep alone, m at most `micro_batch`."""
        return shared_noises(model, shape, self.timesteps, self.noises, seed=self.seed, at_once=self.micro_batch)

    def _sketch(self, model: LatentDiffusion) -> Sketch:
        return Sketch.of(self.sizes(model), self.width, self.seed, model.device)

    def sizes(self, model: LatentDiffusion) -> dict[str, int]:
        """Entries of each chosen weight, by its name in the denoiser. Raises `BadInput` where there is none."""
        return weight_sizes(model, self.weights)

    def _states(self, model: LatentDiffusion, train: Iterable[Asked], asked: Iterable[Asked]) -> dict[Asked, str]:
        """The name of the state of each picture's gradient."""
        settings = {name: value for name, value in asdict(self).items() if name not in self.afterwards}
        key = digest([self.differentiated, settings, model.fingerprint, self.depends(train)])
        return {one: f"gradients/{digest([key, *one])[:32]}" for one in asked}


@dataclass(frozen=True, kw_only=True)
class GradientInfluence(GradientFeatures, Influence):
    """An influence that follows from the gradient of each picture by itself."""

    @abstractmethod
    def compared(self, queries: Float[Tensor, "q k"], train: Float[Tensor, "n k"]) -> Float[Tensor, "q n"]:
        """The influences, from the sketched gradients of queries and training pictures."""

    def scores(self, model: LatentDiffusion, train: Examples, queries: Examples, run: Run) -> Float[Tensor, "q n"]:
        """The gradients of all different pictures, and what the method makes of them."""
        of_train, of_queries = self.features(model, train, queries, run)
        return self.compared(of_queries, of_train)


def shared_noises(
    model: LatentDiffusion, shape: tuple[int, ...], timesteps: int, noises: int, *, seed: int, at_once: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Noise [m, c, h, w] and timesteps [m], m at most `at_once`, that all pictures of a shape share.

    `timesteps` evenly spaced ones from 0, with so many `noises` each, which follow from seed and timestep alone.
    """
    schedule = model.schedule
    places = schedule.places([index * 1000 // timesteps for index in range(timesteps)])
    if not schedule.straight:
        places = [index * schedule.count // timesteps for index in range(timesteps)]
    drawn = [
        (torch.randn(shape, generator=generator(seed, "influence", t, draw)), t)
        for t in places
        for draw in range(noises)
    ]
    for start in range(0, len(drawn), at_once):
        some = drawn[start : start + at_once]
        noise = torch.stack([one for one, _ in some])
        yield noise.to(model.device), torch.tensor([t for _, t in some], device=model.device)


def weight_sizes(model: LatentDiffusion, weights: Weights) -> dict[str, int]:
    """Entries of each weight of a choice, by its name in the denoiser. Raises `BadInput` where there is none."""
    family = model.family
    endings = (*family.targets, *(family.further_targets if weights == "layers" else ()))
    found = {
        name: weight.numel()
        for name, weight in model.denoiser.named_parameters()
        if weights == "all" or any(f".{name}".endswith(f".{ending}.weight") for ending in endings)
    }
    if not found:
        raise BadInput(
            f"the denoiser of {model.name} has none of the weights of --weights {weights}; take --weights all"
        )
    return found


def _latents_of(*sets: Examples) -> dict[Asked, Float[Tensor, "c h w"]]:
    """The latent of each different picture and prompt of the sets, in an order that is not theirs."""
    found = {}
    for examples in sets:
        for content, prompt, latent in zip(examples.hashes, examples.prompts, examples.latents, strict=True):
            found.setdefault((content, prompt), latent)
    return dict(sorted(found.items()))
