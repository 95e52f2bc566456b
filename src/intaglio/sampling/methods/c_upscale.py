"""C-Upscale: a picture drawn again at several times its size, in windows that share structure and prompt."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

from intaglio.errors import BadInput
from intaglio.models.capabilities import HasUNet
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.sampling.attention_maps import mean_map, recorded_maps
from intaglio.sampling.calls import Calls
from intaglio.sampling.concept_filter import end_of
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.grid import NoiseLevel, level_at, timestep_grid
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.operator_names import exact_picture
from intaglio.sampling.sampling_batch import SamplingBatch, refuse_non_finite
from intaglio.sampling.start import UnitNoise

Field = Float[Tensor, "n c h w"]
LARGEST = 8
"""Largest factor."""


@dataclass(frozen=True, kw_only=True)
class CUpscale(SamplingMethod):
    """A picture at several times its size: noised, and denoised in overlapping windows.

    The picture is enlarged, encoded, noised at `begin` and denoised by DDIM over the whole field of latents. The model
    sees windows of its own size, half of which overlap, and their predictions are averaged where they do, by weights
    that fall to the edges of a window. So that the
    windows keep to one picture, the low frequencies of the clean estimate are drawn to those of the enlarged picture,
    by a share that falls with the noise: x̂ + c LP(z - x̂), with c = `structure` (½ + ½ cos(π (T - t) / T))^`decay` and
    a Gaussian low pass LP. So that an object is not drawn once a window, words are left out of a window where little of
    their cross-attention over the whole picture lies in it: less than `least_attention` of what an even spread would
    put there. Their tokens then read as those of the empty prompt.

    Source: arXiv 2505.16976 for guidance by global structure and by attention of regions; averaged windows are those of
    arXiv 2302.08113. The windows' weights, the low pass and the words' measure are this version's. Prompts of regions
    by a language model are left out: all windows have the picture's own.
    """

    needs: ClassVar[tuple[type, ...]] = (*SamplingMethod.needs, HasUNet)
    picture: Path | None = None
    """The picture, a file of the size of the model's pictures."""
    factor: int = 2
    """Times as many pixels along a side, 2 to 8."""
    begin: float = 0.3
    """Share of the schedule at which denoising begins, in (0, 1): more changes more of the picture."""
    structure: float = 1.0
    """Largest share of the enlarged picture's low frequencies, in [0, 1]; 0 leaves the windows to themselves."""
    decay: float = 0.5
    """Exponent by which that share falls with the noise, 0 or more; 0 keeps it."""
    blur: float = 0.8
    """Deviation of the low pass in cells of the latents, 0 or more; 0 passes all."""
    least_attention: float = 0.5
    """Attention of a word in a window over that of an even spread, below which the word is left out, in [0, 1)."""

    own_sampler = True
    draws_noise = True
    plan_is_exact = False
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.factor <= LARGEST:
            raise ValueError(f"factor must be 2 to {LARGEST}, not {self.factor}")
        if not 0 < self.begin < 1:
            raise ValueError(f"begin must lie between 0 and 1, not {self.begin}")
        if not 0 <= self.structure <= 1:
            raise ValueError(f"structure must be in [0, 1], not {self.structure}")
        if not 0 <= self.decay < math.inf or not 0 <= self.blur < math.inf:
            raise ValueError(f"decay and blur must be 0 or more, and finite, not {self.decay} and {self.blur}")
        if not 0 <= self.least_attention < 1:
            raise ValueError(f"least_attention must be in [0, 1), not {self.least_attention}")

    def side(self, model: LatentDiffusion) -> int:
        """Pixels along a side of the pictures: `factor` times the model's own."""
        return self.factor * model.resolution

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` without a picture, for one that does not fit the model, and for a start of another kind."""
        super().check(request)
        self._read(request.model)
        if request.first is not None or request.start != UnitNoise().hash:
            raise BadInput("c-upscale begins at its picture; leave --start and --from-step out, and use --begin")
        timestep_grid(request.model.schedule, request.steps, self._first(request.model))

    def planned(self, request: SamplingRequest) -> Calls:
        """A call of each window a step, two under guidance, one of the whole picture for the words, two encodings."""
        windows = len(_offsets(self.factor, _cells(request.model))) ** 2
        looks = 1 if self.least_attention else 0
        return Calls(forward=request.steps * windows * (1 if request.scale == 1 else 2) + looks, decodes=1 + looks)

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """The clean latents of the whole field; NaN for a picture that failed and is spared."""
        context, model = batch.context, batch.context.model
        picture, cells, size = self._read(model).to(model.device), _cells(model), self.side(model)
        enlarged = interpolate(picture, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)
        known = model.encode(enlarged).double().cpu()
        context.calls.decodes += len(batch.seeds)
        grid = timestep_grid(model.schedule, len(batch.grid) - 1, self._first(model))
        noise = unit_noise(known.shape[1:], batch.generators()).double()
        x, failed = grid[0].signal * known + grid[0].noise * noise, torch.zeros(len(noise), dtype=torch.bool)
        windows = self._windows(batch, picture, cells)
        for now, then in pairwise(grid):
            noise = _averaged(x, windows, now, batch, cells)
            clean = (x - now.noise * noise) / now.signal
            share = self.structure * (0.5 + 0.5 * math.cos(math.pi * (grid[0].t - now.t) / grid[0].t)) ** self.decay
            clean = clean + share * low_pass(known - clean, self.blur)
            x = then.signal * clean + then.noise / now.noise * (x - now.signal * clean)
            failed |= ~x.isfinite().flatten(1).all(1)
            if failed.any() and not batch.spare_failed:
                refuse_non_finite(int(failed.nonzero()[0]), batch, now)
            x = x.masked_fill(failed.view(-1, 1, 1, 1), 0.0)
            batch.progress.advance(len(x))
        return x.masked_fill(failed.view(-1, 1, 1, 1), torch.nan).float().to(model.device)

    def _first(self, model: LatentDiffusion) -> int:
        """Timestep at which denoising begins."""
        return max(1, round(self.begin * (model.schedule.count - 1)))

    def _read(self, model: LatentDiffusion) -> Float[Tensor, "1 3 side side"]:
        if self.picture is None:
            raise BadInput("c-upscale enlarges a picture, and there is none; give --picture")
        return exact_picture(Path(self.picture), model.resolution, "picture")

    def _windows(self, batch: SamplingBatch, picture: Tensor, cells: int) -> "list[_Window]":
        """The windows from the upper left on, each with the conditioning of its words."""
        context, offsets = batch.context, _offsets(self.factor, cells)
        maps = self._word_maps(batch, picture) if self.least_attention else None
        blank, guide, found = context.embed(""), ClassifierFree(context.scale), []
        for top in offsets:
            for left in offsets:
                hidden = context.positive.hidden
                if maps is not None:
                    gone = self._left_out(maps, top, left, cells)
                    hidden = torch.where(gone[:, :, None].to(hidden.device), blank.hidden, hidden)
                place = (top, left, context.model.factor, self.side(context.model))
                positive = _placed(replace(context.positive, hidden=hidden), *place)
                inside = replace(context, positive=positive, negative=_placed(context.negative, *place))
                found.append(_Window(top, left, guide, guide.init(inside)))
        return found

    def _word_maps(self, batch: SamplingBatch, picture: Tensor) -> Float[Tensor, "n tokens h w"]:
        """Cross-attention of each prompt over the whole picture, noised at the level where denoising begins.

        Tokens that are no words of the prompt have an even spread, so that they stay.
        """
        context, model = batch.context, batch.context.model
        level, n = level_at(model.schedule, self._first(model)), len(context.prompts)
        clean = model.encode(picture).expand(n, -1, -1, -1)
        context.calls.decodes += n
        noise = unit_noise(clean.shape[1:], batch.generators()).to(clean)
        t = level.batch(n, clean.device)
        with recorded_maps(model.denoiser) as maps:
            batch.predict(level.signal * clean + level.noise * noise, t, context.positive)
        found = mean_map(maps, _cells(model)).cpu()
        ends = end_of(model, 0, model.tokens(context.prompts)[0])
        for row, end in enumerate(ends):
            found[row, 0], found[row, end:] = 1.0, 1.0
        return found

    def _left_out(self, maps: Float[Tensor, "n tokens h w"], top: int, left: int, cells: int) -> Tensor:
        """Tokens [n, tokens] of which too little attention lies in a window of the enlarged field."""
        rows, columns = (slice(at // self.factor, -(-(at + cells) // self.factor)) for at in (top, left))
        inside = maps[:, :, rows, columns].mean((2, 3))
        return inside < self.least_attention * maps.mean((2, 3))


@dataclass(frozen=True, eq=False)
class _Window:
    """A window of the field, and the guide's state for it."""

    top: int
    left: int
    """Cells from the upper and left edges."""
    guide: ClassifierFree
    state: Any

    def predicted(
        self, x: Field, level: NoiseLevel, batch: SamplingBatch, cells: int
    ) -> Float[Tensor, "n c cells cells"]:
        """The guided noise in the window."""
        model = batch.context.model
        inside = x[:, :, self.top : self.top + cells, self.left : self.left + cells].float().to(model.device)
        t = level.batch(len(x), model.device)
        return self.guide.step(self.state, inside, t, batch.predict)[1].double().cpu()


def _averaged(x: Field, windows: Sequence[_Window], level: NoiseLevel, batch: SamplingBatch, cells: int) -> Field:
    """The mean of the windows' predictions in each cell, by weights that fall to the edges of each window.

    With equal weights the edges show, since what a model draws at the edge of its pictures is no part of a larger one.
    """
    fall = torch.sin(math.pi * (torch.arange(cells, dtype=x.dtype) + 0.5) / cells) ** 2
    weight = fall[:, None] * fall[None]
    total, sum_of_weights = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
    for one in windows:
        rows, columns = slice(one.top, one.top + cells), slice(one.left, one.left + cells)
        total[:, :, rows, columns] += weight * one.predicted(x, level, batch, cells)
        sum_of_weights[:, :, rows, columns] += weight
    return total / sum_of_weights


def low_pass(x: Field, deviation: float) -> Field:
    """A Gaussian blur, in cells; its edges are mirrored. With 0 the field itself."""
    if not deviation:
        return x
    reach = min(math.ceil(3 * deviation), x.shape[-1] - 1)
    places = torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-0.5 * (places / deviation) ** 2)
    kernel = (kernel / kernel.sum()).repeat(x.shape[1], 1)
    rows = conv2d(pad(x, (0, 0, reach, reach), "reflect"), kernel[:, None, :, None], groups=x.shape[1])
    return conv2d(pad(rows, (reach, reach, 0, 0), "reflect"), kernel[:, None, None, :], groups=x.shape[1])


def _cells(model: LatentDiffusion) -> int:
    """Cells along a side of the model's latents."""
    return model.resolution // model.factor


def _offsets(factor: int, cells: int) -> list[int]:
    """First cells of the windows along a side, half a window apart, and of the last that fits."""
    last = (factor - 1) * cells
    return sorted({*range(0, last, max(1, cells // 2)), last})


def _placed(given: Conditioning, top: int, left: int, factor: int, size: int) -> Conditioning:
    """Conditioning that says where a window lies in the picture, for models that take it; for others the same."""
    if given.size is None:
        return given
    row = given.size.clone()
    row[:, :2], row[:, 2], row[:, 3] = size, factor * top, factor * left
    return replace(given, size=row)
