"""A base and a LoRA beside it as one model: the numbers of the merged copy, on one set of weights."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from adapt_scenes import model, training_set, weights
from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.audit.membership.methods.update_alignment import UpdateAlignment
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.adapted import Adapted, with_own_weights
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model, load_suspect
from intaglio.models.diffusion.shared_networks import with_same_weights
from intaglio.models.lora.lora import DENOISER_TARGETS, TEXT_TARGETS, LoRA
from intaglio.models.worker_copies import shared_models

LATENTS = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
T = torch.tensor([40, 700])


def adapter(base, deviation: float = 0.3) -> LoRA:
    lora = LoRA.new(base, 2, 4.0, (*DENOISER_TARGETS, *TEXT_TARGETS), torch.Generator().manual_seed(0))
    for place, (*_, layer) in enumerate(lora.pairs()):
        layer.up.data.normal_(0, deviation, generator=torch.Generator().manual_seed(place))
    return lora.detached()


def predicted(one):
    with torch.no_grad():
        return one.predict(LATENTS, T, one.embed(["red cat"]))


def places(one):
    return {weight.data_ptr() for part in one.parts.values() for weight in (*part.parameters(), *part.buffers())}


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
def test_it_predicts_as_the_merged_copy_and_its_base_as_before(kind):
    base = model(kind=kind)
    lora, before, plain = adapter(base), weights(base), predicted(base)
    adapted = Adapted(base, lora, 0.5)
    merged = lora.merged_into(base.copy(), 0.5)
    assert places(adapted) == places(base)
    for one in (merged, adapted.merged(), adapted.copy()):
        assert not isinstance(one, Adapted)
        torch.testing.assert_close(predicted(adapted), predicted(one), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(predicted(adapted), plain, atol=1e-2)
    assert torch.equal(predicted(base), plain)
    assert before.keys() == weights(base).keys()
    assert with_own_weights(base) is base
    base.to(dtype=torch.float64)  # of both
    assert adapted.dtype == torch.float64
    assert places(adapted) == places(base)


def test_buffers_too_are_those_of_the_other_after_it_changed():
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(2))
    twin = with_same_weights(network)
    network.to(torch.float64)
    assert twin[0].running_mean is network[0].running_mean
    assert twin[0].weight is network[0].weight


def test_fingerprints_tell_it_from_its_base_by_what_the_lora_changes():
    base = model()
    lora = adapter(base)
    one, again, weaker = (Adapted(base, lora, strength) for strength in (1.0, 1.0, 0.5))
    assert one.fingerprint == again.fingerprint
    assert len({one.fingerprint, weaker.fingerprint, base.fingerprint}) == 3
    assert one.part_fingerprint("autoencoder") == base.part_fingerprint("autoencoder")
    assert Adapted(base, adapter(base, 0.0)).same_weights(base)
    assert Adapted(base, lora, 0.0).same_weights(base)


def test_blocks_that_run_again_in_the_backward_pass_are_those_of_the_model_that_was_called():
    """Between forward and backward pass the base is called, whose modules have no hooks."""
    base = model()
    adapted, found = Adapted(base, adapter(base)), []
    text = base.embed(["red cat"])
    for again in (False, True):
        x = LATENTS.clone().requires_grad_(True)
        out = checkpoint(adapted.predict, x, T, text, use_reentrant=False) if again else adapted.predict(x, T, text)
        predicted(base)
        found.append(torch.autograd.grad(out.square().sum(), x)[0])
    torch.testing.assert_close(*found)
    x = LATENTS.clone().requires_grad_(True)
    plain = torch.autograd.grad(base.predict(x, T, text).square().sum(), x)[0]
    assert not torch.allclose(plain, found[0], rtol=0.1)


@pytest.mark.parametrize("method", [LossGap(), UpdateAlignment()])
def test_an_audit_finds_through_it_what_it_finds_in_the_merged_copy(method, tmp_path):
    base = model()
    adapter(base).write(tmp_path / "lora.safetensors")
    adapted, merged = (read(tmp_path / "lora.safetensors", base) for read in (load_suspect, as_copy))
    assert isinstance(adapted, Adapted)
    assert (adapted.name, adapted.notes, adapted.source) == (merged.name, merged.notes, merged.source)
    images = ImageSet.from_pixels(training_set(3).images.pixels)
    one, two = (method(suspect, base, images, prompt="red cat") for suspect in (adapted, merged))
    torch.testing.assert_close(one.scores, two.scores, rtol=1e-3, atol=1e-5)


def as_copy(path, base) -> LatentDiffusion:
    return load_model(path, like=base)


def test_worker_processes_read_it_beside_its_base(tmp_path):
    base = model()
    adapter(base).write(tmp_path / "lora.safetensors")
    suspect = load_suspect(tmp_path / "lora.safetensors", base)
    with shared_models((suspect, base), 2, tmp_path) as shared:
        one, other = shared.models()
    assert places(one) == places(other)
    assert torch.equal(predicted(one), predicted(suspect))
    assert torch.equal(predicted(other), predicted(base))
