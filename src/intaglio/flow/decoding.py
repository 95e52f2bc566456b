"""The loop that all decoders share: batches, blocks from the last to the first, denoising, names."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.block.inverse import BlockInverse, block_inverses
from intaglio.flow.results import BlockCallback, BlockReport, DecodedPictures, DecodeReport, PassCallback
from intaglio.images.image_set import ImageSet
from intaglio.models.flow.tarflow import UNLABELLED, TarFlow, denoised
from intaglio.runs.run import Run

ATTEMPTS = 5
"""Most times that the noise of a picture is drawn again."""

Redraw = Callable[[int, int], Float[Tensor, "t c"]]
"""`(index, attempt)` to fresh noise for a picture whose noise overflowed."""


@dataclass(frozen=True, eq=False)
class Decoding:
    """The inputs of a decoding: a model, latents, and the labels and guidance that they are decoded under."""

    model: TarFlow
    noise: Float[Tensor, "n t c"]
    """Standard normal latents, in the model's working type, on its device."""
    labels: Int64[Tensor, "n"] | None = None
    """Classes, -1 for a picture without one; None: none has one."""
    guidance: Guidance = UNGUIDED
    watch: PassCallback | None = None
    """Called after every pass."""

    def __len__(self) -> int:
        return len(self.noise)

    def rows(self, rows: slice | Int64[Tensor, "m"]) -> "Decoding":
        """The same for some of the pictures."""
        return replace(self, noise=self.noise[rows], labels=None if self.labels is None else self.labels[rows])

    def batches(self, size: int) -> "list[Decoding]":
        """Consecutive parts of at most `size` pictures."""
        return [self.rows(slice(start, start + size)) for start in range(0, len(self), size)]

    def inverses(self) -> list[BlockInverse]:
        """The blocks to invert, in the order of decoding."""
        return block_inverses(self.model, len(self), self.labels, self.guidance)


@runtime_checkable
class BlockDecoder(Protocol):
    """The part of a `family.Decoder` that the loop uses."""

    @property
    def name(self) -> Any:
        """Name of the method, a string: checkers do not look through the descriptor that gives it."""
        ...

    @property
    def batch(self) -> int:
        """Pictures decoded at once."""
        ...

    @property
    def certify(self) -> bool:
        """Whether each block's residual is computed."""
        ...

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `family.Decoder`."""
        ...

    def prepared(
        self, model: TarFlow, pictures: int, guidance: Guidance, warn: Callable[[str], None]
    ) -> "BlockDecoder":
        """See `family.Decoder`."""
        ...

    def following(self, blocks: Sequence[BlockReport], left: int) -> "BlockDecoder":
        """See `family.Decoder`."""
        ...


@dataclass(frozen=True, eq=False)
class _Batch:
    """The result of one batch."""

    hidden: list[Float[Tensor, "n t c"]]
    """h_0 to h_K; of a stored batch h_0 alone."""
    blocks: list[BlockReport]
    redrawn: list[int]
    """Indices among all pictures."""


@torch.no_grad()
def decode(
    decoder: BlockDecoder,
    inputs: Decoding,
    *,
    denoise: bool | None,
    names: Sequence[str],
    redraw: Redraw | None,
    keep_hidden: bool,
    run: Run,
) -> DecodedPictures:
    """Decode checked inputs, batch by batch; see `family.Decoder.__call__`."""
    model, asked = inputs.model, decoder.name
    decoder = decoder.prepared(model, len(inputs), inputs.guidance, run.warn)
    starts = range(0, len(inputs), decoder.batch)
    found = {} if keep_hidden else {start: batch for start in starts if (batch := _stored(run, start))}
    with run.progress(len(starts), "decode", len(found)) as progress:
        for start, part in zip(starts, inputs.batches(decoder.batch), strict=True):
            if start not in found:
                found[start] = _finite_batch(decoder, part, start, redraw)
                _store(run, start, found[start])
                progress.advance()
            decoder = decoder.following(found[start].blocks, (len(inputs) - start) // decoder.batch - 1)
    batches = [found[start] for start in starts]
    patches = torch.cat([batch.hidden[0] for batch in batches]) if batches else inputs.noise
    pictures = model.pictures(patches)
    if denoise or (denoise is None and model.config.noise_std):
        pictures = denoised(model, pictures, inputs.labels)
    report = DecodeReport(
        asked,
        len(inputs),
        model.config.tokens,
        _summed([batch.blocks for batch in batches]),
        tuple(index for batch in batches for index in batch.redrawn),
    )
    hidden = _joined([batch.hidden for batch in batches]) if keep_hidden else ()
    return DecodedPictures(_named(pictures, names), patches.cpu(), report, hidden)


@torch.inference_mode()
def _decode_blocks(decoder: BlockDecoder, inputs: Decoding) -> tuple[list[Tensor], list[BlockReport]]:
    model = inputs.model
    h = inputs.noise * model.variance.to(inputs.noise).sqrt()
    hidden, reports = [h], []
    for inverse in inputs.inverses():
        block, counts = inverse.block, inverse.counts
        v = block.permuted(h)
        report = BlockReport(block.index, decoder.name)
        began = _now(model)
        single = inverse.tokens == 1
        u = v.clone() if single else decoder.decode_block(inverse, v, report, _in_raster_order(inputs.watch, inverse))
        report.seconds = _now(model) - began
        report.passes, report.token_passes, report.clamped = counts.passes, counts.token_passes, counts.clamped
        if decoder.certify:
            report.residual = float(inverse.residual(u, v).max()) if len(u) else 0.0
        h = block.permuted(u)
        hidden.append(h)
        reports.append(report)
    return hidden, reports


def decode_batch(decoder: BlockDecoder, inputs: Decoding) -> tuple[list[Tensor], list[BlockReport]]:
    """h_K to h_0 of one batch, each [n, T, C], and the blocks' reports, all in the order of decoding."""
    hidden, reports = _decode_blocks(decoder, inputs)
    return [state.clone() for state in hidden], reports  # copies that gradients may pass through


def checked_inputs(
    model: TarFlow, noise: Tensor, labels: Tensor | None, guidance: Guidance, watch: PassCallback | None, run: Run
) -> Decoding:
    """The inputs in the model's working type, on its device. Raises `BadInput` for what does not fit the model."""
    noise = checked_noise(model, noise, run)
    labels = checked_labels(model, labels, len(noise))
    if guidance.scale and not guidance.acts(model.config.num_classes):
        run.warn(
            f"guidance {guidance.scale:g} has no effect: this model has no classes; give a temperature other than 1, "
            "such as 1.5, for a prediction to guide away from"
        )
    return Decoding(model, noise, labels, guidance, watch)


def checked_noise(model: TarFlow, noise: Tensor, run: Run = Run.none()) -> Float[Tensor, "n t c"]:
    """The noise in the model's working type, on its device. Raises `BadInput` for another shape or infinite numbers."""
    wanted = (model.config.tokens, model.config.token_width)
    if noise.ndim != 3 or tuple(noise.shape[1:]) != wanted:
        raise BadInput(f"the noise must be [n, {wanted[0]}, {wanted[1]}] for this model, not {list(noise.shape)}")
    if noise.dtype in (torch.float16, torch.bfloat16) or not noise.is_floating_point():
        run.warn(f"the noise came as {str(noise.dtype).removeprefix('torch.')} and was converted to float32")
    noise = noise.to(model.device, model.working_dtype)
    if not bool(noise.isfinite().all()):
        bad = sorted({int(row) for row in (~noise.isfinite()).nonzero()[:, 0]})
        raise BadInput(f"the noise of picture {bad[0]} is not finite ({len(bad)} such pictures); draw it again")
    return noise


def checked_labels(model: TarFlow, labels: Tensor | None, n: int) -> Int64[Tensor, "n"] | None:
    """The labels on the model's device; None where none are given. Raises `BadInput` for labels that do not fit."""
    if labels is None:
        return None
    classes = model.config.num_classes
    if not classes:
        raise BadInput("this model was trained without classes; leave the labels out")
    if tuple(labels.shape) != (n,):
        raise BadInput(f"{n} pictures need a label each, of shape [{n}], not {list(labels.shape)}")
    if labels.is_floating_point() or bool(((labels < UNLABELLED) | (labels >= classes)).any()):
        given = sorted(set(labels.tolist()))
        raise BadInput(f"labels are whole numbers from 0 to {classes - 1}, or {UNLABELLED} for none, not {given}")
    return labels.to(model.device, torch.int64)


def _finite_batch(decoder: BlockDecoder, inputs: Decoding, start: int, redraw: Redraw | None) -> _Batch:
    """One batch, whose first picture is `start` of all; pictures that overflow are decoded from fresh noise."""
    hidden, blocks = decode_batch(decoder, inputs)
    redrawn: list[int] = []
    for attempt in range(1, ATTEMPTS + 2):
        rows = (~hidden[-1].isfinite()).any(2).any(1).nonzero().flatten()
        if not len(rows):
            break
        indices = [start + row for row in rows.tolist()]
        if redraw is None or attempt > ATTEMPTS:
            raise IntaglioError(
                f"picture {indices[0]} overflows while it is decoded ({len(indices)} such pictures): take less "
                "guidance, or let such noise be drawn again (on_nonfinite resample)"
            )
        fresh = checked_noise(inputs.model, torch.stack([redraw(index, attempt) for index in indices]))
        again, more = decode_batch(decoder, replace(inputs.rows(rows), noise=fresh))
        for state, part in zip(hidden, again, strict=True):
            state[rows] = part
        for block, part in zip(blocks, more, strict=True):
            block.add(part)
        redrawn += [index for index in indices if index not in redrawn]
    return _Batch(hidden[::-1], blocks, redrawn)


def _in_raster_order(watch: PassCallback | None, inverse: BlockInverse) -> BlockCallback:
    """The callback of one block that passes its iterates on, in raster order."""
    if watch is None:
        return lambda u, final: None
    return lambda u, final: watch(inverse.block.index, inverse.counts.passes, inverse.block.permuted(u), final)


def _stored(run: Run, start: int) -> _Batch | None:
    if (found := run.load_state(f"batch-{start}")) is None:
        return None
    tensors, about = found
    return _Batch([tensors["patches"]], [BlockReport(**block) for block in about["blocks"]], about["redrawn"])


def _store(run: Run, start: int, batch: _Batch) -> None:
    about = {"blocks": [vars(block) for block in batch.blocks], "redrawn": batch.redrawn}
    run.save_state(f"batch-{start}", {"patches": batch.hidden[0]}, about)


def _joined(batches: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(states).cpu() for states in zip(*batches, strict=True))


def _summed(batches: Sequence[Sequence[BlockReport]]) -> tuple[BlockReport, ...]:
    if not batches:
        return ()
    first, *rest = batches
    for blocks in rest:
        for whole, block in zip(first, blocks, strict=True):
            whole.add(block)
    return tuple(first)


def _named(pictures: Float[Tensor, "n ch h w"], names: Sequence[str]) -> ImageSet:
    """Pictures of [-1, 1] in [0, 1]; grey pictures become colour ones of three equal channels."""
    pixels = ((pictures.float().cpu() + 1) / 2).clamp(0, 1)
    names = names or [f"{index:05d}.png" for index in range(len(pixels))]
    return ImageSet.from_pixels(pixels.expand(-1, 3, -1, -1).clone(), names)


def _now(model: TarFlow) -> float:
    """The clock in seconds, once the device is done with all it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.monotonic()
