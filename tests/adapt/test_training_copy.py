"""The copy that a fine-tune trains, and the networks that wait off the device meanwhile."""

import pytest
import torch
from torch import nn

from adapt_scenes import model, training_set
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.adapt.training_copy import copied_for_training
from intaglio.models.diffusion.aside import Aside


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


def test_networks_wait_on_the_cpu_and_come_one_by_one_to_be_called():
    network, other, card = Moved(), Moved(), torch.device("cuda", 1)
    aside = Aside([network, other], card, found=[other])
    assert aside.gone == [other]
    with aside.visited(network):  # it is there
        pass
    with aside.away():
        assert aside.gone == [network, other]
        with aside.visited(network):
            assert aside.gone == [other]
            assert network.seen == ["cpu", card]
        assert network.seen[2:] == ["cpu"]
    assert (network.seen[3:], other.seen, aside.gone) == ([card], [], [other])
    with aside.visited(other):
        assert other.seen == [card]
    assert other.seen == [card, "cpu"]
    assert [id(weight) for weight in aside.weights] == [id(network.weight), id(other.weight)]
    still = Aside([network], torch.device("cpu"))
    with still.away(), still.visited(network):
        assert len(network.seen) == 4
    assert (still.weights, still.gone) == ([], [])


@pytest.mark.parametrize("method", [DreamBooth, LoRATuning])
@pytest.mark.parametrize("waits", [False, True])
def test_a_part_is_on_the_device_for_its_own_calls_alone(method, waits, monkeypatch):
    """Two text encoders and the autoencoder; pictures are drawn and judged on the way, and a plan is made before."""
    base, made, calls = model(kind="sdxl"), [], []
    whole = Aside.__init__

    def elsewhere(self, networks=(), home="cpu", found=()):
        whole(self, networks, "elsewhere", found)
        made.append(self)

    def moved(self, place, *, gone):
        self._gone[place] = gone

    monkeypatch.setattr(Aside, "__init__", elsewhere)
    monkeypatch.setattr(Aside, "home", torch.device("cpu"))
    monkeypatch.setattr(Aside, "_move", moved)
    if waits:
        base.with_aside("cpu")
    parts = (*base.text_encoders, base.autoencoder)

    def heard(module, given):
        there = [one for one in parts if one not in made[-1].gone]
        assert there == [base.autoencoder if module is base.autoencoder.decoder else module]
        calls.append(module)

    called = (*base.text_encoders, base.autoencoder.decoder)
    hooks = [network.register_forward_pre_hook(heard) for network in called]
    watch = Watch(sample_every=1, sample_count=1, sample_steps=1, watch_every=1, watch_count=2, watch_steps=1)
    method(steps=1).plan(base, training_set())
    method(steps=2)(base, training_set(), watch=watch)
    for hook in hooks:
        hook.remove()
    assert set(calls) == set(called)
    assert [one in made[-1].gone for one in parts] == [waits] * 3  # as they were found
