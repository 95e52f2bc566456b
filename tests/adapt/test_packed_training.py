"""A LoRA that learns beside a base of 4 or 8 bits: as beside the unpacked numbers, in less memory, never merged."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from adapt_scenes import learned, model, same, training_set
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.errors import BadInput
from intaglio.models.diffusion.adapted import Adapted
from intaglio.models.diffusion.packed_base import PackedBase
from intaglio.models.lora.lora import LoRA
from intaglio.models.packing.packed_linear import PackedLinear

FEW = {"steps": 3, "batch": 2, "learning_rate": 1e-2, "rank": 2}


def unpacked(base: PackedBase):
    """The model with linear layers of the numbers that the packed ones stand for."""
    twin = copy.deepcopy(base)
    for module in list(twin.denoiser.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, PackedLinear):
                dense = nn.Linear(child.in_features, child.out_features, bias=child.bias is not None)
                dense.weight.data, dense.bias = child.weight, child.bias
                setattr(module, name, dense)
    return twin


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_gradients_are_those_of_the_same_lora_on_the_unpacked_base(kind):
    base = PackedBase.of(model(), kind)
    layers = [layer for layer in base.denoiser.modules() if isinstance(layer, nn.Linear)]
    assert layers
    assert all(isinstance(layer, PackedLinear) for layer in layers)
    found = []
    for one in (base, unpacked(base)):
        lora = LoRA.new(one, 2, 2.0, generator=torch.Generator().manual_seed(1))
        for _, _, layer in lora.pairs():
            layer.up.data.normal_(generator=torch.Generator().manual_seed(2))
        numbers = torch.Generator().manual_seed(3)
        latents, noise = (torch.randn(2, 4, 8, 8, generator=numbers) for _ in range(2))
        with lora.attached(one):
            one.error(latents, noise, torch.tensor([40, 700]), one.embed(["red cat"])).sum().backward()
        found.append([tensor.grad for tensor in lora.parameters()])
    assert any(float(gradient.abs().max()) > 1e-3 for gradient in found[0])
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


def test_a_base_that_is_packed_before_or_meanwhile_gives_the_same_lora_which_it_takes_by_hooks_alone(tmp_path):
    base, data = model(), training_set()
    before = base.fingerprint
    meanwhile = LoRATuning(**FEW, base_precision="nf4")(base, data)
    packed = PackedBase.of(base, "nf4")
    first = LoRATuning(**FEW, base_precision="nf4", gradient_checkpointing=True)(packed, data)
    assert all(
        torch.allclose(one, two, atol=1e-5)
        for one, two in zip(learned(meanwhile).values(), learned(first).values(), strict=True)
    )
    assert not same(learned(meanwhile), learned(LoRATuning(**FEW)(base, data)))
    assert meanwhile.base_fingerprint == first.base_fingerprint == before == base.fingerprint
    assert isinstance(meanwhile.model, Adapted)
    assert len({meanwhile.model.fingerprint, packed.fingerprint, before}) == 3
    meanwhile.save(tmp_path)
    assert f"`{before}`), its linear layers in nf4 while it was tuned\n" in (tmp_path / "README.md").read_text()
    t, latents = torch.tensor([500]), torch.ones(1, 4, 8, 8)
    with torch.no_grad(), first.adapter.attached(packed):
        attached = packed.predict(latents, t, packed.embed(["red cat"]))
        mine = first.model.predict(latents, t, first.model.embed(["red cat"]))
    torch.testing.assert_close(mine, attached)
    with pytest.raises(BadInput, match="to which no LoRA is added"):
        first.adapter.merged_into(packed)
    with pytest.raises(BadInput, match="save the model that it was packed from"):
        packed.save(Path("nowhere"))
    with pytest.raises(BadInput, match="packed as nf4 already"):
        LoRATuning(base_precision="int8").plan(packed, data)


def test_a_full_fine_tune_of_a_packed_base_is_refused_and_names_lora():
    with pytest.raises(BadInput, match="packed as nf4, and dreambooth trains all weights.*use `finetune lora`"):
        DreamBooth().plan(PackedBase.of(model(), "nf4"), training_set())
