"""A distillation as a run: what names it, and the work that a folder keeps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.distill.distillation_set import OWN_STATE, OWN_STEPS, DistillationSet
from intaglio.distill.distilled import CARD, MODEL
from intaglio.distill.family import Distiller
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.fixed_sampling import own_method, settled
from intaglio.sampling.loop import sample
from intaglio.sampling.plan import picture_calls

SHOWN, TEACHER_STEPS = 4, 20
"""Captions of which pictures are drawn, and the teacher's steps for them."""


@dataclass(frozen=True)
class OwnPictures:
    """The teacher's own pictures, drawn as the first part of a run."""

    prompts: tuple[str, ...]
    """One or more, taken in turn."""
    count: int
    """Pictures, 1 or more."""
    scale: float
    """Guidance scale that they are drawn under, 0 or more, 1 for none."""

    def drawn(self, teacher: LatentDiffusion, seed: int, run: Run) -> DistillationSet:
        """The latents of the pictures, which the run keeps as they come."""
        return DistillationSet.of_teacher(teacher, self.prompts, self.count, scale=self.scale, seed=seed, run=run)


def drawing_calls(teacher: LatentDiffusion, source: OwnPictures | DistillationSet) -> Calls:
    """Calls that draw the teacher's own pictures, which are not decoded; none where pictures are given."""
    if not isinstance(source, OwnPictures):
        return Calls()
    return Calls(forward=picture_calls(teacher, OWN_STEPS, source.scale).forward * source.count)


def run_settings(distiller: Distiller, source: OwnPictures | DistillationSet) -> dict[str, Any]:
    """Settings that name the run."""
    own = {"own": source.count, "own_guidance": source.scale} if isinstance(source, OwnPictures) else {}
    return {**asdict(distiller), **own}


def run_hashes(teacher: LatentDiffusion, source: OwnPictures | DistillationSet) -> dict[str, str]:
    """Sha256 of each input that names the run, by its role."""
    if isinstance(source, OwnPictures):
        return {"model": teacher.fingerprint, "prompts": digest(list(source.prompts))}
    return {"model": teacher.fingerprint, "images": source.hash}


def distil(distiller: Distiller, teacher: LatentDiffusion, source: OwnPictures | DistillationSet, run: Run) -> None:
    """Distils, stores the student in the run's folder with a few of its pictures, and finishes the run.

    Errors are those of the method.
    """
    data = source
    if isinstance(data, OwnPictures):
        data = data.drawn(teacher, distiller.seed, run)
    found = distiller(teacher, data, run=run)
    _draw(found.model, teacher, source, data.captions, run)
    folder = run.folder or Path()
    weights = found.save(folder)
    summary = {"model": weights.relative_to(folder).as_posix(), "sampling": found.model.sampling.words}
    summary["method"] = found.model.sampling.method or ""
    summary |= {"calls": asdict(distiller.planned(teacher)), "trained_on": data.source, "facts": dict(found.facts)}
    run.finish(summary, (MODEL, CARD))
    for state in (OWN_STATE, *distiller.states):
        run.drop_state(state)


def _draw(
    student: LatentDiffusion,
    teacher: LatentDiffusion,
    source: OwnPictures | DistillationSet,
    captions: Sequence[str],
    run: Run,
) -> None:
    """Pictures of the first captions by the student, and of the same noise by the teacher in 20 steps.

    The student is drawn by the method that it was made for. One without a scale of its own drew to be like the set: the
    teacher is under the guidance of that.
    """
    prompts, way = list(dict.fromkeys(captions))[:SHOWN], settled(student, None, None, None)
    of_teacher = way._replace(steps=TEACHER_STEPS)
    if student.sampling.scales == (1.0, 1.0) and isinstance(source, OwnPictures):
        of_teacher = of_teacher._replace(scale=source.scale)
    for name, model, drawing in (("student", student, way), ("teacher", teacher, of_teacher)):
        drawn = sample(model, prompts, range(len(prompts)), method=own_method(model), **drawing.options, batch=1)
        for k, pixels in enumerate(drawn.pixels):
            run.save_image(f"{name}/{k:02d}", pixels, {"prompt": prompts[k]})
