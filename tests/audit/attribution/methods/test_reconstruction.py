"""Reconstruction errors: closed forms on exact models, planted sources, and fits that know their models."""

import pytest
import torch

from attribution_scenes import SIGMA, pattern, planted
from intaglio.audit.attribution.audit import attribute_pictures
from intaglio.audit.attribution.fitted_sources import FittedSources
from intaglio.audit.attribution.methods.reconstruction import ReconstructionErrors
from intaglio.audit.attribution.methods.spectrum import Spectrum
from intaglio.bench.sample.exact_mixture import ExactMixture
from intaglio.errors import BadInput

SMALL = {"timesteps": 2, "batch": 4}
BAD = {"timesteps": 0}
PIECES = {"batch": 1}
SIDE, SIZE = 16, 4 / 255


class Linear(ExactMixture):
    """Pictures of one planted source, predicted exactly, behind an autoencoder that keeps some rows of pixels."""

    def __init__(self, source, kept=SIDE, loss=1.0):
        mean = (0.5 + pattern(source, SIDE, SIZE))[None]
        super().__init__(mean, torch.tensor([SIGMA**2]), {"": [0.0]}, f"source {source}")
        self.kept, self.loss = kept, loss

    @property
    def fingerprint(self):
        return f"{self.name} {self.kept} {self.loss}"

    def part_fingerprint(self, name):
        return f"{name} {self.kept}"

    def decode(self, latents, *, spare_failed=False, clamp=True):
        return torch.cat([latents[:, :, : self.kept], torch.full_like(latents[:, :, self.kept :], 0.5)], 2)

    def error(self, latents, noise, t, conditioning):
        s, n = (part[t].view(-1, 1, 1, 1) for part in (self.schedule.signals, self.schedule.noises))
        apart = noise - self.predict(s * latents + n * noise, t, conditioning)
        return self.loss * apart.square().flatten(1).mean(1)


def test_features_are_the_closed_forms_of_exact_models():
    one, other = Linear(0), Linear(1, kept=4, loss=3.0)
    pixels = planted(0, 3).pixels
    method = ReconstructionErrors(timesteps=40, times=(500, 500))
    found = method.errors({"b": other, "a": one}, pixels).double()
    assert found.shape == (3, 4), "two autoencoders, then two models"
    lost = (pixels[:, :, 4:] - 0.5).square().sum((1, 2, 3)) / pixels[0].numel()
    floor = 1 / (12 * 255**2)
    torch.testing.assert_close(found[:, 0].exp(), torch.full((3,), floor).double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(found[:, 1].exp(), lost.double() + floor, rtol=1e-5, atol=0)
    s, n, v = float(one.schedule.signals[500]), float(one.schedule.noises[500]), SIGMA**2
    spread = s**2 * v + n**2
    for column, model, factor in ((2, one, 1), (3, other, 3)):
        far = (pixels - model.means).square().mean((1, 2, 3))
        wanted = factor * ((s**2 * v / spread) ** 2 + (s * n / spread) ** 2 * far)
        torch.testing.assert_close(found[:, column].exp(), wanted.double(), rtol=0.05, atol=0)


def test_a_part_that_models_share_gives_one_feature():
    models = {"a": Linear(0), "b": Linear(1), "c": Linear(0)}
    assert ReconstructionErrors().errors(models, planted(0, 2).pixels).shape == (2, 3)


@pytest.fixture(scope="module")
def scene():
    models = {"a": Linear(0), "b": Linear(1)}
    sources = {"a": planted(0, 60), "b": planted(1, 60), "real": planted(2, 60, size=2 * SIZE)}
    return models, sources, ReconstructionErrors(timesteps=2, times=(100, 400)).fit(sources, models=models)


def test_models_find_the_pictures_that_they_made_and_a_source_without_one(scene):
    models, _, fitted = scene
    method = ReconstructionErrors(timesteps=2, times=(100, 400))
    asked = {0: planted(0, 30, seed=1), 1: planted(1, 30, seed=1), 2: planted(2, 30, size=2 * SIZE, seed=1)}
    for k, images in asked.items():
        found = attribute_pictures(method, fitted, images, models=models, rate=0.2)
        assert (found.log_posterior.argmax(1) == k).double().mean() > 0.9
        assert sum(verdict not in (k, -1, -2) for verdict in found.verdicts) <= 30 * 0.2 + 5
    strange = attribute_pictures(method, fitted, planted(3, 30, size=3 * SIZE), models=models, rate=0.2)
    assert strange.knownness.median() < found.knownness.quantile(0.05)


def test_a_fit_knows_its_models_in_any_order_and_refuses_others(scene, tmp_path):
    models, sources, fitted = scene
    method, asked = ReconstructionErrors(timesteps=2, times=(100, 400)), sources["a"][[0, 1]]
    turned = dict(reversed(models.items()))
    assert method.fit(sources, models=turned).hash == fitted.hash
    read = FittedSources.load(fitted.save(tmp_path / "fit"), "reconstruction")
    assert read.hash == fitted.hash
    assert read.models == {"a": models["a"].fingerprint, "b": models["b"].fingerprint}
    assert "Model of a: source 0" in (tmp_path / "fit" / "README.md").read_text()
    assert len(attribute_pictures(method, read, asked, models=turned).names) == 2
    with pytest.raises(BadInput, match="the model of b is none that the sources were fitted with"):
        attribute_pictures(method, fitted, asked, models={"a": models["a"], "b": models["a"]})
    with pytest.raises(BadInput, match="with the models of a, b; give that of b again"):
        attribute_pictures(method, fitted, asked, models={"a": models["a"]})
    with pytest.raises(BadInput, match="the model of real is none"):
        attribute_pictures(method, fitted, asked, models={**models, "real": models["a"]})


def test_models_are_asked_for_where_they_are_needed_and_refused_where_not(scene):
    models, sources, _ = scene
    with pytest.raises(BadInput, match="reconstruction asks the sources' models; give one or more"):
        ReconstructionErrors().fit(sources)
    with pytest.raises(BadInput, match="spectrum looks at pictures alone, so a model would have no effect"):
        Spectrum(rings=8).fit(sources, models=models)
    with pytest.raises(BadInput, match="no source called c, whose model is given; call it as one of: a, b, real"):
        ReconstructionErrors().fit(sources, models={"c": models["a"]})
    with pytest.raises(ValueError, match="times must be two timesteps"):
        ReconstructionErrors(times=(5, 2))
