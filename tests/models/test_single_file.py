"""Single files are judged by key lists of the released models, by diffusers' own converter, and by tiny checkpoints."""

import gzip
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers.loaders import single_file_utils as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

import original_layout as original
import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion import single_file
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.single_file import UNETS
from intaglio.models.diffusion.single_file_configs import FAMILIES
from intaglio.models.diffusion.single_file_layout import problems, recognised, sources, unused_keys
from intaglio.models.diffusion.skeletons import skeleton
from intaglio.models.ldm_names import UNetLayout
from intaglio.models.lora.lora import Layer, LoRA

load_single_file = partial(single_file.load_single_file, read_folder=load_model)
DATA = Path(__file__).parent / "data"


def listed(name):
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


REAL = {"sd1": listed("sd15_checkpoint"), "sd2": original.sd2(), "sdxl": original.sdxl()}
"""Key names and shapes of the released checkpoints."""


def tuples(shapes):
    return {key: tuple(shape) for key, shape in shapes.items()}


# The released models, by their keys


def test_the_list_of_sd15_is_whole_and_the_description_agrees():
    keys = listed("sd15_checkpoint")
    assert keys == original.sd1()
    starts = ("model.", "first_stage_model.", "cond_stage_model.")
    counts = [sum(key.startswith(start) for key in keys) for start in starts]
    assert counts == [686, 248, 197]
    assert keys["model.diffusion_model.input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight"] == [1280, 768]
    # 859.5 million in the U-Net, 83.7 in the autoencoder, 123.1 in the text encoder, as published
    numbers = {key: torch.Size(shape).numel() for key, shape in keys.items() if "position_ids" not in key}
    sizes = [sum(number for key, number in numbers.items() if key.startswith(start)) for start in starts]
    assert sizes == [859_520_964, 83_653_863, 123_060_480]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_weight_of_a_released_model_finds_its_place_and_none_is_left(family):
    shapes = {
        key: tuple(shape) for key, shape in (listed("sd15_checkpoint") if family == "sd1" else REAL[family]).items()
    }
    layout = recognised(shapes, "it")
    assert layout.family == family
    used = set()
    for part, config in FAMILIES[family].configs.items():
        wanted = {
            name: tuple(weight.shape) for name, weight in skeleton(UNETS.network(part), config).state_dict().items()
        }
        found = sources(layout, part, wanted, shapes)
        assert problems(found, wanted, shapes) == []
        assert unused_keys(layout, part, found, shapes) == []
        used |= {source.key for source in found.values()}
    ballast = ("position_ids", "logit_scale", "cond_stage_model.model.text_projection")
    left = [key for key in set(shapes) - used if not key.endswith(ballast) and ".resblocks.23." not in key]
    assert left == []


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_places_are_those_of_diffusers_own_converter(family, monkeypatch):
    """Every weight is a number of its own; whatever the other converter says, ours must say too."""
    shapes = tuples(REAL[family])
    layout, configs = recognised(shapes, "it"), FAMILIES[family].configs
    numbers = {key: torch.tensor(number).expand(shape) for number, (key, shape) in enumerate(shapes.items())}
    unet = reference.convert_ldm_unet_checkpoint(numbers, configs["denoiser"])
    vae = reference.convert_ldm_vae_checkpoint(numbers, configs["autoencoder"])
    for part, theirs in (("denoiser", unet), ("autoencoder", vae)):
        ours = sources(layout, part, theirs, shapes)
        assert set(theirs) == set(skeleton(UNETS.network(part), configs[part]).state_dict())
        assert all(int(theirs[name].flatten()[0]) == int(numbers[ours[name].key].flatten()[0]) for name in theirs)


def test_an_open_clip_encoder_is_taken_apart_as_diffusers_does():
    shapes = {
        key: tuple(shape) for key, shape in original.under("p.", original.Clip(8, 2, 30, 6).open_shapes()).items()
    }
    numbers = {key: torch.randn(shape) for key, shape in shapes.items()}
    theirs = reference.convert_open_clip_checkpoint(SimpleNamespace(config=SimpleNamespace()), numbers, "p.")
    theirs = {name.removeprefix("text_model."): tensor for name, tensor in theirs.items()}
    from intaglio.models.diffusion.single_file import _weight
    from intaglio.models.diffusion.single_file_layout import _open_clip

    file = SimpleNamespace(get_tensor=numbers.__getitem__)
    assert len(theirs) == 2 * 16 + 5
    for name, tensor in theirs.items():
        assert torch.equal(_weight(file, Path("p"), _open_clip("p.", name), tuple(tensor.shape)), tensor)


def test_a_kohya_adapter_of_sd15_finds_every_module():
    """All 264 layers that sd-scripts trains by default, against the networks without memory."""
    shapes, configs = listed("sd15_kohya_lora"), FAMILIES["sd1"].configs
    assert shapes == original.kohya_sd1()
    parts = {part: skeleton(UNETS.network(part), configs[part]) for part in ("denoiser", "text_encoder")}
    layers: dict = {"denoiser": {}, "text_encoder": {}}
    for stem in sorted({key.split(".")[0] for key in shapes}):
        down, up = (torch.empty(shapes[f"{stem}.lora_{side}.weight"], device="meta") for side in ("down", "up"))
        prefix, part = ("lora_unet_", "denoiser") if "unet" in stem else ("lora_te_text_model_", "text_encoder")
        layers[part][stem.removeprefix(prefix)] = Layer(down, up, 4.0)
    assert [len(found) for found in layers.values()] == [192, 72]
    lora, model = LoRA(layers), SimpleNamespace(parts=parts)
    assert lora.unmatched(model) == []
    named = lora.named_for(model)
    assert len(named) == 264
    assert named.names is not None
    assert {named.names.kohya(part, path) for part, path, _ in named.items()} == {key.split(".")[0] for key in shapes}


def test_original_block_numbers_in_an_sdxl_adapter_find_every_module():
    stems = [
        key.removeprefix("model.diffusion_model.").removesuffix(".weight")
        for key, shape in REAL["sdxl"].items()
        if key.startswith("model.diffusion_model.") and key.endswith(".weight") and len(shape) > 1
    ]
    layers = {stem.replace(".", "_"): Layer(torch.empty(1), torch.empty(1), 1.0) for stem in stems}
    model = SimpleNamespace(
        parts={
            "denoiser": skeleton(UNETS.network("denoiser"), FAMILIES["sdxl"].configs["denoiser"]),
            "text_encoder_2": torch.nn.Module(),
        }
    )
    named = LoRA({"denoiser": layers}).named_for(model)
    assert len(named) == len(stems) == 794
    names = {named.names.kohya("denoiser", path) for _, path, _ in named.items()}
    assert names == {"lora_unet_" + stem for stem in layers}


@settings(max_examples=12, deadline=None)
@given(
    depths=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    layers=st.integers(1, 3),
    linear=st.booleans(),
    middle=st.integers(1, 2),
    added=st.booleans(),
)
def test_block_numbers_hold_for_u_nets_of_any_depth(depths, layers, linear, middle, added):
    """The names given to a diffusers U-Net are exactly those of the original network of the same plan."""
    levels = range(len(depths))
    plan = original.UNet(
        8, (1, 2, 3)[: len(depths)], tuple(depths), depths[-1] or middle, layers, 6, linear, 54 if added else 0
    )
    config = {
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": tuple(8 * (level + 1) for level in levels),
        "layers_per_block": layers,
        "cross_attention_dim": 6,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "use_linear_projection": linear,
        "transformer_layers_per_block": [*depths[:-1], depths[-1] or middle],
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        **(
            {
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 54,
            }
            if added
            else {}
        ),
    }
    unet = skeleton(UNETS.network("denoiser"), config)
    names = UNetLayout.of(unet.state_dict())
    found = {names.original(name): list(weight.shape) for name, weight in unet.state_dict().items()}
    assert found == plan.shapes()


# Tiny checkpoints, with weights

VAE = original.Autoencoder(4, (1, 2), 1, 4, attended=False)


def tiny_file(path, kind, seed=0, metadata=None, drop=(), **more):
    """A random checkpoint in the original layout, of the shapes of the tiny pipelines."""
    words = len(tiny.tokenizer())
    text = original.Clip(16, 2, words, tiny.LENGTH, inner=2)
    unet = original.UNet(8, (1, 2), (1, 0), 1, 1, 16)
    if kind == "sd1":
        shapes = original.sd1(unet, VAE, text)
    elif kind == "sd2":
        shapes = original.sd2(replace(unet, linear=False), VAE, replace(text, layers=3))
    else:
        unet = replace(unet, context=40, label=72)
        shapes = original.sdxl(unet, VAE, text, replace(text, width=24))
    generator = torch.Generator().manual_seed(seed)
    tensors = {key: torch.randn(shape, generator=generator) * 0.1 for key, shape in shapes.items()}
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(tuple(drop))}
    save_file(tensors | more, path, metadata)
    return tensors


def loaded(pipeline, name="base"):
    texts = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    tokenizers = [pipeline.tokenizer, getattr(pipeline, "tokenizer_2", None)]
    return LatentDiffusion(
        denoiser=pipeline.unet,
        autoencoder=pipeline.vae,
        text_encoders=[text for text in texts if text],
        tokenizers=[words for words in tokenizers if words],
        scheduler=dict(pipeline.scheduler.config),
        name=name,
    )


def base_of(kind, **changes):
    return loaded(tiny.sdxl_pipeline(**changes) if kind == "sdxl" else tiny.sd_pipeline(**changes))


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_checkpoint_holds_what_its_file_holds(tmp_path, kind, dtype):
    tensors = tiny_file(tmp_path / "me.safetensors", kind)
    base = base_of(kind)
    before = base.fingerprint
    model = load_single_file(tmp_path / "me.safetensors", base, dtype=dtype)
    assert (model.name, model.source, model.dtype) == ("me", tmp_path / "me.safetensors", dtype)
    assert base.fingerprint == before
    config = {**base.denoiser.config, **dict(base.autoencoder.config), "layers_per_block": 1}
    unet = reference.convert_ldm_unet_checkpoint(tensors, config)
    vae = reference.convert_ldm_vae_checkpoint(tensors, config)
    assert all(torch.equal(weight, unet[name].to(dtype)) for name, weight in model.denoiser.state_dict().items())
    assert all(torch.equal(weight, vae[name]) for name, weight in model.autoencoder.state_dict().items())
    prefix = {
        "sd1": "cond_stage_model.transformer.text_model.",
        "sdxl": "conditioner.embedders.0.transformer.text_model.",
    }
    for name, weight in model.text_encoders[0].state_dict().items():
        if kind != "sd2":
            assert torch.equal(weight, tensors[prefix[kind] + name.removeprefix("text_model.")].to(dtype))
    assert not any(tensor.is_meta for part in model.parts.values() for tensor in [*part.parameters(), *part.buffers()])
    with torch.no_grad():
        said = model.predict(torch.randn(1, 4, 8, 8), torch.tensor([500]), model.embed(["a red cat"]))
        assert model.decode(model.encode(tiny.pixels(1))).shape == (1, 3, 16, 16)
    assert torch.isfinite(said).all()
    assert all(weight.requires_grad and weight.is_leaf for weight in model.denoiser.parameters())


def test_open_clip_numbers_in_a_whole_model(tmp_path):
    """The second encoder of XL: joint matrices split, the projection turned; position embeddings in place."""
    tensors = tiny_file(tmp_path / "me.safetensors", "sdxl")
    encoder = load_single_file(tmp_path / "me.safetensors", base_of("sdxl")).text_encoders[1]
    weights, at = encoder.state_dict(), "conditioner.embedders.1.model."
    for number in range(2):
        joint = tensors[f"{at}transformer.resblocks.{number}.attn.in_proj_weight"]
        for row, letter in enumerate("qkv"):
            expected = joint[24 * row : 24 * (row + 1)]
            assert torch.equal(weights[f"text_model.encoder.layers.{number}.self_attn.{letter}_proj.weight"], expected)
    assert torch.equal(weights["text_projection.weight"], tensors[f"{at}text_projection"].T)
    assert torch.equal(weights["text_model.embeddings.position_embedding.weight"], tensors[f"{at}positional_embedding"])


def test_without_a_base_the_remedy_is_named(tmp_path):
    tiny_file(tmp_path / "me.safetensors", "sd1")
    with pytest.raises(BadInput, match=r"me\.safetensors is a single file.*tokenizer.*1\.x with --like"):
        load_single_file(tmp_path / "me.safetensors")


def test_a_folder_will_do_as_base(tmp_path):
    tiny_file(tmp_path / "me.safetensors", "sd1")
    folder = tiny.sd_folder(tmp_path / "base", prediction="v_prediction")
    model = load_single_file(tmp_path / "me.safetensors", folder)
    assert model.schedule.prediction == "v_prediction"
    assert any("v_prediction" in note for note in model.notes)
    with pytest.raises(BadInput, match="nowhere"):
        load_single_file(tmp_path / "me.safetensors", tmp_path / "nowhere")


def test_load_model_takes_a_single_file_with_an_adapter_on_top(tmp_path):
    tiny_file(tmp_path / "me.safetensors", "sd1")
    plain = load_model(tmp_path / "me.safetensors", like=tiny.sd_folder(tmp_path / "base"))
    lora = LoRA.new(plain, 2, 1.0, generator=torch.Generator().manual_seed(0))
    for weight in lora.parameters():
        weight.data += 0.1
    lora.write(tmp_path / "lora.safetensors", "kohya")
    merged = load_model(tmp_path / "me.safetensors", like=tmp_path / "base", lora=tmp_path / "lora.safetensors")
    assert not merged.same_weights(plain)
    latents, t, words = torch.randn(2, 4, 8, 8), torch.tensor([1, 900]), plain.embed(["red dog"])
    with torch.no_grad(), plain.frozen(), lora.attached(plain):
        assert torch.allclose(plain.predict(latents, t, words), merged.predict(latents, t, words), atol=1e-5)


def test_missing_parts_come_from_the_base_and_are_named(tmp_path):
    tiny_file(tmp_path / "me.safetensors", "sd1", drop=("first_stage_model.", "cond_stage_model."))
    base = base_of("sd1")
    model = load_single_file(tmp_path / "me.safetensors", base)
    said = " ".join(model.notes)
    assert "autoencoder taken from base" in said
    assert "text_encoder taken from base" in said
    for part in ("autoencoder", "text_encoder"):
        assert model.part_fingerprint(part) == base.part_fingerprint(part)
        assert next(model.parts[part].parameters()).data_ptr() != next(base.parts[part].parameters()).data_ptr()


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
@pytest.mark.parametrize("naming", ["diffusers", "original"])
def test_a_lone_denoiser_is_enough_with_a_base(tmp_path, kind, naming):
    base, path = base_of(kind), tmp_path / "unet.safetensors"
    other = base_of(kind, seed=3)
    if naming == "diffusers":
        tensors = other.denoiser.state_dict()
    else:
        unet = original.UNet(8, (1, 2), (1, 0), 1, 1, 40 if kind == "sdxl" else 16, label=72 if kind == "sdxl" else 0)
        tensors = {name: torch.randn(shape) for name, shape in unet.shapes().items()}
    save_file(tensors, path)
    model = load_single_file(path, base)
    if naming == "diffusers":
        assert model.part_fingerprint("denoiser") == other.part_fingerprint("denoiser")
    else:
        assert torch.equal(model.denoiser.state_dict()["conv_in.bias"], tensors["input_blocks.0.0.bias"])
    assert model.part_fingerprint("text_encoder") == base.part_fingerprint("text_encoder")


def test_what_the_file_says_it_predicts_wins(tmp_path):
    base = base_of("sd1")
    tiny_file(tmp_path / "meta.safetensors", "sd1", metadata={"modelspec.prediction_type": "v"})
    assert load_single_file(tmp_path / "meta.safetensors", base).schedule.prediction == "v_prediction"
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    tiny_file(tmp_path / "keys.safetensors", "sd1", **marks)
    model = load_single_file(tmp_path / "keys.safetensors", base)
    assert model.schedule.prediction == "v_prediction"
    assert model.schedule.alphas_cumprod[-1] < 1e-6 < base.schedule.alphas_cumprod[-1]
    tiny_file(tmp_path / "odd.safetensors", "sd1", metadata={"modelspec.prediction_type": "flow"})
    with pytest.raises(BadInput, match="'flow'"):
        load_single_file(tmp_path / "odd.safetensors", base)


def only_tokenizers(folder, count=1):
    for name in ("tokenizer", "tokenizer_2")[:count]:
        tiny.tokenizer().save_pretrained(folder / name)
    return folder


def test_sd2_with_a_tokenizer_alone_does_not_guess_what_it_predicts(tmp_path, monkeypatch):
    tiny_file(tmp_path / "me.safetensors", "sd2")
    folder = only_tokenizers(tmp_path / "words")
    with pytest.raises(BadInput, match="noise or velocity"):
        load_single_file(tmp_path / "me.safetensors", folder)


def test_a_tokenizer_alone_and_the_family_s_own_settings(tmp_path, monkeypatch):
    """The settings that ship here are used where the base has none; shrunk for the test."""
    base = base_of("sd1")
    configs = {
        part: dict(vars(net.config) if part == "text_encoder" else net.config) for part, net in base.parts.items()
    }
    keep = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "hidden_act",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
    )
    configs["text_encoder"] = {key: getattr(base.text_encoders[0].config, key) for key in keep}
    for part, config in configs.items():
        monkeypatch.setitem(FAMILIES["sd1"].configs, part, config)
    tiny_file(tmp_path / "me.safetensors", "sd1")
    model = load_single_file(tmp_path / "me.safetensors", only_tokenizers(tmp_path / "words"))
    with_base = load_single_file(tmp_path / "me.safetensors", base)
    assert model.schedule.prediction == "epsilon"
    assert torch.allclose(model.schedule.alphas_cumprod, base.schedule.alphas_cumprod)
    assert model.same_weights(with_base)
    tiny_file(tmp_path / "me.safetensors", "sd1", drop=("first_stage_model.",))
    with pytest.raises(BadInput, match="has no autoencoder, nor has"):
        load_single_file(tmp_path / "me.safetensors", tmp_path / "words")


# What is refused, by name


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}, "an inpainting model"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 8, 3, 3)}, "InstructPix2Pix"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 5, 3, 3)}, "depth-to-image"),
        ({"conv_in.weight": (320, 9, 3, 3), "time_embedding.linear_1.weight": (1, 1)}, "an inpainting model"),
        ({"model.diffusion_model.double_blocks.0.img_attn.proj.weight": (1, 1)}, "a Flux model"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (1, 1)}, "Stable Diffusion 3"),
        ({"control_model.input_blocks.0.0.weight": (1, 1)}, "a ControlNet"),
        (
            {"controlnet_down_blocks.0.weight": (1, 1), "conv_in.weight": (320, 4, 3, 3), "time_embedding.x": (1,)},
            "ControlNet",
        ),
        ({"lora_unet_x.lora_up.weight": (1, 1)}, "a LoRA"),
        ({"first_stage_model.encoder.conv_in.weight": (1, 1)}, "an autoencoder"),
        ({"encoder.conv_in.weight": (1, 1)}, "an autoencoder"),
        ({"bert.weight": (1, 1)}, "no checkpoint that is known"),
        ({}, "no checkpoint that is known"),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": (384, 4, 3, 3),
                "conditioner.embedders.0.model.ln_final.weight": (1280,),
            },
            "the refiner",
        ),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": (384, 4, 3, 3),
                "model.diffusion_model.x.attn2.to_k.weight": (384, 1280),
            },
            "the refiner",
        ),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
                "model.diffusion_model.label_emb.0.0.bias": (1,),
                "cond_stage_model.model.ln_final.bias": (1024,),
            },
            "unCLIP",
        ),
    ],
)
def test_other_models_are_refused_by_name(keys, said):
    time = (
        {"model.diffusion_model.time_embed.0.weight": (1, 1)}
        if any("diffusion_model.input" in key for key in keys)
        else {}
    )
    with pytest.raises(BadInput, match=rf"it\.safetensors is .*{said}"):
        recognised(keys | time, "it.safetensors")


def test_a_base_of_another_family_is_refused(tmp_path):
    tiny_file(tmp_path / "me.safetensors", "sdxl")
    with pytest.raises(BadInput, match="another family than base"):
        load_single_file(tmp_path / "me.safetensors", base_of("sd1"))
    with pytest.raises(BadInput, match="another family"):
        load_single_file(tmp_path / "me.safetensors", only_tokenizers(tmp_path / "words"))


def test_a_vocabulary_that_is_too_large_is_refused(tmp_path):
    base = base_of("sd1")
    base.tokenizers[0].add_tokens(["<me>"])
    tiny_file(tmp_path / "me.safetensors", "sd1")
    with pytest.raises(BadInput, match="embeddings for"):
        load_single_file(tmp_path / "me.safetensors", base)


def test_lost_added_and_misshapen_weights_of_the_denoiser_are_named(tmp_path):
    path, base, lost = tmp_path / "me.safetensors", base_of("sd1"), "model.diffusion_model.middle_block.1.proj_in.bias"
    tiny_file(path, "sd1", drop=(lost,))
    with pytest.raises(BadInput, match=rf"me\.safetensors does not fit.*1 weights.*{lost}: missing"):
        load_single_file(path, base)
    tiny_file(path, "sd1", **{lost: torch.zeros(5)})
    with pytest.raises(BadInput, match=rf"{lost}: shape \(5,\) instead of \(16,\)"):
        load_single_file(path, base)
    tiny_file(path, "sd1", **{"model.diffusion_model.time_embed.cond_proj.weight": torch.zeros(5)})
    with pytest.raises(BadInput, match=r"cond_proj\.weight: not a part"):
        load_single_file(path, base)


def test_extra_weights_elsewhere_are_noted_and_ballast_is_not(tmp_path):
    path, more = (
        tmp_path / "me.safetensors",
        {"model_ema.decay": torch.zeros(1), "alphas_cumprod": base_of("sd1").schedule.alphas_cumprod.half()},
    )
    tiny_file(path, "sd1", **more)
    assert not any("not used" in note for note in load_single_file(path, base_of("sd1")).notes)
    tiny_file(path, "sd1", **{"first_stage_model.odd": torch.zeros(1)})
    assert any("first_stage_model.odd" in note for note in load_single_file(path, base_of("sd1")).notes)


def test_broken_and_pickled_files_are_named(tmp_path):
    tiny_file(tmp_path / "cut.safetensors", "sd1")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"cut\.safetensors cannot be read"):
        load_single_file(tmp_path / "cut.safetensors", base_of("sd1"))
    (tmp_path / "old.ckpt").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadInput, match=r"old\.ckpt holds pickled"):
        load_single_file(tmp_path / "old.ckpt", base_of("sd1"))
