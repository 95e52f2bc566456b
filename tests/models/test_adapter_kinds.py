"""LoHa, LoKr, LoCon with a Tucker core and DoRA: closed forms, PEFT's own layers, every naming, refusals by name."""

import json
import warnings

import numpy as np
import peft
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"  # [8, 8]
CONV = "down_blocks.0.resnets.0.conv1"  # [8, 8, 3, 3]
ALPHA, RANK = 3.0, 2
SCALE = ALPHA / RANK


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    return {"sd": tiny.sd_folder(root / "sd"), "sdxl": tiny.sdxl_folder(root / "sdxl")}


@pytest.fixture(scope="module")
def base(shipped):
    return load_model(shipped["sd"])


def weight_of(model, path) -> np.ndarray:
    return model.denoiser.get_submodule(path).weight.detach().numpy().copy()


def drawn(**shapes) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def tucker(core, a, b) -> np.ndarray:
    """sum over i, j of core[i, j, k, l] a[i, out] b[j, in], by loops."""
    made = np.zeros((a.shape[1], b.shape[1], *core.shape[2:]))
    for i in range(core.shape[0]):
        for j in range(core.shape[1]):
            made += np.outer(a[i], b[j])[:, :, None, None] * core[i, j]
    return made


def kron_of_kernels(first, second) -> np.ndarray:
    return np.stack(
        [
            np.stack([np.kron(first, second[:, :, k, j]) for j in range(second.shape[3])], -1)
            for k in range(second.shape[2])
        ],
        -2,
    )


LOHA = drawn(hada_w1_a=(8, 2), hada_w1_b=(2, 8), hada_w2_a=(8, 2), hada_w2_b=(2, 8))
LOHA_FLAT = drawn(hada_w1_a=(8, 2), hada_w1_b=(2, 72), hada_w2_a=(8, 2), hada_w2_b=(2, 72))
LOHA_TUCKER = drawn(
    hada_w1_a=(2, 8), hada_w1_b=(2, 8), hada_w2_a=(2, 8), hada_w2_b=(2, 8), hada_t1=(2, 2, 3, 3), hada_t2=(2, 2, 3, 3)
)
LOKR = drawn(lokr_w1=(2, 4), lokr_w2_a=(4, 2), lokr_w2_b=(2, 2))
LOKR_BOTH = drawn(lokr_w1_a=(2, 2), lokr_w1_b=(2, 4), lokr_w2_a=(4, 2), lokr_w2_b=(2, 2))
LOKR_WHOLE = drawn(lokr_w1=(2, 4), lokr_w2=(4, 2))
LOKR_FLAT = drawn(lokr_w1=(4, 2), lokr_w2_a=(2, 2), lokr_w2_b=(2, 36))
LOKR_KERNEL = drawn(lokr_w1=(4, 2), lokr_w2=(2, 4, 3, 3))
LOKR_TUCKER = drawn(lokr_w1=(4, 2), lokr_w2_a=(2, 2), lokr_w2_b=(2, 4), lokr_t2=(2, 2, 3, 3))
LOCON = {
    f"{name}.weight": one
    for name, one in drawn(lora_down=(2, 8, 1, 1), lora_up=(8, 2, 1, 1), lora_mid=(2, 2, 3, 3)).items()
}

CASES = {
    "loha": (TO_Q, LOHA, lambda t: SCALE * (t[0] @ t[1]) * (t[2] @ t[3])),
    "loha_flat": (CONV, LOHA_FLAT, lambda t: SCALE * ((t[0] @ t[1]) * (t[2] @ t[3])).reshape(8, 8, 3, 3)),
    "loha_tucker": (CONV, LOHA_TUCKER, lambda t: SCALE * tucker(t[4], t[0], t[1]) * tucker(t[5], t[2], t[3])),
    "lokr": (TO_Q, LOKR, lambda t: SCALE * np.kron(t[0], t[1] @ t[2])),
    "lokr_both": (TO_Q, LOKR_BOTH, lambda t: SCALE * np.kron(t[0] @ t[1], t[2] @ t[3])),
    "lokr_whole": (TO_Q, LOKR_WHOLE, lambda t: np.kron(t[0], t[1])),
    "lokr_flat": (CONV, LOKR_FLAT, lambda t: SCALE * kron_of_kernels(t[0], (t[1] @ t[2]).reshape(2, 4, 3, 3))),
    "lokr_kernel": (CONV, LOKR_KERNEL, lambda t: kron_of_kernels(t[0], t[1])),
    "lokr_tucker": (CONV, LOKR_TUCKER, lambda t: SCALE * kron_of_kernels(t[0], tucker(t[3], t[1], t[2]))),
    "locon": (CONV, LOCON, lambda t: SCALE * tucker(t[2], t[1][:, :, 0, 0].T, t[0][:, :, 0, 0])),
}


def keys(path, tensors, prefix="lora_unet_", alpha=ALPHA) -> dict[str, torch.Tensor]:
    name = prefix + (path.replace(".", "_") if prefix.endswith("_") else path)
    found = {f"{name}.{slot}": torch.from_numpy(np.ascontiguousarray(it)) for slot, it in tensors.items()}
    return found | ({} if alpha is None else {f"{name}.alpha": torch.tensor(alpha)})


def saved(folder, tensors, name="a.safetensors"):
    save_file({key: tensor.clone() for key, tensor in tensors.items()}, folder / name)
    return folder / name


def close(one, two) -> bool:
    return np.allclose(one, two, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", list(CASES))
def test_the_change_is_the_closed_form_at_every_strength(base, tmp_path, case) -> None:
    path, tensors, formula = CASES[case]
    lora = LoRA.read(saved(tmp_path, keys(path, tensors)))
    own, change = weight_of(base, path), formula(list(tensors.values()))
    x = torch.randn(2, 8, *((5, 5) if own.ndim == 4 else ()), generator=torch.Generator().manual_seed(0))
    assert not lora.notes
    for strength in (0.0, 0.5, 1.0):
        model = base.copy()
        with torch.no_grad(), lora.attached(model, strength):
            hooked = model.denoiser.get_submodule(path)(x)
        lora.merged_into(model, strength)
        assert close(weight_of(model, path), own + strength * change)
        with torch.no_grad():
            assert close(hooked, model.denoiser.get_submodule(path)(x))


@pytest.mark.parametrize("case", ["loha", "lokr", "locon"])
@pytest.mark.parametrize("prefix", ["lora_unet_", "lycoris_", "unet.", "base_model.model.", "diffusion_model."])
def test_every_naming_of_the_kinds_is_read(shipped, base, tmp_path, case, prefix) -> None:
    path, tensors, formula = CASES[case]
    original = prefix == "diffusion_model."
    named = {TO_Q: "input_blocks.1.1.transformer_blocks.0.attn1.to_q", CONV: "input_blocks.1.0.in_layers.2"}[path]
    model = load_model(shipped["sd"], lora=saved(tmp_path, keys(named if original else path, tensors, prefix)))
    assert close(weight_of(model, path) - weight_of(base, path), formula(list(tensors.values())))


def test_lokr_acts_on_text_encoders_and_on_sdxl(shipped, tmp_path) -> None:
    name = "mid_block.attentions.0.proj_in"
    plain = load_model(shipped["sdxl"])
    own = weight_of(plain, name)
    wide = np.ones((len(own) // 8, own[0].size // 8), np.float32)
    whole = {"lokr_w1": wide, "lokr_w2": drawn(x=(8, 8))["x"]}
    text = {"lokr_w1": np.ones((2, 2), np.float32), "lokr_w2": drawn(x=(8, 8))["x"]}
    file = keys(name, whole) | keys("text_model_encoder_layers_0_self_attn_q_proj", text, "lora_te1_")
    model = load_model(shipped["sdxl"], lora=saved(tmp_path, file))
    change = weight_of(model, name) - weight_of(plain, name)
    assert close(change.reshape(len(change), -1), np.kron(wide, whole["lokr_w2"]))
    found, before = (it.parts["text_encoder"].state_dict() for it in (model, plain))
    changed = [key for key in found if not torch.equal(found[key], before[key])]
    assert [key.removeprefix("text_model.") for key in changed] == ["encoder.layers.0.self_attn.q_proj.weight"]
    assert close(found[changed[0]] - before[changed[0]], np.kron(text["lokr_w1"], text["lokr_w2"]))


PAIR = {f"{name}.weight": one for name, one in drawn(lora_down=(2, 8), lora_up=(8, 2)).items()}


@pytest.mark.parametrize("path", [TO_Q, CONV])
@pytest.mark.parametrize("of_rows", [True, False])
def test_dora_rescales_to_the_stated_norms(base, tmp_path, path, of_rows) -> None:
    own = weight_of(base, path)
    if path == TO_Q:
        tensors, change = PAIR, SCALE * PAIR["lora_up.weight"] @ PAIR["lora_down.weight"]
    else:
        tensors, change = LOCON, CASES["locon"][2](list(LOCON.values()))
    magnitude = np.linspace(0.5, 2, 8, dtype=np.float32).reshape((8, 1) if of_rows else (1, 8))
    magnitude = magnitude.reshape(*magnitude.shape, *(1 for _ in own.shape[2:]))
    full = own + change
    axes = tuple(range(1, own.ndim)) if of_rows else (0, *range(2, own.ndim))
    wanted = magnitude * full / np.sqrt((full**2).sum(axis=axes, keepdims=True))
    lora = LoRA.read(saved(tmp_path, keys(path, tensors | {"dora_scale": magnitude})))
    x = torch.randn(2, 8, *((5, 5) if own.ndim == 4 else ()), generator=torch.Generator().manual_seed(0))
    for strength in (0.0, 0.5, 1.0):
        model = base.copy()
        with torch.no_grad(), lora.attached(model, strength):
            hooked = model.denoiser.get_submodule(path)(x)
        lora.merged_into(model, strength)
        assert close(weight_of(model, path), own + strength * (wanted - own))
        with torch.no_grad():
            assert close(hooked, model.denoiser.get_submodule(path)(x))


def test_dora_on_a_loha_is_read_too(base, tmp_path) -> None:
    full = weight_of(base, TO_Q) + CASES["loha"][2](list(LOHA.values()))
    magnitude = np.arange(1, 9, dtype=np.float32)[:, None]
    model = base.copy()
    LoRA.read(saved(tmp_path, keys(TO_Q, LOHA | {"dora_scale": magnitude}))).merged_into(model)
    assert close(weight_of(model, TO_Q), magnitude * full / np.sqrt((full**2).sum(1, keepdims=True)))


CONFIGS = {
    "loha": peft.LoHaConfig(r=4, alpha=3, target_modules=["to_q", "conv1"], init_weights=False),
    "loha_tucker": peft.LoHaConfig(
        r=2, alpha=3, target_modules=["conv1"], init_weights=False, use_effective_conv2d=True, alpha_pattern={CONV: 7}
    ),
    "lokr": peft.LoKrConfig(r=1, alpha=3, target_modules=["to_q", "conv1"], init_weights=False, decompose_both=True),
    "lokr_tucker": peft.LoKrConfig(
        r=1, alpha=3, target_modules=["conv1"], init_weights=False, use_effective_conv2d=True
    ),
    # Both factors whole: PEFT scales by alpha over rank all the same, LyCORIS does not.
    "lokr_whole": peft.LoKrConfig(r=16, alpha=8, target_modules=["to_q", "conv1"], init_weights=False),
    "dora": peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=["to_q", "conv1"], init_lora_weights=False, use_dora=True
    ),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_peft_s_own_layers_give_the_same_weights(shipped, base, tmp_path, name) -> None:
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        adapted = peft.get_peft_model(base.copy().denoiser, CONFIGS[name])
        with torch.no_grad():
            for key, tensor in adapted.named_parameters():
                if "magnitude" in key:
                    tensor.mul_(1.5)
        adapted.save_pretrained(tmp_path / "acorn")
        right = adapted.merge_and_unload().state_dict()
    model = load_model(shipped["sd"], lora=tmp_path / "acorn")
    assert all(torch.allclose(it, right[key], atol=1e-5) for key, it in model.denoiser.state_dict().items())
    changed = [key for key, it in base.denoiser.state_dict().items() if not torch.equal(it, right[key])]
    assert len(changed) > 1
    assert not any("alpha" in note for note in model.notes)


REFUSED = {
    "its hada_w2_b is missing": {name: it for name, it in LOHA.items() if name != "hada_w2_b"},
    "its hada_t2 is missing": {name: it for name, it in LOHA_TUCKER.items() if name != "hada_t2"},
    "its lokr_w2_a is missing": {name: it for name, it in LOKR.items() if name != "lokr_w2_a"},
    "its lokr_w1_a is missing": {"lokr_w2": LOKR_WHOLE["lokr_w2"]},
    "its lokr_w2 is there whole and as lokr_w2_a": LOKR | LOKR_WHOLE,
    r"its hada_w1 has factors \(8, 2\) and \(3, 8\)": LOHA | {"hada_w1_b": np.ones((3, 8), np.float32)},
    "its two factors have ranks 3 and 2": LOKR_BOTH | drawn(lokr_w1_a=(2, 3), lokr_w1_b=(3, 4)),
    "Tucker core lora_mid": LOCON | {"lora_mid.weight": np.ones((3, 3, 3, 3), np.float32)},
    "LoHa and LoKr in one layer": LOHA | LOKR,
    "LoHa and LoRA in one layer": LOHA | PAIR,
    "its down weight is missing .of a DoRA": {"dora_scale": np.ones((8, 1), np.float32)},
    r"DoRA magnitude \(8, 8\) is no vector": PAIR | {"dora_scale": np.ones((8, 8), np.float32)},
    "DoRA magnitude is there twice": PAIR | drawn(dora_scale=(8, 1), lora_magnitude_vector=(8,)),
}


@pytest.mark.parametrize("words", list(REFUSED))
def test_incomplete_and_contradicting_files_are_refused_by_name(tmp_path, words) -> None:
    with pytest.raises(BadInput, match=words):
        LoRA.read(saved(tmp_path, keys(TO_Q, REFUSED[words])))


@pytest.mark.parametrize(
    ("path", "tensors", "words"),
    [
        (TO_Q, drawn(lokr_w1=(2, 8), lokr_w2=(8, 2)), r"changes a weight of shape \(16, 16\), the model's is \(8, 8\)"),
        (TO_Q, drawn(lokr_w1=(2, 1), lokr_w2=(8, 4)), r"shape \(16, 4\), the model's is \(8, 8\)"),
        (CONV, LOHA, r"shape \(8, 8\), the model's is \(8, 8, 3, 3\)"),
        (TO_Q, LOCON, r"shape \(8, 8, 3, 3\), the model's is \(8, 8\)"),
        (TO_Q, PAIR | drawn(dora_scale=(2, 1)), "magnitude has 2 values, the model's weight 8 outputs"),
        (TO_Q, PAIR | drawn(dora_scale=(1, 3)), "magnitude has 3 values, the model's weight 8 inputs"),
    ],
)
def test_a_change_of_another_shape_is_refused(base, tmp_path, path, tensors, words) -> None:
    lora = LoRA.read(saved(tmp_path, keys(path, tensors)))
    with pytest.raises(BadInput, match=words):
        lora.attach(base)
    assert len(lora.unmatched(base)) == len(tensors) + 1  # with its alpha


ROWS = np.linspace(0.5, 2, 8, dtype=np.float32).reshape(8, 1)
PAIR_3X3 = {f"{name}.weight": one for name, one in drawn(lora_down=(2, 8, 3, 3), lora_up=(8, 2, 1, 1)).items()}
DORAS = {
    "dora": (TO_Q, PAIR | {"dora_scale": ROWS}),
    "dora_kernel": (CONV, PAIR_3X3 | {"dora_scale": ROWS[:, :, None, None]}),
    "dora_columns": (TO_Q, PAIR | {"dora_scale": ROWS.T}),
    "dora_loha": (TO_Q, LOHA | {"dora_scale": ROWS}),
}
EVEN = {
    "lokr_even": (TO_Q, drawn(lokr_w1=(2, 2), lokr_w2_a=(4, 2), lokr_w2_b=(2, 4))),
    "lokr_four": (TO_Q, drawn(lokr_w1=(4, 4), lokr_w2=(2, 2))),
    "lokr_kernel_two": (CONV, drawn(lokr_w1=(2, 2), lokr_w2=(4, 4, 3, 3))),
}
"""LoKr whose sizes PEFT makes by one factor."""
WRITTEN = {name: case[:2] for name, case in CASES.items()} | DORAS | EVEN


def rewritten(base, tmp_path, path, tensors, layout) -> tuple[LoRA, LoRA]:
    """(as read, as read again after it was written)"""
    lora = LoRA.read(saved(tmp_path, keys(path, tensors))).named_for(base)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        lora.write(tmp_path / "again.safetensors", layout)
    misread = layout == "kohya" and "dora_scale" in tensors and "lora_up.weight" in tensors
    assert misread == any("diffusers leaves its dora_scale out" in str(one.message) for one in told)
    return lora, LoRA.read(tmp_path / "again.safetensors")


def merged(lora, base) -> dict[str, torch.Tensor]:
    return lora.merged_into(base.copy()).denoiser.state_dict()


@pytest.mark.parametrize("case", list(WRITTEN))
def test_every_kind_written_in_kohyas_layout_is_the_same_change(base, tmp_path, case) -> None:
    path, tensors = WRITTEN[case]
    lora, again = rewritten(base, tmp_path, path, tensors, "kohya")
    before, after = merged(lora, base), merged(again, base)
    assert all(torch.equal(it, after[name]) for name, it in before.items())
    assert not torch.allclose(before[f"{path}.weight"], base.denoiser.get_submodule(path).weight, atol=1e-2)
    assert set(load_file(tmp_path / "again.safetensors")) == set(keys(path, tensors))
    assert not again.unmatched(base)
    assert not again.notes


@pytest.mark.parametrize("case", ["loha", "loha_flat", "loha_tucker", *EVEN, "dora", "dora_kernel"])
def test_kinds_written_for_diffusers_act_through_it_or_peft(base, tmp_path, case) -> None:
    path, tensors = WRITTEN[case]
    lora, again = rewritten(base, tmp_path, path, tensors, "diffusers")
    before, after = merged(lora, base), merged(again, base)
    assert all(torch.equal(it, after[name]) for name, it in before.items())
    theirs, ours = base.copy().denoiser, base.copy().denoiser
    ours.load_state_dict(before)
    if case.startswith("loha"):  # diffusers has no loader for it, and refuses the file
        through_peft(theirs, tmp_path / "again.safetensors")
    else:
        theirs.load_lora_adapter(tmp_path, weight_name="again.safetensors", prefix="unet")
    text = torch.randn(1, 4, ours.config.cross_attention_dim, generator=torch.Generator().manual_seed(0))
    x, found = torch.randn(1, ours.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(1)), []
    with torch.no_grad():
        for network in (theirs, ours, base.denoiser):
            found.append(network(x, 500, text).sample)
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_a_dora_of_denoiser_and_text_encoder_acts_through_a_pipeline_of_diffusers(shipped, base, tmp_path) -> None:
    text = "text_model_encoder_layers_0_self_attn_q_proj"
    wide = drawn(lora_down=(2, 16), lora_up=(16, 2), dora_scale=(16, 1))
    file = keys(TO_Q, PAIR | {"dora_scale": ROWS})
    file |= keys(text, {it if "dora" in it else f"{it}.weight": one for it, one in wide.items()}, "lora_te_")
    lora = LoRA.read(saved(tmp_path, file)).named_for(base)
    lora.write(tmp_path / "again.safetensors")
    pipe = StableDiffusionPipeline.from_pretrained(shipped["sd"], safety_checker=None)
    pipe.load_lora_weights(tmp_path, weight_name="again.safetensors")
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    model = lora.merged_into(base.copy())
    for theirs, part in ((pipe.unet, "denoiser"), (pipe.text_encoder, "text_encoder")):
        ours, own = theirs.state_dict(), base.parts[part].state_dict()
        assert all(torch.allclose(it, ours[key], atol=1e-5) for key, it in model.parts[part].state_dict().items())
        assert sum(not torch.equal(it, own[key]) for key, it in ours.items()) == 1


def through_peft(network, file) -> None:
    with safe_open(file, "pt") as opened:
        stated = json.loads(opened.metadata()["lora_adapter_metadata"])
    config = peft.LoHaConfig(**{name.removeprefix("unet."): it for name, it in stated.items()})
    peft.inject_adapter_in_model(config, network)
    tensors = {name.removeprefix("unet."): it for name, it in load_file(file).items()}
    assert not peft.set_peft_model_state_dict(network, tensors).unexpected_keys


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("locon", "LoCon with a Tucker core, which neither diffusers nor PEFT loads; write it in kohya's layout"),
        ("dora_columns", "DoRA on a LoRA, which neither"),
        ("dora_loha", "DoRA on a LoHa, which neither"),
    ],
)
def test_kinds_that_diffusers_cannot_load_are_refused_by_name(base, tmp_path, case, words) -> None:
    with pytest.raises(BadInput, match=words):
        rewritten(base, tmp_path, *WRITTEN[case], "diffusers")
    assert not (tmp_path / "again.safetensors").exists()


def test_two_kinds_in_one_part_and_a_split_that_peft_does_not_make_are_refused(base, tmp_path) -> None:
    mixed = keys(TO_Q, PAIR | {"dora_scale": ROWS}) | keys(TO_Q.replace("to_q", "to_k"), PAIR)
    odd = keys(TO_Q, drawn(lokr_w1=(8, 4), lokr_w2=(1, 2)))
    for tensors, words in ((mixed, "diffusers loads one kind"), (odd, "no one decompose_factor")):
        lora = LoRA.read(saved(tmp_path, tensors)).named_for(base)
        with pytest.raises(BadInput, match=words):
            lora.write(tmp_path / "b.safetensors")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            lora.write(tmp_path / "b.safetensors", "kohya")
        assert len(LoRA.read(tmp_path / "b.safetensors")) == len(lora)


def test_an_unstated_alpha_is_told_of(tmp_path) -> None:
    for tensors in (LOHA, LOKR_WHOLE):
        lora = LoRA.read(saved(tmp_path, keys(TO_Q, tensors, alpha=None)))
        assert "does not say the alpha" in lora.notes[0]
