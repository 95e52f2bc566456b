"""Models, files and LoRA of several families beside each other, and what is said of each."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from intaglio.bench.models.random_models import random_pipelines
from intaglio.commands.kit.idle_flags import said_idle_like
from intaglio.denoising.model_pair import check_pair
from intaglio.errors import BadInput
from intaglio.models.diffusion.families.family import UNSAID_SIDES
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from published_form import published_weights


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = tmp_path_factory.mktemp("models")
    return {kind: random_pipelines.folder_of(kind, made / kind) for kind in ("sd3", "flux1-dev")}


@pytest.fixture(scope="module")
def models(folders):
    return {kind: load_model(folder) for kind, folder in folders.items()}


def test_models_of_two_families_are_not_compared(models):
    with pytest.raises(BadInput, match=r"flux1-dev is of FLUX\.1, and sd3 of Stable Diffusion 3; pass as --base"):
        check_pair(models["flux1-dev"], models["sd3"])


def test_an_adapter_of_stable_diffusion_3_says_so_on_flux(models, folders, tmp_path):
    LoRA.new(models["sd3"], 2, 2.0, ("attn.to_k", "add_k_proj")).write(tmp_path / "lora.safetensors")
    with pytest.raises(BadInput, match="it was made for Stable Diffusion 3"):
        LoRA.read(tmp_path / "lora.safetensors").attach(models["flux1-dev"])
    with pytest.raises(BadInput, match=r"is a LoRA and no model; give its base too, with --like BASE"):
        load_model(tmp_path / "lora.safetensors")
    assert said_idle_like(Path("base"), models["sd3"]) == ["sd3 had all parts, so --like has no effect"]


def test_names_and_shapes_of_files_are_told_apart(models, folders, tmp_path):
    model, file = models["sd3"], tmp_path / "m.safetensors"
    weights = published_weights(model)
    save_file({f"diffusion_model.{name}": weight for name, weight in weights.items()}, file)
    assert load_model(file, like=model).same_weights(model)
    with pytest.raises(BadInput, match="has the names of diffusers, .*; give the folder that holds it with its config"):
        load_model(folders["sd3"] / "transformer/diffusion_pytorch_model.safetensors", like=model)
    joined = "joint_blocks.0.x_block.attn.qkv.weight"
    save_file({**weights, joined: weights[joined][:-1].clone()}, file)
    with pytest.raises(BadInput, match=r"1 weights .* has shape \(47, 16\), where \(48, 16\) is due\)"):
        load_model(file, like=model)
    save_file({**weights, "vae.decoder.conv_in.weight": torch.zeros(8, 4, 3, 3)}, file)
    with pytest.raises(BadInput, match="m.safetensors lacks vae"):
        load_model(file, like=model)
    save_file({"other": torch.zeros(2)}, file)
    with pytest.raises(BadInput, match=r"give a file of Stable Diffusion 1, 2 or XL, Stable Diffusion 3, FLUX\.1"):
        load_model(file, like=model)


def test_the_guidance_scale_that_flux_1_dev_is_told_is_1_where_none_is_named(models):
    model, told = models["flux1-dev"], []
    hook = model.denoiser.register_forward_pre_hook(
        lambda _, args, given: told.append(given["guidance"]), with_kwargs=True
    )
    with torch.no_grad():
        model.predict(torch.zeros(2, 4, 8, 8), torch.tensor([10, 500]), model.embed(["dog", "cat"]))
    hook.remove()
    assert torch.equal(told[0], torch.ones(2))


def test_a_side_that_the_autoencoder_does_not_say_is_noted(models):
    model = models["flux1-dev"]
    assert model.family.side_notes(model.autoencoder) == []
    config = {**model.autoencoder.config, "sample_size": UNSAID_SIDES["AutoencoderKL"]}
    unsaid = type("Unsaid", (), {"config": config})()
    assert model.family.side_notes(unsaid) == [
        "its autoencoder says no sample_size; its pictures are taken to be of 1024 px"
    ]
