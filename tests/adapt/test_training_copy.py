"""The copy that a fine-tune trains, and the networks that wait off the device meanwhile."""

import pytest
import torch
from torch import nn

from adapt_scenes import model, training_set
from intaglio.adapt.aside import Aside
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.adapt.training_copy import copied_for_training


def places(network):
    return {weight.data_ptr() for weight in network.parameters()}


@pytest.mark.parametrize("gives", ["model", "adapter"])
@pytest.mark.parametrize("text_encoder", [False, True])
def test_only_what_is_trained_is_copied(gives, text_encoder):
    base = model()
    base.denoiser.conv_in.weight.requires_grad_(False)
    before = base.fingerprint
    with copied_for_training(base, gives, text_encoder=text_encoder) as copied:
        twin = copied.model
        assert (places(twin.denoiser) == places(base.denoiser)) == (gives == "adapter")
        shared = places(twin.text_encoders[0]) == places(base.text_encoders[0])
        assert shared == (gives == "adapter" or not text_encoder)
        twin.denoiser.requires_grad_(False)
        twin.text_encoders[0].requires_grad_(False)
        own = copied.own()
        with torch.no_grad():
            for weight in (*own.denoiser.parameters(), *own.text_encoders[0].parameters()):
                weight.zero_()
    assert base.fingerprint == before
    learning = [weight.requires_grad for part in base.parts.values() for weight in part.parameters()]
    assert learning.count(False) == 1  # as it was found


class Moved(nn.Module):
    """A network that notes where it is moved."""

    def __init__(self):
        super().__init__()
        self.weight, self.seen = nn.Parameter(torch.zeros(1)), []

    def to(self, device):
        self.seen.append(device)
        return self


def test_networks_wait_on_the_cpu_and_come_back():
    network = Moved()
    aside = Aside([network], torch.device("cuda", 1))
    with aside.back():  # they are there
        pass
    with aside.away():
        with aside.back():
            assert network.seen == ["cpu", torch.device("cuda", 1)]
        assert network.seen[2:] == ["cpu"]
    assert network.seen[3:] == [torch.device("cuda", 1)]
    assert [id(weight) for weight in aside.weights] == [id(network.weight)]
    still = Aside([network], torch.device("cpu"))
    with still.away():
        assert len(network.seen) == 4
    assert still.weights == []


@pytest.mark.parametrize("method", [DreamBooth, LoRATuning])
def test_a_training_calls_no_network_that_is_aside(method, monkeypatch):
    """Text encoders and decoder must be there when they are called; pictures are drawn and judged on the way."""
    base, moves = model(), []
    whole = Aside.__init__
    monkeypatch.setattr(Aside, "__init__", lambda self, networks=(), home="cpu": whole(self, networks, "elsewhere"))
    monkeypatch.setattr(Aside, "_move", lambda self, *, away: (moves.append(away), setattr(self, "_away", away)))

    def heard(module, given):
        assert not moves or not moves[-1], type(module).__name__

    waiting = (base.text_encoders[0], base.autoencoder.decoder)
    hooks = [network.register_forward_pre_hook(heard) for network in waiting]
    watch = Watch(sample_every=1, sample_count=1, sample_steps=1, watch_every=1, watch_count=2, watch_steps=1)
    method(steps=2)(base, training_set(), watch=watch)
    for hook in hooks:
        hook.remove()
    assert moves == [True, *[False, True] * 4, False]  # away, back for each drawing and judgement, and at the end
