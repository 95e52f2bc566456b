"""The whole selection: the choice, and copies of the chosen pictures with their captions, ready for a fine-tune."""

from dataclasses import replace
from pathlib import Path

from intaglio.audit.selection.family import Selector
from intaglio.audit.selection.result import Selection
from intaglio.denoising.examples import Examples
from intaglio.files import atomic_write
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


def select_examples(
    method: Selector, model: LatentDiffusion, candidates: Examples, target: Examples, *, run: Run = Run.none()
) -> Selection:
    """The choice, with the chosen pictures stored in the run's folder as PNG, each with its prompt beside it as text.

    Args:
        method: with its settings.
        model: from which training is to begin.
        candidates: the pool, with the prompts that they would be trained with.
        target: the pictures that a trained model is to be good at, with theirs.
        run: progress, states and pictures go there; a killed call goes on where it was.

    Raises:
        BadInput, IntaglioError: as a call of the method does.
    """
    found = method(model, candidates, target, run=run)
    if run.folder is None:
        return found
    stored = {}
    for place in found.places:
        name, prompt = candidates.names[place], candidates.prompts[place]
        stored[name] = run.save_image(f"chosen/{name}", candidates.images.pixels[place], {"prompt": prompt})
        atomic_write((Path(run.folder) / stored[name]).with_suffix(".txt"), f"{prompt}\n")
    return replace(found, pictures=stored)
