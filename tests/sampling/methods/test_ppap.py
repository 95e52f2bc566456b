import pytest
import torch
from torch import nn

from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.methods.ppap import Ppap
from intaglio.sampling.trained.timestep_experts import TimestepExperts
from intaglio.sampling.trained_part import TrainedPart

SMALL = {"part": "ppap.safetensors", "target": "colour:blue"}
BAD = {"strength": -1.0}
PIECES = {}

MODES = ExactMixture(torch.tensor([[[[-1.0]]], [[[1.0]]]]), torch.tensor([0.1, 0.1]), {"": [1.0, 0.0]})
"""Two modes, the left one e times as probable."""
CLASSES = ("left", "right")


class Exact(nn.Module):
    """Log-probability of each mode given latents x with noise: its share times N(x; s m, s² v + n²), normalised."""

    def forward(self, x, t):
        s, n = (values[t].view(-1, 1) for values in (MODES.schedule.signals, MODES.schedule.noises))
        square = (x.flatten(1).double() - s * torch.tensor([[-1.0, 1.0]])) ** 2
        return (torch.tensor([1.0, 0.0]) - square / (2 * (s**2 * 0.1 + n**2))).log_softmax(1)


@pytest.fixture
def part(tmp_path):
    settings = {"classes": list(CLASSES), "experts": 2, "seed": 0, "prompts": [""]}
    weights = {k: v.contiguous() for k, v in TimestepExperts(MODES.schedule, 1, 2, 2, 0).state_dict().items()}
    TrainedPart("ppap", MODES.fingerprint, settings, weights, {}).save(tmp_path / "ppap.safetensors")
    return tmp_path / "ppap.safetensors"


@pytest.fixture
def exactly(monkeypatch):
    monkeypatch.setattr(Ppap, "_experts", lambda self, model: (Exact(), CLASSES.index(self.target)))


@pytest.mark.parametrize(("target", "mean"), [("left", -1.0), ("right", 1.0)])
def test_exact_experts_at_strength_one_draw_what_a_model_of_the_class_alone_does(part, exactly, target, mean):
    alone = ExactMixture(torch.tensor([[[[mean]]]]), torch.tensor([0.1]), {"": [0.0]})
    found = drawn(MODES, Ppap(part=part, target=target, strength=1.0), count=200, steps=20)
    assert torch.allclose(found, drawn(alone, count=200, steps=20), atol=1e-4)


def test_strength_zero_is_the_models_own_law(part, exactly):
    found = drawn(MODES, Ppap(part=part, target="right", strength=0.0), count=50, steps=10)
    assert torch.equal(found, drawn(MODES, count=50, steps=10))


def test_a_class_that_the_experts_do_not_know_is_refused_with_those_that_they_do(part):
    request = SamplingRequest(MODES, [""], "", 1.0, 3, 3)
    for target, words in (("up", "'up' is none of the classes"), ("", "there is no target")):
        with pytest.raises(BadInput, match=f"{words}.*'left', 'right'"):
            Ppap(part=part, target=target).check(request)


def test_the_experts_are_those_of_the_part(part):
    found, place = Ppap(part=part, target="right")._experts(MODES)
    assert place == 1
    x, t = torch.randn(3, 1, 1, 1), torch.tensor([3, 500, 999])
    assert torch.equal(found(x, t), TimestepExperts(MODES.schedule, 1, 2, 2, 0)(x, t))
    assert not any(weight.requires_grad for weight in found.parameters())
