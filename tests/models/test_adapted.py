"""A base and a LoRA beside it as one model: the numbers of the merged copy, on one set of weights."""

import hashlib

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
from intaglio.models.lora.adapter_layers import Layer
from intaglio.models.lora.dense_layers import Factors, HadamardLayer, KroneckerLayer, MagnitudeLayer, TuckerLayer
from intaglio.models.lora.joined_layers import RowsLayer
from intaglio.models.lora.lora import DENOISER_TARGETS, TEXT_TARGETS, LoRA
from intaglio.models.lora.rotation_layers import RotationLayer
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


def test_the_fingerprint_of_a_low_rank_adapter_is_that_of_earlier_runs():
    base = model()
    path, module = next(it for it in base.denoiser.named_modules() if isinstance(it[1], torch.nn.Linear))
    down, up = torch.ones(2, module.in_features), torch.ones(module.out_features, 2)
    digest = hashlib.sha256(f"{base.part_fingerprint('denoiser')} 0.5{path} LoRA 1.5\n".encode())
    for tensor in (down, up):
        digest.update(f"{tuple(tensor.shape)} torch.float32\n".encode() + tensor.numpy().tobytes())
    adapted = Adapted(base, LoRA({"denoiser": {path: Layer(down, up, 3.0)}}), 0.5)
    assert adapted.part_fingerprint("denoiser") == digest.hexdigest()


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)


def pair(alpha: float) -> Layer:
    return Layer(numbers(2, 4), numbers(4, 2), alpha)


def kronecker(scale: float) -> KroneckerLayer:
    return KroneckerLayer(numbers(2, 2), Factors(numbers(2, 2), numbers(2, 2)), scale)


def turned(*angles: float) -> torch.Tensor:
    return torch.stack([torch.tensor([[a, 1.0], [-1.0, a]]) / (1 + a * a) ** 0.5 for a in angles])


LAYERS = {
    "LoRA": lambda: (pair(1.0), pair(2.0)),
    "Tucker": lambda: [
        TuckerLayer(Factors(numbers(2, 4), numbers(2, 4), numbers(2, 2, 1, 1)), scale) for scale in (1.0, 2.0)
    ],
    "LoHa": lambda: [
        HadamardLayer(Factors(numbers(4, 2), numbers(2, 4)), Factors(numbers(4, 1), numbers(1, 4)), scale)
        for scale in (1.0, 2.0)
    ],
    "LoKr": lambda: (
        kronecker(1.0),
        kronecker(2.0),
        KroneckerLayer(Factors(numbers(2, 2), numbers(2, 2)), numbers(2, 2), 1.0),
    ),
    "DoRA": lambda: (
        MagnitudeLayer(pair(1.0), numbers(4), True),
        MagnitudeLayer(pair(2.0), numbers(4), True),
        MagnitudeLayer(pair(1.0), numbers(4) + 1, True),
        MagnitudeLayer(pair(1.0), numbers(4), False),
        MagnitudeLayer(kronecker(1.0), numbers(4), True),
        MagnitudeLayer(kronecker(2.0), numbers(4), True),
    ),
    "rows": lambda: [
        RowsLayer(kronecker(scale), spans)
        for scale, spans in ((1.0, [(0, 2)]), (2.0, [(0, 2)]), (1.0, [(2, 4)]), (1.0, [(2, 4), (0, 2)]))
    ],
    "OFT": lambda: (
        RotationLayer(turned(0.1, 0.2), True),
        RotationLayer(turned(0.1, 0.2), False),
        RotationLayer(turned(0.1, 0.3), True),
        RotationLayer(turned(0.1, 0.2), False, rescale=numbers(4)),
        RotationLayer(turned(0.1, 0.2), False, rescale=numbers(4) + 1),
    ),
}
"""Of each kind of layer, several that differ in one thing that decides the change."""


@pytest.mark.parametrize("kind", list(LAYERS))
def test_fingerprints_tell_adapters_apart_by_all_that_decides_their_change(kind):
    base = model()
    path = next(path for path, module in base.denoiser.named_modules() if isinstance(module, torch.nn.Linear))
    adapted, found = Adapted(base, adapter(base)), ([], [])
    for place in (0, 1):
        for layer in LAYERS[kind]():  # of other sizes than the base's, so that the hooks stay those of another
            adapted.adapter = LoRA({"denoiser": {path: layer}})
            found[place].append(adapted.part_fingerprint("denoiser"))
    assert found[0] == found[1]
    assert len({*found[0], base.part_fingerprint("denoiser")}) == len(found[0]) + 1


def test_a_layer_that_changes_nothing_says_so():
    one = torch.eye(2).expand(2, -1, -1)
    for layer in (
        Layer(numbers(2, 4), torch.zeros(4, 2), 1.0),
        KroneckerLayer(torch.zeros(2, 2), numbers(2, 2), 1.0),
        RotationLayer(one, True),
        RotationLayer(one, False, rescale=torch.ones(4)),
        RowsLayer(KroneckerLayer(torch.zeros(2, 2), numbers(2, 2), 1.0), [(0, 2)]),
    ):
        assert layer.changes_nothing()
    for layers in LAYERS.values():
        assert not any(layer.changes_nothing() for layer in layers())
    # The norms of a DoRA are set also where its inner change is zero.
    assert not MagnitudeLayer(Layer(numbers(2, 4), torch.zeros(4, 2), 1.0), numbers(4), True).changes_nothing()


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
