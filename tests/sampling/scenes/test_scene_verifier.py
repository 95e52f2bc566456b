import pytest
import torch

from exact_draws import ExactMixture
from intaglio.errors import BadInput
from intaglio.sampling.scenes import recognition
from intaglio.sampling.scenes.planted import planted_scene
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of
from intaglio.sampling.verifiers.scene import SceneVerifier

MODEL = ExactMixture(torch.zeros(1, 3, 1, 1), torch.ones(1), {"": [0.0]})


def test_scores_are_shares_of_the_prompt_s_constraints(monkeypatch):
    planted = [planted_scene(0, index) for index in range(6)]
    pixels = torch.stack([torch.from_numpy(one.pixels()) for one in planted])
    prompts = [one.scene.caption for one in planted]
    verifier = SceneVerifier()
    assert isinstance(verifier, Verifier)
    assert verifier(pixels, prompts).tolist() == [1.0] * 6
    assert max(verifier(pixels.roll(1, 0), prompts).tolist()) < 1
    pixels[1] = 1.0
    pixels[2, 0, 0, 0] = torch.nan
    scores = verifier(pixels, prompts)
    assert scores[1] == 0
    assert scores.isnan().tolist() == [False, False, True, False, False, False]
    assert scores.dtype == torch.float32
    before = verifier.hash
    monkeypatch.setattr(recognition, "LEAST_AREA", 41)
    assert verifier.hash != before


def test_it_has_a_name_and_refuses_other_prompts():
    verifier = verifier_of("scene", MODEL, ["a red circle"])
    assert (verifier.name, verifier.calls, verifier.differentiable) == ("scene", 0, False)
    with pytest.raises(BadInput, match="'fox face' is no caption of a scene"):
        verifier_of("scene", MODEL, ["a red circle", "fox face"])
    with pytest.raises(BadInput, match="there is no verifier 'scene:3'; use one of .*scene"):
        verifier_of("scene:3", MODEL)
