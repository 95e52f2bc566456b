"""Single files of transformer denoisers: alone or with all parts, in eight-bit floats, and kinds that are refused."""

import pytest
import torch
from safetensors.torch import save_file

import tiny
from intaglio.bench.models.random_models import random_pipelines
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.ldm_names import autoencoder_name
from published_form import published_weights


@pytest.fixture(
    scope="module",
    params=["sd3", "flux1-dev", "zimage", "klein", "chroma", "qwen-image", "lumina2", "auraflow", "sana", "flux2-dev"],
)
def folder(request, tmp_path_factory):
    return random_pipelines.folder_of(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder)


@pytest.fixture(scope="module")
def weights(model):
    return published_weights(model)


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_transformer_alone_is_the_folders_own(folder, model, weights, tmp_path, prefix):
    save_file({prefix + name: weight for name, weight in weights.items()}, tmp_path / "m.safetensors")
    read = load_model(tmp_path / "m.safetensors", like=folder)
    assert read.fingerprint == model.fingerprint
    assert read.unused == ()
    assert "text_encoder" in read.notes[0]
    assert "taken from" in read.notes[0]


def test_sizes_are_those_of_the_file(folder, tmp_path):
    """One more block than the base has."""
    kind = folder.name
    more = {"sd3": {"num_layers": 3, "dual_attention_layers": (0, 1)}, "flux1-dev": {"num_single_layers": 2}}
    more |= {"zimage": {"n_layers": 2}, "klein": {"num_single_layers": 2, "mlp_ratio": 2.0}}
    more |= {"chroma": {"num_layers": 2, "approximator_layers": 3, "approximator_hidden_dim": 24}}
    more |= {"flux2-dev": {"num_single_layers": 2, "mlp_ratio": 2.0}}
    more |= {"sana": {"num_layers": 2, "mlp_ratio": 1.5}}
    more |= {"auraflow": {"num_single_dit_layers": 2, "pos_embed_max_size": 144}}
    more |= {"qwen-image": {"num_layers": 3}, "lumina2": {"num_layers": 2, "num_attention_heads": 4}}
    random_pipelines.PIPELINES[kind](5, **more[kind]).save_pretrained(tmp_path / "deeper")
    deeper = load_model(tmp_path / "deeper")
    save_file(published_weights(deeper), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors", like=folder).part_fingerprint("denoiser") == deeper.part_fingerprint(
        "denoiser"
    )


def test_all_parts_of_one_file_are_taken(folder, model, weights, tmp_path):
    """Text encoders and autoencoder of other numbers than the base's."""
    kind = folder.name
    if kind in ("qwen-image", "sana", "flux2-dev"):  # of which there are no such files
        return
    other = load_model(random_pipelines.folder_of(kind, tmp_path / "other", seed=9))
    file = {f"model.diffusion_model.{name}": weight for name, weight in weights.items()}
    names = {"flux1-dev": ("clip_l", "t5xxl"), "zimage": ("qwen3_4b",), "klein": ("qwen3_8b",), "chroma": ("t5xxl",)}
    names |= {"lumina2": ("gemma2_2b",), "auraflow": ("pile_t5xl",)}
    names = names.get(kind, ("clip_l", "clip_g", "t5xxl"))
    for name, encoder in zip(names, other.text_encoders, strict=True):
        own = {f"text_encoders.{name}.transformer.{key}": w.clone() for key, w in encoder.state_dict().items()}
        if kind == "zimage":
            own = {key.replace("transformer.", "transformer.model."): w for key, w in own.items()}
        file |= {
            key: w for key, w in own.items() if not key.endswith(("encoder.embed_tokens.weight", "lm_head.weight"))
        }
    file |= {f"first_stage_model.{autoencoder_name(key, 2)}": w for key, w in other.autoencoder.state_dict().items()}
    save_file(file, tmp_path / "all.safetensors")
    read = load_model(tmp_path / "all.safetensors", like=folder)
    assert read.part_fingerprint("denoiser") == model.part_fingerprint("denoiser")
    for part in read.parts:
        if part != "denoiser":
            assert read.part_fingerprint(part) == other.part_fingerprint(part)
    assert (read.notes, read.unused) == ((), ())


def test_eight_bit_floats_are_multiplied_by_their_scales(folder, weights, tmp_path):
    whole, narrow = {}, {}
    for name, weight in weights.items():
        whole[name], narrow[name] = weight, weight
        if weight.ndim == 2:
            scale = weight.abs().max() / 448
            narrow[name] = (weight / scale).to(torch.float8_e4m3fn)
            narrow[name.removesuffix(".weight") + ".scale_weight"] = scale
            narrow[name.removesuffix(".weight") + ".scale_input"] = torch.ones(())
            whole[name] = narrow[name].float() * scale
    save_file(whole, tmp_path / "whole.safetensors")
    save_file({**narrow, "scaled_fp8": torch.zeros(2)}, tmp_path / "narrow.safetensors")
    read = load_model(tmp_path / "narrow.safetensors", like=folder)
    wanted = load_model(tmp_path / "whole.safetensors", like=folder)
    assert read.same_weights(wanted)
    assert read.unused == ()
    assert any("eight-bit floats" in note for note in read.notes)


@pytest.mark.parametrize("folder", ["sd3"], indirect=True)
def test_a_scale_for_each_row_is_multiplied_along_rows(folder, model, weights, tmp_path):
    """Of a matrix that is not square, as (n,) and as (n, 1); other shapes, and scales of other names, are refused."""
    name = next(name for name, weight in weights.items() if weight.ndim == 2 and weight.shape[0] != weight.shape[1])
    scales = weights[name].abs().amax(1) / 448
    narrow = (weights[name] / scales[:, None]).to(torch.float8_e4m3fn)
    save_file({**weights, name: narrow.float() * scales[:, None]}, tmp_path / "whole.safetensors")
    wanted, file = load_model(tmp_path / "whole.safetensors", like=folder), tmp_path / "m.safetensors"
    key = name.removesuffix(".weight") + ".scale_weight"
    for given in (scales, scales[:, None]):
        save_file({**weights, name: narrow, key: given.contiguous()}, file)
        read = load_model(file, like=folder)
        assert read.same_weights(wanted)
        assert any("1 weights in eight-bit floats, which" in note for note in read.notes)
    for other, given, match in (
        (key, torch.ones(1, weights[name].shape[1]), r"in shape \(1, \d+\), where one number or one for each of the"),
        (f"{name}.scale", scales, r"holds .*weight\.scale, a scale of a kind that is not known"),
        (f"{name}_scale_inv", scales, r"holds .*weight_scale_inv, a scale of a kind that is not known"),
    ):
        save_file({**weights, name: narrow, other: given}, file)
        with pytest.raises(BadInput, match=match):
            load_model(file, like=folder)


@pytest.mark.parametrize("folder", ["sd3"], indirect=True)
def test_plain_eight_bit_floats_and_keys_of_nothing_are_said(folder, weights, tmp_path):
    name = next(name for name, weight in weights.items() if weight.ndim == 2)
    file = {f"model.diffusion_model.{key}": weight for key, weight in weights.items()}
    file[f"model.diffusion_model.{name}"] = weights[name].to(torch.float8_e4m3fn)
    save_file({**file, "model.unused": torch.zeros(2)}, tmp_path / "m.safetensors")
    read = load_model(tmp_path / "m.safetensors", like=folder)
    assert any("1 weights in eight-bit floats, 1 of them without scales" in note for note in read.notes)
    assert any(note.endswith("m.safetensors are not used (model.unused)") for note in read.notes)
    assert len(read.unused) == 1


def test_a_file_that_cannot_be_read_says_why(folder, model, weights, tmp_path):
    file = tmp_path / "m.safetensors"

    def refused(match, like=folder, **changes):
        save_file({key: w for key, w in {**weights, **changes}.items() if w is not None}, file)
        with pytest.raises(BadInput, match=match):
            load_model(file, like=like)

    first = next(iter(weights))
    refused("holds the transformer alone, or no tokenizers; name a .* folder with --like", like=None)
    ends = (
        "final_layer.linear.bias",
        "single_blocks.0.linear2.weight",
        "proj_out.bias",
        "single_layers.0.attn.w1o.weight",
    )
    last = next(name for name in ends if name in weights)
    refused(r"does not fit .*: 1 weights of its denoiser are wrong", **{last: torch.zeros(7)})
    refused("NaN or infinity", **{first: torch.full_like(weights[first], torch.nan)})
    refused("holds bitsandbytes weights, which cannot be read; use the bf16 or fp8", **{"x.absmax": torch.zeros(2)})
    refused("holds nvfp4 weights", **{"x.weight_scale_2": torch.zeros(2)})
    other = tiny.sd_folder(tmp_path / "sd")
    refused(r"is of .*, and sd is of Stable Diffusion 1, 2 or XL; give a folder of its own", like=other)


def test_kinds_that_are_not_read_are_named(folder, tmp_path):
    for key, kind in (
        ("early_stream_modulations.image.lin.weight", r"FLUX\.3"),
        ("txtfusion.projector.weight", "Krea 2"),
        ("double_stream_blocks.0.block.adaLN_modulation.1.bias", "HiDream"),
    ):
        save_file({key: torch.zeros(2)}, tmp_path / "m.safetensors")
        with pytest.raises(BadInput, match=f"is a file of {kind}, which is not read"):
            load_model(tmp_path / "m.safetensors", like=folder)
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadInput, match=r"is a GGUF file, whose block-quantised weights cannot be differentiated here"):
        load_model(tmp_path / "m.gguf")


def test_a_file_without_guidance_is_not_put_beside_one_with(tmp_path):
    dev = random_pipelines.folder_of("flux1-dev", tmp_path / "dev")
    schnell = load_model(random_pipelines.folder_of("flux1-schnell", tmp_path / "schnell"))
    save_file(published_weights(schnell), tmp_path / "m.safetensors")
    with pytest.raises(BadInput, match="takes the guidance scale otherwise than dev does"):
        load_model(tmp_path / "m.safetensors", like=dev)
