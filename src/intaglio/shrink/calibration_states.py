"""`CalibrationStates`: noised latents with timesteps and prompts, on which a shrunk network is fitted and judged."""

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor

from intaglio.denoising.samples import stratified_timesteps
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.baked_sampling import FREE
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator, seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.fixed_sampling import Settled, settled
from intaglio.sampling.grid import timestep_of
from intaglio.sampling.loop import latent_batches
from intaglio.shrink.time_spread import NormalTimes

HELD, FEWEST_WALKS = 8, 16
"""One walk, or picture, of so many is held back to judge by; walks at least, so that two are."""
STEPS, SCALE = 20, 3.0
"""Steps and guidance scale of a walk."""
STATE = "calibration"
"""A run's state that keeps the rows."""
CHUNK = 8
"""Pictures drawn or encoded at once."""


class CalibrationBatch(NamedTuple):
    """Rows that go through the network at once, on its device."""

    latents: Float[Tensor, "n c h w"]
    t: Real[Tensor, "n"]
    conditioning: Conditioning


@dataclass(frozen=True, eq=False)
class CalibrationStates:
    """m rows of what a denoiser is asked: noised latents at a timestep under a prompt."""

    latents: Float[Tensor, "m c h w"]
    """On the CPU, float32."""
    t: Real[Tensor, "m"]
    texts: tuple[str, ...]
    """Prompts, each once."""
    places: Int[Tensor, "m"]
    """Of each row's prompt in `texts`."""
    origins: Int[Tensor, "m"]
    """The walk, or the picture, that a row comes from."""
    source: str
    """Where the rows come from, in words."""
    scale: float = 1.0
    """Guidance scale of the walks, an input of the network in some distilled models."""
    times: NormalTimes | None = None
    """The spread of the times of the rows that may be learned from; None: even, or not known."""
    noise: Float[Tensor, "m c h w"] | None = None
    """The noise in the latents, where they are noised pictures; None for states of walks."""

    def __len__(self) -> int:
        return len(self.t)

    @property
    def hash(self) -> str:
        """Sha256 over all rows."""
        digest = hashlib.sha256(repr(self.texts).encode())
        for tensor in (self.latents, self.t, self.places):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def learned(self) -> "CalibrationStates":
        """The rows that a method may learn from."""
        return self._rows((self.origins % HELD != HELD - 1).nonzero()[:, 0])

    @property
    def held(self) -> "CalibrationStates":
        """The rows of every eighth walk or picture, which no method learns from."""
        return self._rows((self.origins % HELD == HELD - 1).nonzero()[:, 0])

    @property
    def parted(self) -> "tuple[CalibrationStates, CalibrationStates]":
        """The rows without those of every eighth of their walks or pictures, and these, by which choices are judged."""
        walks = self.origins.unique()
        judging = torch.isin(self.origins, walks[::HELD])
        return self._rows((~judging).nonzero()[:, 0]), self._rows(judging.nonzero()[:, 0])

    def _rows(self, rows: Int[Tensor, "k"]) -> "CalibrationStates":
        kept = (self.latents[rows], self.t[rows], self.texts, self.places[rows], self.origins[rows])
        noise = None if self.noise is None else self.noise[rows]
        return CalibrationStates(*kept, self.source, self.scale, self.times, noise)

    def first(self, count: int) -> "CalibrationStates":
        """At most so many rows, evenly spread over all."""
        if count >= len(self):
            return self
        return self._rows(torch.arange(count) * len(self) // count)

    def repeated(self, count: int) -> "CalibrationStates":
        """The first row so many times."""
        return self._rows(torch.zeros(count, dtype=torch.int64))

    def batches(self, model: LatentDiffusion, size: int) -> Iterator[CalibrationBatch]:
        """All rows in their order, `size` at once; the prompts are embedded once."""
        embedded = model.embed(list(self.texts))
        for rows in torch.arange(len(self)).split(size):
            given = embedded[self.places[rows].tolist()]
            if model.sampling.guidance == "input":
                given = given.under(self.scale)
            yield CalibrationBatch(self.latents[rows].to(model.device), self.t[rows].to(model.device), given)


def made_up_rows(model: LatentDiffusion, count: int) -> CalibrationStates:
    """Rows of noise at timesteps spread over all, with as much of everything as rows have, to time work on."""
    side = model.resolution // model.factor
    noise = torch.randn(count, model.latent_channels, side, side, generator=generator(0, "made-up rows", count))
    t = torch.arange(count) * model.schedule.count // count
    return CalibrationStates(noise, t, ("",), torch.zeros_like(t), torch.arange(count), "noise", noise=noise)


def drawn_states(
    model: LatentDiffusion,
    prompts: Sequence[str],
    count: int,
    *,
    seed: int = 0,
    times: NormalTimes | None = None,
    run: Run = Run.none(),
) -> CalibrationStates:
    """States of the model's own walks, evenly spread over walks and steps; no data is needed.

    A walk is 20 steps of DDIM under guidance 3, or what a distilled model was made for. Under guidance each state
    appears twice, with the prompt and with the empty one, as the network is asked then.

    Args:
        model: left as it was found.
        prompts: taken in turn, one a walk.
        count: rows, a state of each of sixteen walks at least.
        seed: of the walks.
        times: of the states that may be learned from, each of which is that of the walk's nearest time, and labelled
            with that; None, and those that judge: evenly spread.
        run: keeps the rows, and shows the progress.

    Raises:
        BadInput: for no prompts, and for too few rows.
    """
    way = Settled(STEPS, "ddim", SCALE) if model.sampling == FREE else settled(model, None, None, None)
    asked = ("prompt", "") if way.scale != 1 and model.sampling.guidance == "outside" else ("prompt",)
    if not prompts:
        raise BadInput("there are no prompts to draw calibration states for; give --prompt or --prompts")
    if count < (least := FEWEST_WALKS * len(asked)):
        raise BadInput(f"{count} calibration rows are too few; give {least} or more")
    texts = tuple(dict.fromkeys(("", *prompts)))
    source = f"{count} states of the model's own walks for {len(texts) - 1} prompts"
    if (known := run.load_state(STATE)) is not None:
        return CalibrationStates(texts=texts, source=source, scale=way.scale, times=times, **known[0])
    states = ceil(count / len(asked))
    walks = FEWEST_WALKS * ceil(states / way.steps / FEWEST_WALKS)
    found = _walked(model, [prompts[k % len(prompts)] for k in range(walks)], way, seed, run)
    steps = _steps(states, walks, found.t, None if times is None else times.drawn(states, model.schedule.count, seed))
    rows = [(k % walks, steps[k], text) for k in range(states) for text in asked][:count]
    made = CalibrationStates(
        latents=torch.stack([found.latents[walk, step] for walk, step, _ in rows]),
        t=torch.stack([found.t[step] for _, step, _ in rows]),
        places=torch.tensor([texts.index(text and prompts[walk % len(prompts)]) for walk, _, text in rows]),
        origins=torch.tensor([walk for walk, _, _ in rows]),
        texts=texts,
        source=source,
        scale=way.scale,
        times=times,
    )
    run.save_state(STATE, {name: getattr(made, name) for name in ("latents", "t", "places", "origins")}, {})
    return made


def picture_states(
    model: LatentDiffusion, images: ImageSet, count: int, *, seed: int = 0, times: NormalTimes | None = None
) -> CalibrationStates:
    """Noised latents of pictures under their captions, or the empty prompt.

    The timesteps are evenly spread, or, of pictures that may be learned from, those of `times`. Raises `BadInput` for
    fewer than eight pictures, since one of eight is held back, and for fewer rows than pictures.
    """
    if len(images) < HELD:
        raise BadInput(
            f"{len(images)} calibration pictures are too few; give {HELD} or more, of which one is held back"
        )
    if count < len(images):
        raise BadInput(
            f"{count} calibration rows are fewer than the {len(images)} pictures; give {len(images)} or more"
        )
    with torch.no_grad():
        parts = images.pixels.split(CHUNK)
        clean = torch.cat([model.encode(part.to(model.device)).cpu() for part in parts])
    noises = generator(seed, "calibration", *clean.shape)
    t = stratified_timesteps(count, (0, model.schedule.count - 1), noises)
    origins = torch.arange(count) % len(clean)
    if times is not None:
        t = torch.where(origins % HELD == HELD - 1, t, times.drawn(count, model.schedule.count, seed))
    noise = torch.randn(count, *clean.shape[1:], generator=noises)
    captions = [caption or "" for caption in images.captions]
    texts = tuple(dict.fromkeys(captions))
    places = torch.tensor([texts.index(captions[k]) for k in origins.tolist()])
    latents = model.schedule.noised(clean[origins], noise, t)
    source = f"{count} noised latents of {len(clean)} pictures"
    return CalibrationStates(latents, t, texts, places, origins, source, times=times, noise=noise)


def _steps(states: int, walks: int, grid: Int[Tensor, "steps"], times: Int[Tensor, "states"] | None) -> list[int]:
    """The step that each state is taken at: evenly spread, or that of the nearest time where it is no judging one."""
    even = [k * len(grid) // states for k in range(states)]
    if times is None:
        return even
    nearest = (times[:, None] - grid).abs().argmin(1).tolist()
    return [even[k] if k % walks % HELD == HELD - 1 else nearest[k] for k in range(states)]


class _States(NamedTuple):
    latents: Float[Tensor, "walks steps c h w"]
    t: Real[Tensor, "steps"]


def _walked(model: LatentDiffusion, prompts: Sequence[str], way: Settled, seed: int, run: Run) -> _States:
    """Every state of a walk for each prompt, at which the network is asked."""
    seeds = [seed_32bit(seed, "calibration", k) for k in range(len(prompts))]
    asked: list[tuple[Tensor, int | float]] = []
    listening = copy.copy(model)

    def predict(latents: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        asked.append((latents.cpu(), timestep_of(t)))
        return model.predict(latents, t, conditioning)

    listening.predict = predict
    walks: list[Tensor] = []
    for drawn in latent_batches(listening, prompts, seeds, **way.options, negative="", batch=CHUNK, run=run):
        walks.append(torch.stack([latents[-len(drawn) :] for latents, _ in asked], 1))
        t = torch.tensor([at for _, at in asked])
        asked.clear()
    return _States(torch.cat(walks), t)
