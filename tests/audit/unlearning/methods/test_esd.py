import torch

from audit_scenes import model
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.esd import ErasedStableDiffusion
from intaglio.audit.unlearning.trajectories import trajectories
from intaglio.runs.run import Run
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.step import ddim_step
from unlearning_scenes import LinearLesson

SMALL = {"steps": 3, "batch": 2, "own": 1, "own_steps": 3, "learning_rate": 1e-3}
BAD = {"negative_guidance": -1.0}
PIECES = {"micro_batch": 1}


def test_the_fixed_point_is_the_prediction_led_away_from_the_concept():
    scene = LinearLesson(Concept(("red dog",)))
    objective = ErasedStableDiffusion(negative_guidance=1.7, own=2, own_steps=3, batch=3).objective(scene.lesson)
    assert scene.step_to_the_least(objective, "red dog") > 0.01
    known, blank = (scene.said(one, scene.given) for one in ("red dog", ""))
    torch.testing.assert_close(scene.said("red dog"), known - 1.7 * (known - blank), rtol=1e-4, atol=1e-4)
    assert objective(5).value < 1e-8, "whatever the step, it is the same point"


def test_without_guidance_away_nothing_changes():
    net = model()
    found = ErasedStableDiffusion(**{**SMALL, "negative_guidance": 0.0, "learning_rate": 1e-5})(net, Concept(("red",)))
    assert float(found.record.facts["last_loss"]) < 1e-9


def test_the_stored_walks_are_those_of_the_sampler():
    net = model()
    walks = trajectories(net, ["red", "dog"], 2, steps=3, scale=2.0, seed=4, run=Run.none())
    assert walks.prompts == ("red", "red", "dog", "dog")
    levels = timestep_grid(net.schedule, 3)
    assert walks.times.tolist() == [one.t for one in levels[:-1]]
    seeds = []

    def seen(model, prompts, given, **options):
        seeds.extend(given)
        return latent_batches(model, prompts, given, **options)

    with torch.no_grad():
        guide = ClassifierFree(2.0)
        text = net.embed(["", "", *walks.prompts[2:]])
        for k in (0, 1):
            x, t = walks.at([2, 3], torch.tensor([k, k]))
            _, noise = guide.step(text, x, t, net.predict)
            after = ddim_step(x, noise, levels[k], levels[k + 1])
            torch.testing.assert_close(after, walks.latents[2:, k + 1], rtol=1e-4, atol=1e-4)
