"""Sampling by a distilled model: the grid, sampler and guidance it was made for, and refusals of others."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.grid import CLEAN, CLEAN_AT, NoiseLevel, level_at, timestep_grid
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.sampling.family import SamplingMethod

STEPS, SAMPLER, SCALE = 30, "ddim", 5.0
"""Steps, sampler and guidance scale where none is given and the model leaves them open."""


class Settled(NamedTuple):
    """Steps, sampler and guidance scale of a sampling."""

    steps: int
    sampler: str
    scale: float

    @property
    def options(self) -> dict[str, Any]:
        """As keywords of `intaglio.sampling.loop.sample`."""
        return {"steps": self.steps, "sampler": self.sampler, "guidance_scale": self.scale}


def settled(model: LatentDiffusion, steps: int | None, sampler: str | None, scale: float | None) -> Settled:
    """Steps, sampler and scale as given, for the rest those that the model was made for, or else the usual ones."""
    baked = model.sampling
    usual = SCALE if baked.usual is None else baked.usual
    if baked.scales is not None:
        usual = min(max(usual, baked.scales[0]), baked.scales[1])
    return Settled(
        steps or (STEPS if baked.timesteps is None else len(baked.timesteps)),
        sampler or baked.sampler or SAMPLER,
        usual if scale is None else scale,
    )


def own_method(model: LatentDiffusion) -> "SamplingMethod | None":
    """The sampling method that a model was made for, with its defaults; None where any will do.

    Raises `BadInput` for one that is not here.
    """
    if (name := model.sampling.method) is None:
        return None
    if name not in VERBS["sample"].methods:
        raise BadInput(f"{model.name} was distilled for the method {name}; {_remedy(name)}")
    module, _, kind = VERBS["sample"].methods[name].target.partition(":")
    return getattr(import_module(module), kind)()


def sampling_grid(
    model: LatentDiffusion, steps: int, first: int | None = None, until: int = CLEAN_AT
) -> list[NoiseLevel]:
    """The noise levels of the steps and of the end: those that the model was made for, or else `timestep_grid`.

    Raises `BadInput` for another end, a timestep `until`, of a model that was made for its timesteps.
    """
    if model.sampling.timesteps is None:
        return timestep_grid(model.schedule, steps, first, until)
    if until != CLEAN_AT:
        raise BadInput(f"{model.name} was distilled for its own timesteps, to the clean end; give its teacher")
    return [*(level_at(model.schedule, t) for t in model.sampling.timesteps), CLEAN]


def refuse_contradiction(
    model: LatentDiffusion,
    asked: Settled,
    *,
    first: int | None = None,
    negative: str = "",
    plain: bool = True,
    by: str = "",
) -> None:
    """Raises `BadInput` where a distilled model is asked for a sampling that it was not made for.

    `first` is the timestep of a start, None for the model's own; `plain` is whether the network is asked as plain
    sampling asks it, by classifier-free guidance alone; `by` is the name of the sampling method, empty for none.
    """
    baked, name = model.sampling, model.name
    if baked.method is not None and by != baked.method:
        raise BadInput(f"{name} was distilled for the method {baked.method}; {_remedy(baked.method)}")
    if (steps := baked.timesteps) is not None:
        if asked.steps != len(steps):
            raise BadInput(f"{name} was distilled for {len(steps)} steps, not {asked.steps}; leave --steps out")
        if first is not None and first != steps[0]:
            raise BadInput(f"{name} was distilled to begin at timestep {steps[0]}; leave --from-step and --start out")
    if baked.sampler is not None and asked.sampler != baked.sampler:
        raise BadInput(f"{name} was distilled for the sampler {baked.sampler}; leave --sampler out")
    if baked.scales is None:
        return
    born = baked == model.family.sampling(model.components)
    if not plain and born and baked.guidance == "input":
        return  # asked at scale 1, as its family was trained, its predictions are those of a prompt alone
    if not plain:
        raise BadInput(
            f"{name} was distilled with its guidance, so that predictions under several prompts cannot be combined; "
            "draw with plain, and without --base"
        )
    if negative and born:
        raise BadInput(f"{name} has its guidance inside, and is led away from no prompt; leave --negative out")
    if negative:
        raise BadInput(f"{name} was distilled to lead away from the empty prompt; leave --negative out")
    refuse_scale(model, asked.scale)


def refuse_scale(model: LatentDiffusion, scale: float, flag: str = "--guidance") -> None:
    """Raises `BadInput`, naming the flag, for a guidance scale that a distilled model was not made for."""
    if model.sampling.scales is None:
        return
    low, high = model.sampling.scales
    if not low <= scale <= high:
        known = f"guidance {low:g}" if low == high else f"guidance from {low:g} to {high:g}"
        raise BadInput(f"{model.name} was distilled for {known}, not {scale:g}; leave {flag} out, or change it")


def _remedy(method: str) -> str:
    """What to do with a model that was made for a sampling method."""
    if method in VERBS["sample"].methods:
        return f"draw with it: intaglio sample {method} --model ..."
    return "it is not here: take the version of intaglio that the model was distilled with"
