"""The whole audit of prompts: scores beside those of controls, and pictures of the prompts that stand first."""

from collections.abc import Sequence
from dataclasses import replace

from intaglio.audit.prompts.family import PromptAudit
from intaglio.audit.prompts.result import PromptScores
from intaglio.errors import BadInput
from intaglio.metrics.statistics.enough_controls import check_controls
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

PICTURES = 3
"""Pictures that each model draws of a prompt, by seeds that follow the method's."""
DRAWN = "drawn"
"""Kind of the records of drawn prompts, and folder of their pictures."""


def check_disjoint(prompts: Sequence[str], controls: Sequence[str], fpr: float) -> None:
    """Raises `BadInput` for controls that are asked about too, and for too few different ones for the asked rate."""
    if not controls:
        return
    if both := [prompt for prompt in prompts if prompt in set(controls)]:
        more = f", and {len(both) - 1} more" if len(both) > 1 else ""
        raise BadInput(f"{both[0]!r} is both asked about and a control{more}; leave it out of one of the two")
    check_controls(len(set(controls)), fpr, "prompts")


def audit_prompts(
    method: PromptAudit,
    model: LatentDiffusion,
    prompts: Sequence[str],
    *,
    base: LatentDiffusion | None = None,
    controls: Sequence[str] = (),
    fpr: float = 0.05,
    shown: int = 0,
    run: Run = Run.none(),
) -> PromptScores:
    """Scores of prompts, with p-values where there are controls.

    Args:
        method: with its settings.
        model: the model whose memory is asked about.
        prompts: one or more.
        base: the model it was fine-tuned from, or None.
        controls: prompts that were certainly not trained on, of the same kind; none leaves scores uncalibrated.
        fpr: false-positive rate asked for, in (0, 1).
        shown: prompts, from the first in rank, of which pictures are drawn into the run's folder.
        run: progress, records and pictures go there; a killed call goes on where it was.

    Raises:
        BadInput: as `PromptAudit` and `check_disjoint` do.
    """
    check_disjoint(prompts, controls, fpr)
    known = list(dict.fromkeys(controls))
    found = method(model, [*prompts, *known], base=base, run=run)
    count = len(prompts)
    found = replace(
        found,
        prompts=found.prompts[:count],
        scores=found.scores[:count],
        signals={name: column[:count] for name, column in found.signals.items()},
        shares=found.shares[:count],
        controls=tuple(known),
        control_scores=found.scores[count:],
        fpr=fpr,
    )
    first = list(dict.fromkeys(found.prompts[place] for place in found.ranking))[:shown]
    models = {"model": model} | ({} if base is None else {"base": base})
    return replace(found, drawn=_drawn(method, models, first, run))


def _drawn(
    method: PromptAudit, models: dict[str, LatentDiffusion], prompts: Sequence[str], run: Run
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Pictures of each prompt by each model, from the same seeds; what was drawn before a kill is kept."""
    if run.folder is None:
        return {}
    recorded, found = run.recorded(DRAWN), {}
    first = int(getattr(method, "seed", 0))
    with run.progress(len(prompts) * len(models), DRAWN) as progress:
        for rank, prompt in enumerate(prompts):
            for role, model in models.items():
                paths = recorded.get(f"{role} {rank} {prompt}", {}).get("paths", [])
                if not paths or not all((run.folder / path).is_file() for path in paths):
                    seeds = range(first, first + PICTURES)
                    pixels = sample(model, [prompt] * PICTURES, seeds, **method.drawing).pixels
                    paths = [
                        run.save_image(f"{DRAWN}/{rank:02d}/{role}-{seed}", picture, {"prompt": prompt, "seed": seed})
                        for seed, picture in zip(seeds, pixels, strict=True)
                    ]
                    run.record(DRAWN, f"{role} {rank} {prompt}", {"paths": paths})
                found.setdefault(prompt, {})[role] = tuple(paths)
                progress.advance()
    return found
