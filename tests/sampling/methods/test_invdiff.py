from itertools import pairwise

import pytest
import torch

import tiny
from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.grid import timestep_grid
from intaglio.sampling.methods.invdiff import InvDiff, Learnt
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.step import ddim_step
from intaglio.sampling.trained.mixed_denoiser import stored_weights
from intaglio.sampling.trained_part import TrainedPart

SMALL = {"part": "invdiff.safetensors"}
BAD = {"kappa": -0.5}
PIECES = {}
VARIANTS = {"alone": {"SMALL": {"kappa": 1.0}, "BAD": {"kappa": 1.5}, "PIECES": {}}}


def normal(mean, prompt=0.0):
    """N(mean, 0.3) for the empty prompt, N(mean + prompt, 0.3) for `up`."""
    means = torch.tensor([mean, mean + prompt]).view(2, 1, 1, 1)
    return ExactMixture(means, torch.tensor([0.3, 0.3]), {"": [0.0, -1e4], "up": [-1e4, 0.0]})


BASE, OTHER = normal(-1.0, prompt=0.5), normal(2.0, prompt=1.5)


@pytest.fixture
def part(tmp_path):
    TrainedPart("invdiff", BASE.fingerprint, {}, {"groups": torch.ones(1, 2)}, {"kappa": 0.8}).save(tmp_path / "p")
    return tmp_path / "p"


@pytest.fixture
def exactly(monkeypatch):
    """δ is the exact noise of another normal distribution, at the trained share 0.8."""
    share = lambda self: 0.8 if self.kappa is None else self.kappa  # noqa: E731
    monkeypatch.setattr(InvDiff, "_learnt", lambda self, model: Learnt(OTHER, share(self)))


@pytest.mark.parametrize(("kappa", "share"), [(None, 0.8), (0.25, 0.25)])
def test_of_two_normals_of_one_variance_it_draws_the_normal_between_their_means(part, exactly, kappa, share):
    between = normal(-1.0 + share * 3.0)
    found = drawn(BASE, InvDiff(part=part, kappa=kappa), count=50, steps=10)
    assert torch.allclose(found, drawn(between, Plain(), count=50, steps=10), atol=1e-4)


def test_guidance_acts_on_the_mixed_noise(part, exactly):
    """The prompt's own means lie between those of the two models, and the guided noise is of both."""
    found = drawn(BASE, InvDiff(part=part), prompt="up", count=4, steps=6, scale=3.0)
    x = torch.cat([torch.randn(1, 1, 1, generator=torch.Generator().manual_seed(seed))[None] for seed in range(4)])
    x, grid = x.double(), timestep_grid(BASE.schedule, 6)
    for now, then in pairwise(grid):
        t = torch.full((4,), now.t)

        def mixed(prompt, x=x, t=t):
            one, two = (model.predict(x.float(), t, model.embed([prompt] * 4)) for model in (BASE, OTHER))
            return 0.2 * one + 0.8 * two

        x = ddim_step(x, (mixed("") + 3.0 * (mixed("up") - mixed(""))).double(), now, then)
    assert torch.allclose(found, x.float(), atol=1e-4)


def test_share_zero_is_the_model_itself_and_share_one_the_learnt_denoiser(part, exactly):
    for kappa, alone in ((0.0, BASE), (1.0, OTHER)):
        found = drawn(BASE, InvDiff(part=part, kappa=kappa), prompt="up", count=20, steps=5, scale=2.0)
        assert torch.equal(found, drawn(alone, Plain(), prompt="up", count=20, steps=5, scale=2.0))


@pytest.mark.parametrize(("kappa", "scale", "each"), [(None, 1.0, 2), (None, 4.0, 4), (0.0, 4.0, 2), (1.0, 4.0, 2)])
def test_calls_are_those_of_both_networks_and_one_where_one_is_enough(part, exactly, kappa, scale, each):
    method, calls = InvDiff(part=part, kappa=kappa), Calls()
    drawn(BASE, method, count=3, steps=5, scale=scale, calls=calls)
    assert calls == Calls(forward=3 * 5 * each)
    assert method.planned(SamplingRequest(BASE, [""], "", scale, 5, 5)) == Calls(forward=5 * each)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def planted(model, path, change=0.0, kappa=0.6):
    """A part whose δ is the model's denoiser, with all weights changed by a factor."""
    weights = {name: weight * (1 + change) for name, weight in stored_weights(model.denoiser).items()}
    TrainedPart("invdiff", model.fingerprint, {}, weights, {"kappa": kappa}).save(path)
    return path


def latents_of(model, method=None):
    return drawn(model, method or Plain(), prompt="red cat", count=2, steps=3, scale=3.0)


def test_a_second_denoiser_that_has_learnt_nothing_changes_nothing(model, tmp_path):
    same = InvDiff(part=planted(model, tmp_path / "same"))
    assert torch.allclose(latents_of(model, same), latents_of(model), atol=1e-4)
    assert not torch.allclose(
        latents_of(model, InvDiff(part=planted(model, tmp_path / "p", 0.2))), latents_of(model), atol=1e-3
    )


def test_the_share_is_that_of_the_training_where_none_is_given(model, tmp_path):
    path = planted(model, tmp_path / "p", 0.2)
    assert InvDiff(part=path)._learnt(model).kappa == 0.6
    assert torch.equal(latents_of(model, InvDiff(part=path)), latents_of(model, InvDiff(part=path, kappa=0.6)))


def test_a_file_is_read_once_for_all_batches_and_anew_after_a_check(model, tmp_path):
    method = InvDiff(part=planted(model, tmp_path / "p", kappa=0.6))
    first = method._learnt(model)
    assert method._learnt(model) is first
    planted(model, tmp_path / "p", 0.2, kappa=0.4)
    latents_of(model, method)
    assert method._learnt(model).kappa == 0.4


def test_a_part_without_a_denoiser_is_refused(part, model, tmp_path):
    with pytest.raises(BadInput, match="another model"):
        latents_of(model, InvDiff(part=part))
    TrainedPart("invdiff", model.fingerprint, {}, {"groups": torch.ones(1, 2)}, {"kappa": 0.8}).save(tmp_path / "bare")
    with pytest.raises(BadInput, match="train it again"):
        latents_of(model, InvDiff(part=tmp_path / "bare"))
