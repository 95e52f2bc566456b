"""The fitted part of a sampling method: made where it is missing, and kept beside the pictures."""

from pathlib import Path
from typing import TYPE_CHECKING

from intaglio.commands.kit.console import note, shown

if TYPE_CHECKING:
    from intaglio.sampling.family import SamplingMethod, SamplingRequest
    from intaglio.sampling.fitted_sampling import MethodFit
    from intaglio.sampling.start import Start


def kept_fit(
    method: "SamplingMethod", request: "SamplingRequest", start: "Start", out: Path, beside: Path | None = None
) -> "MethodFit | None":
    """The fitted part of a method for such pictures, in a file of `out` from now on; None where it needs none.

    Args:
        method: that draws them.
        request: the pictures; their prompts are of no account.
        start: their first latents.
        out: folder of the pictures.
        beside: a further folder that may have the file, such as that of a picture to replay.

    Raises `BadInput` where a file of its name is that of another fit.
    """
    from intaglio.runs.run import Run
    from intaglio.sampling.fitted_sampling import FittedSampling
    from intaglio.sampling.loop import fit_of

    if not isinstance(method, FittedSampling) or (hashed := method.fit_hash(request)) is None:
        return None
    name = f"{method.name}-{hashed[:16]}.safetensors"
    there = [path for folder in (out, beside) if folder is not None and (path := folder / name).is_file()]
    if there:
        fit = method.read_fit(there[0], request)
    else:
        note(f"{method.name} is fitted first: {method.planned_fit(request)}; it is kept as {out / name}")
        fit = fit_of(
            request.model,
            method,
            sampler=request.sampler,
            steps=request.steps,
            guidance_scale=request.scale,
            negative=request.negative,
            start=start,
            run=Run.none(progress=shown()),
        )
    if fit is not None and not (out / name).is_file():
        fit.save(out / name)
    return fit
