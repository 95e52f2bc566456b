import itertools

import pytest
import torch

import tiny
from distill_scenes import planted
from intaglio.distill.discrepancy import squared_discrepancy
from intaglio.distill.methods.mmd import MMDDistillation
from intaglio.distill.set_features import SetFeatures, network_features
from intaglio.errors import BadInput
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import latent_batches

SMALL = {"steps": 2, "batch": 3, "student_steps": 2}
BAD = {"batch": 1}
PIECES = {"micro_batch": 1, "gradient_checkpointing": True}
VARIANTS = {
    "rbf": {"SMALL": {"kernel": "rbf", "student_steps": 1}, "BAD": {"student_steps": 0}, "PIECES": {"micro_batch": 2}},
    "encoder": {"SMALL": {"features": "encoder"}, "BAD": {"feature_timestep": -1}, "PIECES": {"micro_batch": 1}},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def normals(count, seed, shift=0.0, width=1):
    return shift + torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_in_one_dimension_it_is_the_differences_of_three_moments():
    """(xy + 1)³ = 1 + 3xy + 3(xy)² + (xy)³, so that MMD² = 3 Δm1² + 3 Δm2² + Δm3² in raw moments.

    N(0.3, 1) beside N(0, 1): 3 · 0.09 + 3 · 0.0081 + (0.9 + 0.027)² = 1.154.
    """
    found = [float(squared_discrepancy(normals(400, 2 * k, 0.3), normals(400, 2 * k + 1))) for k in range(150)]
    assert sum(found) / len(found) == pytest.approx(1.154, abs=0.1)
    same = [float(squared_discrepancy(normals(400, 2 * k), normals(400, 2 * k + 1))) for k in range(150)]
    assert sum(same) / len(same) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("kernel", ["polynomial", "rbf"])
def test_it_is_the_mean_over_pairs_written_out(kernel):
    x, y = normals(4, 0, width=3), normals(5, 1, width=3)

    def k(a, b):
        if kernel == "polynomial":
            return float((a @ b) / 3 + 1) ** 3
        return float(torch.exp(-(a - b).square().sum() / 6))

    def mean(pairs):
        values = [k(a, b) for a, b in pairs]
        return sum(values) / len(values)

    exact = mean(itertools.permutations(x, 2)) + mean(itertools.permutations(y, 2)) - 2 * mean(itertools.product(x, y))
    assert float(squared_discrepancy(x, y, kernel)) == pytest.approx(exact)


@pytest.mark.parametrize("features", ["middle", "encoder"])
def test_gradients_are_those_of_the_whole_walk_by_differences(teacher, features):
    """One weight of the denoiser, moved a little either way."""
    method = MMDDistillation(**{**SMALL, "batch": 4, "features": features})
    student, data = teacher.copy(), planted()
    weight = student.denoiser.conv_out.weight
    with teacher.frozen():
        real = SetFeatures.of(network_features(teacher, features, 50), data.latents)
        student.denoiser.requires_grad_(True)
        method._loss(student, real, data, 0)
        direction = weight.grad / weight.grad.norm()
        slope = float(weight.grad.norm())
        values = []
        for side in (1, -1):
            with torch.no_grad():
                weight.add_(side * 2e-3 * direction)
            values.append(method._loss(student, real, data, 0).value)
            with torch.no_grad():
                weight.sub_(side * 2e-3 * direction)
    assert (values[0] - values[1]) / 4e-3 == pytest.approx(slope, rel=0.05)


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_gradients_of_pieces_are_those_of_the_whole(teacher, micro_batch):
    """The discrepancy is over pairs of the whole batch, whatever is in memory."""
    found = []
    for size in (None, micro_batch):
        student = teacher.copy()
        with teacher.frozen():
            real = SetFeatures.of(network_features(teacher, "middle", 50), planted().latents)
            student.denoiser.requires_grad_(True)
            MMDDistillation(**{**SMALL, "batch": 4, "micro_batch": size})._loss(student, real, planted(), 0)
        found.append(student.denoiser.conv_in.weight.grad)
    assert torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-4 * float(found[0].abs().max()))


def test_the_students_walk_is_the_one_it_is_drawn_with(teacher):
    method = MMDDistillation(**{**SMALL, "student_steps": 3})
    student = teacher.made_for(BakedSampling((999, 666, 332), "ddim", "baked", (1.0, 1.0)), teacher.denoiser, "student")
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(7))[None]
    options = {"sampler": "ddim", "steps": 3, "guidance_scale": 1.0, "negative": ""}
    with torch.no_grad():
        found = method._drawn(student, noise, ["dog"])
    drawn = torch.cat(list(latent_batches(student, ["dog"], [7], **options)))
    assert torch.allclose(found, drawn, rtol=1e-3, atol=1e-3)


def test_features_of_the_set_have_the_mean_0_and_the_deviation_1(teacher):
    data = planted(9)
    with torch.no_grad():
        real = SetFeatures.of(network_features(teacher, "middle", 50), data.latents)
        again = real(data.latents)
    assert torch.allclose(again, real.known, atol=1e-3)
    assert real.known.mean(0).abs().max() < 1e-4
    assert torch.allclose(real.known.std(0), torch.ones(real.known.shape[1]), atol=1e-3)


def test_the_encoders_features_are_descriptors_of_the_decoded_pictures(teacher, monkeypatch):
    """Of whatever size, as the measure of the command line has them."""
    pictures = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    asked = []
    monkeypatch.setattr(teacher, "decode", lambda latents, **options: asked.append(options) or pictures)
    found = network_features(teacher, "encoder", 50)(planted(3).latents)
    assert torch.allclose(found, load_similarity("embedded").embed(pictures), atol=1e-5)
    assert asked == [{"clamp": False}]


@pytest.mark.parametrize("changes", [{}, {"micro_batch": 2}, {"features": "encoder"}])
def test_the_planned_calls_are_those_made_beside_the_sets(teacher, monkeypatch, changes):
    method, rows, predict = MMDDistillation(**{**SMALL, **changes}), [], type(teacher).predict
    monkeypatch.setattr(type(teacher), "predict", lambda self, x, *rest: rows.append(len(x)) or predict(self, x, *rest))
    method(teacher, planted(5))
    of_the_set = 0 if method.features == "encoder" else 5
    assert method.planned(teacher).forward == sum(rows) - of_the_set


def test_the_law_of_the_pictures_nears_that_of_the_set(teacher):
    """By the discrepancy of 40 pictures from noise that it was not trained on."""
    settings = {"batch": 8, "student_steps": 2, "learning_rate": 3e-4, "warmup": 0}
    data = planted(12)
    with teacher.frozen(), torch.no_grad():
        real = SetFeatures.of(network_features(teacher, "middle", 50), data.latents)
    noise = torch.randn(40, 4, 8, 8, generator=torch.Generator().manual_seed(99))

    def discrepancy(model):
        with torch.no_grad():
            drawn = real(MMDDistillation(**settings)._drawn(model, noise, ["dog"] * 40))
        return float(squared_discrepancy(drawn, real.known))

    found = MMDDistillation(steps=20, **settings)(teacher, data)
    assert discrepancy(found.model) < 0.9 * discrepancy(teacher)
    assert found.model.sampling == BakedSampling((999, 499), "ddim", "baked", (1.0, 1.0))


def test_what_cannot_be_paired_or_asked_is_refused(teacher):
    with pytest.raises(BadInput, match="over pairs"):
        MMDDistillation(**SMALL)(teacher, planted(1))
    with pytest.raises(BadInput, match="0 to 999"):
        MMDDistillation(**SMALL, feature_timestep=1000).check(teacher)


def test_a_denoiser_without_a_middle_block_is_refused(teacher, monkeypatch):
    monkeypatch.setattr(teacher.denoiser, "mid_block", None)
    with pytest.raises(BadInput, match="no middle block"):
        MMDDistillation(**SMALL).check(teacher)
