import json
import math

import pytest
import torch

import tiny
from intaglio.distill.guidance_input import with_guidance_input
from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling, guidance_embedding
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.saving import save_folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def test_it_comes_back_from_its_file_and_no_file_is_nothing(tmp_path):
    for baked in (
        BakedSampling((999, 499), "ddim", "input", (1.0, 8.0)),
        BakedSampling(guidance="baked", scales=(3.0, 3.0)),
        BakedSampling((999,), "ddim", "baked", (3.0, 3.0), "loopfree"),
    ):
        baked.write(tmp_path)
        assert BakedSampling.read(tmp_path) == baked
    (tmp_path / "sampling.json").unlink()
    FREE.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert BakedSampling.read(tmp_path) is FREE


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"timesteps": [499, 999]}, "must fall"),
        ({"timesteps": []}, "must fall"),
        ({"timesteps": [499, -1]}, "0 or more"),
        ({"timesteps": ["999"]}, "numbers"),
        ({"timesteps": "999"}, "numbers"),
        ({"timesteps": [True]}, "numbers"),
        ({"usual": "3"}, "usual must be a number"),
        ({"guidance": "inside"}, "outside, baked, input"),
        ({"guidance": "baked"}, "scales"),
        ({"scales": [1, 2]}, "scales"),
        ({"guidance": "input", "scales": [8, 1]}, "lower and an upper"),
        ({"guidance": "input", "scales": [-1, 2]}, "lower and an upper"),
        ({"guidance": "input", "scales": [1]}, "two numbers"),
        ({"sampler": 3}, "a name"),
        ({"method": 3}, "method must be a name"),
        ({"method": ""}, "method must be a name"),
        ({"shift": 250}, "shift"),
    ],
)
def test_a_file_that_does_not_hold_together_is_refused_in_a_sentence(tmp_path, values, told):
    (tmp_path / "sampling.json").write_text(json.dumps(values))
    with pytest.raises(BadInput, match=told) as caught:
        BakedSampling.read(tmp_path)
    assert "sampling.json" in str(caught.value)
    assert "distil" in str(caught.value)


def test_without_a_method_file_and_fingerprint_are_those_of_versions_that_knew_none(model, tmp_path):
    plain = BakedSampling((999, 499), "ddim", "baked", (3.0, 3.0))
    plain.write(tmp_path)
    assert set(json.loads((tmp_path / "sampling.json").read_text())) == {"timesteps", "sampler", "guidance", "scales"}
    assert "method" not in plain.facts
    named = BakedSampling((999, 499), "ddim", "baked", (3.0, 3.0), "loopfree")
    made = [model.made_for(one, model.denoiser, "student").fingerprint for one in (plain, named)]
    assert made[0] != made[1]
    assert named.words == "2 steps of ddim, guidance 3 baked in, by the method loopfree"


def test_scales_are_embedded_as_diffusers_does_for_consistency_models():
    """sin and cos of 1000 (w - 1) times rates that fall from 1 to 1/10000, sines first."""
    found = guidance_embedding(torch.tensor([1.0, 3.5]), 6)
    rates = [1.0, 10000**-0.5, 10000**-1.0]
    wanted = [math.sin(2500 * rate) for rate in rates] + [math.cos(2500 * rate) for rate in rates]
    assert found[1].tolist() == pytest.approx(wanted, abs=1e-3)
    assert found[0].tolist() == [0, 0, 0, 1, 1, 1]
    assert guidance_embedding(torch.tensor([2.0]), 5)[0, -1] == 0


def test_rows_keep_their_scales_and_those_without_one_are_at_1(model):
    given = model.embed(["cat", "dog"])
    assert given.guidance is None
    assert Conditioning.cat([given, given]).guidance is None
    joined = Conditioning.cat([given, given.under(torch.tensor([2.0, 4.0]))])
    assert joined.guidance.tolist() == [1, 1, 2, 4]
    assert joined[[3, 0]].guidance.tolist() == [4, 1]
    assert given.under(3.0).to("cpu").guidance.tolist() == [3, 3]


def test_a_model_keeps_what_it_was_made_for_and_is_another_by_it(model, tmp_path):
    sampling = BakedSampling((999, 499), "ddim", "baked", (3.0, 3.0))
    made = model.made_for(sampling, model.denoiser, "student")
    save_folder(made.components, tmp_path / "made")
    read = load_model(tmp_path / "made")
    assert read.sampling == sampling
    assert read.fingerprint == made.fingerprint != model.fingerprint
    assert read.weights_fingerprint == model.weights_fingerprint


def test_a_denoiser_and_its_file_must_agree_on_the_guidance_input(model, tmp_path):
    student = with_guidance_input(model, (1.0, 8.0), "student")
    with pytest.raises(BadInput, match=r"no sampling\.json says so"):
        student.made_for(FREE, student.denoiser, "student")
    with pytest.raises(BadInput, match="takes none"):
        model.made_for(student.sampling, model.denoiser, "student")
    with pytest.raises(BadInput, match="timestep 1000 of a schedule of 1000"):
        model.made_for(BakedSampling((1000,)), model.denoiser, "student")
    student.save(tmp_path / "student")
    assert load_model(tmp_path / "student").sampling == student.sampling


def test_another_scale_is_another_prediction_and_none_is_1(model):
    student = with_guidance_input(model, (1.0, 8.0), "student")
    torch.nn.init.normal_(student.denoiser.time_embedding.cond_proj.weight, generator=torch.Generator().manual_seed(0))
    x, t, given = torch.zeros(2, 4, 8, 8), torch.tensor([500, 500]), student.embed(["dog", "dog"])
    one, two = student.predict(x, t, given.under(torch.tensor([1.0, 6.0])))
    assert (one - two).abs().max() > 1e-3
    assert torch.allclose(student.predict(x, t, given)[0], one, atol=1e-6)
