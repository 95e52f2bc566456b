"""OFT: PEFT's own layers, LyCORIS' formula, strengths, joined layers, files written again, refusals by name."""

import json
import warnings

import numpy as np
import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tiny
from intaglio.bench.models.random_models import random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from published_form import published_weights

TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"  # [8, 8]
CONV = "down_blocks.0.resnets.0.conv1"  # [8, 8, 3, 3]
LAYERS = ["attn1.to_q", "attentions.0.proj_in", "ff.net.2"]
"""A linear layer, a convolution of 1 x 1 and a layer of another width."""
CONFIGS = {
    "series": {},
    "three terms": {"num_cayley_neumann_terms": 3},
    "two terms": {"num_cayley_neumann_terms": 2},
    "seven terms": {"num_cayley_neumann_terms": 7},
    "exact": {"use_cayley_neumann": False},
    "bounded": {"coft": True, "eps": 0.2},
    "shared": {"block_share": True},
    "pairs": {"oft_block_size": 2},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("oft") / "sd"))


def trained(base, folder, name, targets=LAYERS) -> tuple[dict[str, torch.Tensor], torch.nn.Module]:
    """(merged weights, acting network) of a random adapter of PEFT, which is saved in the folder."""
    config = peft.OFTConfig(**{"oft_block_size": 4, "target_modules": targets, "init_weights": False, **CONFIGS[name]})
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        adapted = peft.get_peft_model(base.copy().denoiser, config)
        adapted.save_pretrained(folder)
        return adapted.merge_and_unload().state_dict(), adapted


def merged(lora, model, strength=1.0) -> dict[str, torch.Tensor]:
    return lora.merged_into(model.copy(), strength).denoiser.state_dict()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_the_weights_and_the_hook_are_those_of_peft(base, tmp_path, name) -> None:
    wanted, _ = trained(base, tmp_path / "acorn", name)
    lora, own = LoRA.read(tmp_path / "acorn"), base.denoiser.state_dict()
    found = merged(lora, base)
    assert all(torch.allclose(it, wanted[key], rtol=0, atol=1e-5) for key, it in found.items())
    changed = [key for key, it in found.items() if not torch.allclose(it, own[key], rtol=0, atol=1e-3)]
    assert len(changed) == len(lora) > 5
    x, model = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)), base.copy()
    with torch.no_grad(), lora.attached(model):
        acting = model.denoiser.get_submodule(TO_Q)(x)
    assert torch.allclose(acting, x @ wanted[f"{TO_Q}.weight"].T, atol=1e-5)
    assert not lora.notes


def test_an_oft_of_peft_acts_at_strength_one_alone_and_nothing_is_half_done(base, tmp_path) -> None:
    trained(base, tmp_path / "acorn", "series")
    lora, model = LoRA.read(tmp_path / "acorn"), base.copy()
    for act in (lora.attach, lora.merged_into):
        with pytest.raises(BadInput, match=r"an OFT of PEFT acts at strength 1 alone, .*not at 0\.5"):
            act(model, 0.5)
    assert not any(module._forward_hooks for module in model.denoiser.modules())
    same = zip(merged(lora, model, 0.0).values(), base.denoiser.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in same)


def rotated(weight, blocks, alpha=0.0, rescale=None) -> np.ndarray:
    """LyCORIS' diag-oft on a weight, block by block."""
    count, size, _ = blocks.shape
    skew = blocks - blocks.transpose(0, 2, 1)
    norm = np.sqrt((skew**2).sum())
    if 0 < alpha * count * size < norm:
        skew = skew * alpha * count * size / norm
    made = np.zeros_like(weight)
    for k in range(count):
        turn = (np.eye(size) + skew[k]) @ np.linalg.inv(np.eye(size) - skew[k])
        rows = slice(k * size, (k + 1) * size)
        made[rows] = (turn.T @ weight[rows].reshape(size, -1)).reshape(weight[rows].shape)
    return made if rescale is None else rescale * made


def blocks_of(count, size) -> torch.Tensor:
    return torch.randn(count, size, size, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("path", [TO_Q, CONV])
@pytest.mark.parametrize(("alpha", "scaled"), [(0.0, False), (0.1, False), (50.0, True), (None, True)])
def test_lycoris_blocks_turn_the_outputs_and_are_written_again(base, tmp_path, path, alpha, scaled) -> None:
    own, blocks = base.denoiser.get_submodule(path).weight.detach().numpy(), blocks_of(2, 4)
    rescale = torch.linspace(0.5, 2, 8).reshape(8, *(1 for _ in own.shape[1:]))
    name = f"lycoris_{path.replace('.', '_')}"
    file = {f"{name}.oft_blocks": blocks} | ({f"{name}.rescale": rescale} if scaled else {})
    file |= {} if alpha is None else {f"{name}.alpha": torch.tensor(alpha)}
    save_file(file, tmp_path / "a.safetensors")
    lora = LoRA.read(tmp_path / "a.safetensors").named_for(base)
    wanted = rotated(own, blocks.numpy().astype(float), alpha or 0.0, rescale.numpy() if scaled else None)
    for strength in (0.5, 1.0):
        found = merged(lora, base, strength)[f"{path}.weight"].numpy()
        assert np.allclose(found, own + strength * (wanted - own), atol=1e-5)
    lora.write(tmp_path / "b.safetensors", "kohya")
    again = load_file(tmp_path / "b.safetensors")
    assert {key.rpartition(".")[2] for key in again} == {key.rpartition(".")[2] for key in file}
    assert torch.equal(
        merged(LoRA.read(tmp_path / "b.safetensors"), base)[f"{path}.weight"].float(),
        merged(lora, base)[f"{path}.weight"],
    )
    with pytest.raises(BadInput, match="neither diffusers nor PEFT loads; write it in kohya's layout"):
        lora.write(tmp_path / "c.safetensors")


@pytest.mark.parametrize("name", ["series", "exact", "bounded", "shared"])
def test_an_oft_of_peft_is_written_for_peft(base, tmp_path, name) -> None:
    trained(base, tmp_path / "acorn", name)
    lora = LoRA.read(tmp_path / "acorn").named_for(base)
    lora.write(tmp_path / "again.safetensors")
    wanted, again = merged(lora, base), merged(LoRA.read(tmp_path / "again.safetensors"), base)
    assert all(torch.equal(it, again[key]) for key, it in wanted.items())
    network = base.copy().denoiser
    with safe_open(tmp_path / "again.safetensors", "pt") as opened:
        stated = json.loads(opened.metadata()["lora_adapter_metadata"])
    config = peft.OFTConfig(**{key.removeprefix("unet."): it for key, it in stated.items()})
    peft.inject_adapter_in_model(config, network)
    tensors = {key.removeprefix("unet."): it for key, it in load_file(tmp_path / "again.safetensors").items()}
    assert not peft.set_peft_model_state_dict(network, tensors).unexpected_keys
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network.get_submodule(TO_Q)(x), x @ wanted[f"{TO_Q}.weight"].T, atol=1e-5)
    with pytest.raises(BadInput, match="kohya's layout has no OFT of this form"):
        lora.write(tmp_path / "c.safetensors", "kohya")


def test_blocks_of_a_joined_layer_are_taken_apart_where_none_turns_two_parts(tmp_path) -> None:
    model = load_model(random_pipelines.folder_of("flux1-dev", tmp_path / "m"))
    published, name = published_weights(model), "double_blocks.0.img_attn.qkv"  # three of 32 rows
    for size in (8, 32, 12):
        blocks = blocks_of(96 // size, size)
        save_file({f"lycoris_{name.replace('.', '_')}.oft_blocks": blocks}, tmp_path / "a.safetensors")
        lora = LoRA.read(tmp_path / "a.safetensors")
        if size == 12:
            with pytest.raises(BadInput, match=r"its blocks of 12 outputs turn rows of several"):
                lora.attach(model)
            return
        wanted = rotated(published[f"{name}.weight"].numpy(), blocks.numpy().astype(float))
        found = published_weights(lora.merged_into(model.copy()))[f"{name}.weight"].numpy()
        assert np.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"oft_R.weight": (2, 6)}, "the configuration of its OFT is missing; put adapter_config.json beside"),
        ({"oft_blocks": (2, 4, 3)}, "no square blocks"),
        ({"oft_blocks": (2, 2, 4, 4)}, "BOFT"),
        ({"rescale": (8, 1)}, "its oft_blocks are missing"),
        ({"oft_diag": (2, 4, 4)}, "versions of PEFT or LyCORIS before"),
        ({"oft_blocks": (2, 4, 4), "dora_scale": (8, 1)}, "DoRA of an OFT"),
        ({"oft_blocks": (2, 4, 4), "lokr_w1": (2, 2), "lokr_w2": (4, 4)}, "LoKr and OFT in one layer"),
    ],
)
def test_what_is_not_supported_is_named(tmp_path, tensors, words) -> None:
    save_file({f"unet.{TO_Q}.{name}": torch.ones(shape) for name, shape in tensors.items()}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match=words):
        LoRA.read(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"peft_version": "0.17.1"}, "before 0.18 has another series"),
        ({"peft_version": None}, "before 0.18 has another series"),
        ({"use_cayley_neumann": ...}, "does not say how the rotation is made"),
        ({"oft_block_size": ...}, "before 0.14 is made otherwise"),
    ],
)
def test_ofts_of_older_versions_of_peft_are_refused_by_name(base, tmp_path, change, words) -> None:
    trained(base, tmp_path / "acorn", "series")
    path = tmp_path / "acorn" / "adapter_config.json"
    fields = {key: it for key, it in (json.loads(path.read_text()) | change).items() if it is not ...}
    path.write_text(json.dumps(fields))
    with pytest.raises(BadInput, match=words):
        LoRA.read(tmp_path / "acorn")


def test_a_rotation_of_another_width_or_of_a_kernel_is_refused(base, tmp_path) -> None:
    save_file({f"unet.{TO_Q}.oft_blocks": blocks_of(3, 4)}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match="turns 3 x 4 outputs, the model's weight has 8"):
        LoRA.read(tmp_path / "a.safetensors").attach(base)
    trained(base, tmp_path / "acorn", "series", ["conv1"])
    with pytest.raises(BadInput, match="PEFT's OFT of a kernel acts otherwise than its merged weight"):
        LoRA.read(tmp_path / "acorn").attach(base)
