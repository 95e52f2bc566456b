"""The whole attack on an unlearned model: the judge, the tries, and the pictures that a report shows."""

from collections.abc import Sequence
from dataclasses import replace

from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate
from intaglio.audit.unlearning.attack.family import UnlearnAttack
from intaglio.audit.unlearning.attack.picture_judges import STATE, PictureScore, calibrated_judge
from intaglio.audit.unlearning.attack.result import UnlearnAttacks
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run


def attack_concept(
    method: UnlearnAttack,
    model: LatentDiffusion,
    original: LatentDiffusion,
    prompts: Sequence[str],
    score: PictureScore,
    anchors: tuple[str, ...] = ("",),
    *,
    fpr: float = 0.05,
    controls: int = 40,
    shown: int = 8,
    run: Run = Run.none(),
) -> UnlearnAttacks:
    """The attacks on all prompts, judged by a score of each picture with a calibrated threshold.

    Args:
        method: with its settings.
        model: unlearned; left as it was found, as the original is.
        original: the model that it was made from.
        prompts: that asked for the concept, one or more.
        score: of the concept in a picture, such as the original's evidence of its words, or a classifier's.
        anchors: prompts of what is not the concept.
        fpr: share of the anchors' pictures that the judge may take for the concept, in (0, 1).
        controls: pictures of the anchors that its threshold is calibrated on.
        shown: prompts, from the first, whose pictures are stored, 0 or more: unattacked, and of the first success.
        run: progress, records, states and pictures go there.

    Raises:
        BadInput: as a call of the method does, and for too few controls for the rate.
    """
    method.check(model, prompts, original)
    drawing = {"steps": method.steps, "scale": method.guidance, "seed": method.seed}
    judge = calibrated_judge(score, original, anchors, fpr=fpr, controls=controls, **drawing, run=run)
    found = method(model, prompts, judge, original=original, run=run)
    for place, one in enumerate(found.prompts[:shown]):
        scene = AttackScene(model, original, judge, one.prompt, method.seed, method.steps, method.guidance)
        tries = {"unattacked": Candidate((), scene.own_seed)}
        if one.success is not None:
            tries["attacked"] = Candidate(one.ids, one.seed)
        with model.frozen():
            for name, candidate in tries.items():
                (pixels,) = scene.draw([candidate])
                run.save_image(f"{name}/{place:03d}", pixels, {"prompt": one.prompt})
    run.drop_state(STATE)
    return replace(found, judge=judge.statement)
