"""Adapters are checked against weights merged by hand, and against diffusers' own reading of the same file."""

import json
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save, save_file

import tiny
from intaglio.errors import BadInput
from intaglio.models.lora.lora import DENOISER_TARGETS, TEXT_TARGETS, LoRA

RANK, ALPHA = 3, 5.0
CONVS = ("conv1", "conv_shortcut", "proj_in", "downsamplers.0.conv", "ff.net.2", "ff.net.0.proj", "time_emb_proj")
ALL = (*DENOISER_TARGETS, *TEXT_TARGETS, *CONVS)


def model_of(pipeline):
    parts = {"denoiser": pipeline.unet, "text_encoder": pipeline.text_encoder, "autoencoder": pipeline.vae}
    if (second := getattr(pipeline, "text_encoder_2", None)) is not None:
        parts["text_encoder_2"] = second
    return SimpleNamespace(parts=parts, name="tiny")


@pytest.fixture(params=["sd", "sdxl"])
def kind(request):
    return request.param


@pytest.fixture
def pipeline(kind):
    return tiny.sd_pipeline() if kind == "sd" else tiny.sdxl_pipeline()


@pytest.fixture
def model(pipeline):
    return model_of(pipeline)


def trained(model, targets=ALL, rank=RANK, alpha=ALPHA):
    """An adapter as training would leave it: with an `up` that is not zero."""
    generator = torch.Generator().manual_seed(7)
    lora = LoRA.new(model, rank, alpha, targets, generator)
    with torch.no_grad():
        for _, _, layer in lora.items():
            layer.up.copy_(0.5 * torch.randn(layer.up.shape, generator=generator))
    return lora


def outputs(model):
    """What every part says to fixed inputs."""
    generator = torch.Generator().manual_seed(1)
    unet, answers = model.parts["denoiser"], []
    hidden = torch.randn(2, 5, unet.config.cross_attention_dim, generator=generator)
    added = None
    if "text_encoder_2" in model.parts:
        added = {
            "text_embeds": torch.randn(2, 24, generator=generator),
            "time_ids": torch.rand(2, 6, generator=generator),
        }
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    with torch.no_grad():
        answers.append(unet(latents, torch.tensor([3, 700]), hidden, added_cond_kwargs=added).sample)
        for part in ("text_encoder", "text_encoder_2"):
            if part in model.parts:
                answers.append(model.parts[part](torch.arange(12)[None]).last_hidden_state)
    return torch.cat([answer.flatten() for answer in answers])


def merged_by_hand(model, lora):
    """W + alpha / rank * up @ down, found in the model by the end of the path."""
    for part, found in lora.layers.items():
        modules = {name.removeprefix("text_model."): module for name, module in model.parts[part].named_modules()}
        for path, (down, up, alpha) in found.items():
            weight = modules[path].weight
            change = torch.einsum("or,ri->oi", up.reshape(len(up), -1), down.reshape(len(down), -1))
            weight.data += alpha / len(down) * change.reshape(weight.shape).detach()


def close(one, two):
    return torch.allclose(one, two, atol=2e-5, rtol=1e-4)


def everything(model):
    """All that could be left behind: names, weights, hooks, gradient flags."""
    for part, module in model.parts.items():
        for name, weight in module.state_dict(keep_vars=True).items():
            yield part, name, weight.data_ptr(), weight.requires_grad, weight._version
        for name, inner in module.named_modules():
            yield part, name, type(inner), len(inner._forward_hooks), inner.training


# A new adapter


def test_a_new_adapter_changes_nothing_and_depends_on_the_generator_alone(model):
    before = outputs(model)
    lora, again = (LoRA.new(model, 2, 4.0, ALL, torch.Generator().manual_seed(3)) for _ in range(2))
    other = LoRA.new(model, 2, 4.0, ALL, torch.Generator().manual_seed(4))
    with lora.attached(model):
        assert torch.equal(outputs(model), before)
    same = [torch.equal(one, two) for one, two in zip(lora.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(lora.parameters()[0], other.parameters()[0])
    assert all(
        weight.is_leaf and weight.requires_grad and weight.dtype == torch.float32 for weight in lora.parameters()
    )
    assert all(layer.down.abs().max() <= layer.down[0].numel() ** -0.5 for _, _, layer in lora.items())


def test_the_default_targets_are_the_attention_projections_of_the_denoiser(model):
    lora = LoRA.new(model, 2, 2.0)
    expected = [
        name
        for name, module in model.parts["denoiser"].named_modules()
        if name.endswith(DENOISER_TARGETS) and isinstance(module, torch.nn.Linear)
    ]
    assert list(lora.layers) == ["denoiser"]
    assert list(lora.layers["denoiser"]) == expected


@pytest.mark.parametrize(
    ("rank", "alpha", "targets"), [(0, 1.0, ALL), (1, 0.0, ALL), (1, 1.0, ("to_q", "to_nothing")), (1, 1.0, ())]
)
def test_settings_that_cannot_be_are_refused(rank, alpha, targets):
    with pytest.raises(ValueError, match=r"rank|to_nothing|no target"):
        LoRA.new(model_of(tiny.sd_pipeline()), rank, alpha, targets)


def test_the_gradient_is_that_of_the_merged_weight(kind):
    """d/d(up) of a loss through hooks is scale * dL/dW @ down^T, with dL/dW from an untouched twin."""
    build = tiny.sd_pipeline if kind == "sd" else tiny.sdxl_pipeline
    model, twin = model_of(build()), model_of(build())
    lora = LoRA.new(model, RANK, ALPHA, ("fc1",), torch.Generator().manual_seed(0))
    with lora.attached(model):
        model.parts["text_encoder"](torch.arange(12)[None]).last_hidden_state.square().sum().backward()
    twin.parts["text_encoder"](torch.arange(12)[None]).last_hidden_state.square().sum().backward()
    modules = {name.removeprefix("text_model."): module for name, module in twin.parts["text_encoder"].named_modules()}
    for path, layer in lora.layers["text_encoder"].items():
        expected = ALPHA / RANK * modules[path].weight.grad @ layer.down.T
        assert close(layer.up.grad, expected.detach())


# Attaching


def test_attached_equals_weights_merged_by_hand(model):
    lora = trained(model)
    before = outputs(model)
    with lora.attached(model):
        hooked = outputs(model)
    merged_by_hand(model, lora)
    assert close(hooked, outputs(model))
    assert not close(hooked, before)


def test_merged_into_equals_attached_and_the_weight_scales(model):
    lora = trained(model)
    with lora.attached(model, 0.3):
        hooked = outputs(model)
    assert lora.merged_into(model, 0.3) is model
    assert close(hooked, outputs(model))


def test_the_model_is_left_as_found_also_on_error(model):
    lora, before, said = trained(model), list(everything(model)), outputs(model)
    names = [list(part.state_dict()) for part in model.parts.values()]
    with lora.attached(model):
        assert [list(part.state_dict()) for part in model.parts.values()] == names
    assert list(everything(model)) == before
    with pytest.raises((RuntimeError, TypeError)), lora.attached(model):
        model.parts["denoiser"](torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 1, 1))
    assert list(everything(model)) == before
    assert torch.equal(outputs(model), said)


def test_two_adapters_add_up_and_detach_in_any_order(model):
    one, two = trained(model), trained(model, ("to_q", "fc1"), rank=1, alpha=0.5)
    before = outputs(model)
    first, second = one.attach(model), two.attach(model, -1.0)
    both = outputs(model)
    first.detach()
    with one.attached(model):
        assert close(outputs(model), both)
    second.detach()
    second.detach()
    assert torch.equal(outputs(model), before)


def test_half_precision_models_take_float32_adapters():
    model = model_of(tiny.sd_pipeline())
    module = model.parts["denoiser"].bfloat16().down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q
    lora = trained(model, ("to_q",))
    x = torch.randn(2, 8).bfloat16()
    before = module(x)
    with lora.attached(model):
        assert module(x).dtype == torch.bfloat16
        assert not torch.equal(module(x), before)


# Files


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
@pytest.mark.parametrize("targets", [ALL, DENOISER_TARGETS, TEXT_TARGETS])
def test_a_file_says_the_same_as_the_adapter(model, tmp_path, layout, targets):
    lora = trained(model, targets)
    with lora.attached(model):
        expected = outputs(model)
    lora.write(tmp_path / "a.safetensors", layout, {"note": "yes"})
    read = LoRA.read(tmp_path / "a.safetensors")
    assert read.metadata["note"] == "yes"
    assert read.unmatched(model) == []
    assert len(read) == len(lora)
    assert {layer.alpha for _, _, layer in read.items()} == {ALPHA}
    with read.attached(model):
        assert torch.equal(outputs(model), expected)
    named = read.named_for(model)
    assert {part: set(found) for part, found in named.layers.items()} == {
        part: set(found) for part, found in lora.layers.items()
    }


@pytest.mark.parametrize("layout", ["diffusers", "kohya"])
def test_layers_of_different_rank_and_alpha_survive(model, tmp_path, layout):
    lora = trained(model)
    for number, (part, path, layer) in enumerate(list(lora.items())):
        if number % 3 == 0:
            lora.layers[part][path] = layer._replace(
                down=layer.down.detach()[:2], up=layer.up.detach()[:, :2], alpha=0.75
            )
    lora.write(tmp_path / "a.safetensors", layout)
    read = LoRA.read(tmp_path / "a.safetensors").named_for(model)
    assert {(part, path, layer.rank, layer.alpha) for part, path, layer in read.items()} == {
        (part, path, layer.rank, layer.alpha) for part, path, layer in lora.items()
    }


def test_a_layout_can_be_changed_on_the_way(model, tmp_path):
    trained(model).write(tmp_path / "k.safetensors", "kohya")
    read = LoRA.read(tmp_path / "k.safetensors")
    with pytest.raises(ValueError, match="named_for"):
        read.write(tmp_path / "d.safetensors")
    read.named_for(model).write(tmp_path / "d.safetensors")
    read.named_for(model).write(tmp_path / "k2.safetensors", "kohya")
    first, second = load_file(tmp_path / "k.safetensors"), load_file(tmp_path / "k2.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(".lora_A." in key or ".lora_B." in key for key in load_file(tmp_path / "d.safetensors"))


def test_half_precision_on_disk(model, tmp_path):
    trained(model).write(tmp_path / "a.safetensors", "kohya", dtype=torch.float16)
    tensors = load_file(tmp_path / "a.safetensors")
    assert {tensor.dtype for key, tensor in tensors.items() if ".lora_" in key} == {torch.float16}
    assert {float(tensor) for key, tensor in tensors.items() if key.endswith(".alpha")} == {ALPHA}


def test_diffusers_reads_what_we_write_and_draws_the_same(pipeline, model, tmp_path, kind):
    pytest.importorskip("peft")
    lora = trained(model, tuple(target for target in ALL if target != "fc1"))
    for number, (part, path, layer) in enumerate(list(lora.items())):
        if number % 4 == 0:
            lora.layers[part][path] = layer._replace(alpha=9.0)
    with lora.attached(model):
        expected = outputs(model)
    lora.write(tmp_path / "a.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.load_lora_weights(tmp_path, weight_name="a.safetensors")
        assert close(outputs(model), expected)


def test_we_read_what_diffusers_writes(pipeline, model, tmp_path, kind):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["to_q", "proj_in", "conv1"],
        init_lora_weights=False,
        alpha_pattern={"attn2.to_q": 1},
        rank_pattern={"attn1.to_q": 2},
    )
    text = peft.LoraConfig(r=2, lora_alpha=1, use_rslora=True, target_modules=["q_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.unet.add_adapter(config)
        pipeline.text_encoder.add_adapter(text)
        expected = outputs(model)
        from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers

        get = peft.utils.get_peft_model_state_dict
        type(pipeline).save_lora_weights(
            tmp_path,
            unet_lora_layers=convert_state_dict_to_diffusers(get(pipeline.unet)),
            text_encoder_lora_layers=convert_state_dict_to_diffusers(get(pipeline.text_encoder)),
            unet_lora_adapter_metadata={key: value for key, value in config.to_dict().items() if key != "task_type"},
            text_encoder_lora_adapter_metadata=text.to_dict(),
        )
    twin = model_of(tiny.sd_pipeline() if kind == "sd" else tiny.sdxl_pipeline())
    with LoRA.read(tmp_path).attached(twin):  # the folder that diffusers made
        assert close(outputs(twin), expected)


def keys_of(model, path, names):
    """A file with one layer, under the given names of its down and up."""
    module = dict(model.parts["denoiser"].named_modules())[path]
    down, up = torch.randn(2, module.weight.shape[1]), torch.randn(len(module.weight), 2)
    return dict(zip(names, (down, up, torch.tensor(4.0)), strict=False))


STEM = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("to_q", ("unet.{0}.to_q.lora_A.weight", "unet.{0}.to_q.lora_B.weight")),
        ("to_q", ("unet.{0}.to_q.lora_A.default.weight", "unet.{0}.to_q.lora_B.default.weight")),
        ("to_q", ("base_model.model.unet.{0}.to_q.lora_A.weight", "base_model.model.unet.{0}.to_q.lora_B.weight")),
        ("to_q", ("base_model.model.{0}.to_q.lora_A.weight", "base_model.model.{0}.to_q.lora_B.weight")),
        ("to_q", ("unet.base_model.model.{0}.to_q.lora_A.weight", "unet.base_model.model.{0}.to_q.lora_B.weight")),
        ("to_q", ("transformer.{0}.to_q.lora_A.weight", "transformer.{0}.to_q.lora_B.weight")),
        ("to_q", ("unet.{0}.to_q.lora.down.weight", "unet.{0}.to_q.lora.up.weight", "unet.{0}.to_q.alpha")),
        ("to_q", ("unet.{0}.processor.to_q_lora.down.weight", "unet.{0}.processor.to_q_lora.up.weight")),
        ("to_out.0", ("{0}.processor.to_out_lora.down.weight", "{0}.processor.to_out_lora.up.weight")),
        ("to_q", ("unet._orig_mod.{0}.to_q.lora_A.weight", "unet._orig_mod.{0}.to_q.lora_B.weight")),
        (
            "to_q",
            ("lora_unet_{1}_to_q.lora_down.weight", "lora_unet_{1}_to_q.lora_up.weight", "lora_unet_{1}_to_q.alpha"),
        ),
        ("to_out.0", ("lora_unet_{1}_to_out_0.lora_down.weight", "lora_unet_{1}_to_out_0.lora_up.weight")),
        ("to_q", ("lora_unet_{2}_to_q.lora_down.weight", "lora_unet_{2}_to_q.lora_up.weight")),
        ("to_q", ("diffusion_model.{3}.to_q.lora_up.weight", "diffusion_model.{3}.to_q.lora_down.weight")),
    ],
)
def test_every_spelling_of_a_denoiser_layer(tmp_path, model, path, names):
    original = "input_blocks.1.1.transformer_blocks.0.attn1"
    spelt = [name.format(STEM, STEM.replace(".", "_"), original.replace(".", "_"), original) for name in names]
    tensors = keys_of(model, f"{STEM}.{path}", spelt)
    if "lora_up" in spelt[0]:
        tensors = {spelt[1]: tensors[spelt[0]], spelt[0]: tensors[spelt[1]]}
    save_file(tensors, tmp_path / "a.safetensors")
    lora = LoRA.read(tmp_path / "a.safetensors")
    assert lora.unmatched(model) == []
    found = lora.named_for(model).layers
    assert list(found) == ["denoiser"]
    assert list(found["denoiser"]) == [f"{STEM}.{path}"]
    assert found["denoiser"][f"{STEM}.{path}"].alpha == (4.0 if len(spelt) == 3 else 2.0)


@pytest.mark.parametrize("part", ["text_encoder", "text_encoder_2"])
@pytest.mark.parametrize(
    "name",
    [
        "{part}.text_model.encoder.layers.1.self_attn.q_proj.lora_{ab}.weight",
        "{part}.encoder.layers.1.self_attn.q_proj.lora_{ab}.weight",
        "{part}.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.{side}.weight",
        "{part}.text_model.encoder.layers.1.self_attn.to_q_lora.{side}.weight",
        "{te}text_model_encoder_layers_1_self_attn_q_proj.lora_{side}.weight",
        "text_encoders.{clip}.transformer.text_model.encoder.layers.1.self_attn.q_proj.lora_{side}.weight",
    ],
)
def test_every_spelling_of_a_text_layer(tmp_path, part, name):
    model = model_of(tiny.sdxl_pipeline())
    width = model.parts[part].config.hidden_size
    tail = {"te": "lora_te1_" if part == "text_encoder" else "lora_te2_", "part": part}
    tail["clip"] = "clip_l" if part == "text_encoder" else "clip_g"
    tensors = {
        name.format(ab="A", side="down", **tail): torch.randn(2, width),
        name.format(ab="B", side="up", **tail): torch.randn(width, 2),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    lora = LoRA.read(tmp_path / "a.safetensors")
    assert lora.unmatched(model) == []
    assert list(lora.named_for(model).layers[part]) == ["encoder.layers.1.self_attn.q_proj"]


def test_kohya_files_of_sdxl_use_the_original_block_numbers_and_say_what_they_are(tmp_path):
    model = model_of(tiny.sdxl_pipeline())
    trained(model).write(tmp_path / "a.safetensors", "kohya", {"modelspec.title": "me"})
    lora = LoRA.read(tmp_path / "a.safetensors")
    stems = {key.split(".")[0] for key in load_file(tmp_path / "a.safetensors")}
    assert "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_out_0" in stems
    assert "lora_unet_input_blocks_2_0_op" in stems  # the downsampler after one layer
    assert "lora_unet_middle_block_1_proj_in" in stems
    assert "lora_unet_output_blocks_3_0_skip_connection" in stems
    assert "lora_te1_text_model_encoder_layers_0_mlp_fc1" not in stems
    assert "lora_te1_text_model_encoder_layers_0_self_attn_out_proj" in stems
    assert "lora_te2_text_model_encoder_layers_1_self_attn_q_proj" in stems
    assert not any("_down_blocks_" in stem for stem in stems)
    expected = {
        "ss_network_dim": "3",
        "ss_network_alpha": "5",
        "ss_network_module": "networks.lora",
        "modelspec.title": "me",
        "modelspec.prediction_type": "epsilon",
        "ss_v2": "False",
        "ss_base_model_version": "sdxl_base_v1-0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
    }
    assert expected.items() <= lora.metadata.items()


def test_kohya_metadata_of_velocity_models(tmp_path):
    base = tiny.sd_pipeline(unet_changes={"cross_attention_dim": 1024})
    model = model_of(base)
    model.schedule = SimpleNamespace(prediction="v_prediction")
    LoRA.new(model, 2, 1.0, ("attn2.to_k",)).write(tmp_path / "a.safetensors", "kohya")
    metadata = LoRA.read(tmp_path / "a.safetensors").metadata
    expected = {
        "ss_base_model_version": "sd_v2",
        "ss_v2": "True",
        "modelspec.prediction_type": "v",
        "modelspec.architecture": "stable-diffusion-v2-768-v/lora",
        "ss_network_alpha": "1",
    }
    assert expected.items() <= metadata.items()


# What must be refused, and how


def write(tmp_path, tensors, metadata=None):
    save_file(tensors, tmp_path / "bad.safetensors", metadata)
    return tmp_path / "bad.safetensors"


def test_a_lora_for_another_base_is_refused_with_the_cause(tmp_path):
    sd, sdxl = model_of(tiny.sd_pipeline()), model_of(tiny.sdxl_pipeline())
    trained(sdxl).write(tmp_path / "xl.safetensors", "kohya")
    lora, before = LoRA.read(tmp_path / "xl.safetensors"), list(everything(sd))
    problems = lora.unmatched(sd)
    assert any("the model has no text_encoder_2" in problem for problem in problems)
    assert any("changes a weight of shape" in problem for problem in problems)
    with pytest.raises(BadInput, match=rf"{len(problems)} of the keys of .*xl.safetensors.*width 40.*width 16"):
        lora.attach(sd)
    with pytest.raises(BadInput), lora.attached(sd):
        pass
    with pytest.raises(BadInput):
        lora.merged_into(sd)
    assert list(everything(sd)) == before


def test_unmatched_keys_can_be_allowed_but_not_all_of_them(tmp_path):
    model = model_of(tiny.sd_pipeline())
    part = keys_of(model, f"{STEM}.to_q", (f"unet.{STEM}.to_q.lora_A.weight", f"unet.{STEM}.to_q.lora_B.weight"))
    other = {"unet.nowhere.lora_A.weight": torch.zeros(1, 8), "unet.nowhere.lora_B.weight": torch.zeros(8, 1)}
    lora = LoRA.read(write(tmp_path, part | other))
    with pytest.raises(BadInput, match=r"2 of the keys.*unet\.nowhere.*another base"):
        lora.attach(model)
    with pytest.warns(UserWarning, match="2 keys"):
        attachment = lora.attach(model, allow_unmatched=True)
    assert attachment.unmatched == tuple(lora.unmatched(model))
    assert [line.split(":")[0] for line in attachment.unmatched] == sorted(other)
    attachment.detach()
    nothing = LoRA.read(write(tmp_path, other))
    with pytest.raises(BadInput, match="None of the keys"):
        nothing.attach(model, allow_unmatched=True)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("hada_w1_a", "LoHa"),
        ("lokr_w1", "LoKr"),
        ("lora_mid.weight", "Tucker"),
        ("oft_blocks", "OFT"),
        ("lora_B.bias", "bias"),
        ("diff", "full change"),
    ],
)
def test_other_kinds_are_listed_and_never_half_applied(tmp_path, key, kind):
    model = model_of(tiny.sd_pipeline())
    tensors = {}
    for end in ("to_q", "to_k"):
        stem = f"lora_unet_{STEM}.{end}".replace(".", "_")
        tensors |= keys_of(model, f"{STEM}.{end}", (f"{stem}.lora_down.weight", f"{stem}.lora_up.weight"))
    lora = LoRA.read(write(tmp_path, tensors | {f"lora_unet_{STEM}.to_k".replace(".", "_") + f".{key}": torch.ones(2)}))
    assert len(lora) == 1  # to_k is left out whole
    assert len(lora.unmatched(model)) == 3
    assert all(kind in line for line in lora.unmatched(model))
    with pytest.raises(BadInput, match=kind):
        lora.attach(model)


def test_a_file_of_another_kind_alone_is_refused_at_once(tmp_path):
    with pytest.raises(BadInput, match="LoHa"):
        LoRA.read(write(tmp_path, {"lora_unet_a.hada_w1_a": torch.ones(2, 2)}))
    with pytest.raises(BadInput, match="no LoRA layer"):
        LoRA.read(write(tmp_path, {"model.diffusion_model.out.2.weight": torch.ones(2)}))


def test_incomplete_and_contradicting_layers(tmp_path):
    stem = f"unet.{STEM}.to_q"
    whole = keys_of(model_of(tiny.sd_pipeline()), f"{STEM}.to_q", (f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"))
    half = LoRA.read(write(tmp_path, whole | {"unet.x.lora_A.weight": torch.ones(2, 2)}))
    assert half.unsupported == ("unet.x.lora_A.weight: its up weight is missing",)
    clash = {"unet.x.lora_A.weight": torch.ones(2, 2), "unet.x.lora_B.weight": torch.ones(2, 3)}
    assert "do not fit" in LoRA.read(write(tmp_path, whole | clash)).unsupported[0]
    with pytest.raises(BadInput, match="two adapters"):
        LoRA.read(write(tmp_path, whole | {f"{stem}.lora_A.other.weight": torch.ones(2, 8)}))


def test_eight_bit_files_are_widened(tmp_path):
    model = model_of(tiny.sd_pipeline())
    names = (f"unet.{STEM}.to_q.lora_A.weight", f"unet.{STEM}.to_q.lora_B.weight")
    tensors = {key: tensor.to(torch.float8_e4m3fn) for key, tensor in keys_of(model, f"{STEM}.to_q", names).items()}
    lora = LoRA.read(write(tmp_path, tensors))
    assert torch.equal(lora.layers["denoiser"][f"{STEM}.to_q"].down, tensors[names[0]].float())
    with lora.attached(model):
        assert torch.isfinite(outputs(model)).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, value):
    tensors = {"unet.x.lora_A.weight": torch.ones(2, 2), "unet.x.lora_B.weight": torch.full((2, 2), value)}
    with pytest.raises(BadInput, match=r"bad\.safetensors holds NaN or infinity \(unet\.x\.lora_B"):
        LoRA.read(write(tmp_path, tensors))


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.ckpt", "a.pth", "renamed.safetensors"])
def test_pickles_are_refused_unread(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 anything")
    with pytest.raises(BadInput, match=rf"{name} holds pickled LoRA"):
        LoRA.read(tmp_path / name)


def test_broken_files_are_named(tmp_path):
    whole = save({"unet.x.lora_A.weight": torch.ones(2, 2)})
    for size in (0, 4, 20, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"cut\.safetensors cannot be read as \.safetensors"):
            LoRA.read(tmp_path / "cut.safetensors")
    with pytest.raises(BadInput, match=r"none\.safetensors does not exist"):
        LoRA.read(tmp_path / "none.safetensors")


@pytest.mark.parametrize("metadata", ["{", "[1]", '{"unet.lora_alpha": "x"}', '{"unet.alpha_pattern": {"(": 1}}'])
def test_unreadable_peft_metadata_is_refused(tmp_path, metadata):
    tensors = {"unet.x.lora_A.weight": torch.ones(2, 2), "unet.x.lora_B.weight": torch.ones(2, 2)}
    with pytest.raises(BadInput, match="lora_adapter_metadata"):
        LoRA.read(write(tmp_path, tensors, {"lora_adapter_metadata": metadata}))


def test_dora_in_the_metadata_alone_is_enough_to_refuse(tmp_path):
    tensors = {"unet.x.lora_A.weight": torch.ones(2, 2), "unet.x.lora_B.weight": torch.ones(2, 2)}
    with pytest.raises(BadInput, match="DoRA"):
        LoRA.read(write(tmp_path, tensors, {"lora_adapter_metadata": json.dumps({"unet.use_dora": True})}))


def test_linear_and_1x1_convolution_stand_for_each_other(tmp_path):
    """SD 1 projects with 1x1 convolutions where SD 2 has linear layers; files of either shape are numerically one."""
    model = model_of(tiny.sd_pipeline())
    stem, module = "down_blocks.0.attentions.0.proj_in", model.parts["denoiser"].down_blocks[0].attentions[0].proj_in
    assert module.weight.ndim == 4
    down, up = torch.randn(2, 8), torch.randn(8, 2)
    x, said = torch.randn(1, 8, 3, 3), []
    for shape in ((), (1, 1)):
        tensors = {f"unet.{stem}.lora_A.weight": down.reshape(2, 8, *shape)}
        tensors[f"unet.{stem}.lora_B.weight"] = up.reshape(8, 2, *shape)
        lora = LoRA.read(write(tmp_path, tensors))
        with lora.attached(model):
            said.append(module(x))
    assert torch.equal(*said)
