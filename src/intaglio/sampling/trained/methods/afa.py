"""AFA's routers: weights by which several models of one layout merge their features, learnt from their own latents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.learning.checkpoints import Checkpoints
from intaglio.learning.loop import StepLoss, train
from intaglio.learning.mixed_precision import computing_in
from intaglio.learning.precision import MixedPrecision, check_precision
from intaglio.learning.settings import OptimizerSettings
from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at, timesteps_at
from intaglio.learning.trainer import Trainer
from intaglio.models.capabilities import HasUNet
from intaglio.models.diffusion.feature_routers import HEADS, FeatureRouters
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.unet_lockstep import UNetLockstep
from intaglio.randomness import generator_32bit, seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.several_networks import Loaded, SeveralNetworks, routers_of
from intaglio.sampling.trained.family import SamplingTrainer
from intaglio.sampling.trained.kept_apart import HELD_OUT, held_out
from intaglio.sampling.trained.own_latents import STATE as DRAWN
from intaglio.sampling.trained.own_latents import own_latents
from intaglio.sampling.trained_part import TrainedPart

TRAINED = "routers"
"""Name of the routers' state in a run."""
LEVELS = 4
"""Timesteps at which each of these is measured, in the middle of equal ranges."""


class _Pictures(NamedTuple):
    """Latents that the models drew, with their prompts."""

    latents: Float[Tensor, "m c h w"]
    captions: list[str]
    held: Bool[Tensor, " m"]


@dataclass(frozen=True, kw_only=True)
class AFARouters(MixedPrecision, SeveralNetworks, SamplingTrainer):
    """AFA's routers: weights, at each pixel of each block, of the features of several fine-tunes.

    The model and the `others`, N U-Nets of one layout, run in lock-step. After conv_in, each resnet (with its
    attention) and downsampler of the down path, the mid block, each resnet of the up path, and conv_out, all go on from

        sum over i of w_i · f_i,    w = softmax over i of router(f_1 … f_N, t, text)    [N, h, w]

    where the router is a 1x1 convolution, a resnet with the timestep, a transformer layer with cross-attention to the
    text, and a 1x1 convolution. Routers alone learn, by the denoising loss of the merged output; at first all w are
    about 1/N. `sample afa --part` draws with them, at N calls of a denoiser for one.

    The models must share autoencoder, text encoders and noise schedule. They learn from latents that each of the models
    draws for the prompts, in equal shares, so that it takes no pictures.

    On pictures kept from the training, `loss` is the mean squared error of the noise; `loss_1` and so on are those of
    the models alone, `loss_mean` that of their mean, and `loss_best` takes the better model for each latent. Models
    that are much alike leave nothing to gain between them.

    Source: arXiv 2405.17082, which learns from 10,000 captioned pictures, and lets the text encoders differ.
    """

    needs: ClassVar[tuple[type, ...]] = (*SamplingTrainer.needs, HasUNet)
    states_kept: ClassVar[tuple[str, ...]] = (TRAINED,)

    pictures: int = 2000
    """Pictures that the models draw, in equal shares, 2 a model or more."""
    updates: int = 2500
    """Updates of the routers, 1 or more."""
    rows: int = 8
    """Noised latents an update, 1 or more."""
    at_once: int | None = None
    """Latents in memory at once, 1 or more; None: all of an update. The result is the same, up to rounding."""
    width: int = 128
    """Channels inside a router, a multiple of 8, 8 or more."""
    drop: float = 0.1
    """Share of captions left out, 0 to 1."""
    learning_rate: float = 1e-4
    """Learning rate of AdamW after the warm-up, above 0."""
    warmup: int = 100
    """Updates over which the learning rate rises linearly, 0 or more."""

    def __post_init__(self) -> None:
        SeveralNetworks.__post_init__(self)
        SamplingTrainer.__post_init__(self)
        check_precision(self.precision)
        for name, least in (("pictures", 4), ("updates", 1), ("rows", 1), ("at_once", 1), ("warmup", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ValueError(f"{name} must be {least} or more, not {value}")
        if self.width < HEADS or self.width % HEADS:
            raise ValueError(f"width must be a multiple of {HEADS}, {HEADS} or more, not {self.width}")
        if not 0 <= self.drop <= 1:
            raise ValueError(f"drop must be 0 to 1, not {self.drop}")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be above 0, and finite, not {self.learning_rate}")

    def check(self, model: LatentDiffusion, prompts: Sequence[str]) -> None:
        """Raises `BadInput` without others, and for one that cannot run in lock-step with the model."""
        super().check(model, prompts)
        if self.pictures < 2 * len(self.networks(model)):
            raise BadInput(f"{self.pictures} pictures are fewer than 2 a model; give more --pictures")

    def hashes(self, model: LatentDiffusion) -> dict[str, str]:
        """Fingerprints of the others."""
        return {f"other_{k}": one.fingerprint for k, one in enumerate(self.networks(model)[1:], 1)}

    def planned(self, model: LatentDiffusion, prompts: Sequence[str]) -> Calls:
        """The drawing, the updates with their gradients, and the measures: all models in each."""
        count = 1 + len(self.others)
        held = sum(-(-share // HELD_OUT) for share in self._shares(count))
        drawn = Calls(self.steps * self.branches).times(self.pictures)
        return drawn + Calls(count, count).times(self.updates * self.rows) + Calls(2 * count).times(held * LEVELS)

    def __call__(self, model: LatentDiffusion, prompts: Sequence[str], *, run: Run = Run.none()) -> TrainedPart:
        """The weights of the routers."""
        self.check(model, prompts)
        networks = self.networks(model)
        drawn = self._drawn(networks, prompts, run)
        routers = routers_of(networks, self.width, self.seed)
        lockstep = UNetLockstep([one.denoiser for one in networks], routers)
        with model.frozen():
            self._train(routers, lockstep, model, drawn, run)
            facts = self._measured(lockstep, networks, drawn)
        part = self.part(model, prompts, {k: v.contiguous() for k, v in routers.state_dict().items()}, facts)
        for place in range(len(networks)):
            run.drop_state(f"{DRAWN}_{place}")
        about = {"others": [path.name for path in self.others], "networks": [one.fingerprint for one in networks]}
        return replace(part, settings={**part.settings, **about})

    def _shares(self, count: int) -> list[int]:
        """Pictures of each of so many models."""
        return [self.pictures // count + (place < self.pictures % count) for place in range(count)]

    def _drawn(self, networks: Loaded, prompts: Sequence[str], run: Run) -> _Pictures:
        """Latents by each model for the prompts in turn; those of a model are kept from the training every tenth."""
        latents, captions, held = list[Tensor](), list[str](), list[Tensor]()
        for place, (network, share) in enumerate(zip(networks, self._shares(len(networks)), strict=True)):
            options = {"steps": self.steps, "scale": self.scale, "batch": self.batch}
            options |= {"seed": seed_32bit(self.seed, "network", place)}
            latents.append(own_latents(network, prompts, share, **options, run=run, name=f"{DRAWN}_{place}"))
            captions += [prompts[k % len(prompts)] for k in range(share)]
            held.append(held_out(share, seed_32bit(self.seed, "held", place)))
        return _Pictures(torch.cat(latents), captions, torch.cat(held))

    def _train(
        self, routers: FeatureRouters, lockstep: UNetLockstep, model: LatentDiffusion, drawn: _Pictures, run: Run
    ) -> None:
        """Trains the routers in place."""
        taken = (~drawn.held).nonzero()[:, 0].tolist()

        def objective(step: int) -> StepLoss:
            chosen = batch_at(taken, step, self.rows, self.seed, TRAINED)
            t = timesteps_at(self.rows, model.schedule.count, step, self.seed)
            noise = noise_at((self.rows, *drawn.latents.shape[1:]), step, self.seed)
            bare = dropped_at(self.rows, self.drop, step, self.seed).tolist()
            texts = ["" if gone else drawn.captions[k] for k, gone in zip(chosen, bare, strict=True)]
            total = 0.0
            for part in torch.arange(self.rows).split(self.at_once or self.rows):
                given = [one[part].to(model.device) for one in (drawn.latents[chosen], noise, t)]
                text = model.embed([texts[k] for k in part])
                loss = model.error(given[0], given[1], given[2], text).sum() / self.rows
                loss.backward()
                total += float(loss.detach())
            return StepLoss(total)

        settings = OptimizerSettings(steps=self.updates, learning_rate=self.learning_rate, warmup=self.warmup)
        trainer = Trainer(dict(routers.named_parameters()), settings, precision=self.precision)
        checkpoints = Checkpoints(run, every_s=60.0, streams=(TRAINED,), state=TRAINED)
        checkpoints.restore(trainer)
        advice = f"try a learning rate below {self.learning_rate:g}"
        # The routers and the other networks are called by the first, inside its autocast.
        with lockstep.leading(), computing_in(self.precision, [model.denoiser]):
            train(trainer, objective, run, checkpoints, advice=advice, label="routers", stream=TRAINED)
        trainer.export()

    @torch.no_grad()
    def _measured(self, lockstep: UNetLockstep, networks: Loaded, drawn: _Pictures) -> dict[str, float]:
        """Mean squared errors of the noise in the latents kept from the training."""
        model, held = networks[0], drawn.held.nonzero()[:, 0]
        alone, mean, merged = list[Tensor](), list[Tensor](), list[Tensor]()
        for level in range(LEVELS):
            t = torch.full((len(held),), int((level + 0.5) * model.schedule.count / LEVELS))
            source = generator_32bit(self.seed, "measured", level)
            noise = torch.randn(len(held), *drawn.latents.shape[1:], generator=source)
            for part in torch.arange(len(held)).split(self.batch):
                clean, wanted, at = (one.to(model.device) for one in (drawn.latents[held[part]], noise[part], t[part]))
                noised, text = model.noised(clean, wanted, at), model.embed([drawn.captions[k] for k in held[part]])
                told = torch.stack([one.predict(noised, at, text) for one in networks])
                alone.append((told - wanted).square().flatten(2).mean(2).cpu())
                mean.append((told.mean(0) - wanted).square().flatten(1).mean(1).cpu())
                with lockstep.leading():
                    merged.append((model.predict(noised, at, text) - wanted).square().flatten(1).mean(1).cpu())
        each = torch.cat(alone, 1)
        facts = {f"loss_{k}": float(loss) for k, loss in enumerate(each.mean(1), 1)}
        facts |= {"loss_mean": float(torch.cat(mean).mean()), "loss_best": float(each.amin(0).mean())}
        return {**facts, "loss": float(torch.cat(merged).mean())}
