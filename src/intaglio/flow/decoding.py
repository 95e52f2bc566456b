"""The loop that all decoders share: batches, blocks from the last to the first, denoising, names."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import inverses
from intaglio.flow.family import BlockReport, Decoded, DecodeReport, Passes, Watching
from intaglio.images.image_set import ImageSet
from intaglio.models.flow.tarflow import UNLABELLED, TarFlow, denoised
from intaglio.runs.run import Run

if TYPE_CHECKING:
    from intaglio.flow.family import Decoder

ATTEMPTS = 5
"""Times that the noise of a picture is drawn again."""


@torch.no_grad()
def decode(
    decoder: "Decoder",
    model: TarFlow,
    noise: Tensor,
    labels: Tensor | None,
    guidance: Guidance,
    denoise: bool | None,
    names: Sequence[str],
    redraw: Callable[[int, int], Tensor] | None,
    keep_hidden: bool,
    watch: Watching | None,
    run: Run,
) -> Decoded:
    """See `Decoder.__call__`."""
    noise = checked_noise(model, noise, run)
    labels = checked_labels(model, labels, len(noise))
    check_guidance(model, guidance, run)
    asked, decoder = decoder.name, decoder.prepared(model, len(noise), guidance, run.warn)
    starts = range(0, len(noise), decoder.batch)
    found = {} if keep_hidden else {start: part for start in starts if (part := _stored(run, start))}
    with run.progress(len(starts), "decode", len(found)) as progress:
        for start in (start for start in starts if start not in found):
            rows = slice(start, start + decoder.batch)
            told = None if labels is None else labels[rows]
            found[start] = _part(decoder, model, noise[rows], told, guidance, redraw, start, watch)
            _store(run, start, found[start])
            progress.advance()
    parts = [found[start] for start in starts]
    patches = torch.cat([part["hidden"][0] for part in parts]) if parts else noise
    hidden = _joined([part["hidden"] for part in parts]) if keep_hidden else ()
    pictures = model.pictures(patches)
    if denoise or (denoise is None and model.config.noise_std):
        pictures = denoised(model, pictures, labels)
    report = DecodeReport(
        asked,
        len(noise),
        model.config.tokens,
        _summed([part["blocks"] for part in parts]),
        tuple(place for part in parts for place in part["redrawn"]),
    )
    return Decoded(_named(pictures, names), patches.cpu(), report, hidden)


def decode_batch(
    decoder: "Decoder",
    model: TarFlow,
    noise: Float[Tensor, "n t c"],
    labels: Int64[Tensor, "n"] | None,
    guidance: Guidance,
    watch: Watching | None = None,
) -> tuple[list[Tensor], list[BlockReport]]:
    """h_K to h_0 of one batch, and the blocks' reports, all in the order of decoding."""
    with torch.inference_mode():
        hidden, reports = _blocks(decoder, model, noise, labels, guidance, watch)
    return [state.clone() for state in hidden], reports  # copies that gradients may pass through


def _blocks(
    decoder: "Decoder", model: TarFlow, noise: Tensor, labels: Tensor | None, guidance: Guidance, watch: Watching | None
) -> tuple[list[Tensor], list[BlockReport]]:
    h = noise * model.variance.to(noise).sqrt()
    hidden, reports = [h], []
    for place, (block, inverse) in enumerate(inverses(model, len(noise), labels, guidance)):
        v = block.permuted(h)
        report = BlockReport(block.index, decoder.name)
        began = _now(model)
        u = (
            v.clone()
            if inverse.tokens == 1
            else decoder.decode_block(inverse, v, place, report, Passes(watch, inverse))
        )
        report.seconds = _now(model) - began
        effort = inverse.effort
        report.passes, report.token_passes, report.clamped = effort.passes, effort.token_passes, effort.clamped
        if decoder.certify:
            report.residual = float(inverse.residual(u, v).max()) if len(u) else 0.0
        h = block.permuted(u)
        hidden.append(h)
        reports.append(report)
    return hidden, reports


def checked_noise(model: TarFlow, noise: Tensor, run: Run = Run.none()) -> Float[Tensor, "n t c"]:
    """The noise in the model's working type and place. Raises `BadInput` for another shape or what is not finite."""
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
    """The labels in the model's place; None where none is told. Raises `BadInput` for labels that do not fit."""
    if labels is None:
        return None
    classes = model.config.num_classes
    if not classes:
        raise BadInput("this model was trained without classes; leave the labels out")
    if tuple(labels.shape) != (n,):
        raise BadInput(f"{n} pictures need a label each, of shape [{n}], not {list(labels.shape)}")
    if labels.is_floating_point() or bool(((labels < UNLABELLED) | (labels >= classes)).any()):
        told = sorted(set(labels.tolist()))
        raise BadInput(f"labels are whole numbers from 0 to {classes - 1}, or {UNLABELLED} for none, not {told}")
    return labels.to(model.device, torch.int64)


def check_guidance(model: TarFlow, guidance: Guidance, run: Run = Run.none()) -> None:
    """Warns where a guidance scale has nothing to act by."""
    if guidance.scale and not guidance.acts(model.config.num_classes):
        run.warn(
            f"guidance {guidance.scale:g} leads nowhere: this model knows no classes; give a temperature other than 1, "
            "such as 1.5, for something to lead away from"
        )


def _part(
    decoder: "Decoder",
    model: TarFlow,
    noise: Tensor,
    labels: Tensor | None,
    guidance: Guidance,
    redraw: Callable[[int, int], Tensor] | None,
    start: int,
    watch: Watching | None,
) -> dict[str, Any]:
    """One batch, with those pictures drawn again that are not finite."""
    hidden, blocks = decode_batch(decoder, model, noise, labels, guidance, watch)
    redrawn: list[int] = []
    for attempt in range(1, ATTEMPTS + 2):
        bad = (~hidden[-1].isfinite()).any(2).any(1).nonzero().flatten()
        if not len(bad):
            return {"hidden": hidden[::-1], "blocks": blocks, "redrawn": redrawn}
        places = [start + row for row in bad.tolist()]
        if redraw is None or attempt > ATTEMPTS:
            raise IntaglioError(
                f"picture {places[0]} overflows while it is decoded ({len(places)} such pictures): take less guidance, "
                "or let such noise be drawn again (on_nonfinite resample)"
            )
        fresh = checked_noise(model, torch.stack([redraw(place, attempt) for place in places]))
        told = None if labels is None else labels[bad]
        again, more = decode_batch(decoder, model, fresh, told, guidance, watch)
        for state, part in zip(hidden, again, strict=True):
            state[bad] = part
        for block, part in zip(blocks, more, strict=True):
            block.add(part)
        redrawn += [place for place in places if place not in redrawn]
    raise AssertionError("unreachable")


def _stored(run: Run, start: int) -> dict[str, Any] | None:
    if (found := run.load_state(f"batch-{start}")) is None:
        return None
    tensors, meta = found
    return {
        "hidden": [tensors["patches"]],
        "blocks": [BlockReport(**block) for block in meta["blocks"]],
        "redrawn": meta["redrawn"],
    }


def _store(run: Run, start: int, part: dict[str, Any]) -> None:
    blocks = [vars(block) for block in part["blocks"]]
    run.save_state(f"batch-{start}", {"patches": part["hidden"][0]}, {"blocks": blocks, "redrawn": part["redrawn"]})


def _joined(parts: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    return tuple(torch.cat(states).cpu() for states in zip(*parts, strict=True))


def _summed(parts: Sequence[Sequence[BlockReport]]) -> tuple[BlockReport, ...]:
    if not parts:
        return ()
    first, *rest = parts
    for blocks in rest:
        for whole, block in zip(first, blocks, strict=True):
            whole.add(block)
    return tuple(first)


def _named(pictures: Float[Tensor, "n ch h w"], names: Sequence[str]) -> ImageSet:
    """In [0, 1]; grey pictures become colour ones of three equal channels."""
    shown = ((pictures.float().cpu() + 1) / 2).clamp(0, 1)
    names = names or [f"{place:05d}.png" for place in range(len(shown))]
    return ImageSet.from_pixels(shown.expand(-1, 3, -1, -1).clone(), names)


def _now(model: TarFlow) -> float:
    """The clock, once the device has done what it was told."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.monotonic()
