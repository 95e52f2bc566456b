"""What an adapter says of itself: PEFT's configuration, other bases and kinds, bundled words, prefixes."""

import json
import math
import shutil
import time
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

import tiny
from intaglio import cli
from intaglio.commands.kit.inputs import SuspectAndBase
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from model_edits import edit

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
TO_Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
FLAT = TO_Q.replace(".", "_")
ORIGINAL = "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("shipped")
    return {"sd": tiny.sd_folder(root / "sd"), "sdxl": tiny.sdxl_folder(root / "sdxl")}


def change(model, base, part="denoiser") -> dict[str, torch.Tensor]:
    """What was added to each weight that is another."""
    pairs = zip(model.parts[part].state_dict().items(), base.parts[part].state_dict().values(), strict=True)
    return {name: one - two for (name, one), two in pairs if not torch.equal(one, two)}


def pair(name, rank=2, width=8, alpha=None, up=".lora_up.weight", down=".lora_down.weight"):
    generator = torch.Generator().manual_seed(0)
    tensors = {f"{name}{down}": torch.randn(rank, width, generator=generator)}
    tensors[f"{name}{up}"] = torch.randn(width, rank, generator=generator)
    return tensors | ({} if alpha is None else {f"{name}.alpha": torch.tensor(float(alpha))})


# PEFT

CONFIGS = {
    "alpha": {"r": 4, "lora_alpha": 16, "target_modules": ["to_q"]},
    "rslora": {"r": 4, "lora_alpha": 3, "target_modules": ["to_q", "to_v"], "use_rslora": True},
    "patterns": {
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["to_q", "to_k", "to_out.0"],
        "rank_pattern": {"attn1.to_q": 2, r"mid_block.*\.to_k": 3},
        "alpha_pattern": {"attn1.to_q": 5, "^mid_block.attentions.0.transformer_blocks.0.attn2.to_k": 32},
    },
    "convolutions": {"r": 4, "lora_alpha": 2, "target_modules": ["conv1", "proj_in"]},
}


def peft_folder(module, folder: Path, **settings) -> dict[str, torch.Tensor]:
    """Saves a random adapter of PEFT; returns the weights after PEFT's own merge."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapted = get_peft_model(module, LoraConfig(init_lora_weights=False, **settings))
    adapted.save_pretrained(folder)
    return adapted.merge_and_unload().state_dict()


@pytest.mark.parametrize("name", list(CONFIGS))
def test_peft_s_configuration_gives_the_strength_from_file_and_folder(shipped, tmp_path, name) -> None:
    base = load_model(shipped["sd"])
    right = peft_folder(load_model(shipped["sd"]).denoiser, tmp_path / "acorn", **CONFIGS[name])
    for given in (
        {"path": shipped["sd"], "lora": tmp_path / "acorn/adapter_model.safetensors"},
        {"path": shipped["sd"], "lora": tmp_path / "acorn"},
        {"path": tmp_path / "acorn", "like": base},
    ):
        model = load_model(**given)
        found = model.denoiser.state_dict()
        assert all(torch.allclose(found[key], right[key], atol=1e-6) for key in right)
        assert change(model, base)
        assert not any("alpha" in note for note in model.notes)


@pytest.mark.parametrize(
    ("part", "place"), [("text_encoder", "sd"), ("text_encoder", "sdxl"), ("text_encoder_2", "sdxl")]
)
def test_an_adapter_of_peft_goes_to_the_part_that_it_names(shipped, tmp_path, part, place) -> None:
    module = load_model(shipped[place]).parts[part]
    right = peft_folder(module, tmp_path / "te", r=2, lora_alpha=8, target_modules=["q_proj"])
    model = load_model(shipped[place], lora=tmp_path / "te")
    assert all(torch.allclose(tensor, right[key], atol=1e-6) for key, tensor in model.parts[part].state_dict().items())
    assert change(model, load_model(shipped[place]), part)


def test_a_folder_with_an_adapter_for_each_part_is_read_as_one(shipped, tmp_path) -> None:
    base = load_model(shipped["sd"])
    unet = peft_folder(
        load_model(shipped["sd"]).denoiser, tmp_path / "both/unet", r=2, lora_alpha=8, target_modules=["to_k"]
    )
    text = load_model(shipped["sd"]).text_encoders[0]
    right = peft_folder(text, tmp_path / "both/text_encoder", r=4, lora_alpha=4, target_modules=["v_proj"])
    for given in ({"path": shipped["sd"], "lora": tmp_path / "both"}, {"path": tmp_path / "both", "like": base}):
        model = load_model(**given)
        assert all(torch.allclose(it, unet[key], atol=1e-6) for key, it in model.denoiser.state_dict().items())
        assert all(torch.allclose(it, right[key], atol=1e-6) for key, it in model.text_encoders[0].state_dict().items())


def test_a_renamed_adapter_of_peft_keeps_its_configuration(shipped, tmp_path) -> None:
    denoiser = load_model(shipped["sd"]).denoiser
    right = peft_folder(denoiser, tmp_path / "acorn", r=4, lora_alpha=16, target_modules=["to_q"])
    (tmp_path / "acorn/adapter_model.safetensors").rename(tmp_path / "acorn/style.safetensors")
    for given in (tmp_path / "acorn", tmp_path / "acorn/style.safetensors"):
        model = load_model(shipped["sd"], lora=given)
        assert all(torch.allclose(it, right[key], atol=1e-6) for key, it in model.denoiser.state_dict().items())


@pytest.fixture
def acorn(shipped, tmp_path) -> Path:
    peft_folder(load_model(shipped["sd"]).denoiser, tmp_path / "acorn", r=4, lora_alpha=16, target_modules=["to_q"])
    return tmp_path / "acorn"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"peft_type": "LOHA"}, "type LOHA"),
        ({"peft_type": "IA3"}, "type IA3"),
        ({"use_qalora": True}, "use_qalora"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"alora_invocation_tokens": [1]}, "alora_invocation_tokens"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4 changed the base's own weights"),
        ({"init_lora_weights": "olora"}, "changed the base"),
        ({"r": 8}, r"has rank 4 in .*, where adapter_config\.json beside it says 8"),
        ({"r": 0}, "r 0"),
        ({"r": "four"}, "r 'four'"),
        ({"lora_alpha": "x"}, "lora_alpha 'x'"),
        ({"lora_alpha": float("nan")}, "lora_alpha nan"),
        ({"use_rslora": "yes"}, "use_rslora 'yes'"),
        ({"alpha_pattern": [1]}, "alpha_pattern"),
        ({"alpha_pattern": {"to_q": "x"}}, "'to_q', which is no pattern"),
        ({"alpha_pattern": {"(": 1}}, "no pattern"),
        ({"rank_pattern": {"(a+)+b": 1}}, "no pattern"),
        ({"rank_pattern": {".*" * 9: 1}}, "no pattern"),
        ({"rank_pattern": {"a" * 1000: 1}}, "no pattern"),
    ],
)
def test_peft_s_configuration_is_checked(shipped, acorn, changes, words) -> None:
    edit(acorn / "adapter_config.json", **changes)
    for given in (acorn, acorn / "adapter_model.safetensors"):
        with pytest.raises(BadInput, match=words):
            load_model(shipped["sd"], lora=given)


def test_harmless_entries_of_peft_s_configuration_are_taken(shipped, acorn) -> None:
    before = load_model(shipped["sd"], lora=acorn).fingerprint
    edit(acorn / "adapter_config.json", init_lora_weights="gaussian", lora_dropout=0.1, bias="none", future={"x": 1})
    assert load_model(shipped["sd"], lora=acorn).fingerprint == before
    edit(acorn / "adapter_config.json", drop=["auto_mapping", "alpha_pattern", "rank_pattern", "use_dora", "peft_type"])
    assert load_model(shipped["sd"], lora=acorn).fingerprint == before


def test_patterns_of_strangers_do_not_hang() -> None:
    from intaglio.data_files import Fields
    from intaglio.models.lora.peft_config import PeftConfig

    config = PeftConfig.of(Fields({"r": 4, "rank_pattern": {"a*a*a*a*b": 1}}, "x"))
    began = time.process_time()
    assert config.rank_of("a" * 60) == 4
    assert time.process_time() - began < 5


def test_an_alpha_that_nothing_says_is_told_of(shipped, tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(pair(f"unet.{TO_Q}", up=".lora_B.weight", down=".lora_A.weight"), path)
    model = load_model(shipped["sd"], lora=path)
    assert any(f"{path} does not say the alpha; the rank is taken" in note for note in model.notes)
    save_file(pair(f"unet.{TO_Q}") | pair(f"unet.{TO_Q[:-1]}k", alpha=1), path)
    (note,) = [note for note in load_model(shipped["sd"], lora=path).notes if "the alpha" in note]
    assert "the alpha of 1 of its 2 layers" in note


def test_sd_scripts_metadata_gives_the_alpha_that_keys_lack(shipped, tmp_path) -> None:
    base, path = load_model(shipped["sd"]), tmp_path / "a.safetensors"
    changes = []
    for metadata, alpha in (({}, 1.0), ({"ss_network_alpha": "1.0", "ss_network_dim": "2"}, None)):
        save_file(pair(f"lora_unet_{FLAT}", alpha=alpha), path, metadata)
        model = load_model(shipped["sd"], lora=path)
        assert not any("alpha" in note for note in model.notes)
        changes.append(change(model, base)[f"{TO_Q}.weight"])
    assert torch.equal(*changes)


def test_diffusers_metadata_is_still_read(shipped, tmp_path) -> None:
    config = {"unet.r": 2, "unet.lora_alpha": 6, "unet.use_rslora": True, "unet.alpha_pattern": None}
    save_file(pair(f"unet.{TO_Q}"), tmp_path / "a.safetensors", {"lora_adapter_metadata": json.dumps(config)})
    lora = LoRA.read(tmp_path / "a.safetensors")
    assert lora.layers["denoiser"][TO_Q].scale == pytest.approx(6 / math.sqrt(2))
    assert lora.notes == ()
    for raw, words in (("[" * 10**5, "nests too deep"), ("[1]", "a list"), ('{"unet.lora_alpha": "x"}', "lora_alpha")):
        save_file(pair(f"unet.{TO_Q}"), tmp_path / "a.safetensors", {"lora_adapter_metadata": raw})
        with pytest.raises(BadInput, match=f"lora_adapter_metadata of .*a.safetensors.*{words}"):
            LoRA.read(tmp_path / "a.safetensors")


def test_what_a_lora_says_of_the_prediction_type_is_compared(shipped, tmp_path) -> None:
    for word, told in (("v", True), ("epsilon", False), ("", False), ("flow", False)):
        save_file(pair(f"lora_unet_{FLAT}", alpha=1), tmp_path / "a.safetensors", {"modelspec.prediction_type": word})
        notes = load_model(shipped["sd"], lora=tmp_path / "a.safetensors").notes
        assert any("trained to predict v, where sd predicts epsilon" in note for note in notes) == told


@pytest.mark.parametrize(
    ("place", "said", "words"),
    [
        ("sdxl", "stable-diffusion-v1/lora", "Stable Diffusion 1"),
        ("sdxl", "stable-diffusion-v2-768-v/lora", "Stable Diffusion 2"),
        ("sd", "stable-diffusion-xl-v1-base/lora", "Stable Diffusion XL"),
        ("sd", "Flux.1-dev/lora", "Flux"),
        ("sdxl", "stable-diffusion-xl-v1-base/lora", None),
        ("sd", "stable-diffusion-v1/lora", None),
        ("sd", "", None),
        ("sd", "something/lora", None),
    ],
)
def test_a_lora_that_fits_and_says_another_base_is_told_of(shipped, tmp_path, place, said, words) -> None:
    path = tmp_path / "a.safetensors"
    save_file(pair(f"lora_unet_{FLAT}", alpha=1), path, {"modelspec.architecture": said})
    notes = [note for note in load_model(shipped[place], lora=path).notes if "was made for" in note]
    assert notes == ([] if words is None else [notes[0]])
    assert words is None or f"says that it was made for {words}, which {place} is not" in notes[0]


# Folders


def test_folders_of_adapters_are_told_apart(shipped, tmp_path, acorn) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with pytest.raises(BadInput, match="place holds no LoRA"):
        load_model(shipped["sd"], lora=place)
    (place / "adapter_model.bin").write_bytes(b"PK\3\4")
    with pytest.raises(BadInput, match=r"holds its adapter as a pickle \(adapter_model\.bin\)"):
        load_model(shipped["sd"], lora=place)
    shutil.copy(acorn / "adapter_model.safetensors", place / "style.safetensors")
    assert load_model(shipped["sd"], lora=place).notes[-1] == f"with the LoRA {place}"
    shutil.copy(acorn / "adapter_model.safetensors", place / "other.safetensors")
    with pytest.raises(BadInput, match=r"several files \(other\.safetensors, style\.safetensors\)"):
        load_model(shipped["sd"], lora=place)


# Words, prefixes, kinds, bases


def bundle(path: Path) -> None:
    words = {"bundle_emb.zorb.clip_l": torch.randn(2, 16), "bundle_emb.zorb.clip_g": torch.randn(2, 24)}
    save_file(pair(ORIGINAL, alpha=1) | words, path)


def test_bundled_words_are_named_and_can_be_left_out(shipped, tmp_path, capsys) -> None:
    bundle(tmp_path / "bundle.safetensors")
    words = ["--model", str(shipped["sdxl"]), "--lora", str(tmp_path / "bundle.safetensors"), "--prompt", "cat"]
    words += ["--steps", "1", "--out", str(tmp_path / "out"), "--quiet"]
    assert cli.main(["sample", *words]) == 2
    said = capsys.readouterr().err
    assert "an embedding of the new word 'zorb' that was trained with the LoRA" in said
    assert "of kinds that are not supported; the rest can be used alone: --skip-unmatched" in said
    assert "another base" not in said
    assert cli.main(["sample", *words, "--skip-unmatched"]) == 0
    model = load_model(shipped["sdxl"], lora=tmp_path / "bundle.safetensors", allow_unmatched=True)
    assert any("2 keys of" in note and "zorb" in note for note in model.notes)
    assert len(model.unused) == 2
    assert change(model, load_model(shipped["sdxl"]))


@pytest.mark.parametrize("place", ["sd", "sdxl"])
def test_the_prefix_of_lycoris_is_read(shipped, tmp_path, place) -> None:
    path, base = tmp_path / "a.safetensors", load_model(shipped[place])
    text = "text_model_encoder_layers_0_self_attn_q_proj"
    save_file(pair(f"lycoris_{FLAT}", alpha=1) | pair(f"lycoris_{text}", width=16, alpha=1), path)
    model = load_model(shipped[place], lora=path)
    assert list(change(model, base)) == [f"{TO_Q}.weight"]
    assert len(change(model, base, "text_encoder")) == 1


@pytest.mark.parametrize(
    ("keys", "metadata", "words"),
    [
        (["lora_unet_double_blocks_0_img_attn_qkv"], {}, "Flux"),
        (["lora_unet_single_blocks_3_linear1"], {}, "Flux"),
        (["transformer.single_transformer_blocks.0.attn.to_q"], {}, "Flux"),
        (["diffusion_model.double_blocks.0.img_attn.proj"], {}, "Flux"),
        (["lora_unet_layers_0_attention_qkv"], {}, "Z-Image"),
        (["diffusion_model.noise_refiner.1.attention.to_q"], {}, "Z-Image"),
        (["lora_unet_joint_blocks_0_x_block_attn_qkv"], {}, "Stable Diffusion 3"),
        (["transformer.transformer_blocks.0.attn.add_q_proj"], {}, "Stable Diffusion 3"),
        (["transformer.transformer_blocks.0.attn.to_q"], {}, "a model whose denoiser is a transformer"),
        (["diffusion_model.blocks.0.self_attn.q"], {}, "Wan"),
        (["lora_unet_blocks_0_cross_attn_k"], {}, "Wan"),
        (["base_model.model.model.layers.0.self_attn.q_proj"], {}, "a language model"),
        (["lora_te3_encoder_block_0_layer_0_SelfAttention_q"], {}, "three text encoders"),
        (["lora_prior_unet_down_blocks_0_x"], {}, "Stable Cascade"),
        (["transformer.transformer_blocks.0.img_mlp.net.0.proj"], {}, "Qwen-Image"),
        (["unknown"], {"modelspec.architecture": "Flux.1-dev/lora"}, "Flux"),
        (["unknown"], {"ss_base_model_version": "sd3m"}, "Stable Diffusion 3"),
    ],
)
def test_a_lora_for_another_architecture_is_named_as_such(shipped, tmp_path, keys, metadata, words) -> None:
    path = tmp_path / "a.safetensors"
    save_file({name: it for key in keys for name, it in pair(key, alpha=1).items()}, path, metadata)
    with pytest.raises(BadInput, match=f"it was made for .*{words}"):
        load_model(shipped["sd"], lora=path)


def test_a_lora_for_the_u_net_here_is_never_taken_for_another() -> None:
    from intaglio.models.lora.other_bases import other_base

    names = [f"unet.{TO_Q}.lora_A.weight", f"lora_unet_{FLAT}.lora_up.weight", f"{ORIGINAL}.lora_up.weight"]
    names += ["lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_2.lora_up.weight"]
    names += ["lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight", "lora_te_text_model_x.alpha"]
    names += ["text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "lora_unet_conv_in.alpha"]
    names += ["unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight"]
    for words in ("sdxl_base_v1-0", "sd_v1", "stable-diffusion-xl-v1-base/lora", ""):
        assert other_base(names, {"ss_base_model_version": words, "modelspec.architecture": words}) is None


KINDS = "these are of kinds that are not supported"
INCOMPLETE = "their tensors are incomplete or do not fit together; save the file again"


@pytest.mark.parametrize(
    ("ending", "shape", "words", "cause"),
    [
        (".hada_w1_a", (2, 2), "LoHa", INCOMPLETE),
        (".lokr_w1", (2, 2), "LoKr", INCOMPLETE),
        (".dora_scale", (8, 1), "DoRA", INCOMPLETE),
        (".lora_magnitude_vector", (8,), "DoRA", INCOMPLETE),
        (".oft_blocks", (2, 2), "OFT", INCOMPLETE),
        (".oft_R", (1, 6), "put adapter_config.json beside the file", "what they need beside them is missing"),
        (".on_input", (2,), "IA3", KINDS),
        (".diff", (8, 8), "full change", KINDS),
    ],
)
def test_other_kinds_of_adapters_and_incomplete_ones_are_named(shipped, tmp_path, ending, shape, words, cause) -> None:
    path = tmp_path / "a.safetensors"
    save_file(pair(f"lora_unet_{FLAT}"[:-1] + "k", alpha=1) | {f"lora_unet_{FLAT}{ending}": torch.ones(shape)}, path)
    with pytest.raises(BadInput, match=f"{words}.*; {cause}.*; the rest .*--skip-unmatched"):
        load_model(shipped["sd"], lora=path)
    assert load_model(shipped["sd"], lora=path, allow_unmatched=True).unused
    save_file({f"lora_unet_{FLAT}{ending}": torch.ones(shape)}, path)
    with pytest.raises(BadInput, match=words):
        load_model(shipped["sd"], lora=path)


def test_an_oft_without_its_configuration_is_an_adapter_whose_remedy_is_said_once(shipped, tmp_path) -> None:
    path, names = tmp_path / "a.safetensors", (TO_Q, TO_Q.replace("to_q", "to_k"), TO_Q.replace("to_q", "to_v"))
    save_file({f"base_model.model.{name}.oft_R.weight": torch.ones(1, 6) for name in names}, path)
    with pytest.raises(BadInput, match=r"holds no LoRA layer .*put adapter_config\.json beside") as caught:
        load_model(path, like=shipped["sd"])
    assert str(caught.value).count("put adapter_config.json") == 1
    assert "made for" not in str(caught.value)


def test_of_keys_that_fail_for_one_reason_one_is_shown(shipped, tmp_path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(pair("unet.elsewhere", alpha=1) | pair("unet.nowhere", alpha=1), path)
    with pytest.raises(BadInput, match="None of the keys") as caught:
        load_model(shipped["sd"], lora=path)
    assert str(caught.value).count("the model has no module of that name") == 1


@pytest.mark.parametrize(
    ("kind", "words"),
    [("ChromaTransformer2DModel", "Chroma"), ("Flux2Transformer2DModel", r"FLUX\.2"), ("Unknown", "Flux or a model")],
)
def test_the_class_of_the_base_in_pefts_configuration_says_what_it_was_made_for(shipped, tmp_path, kind, words) -> None:
    layer = "base_model.model.single_transformer_blocks.0.attn.to_q"
    tensors = {f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(8, 2)}
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "auto_mapping": {"base_model_class": kind}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match=rf"it was made for {words}"):
        load_model(shipped["sd"], lora=tmp_path)


def test_an_adapter_that_fits_nothing_tells_of_a_base_that_was_not_given(shipped, tmp_path, capsys) -> None:
    path = tmp_path / "a.safetensors"
    save_file(pair("lora_unet_double_blocks_0_img_attn_proj", alpha=1), path)
    given = ["sample", "--lora", str(path), "--prompt", "cat", "--out", str(tmp_path / "out"), "--quiet"]
    assert cli.main(given) == 2
    assert "without --model the embedded emoji64 is taken: give its own base with --model" in capsys.readouterr().err
    assert cli.main([*given, "--model", str(shipped["sd"])]) == 2
    assert "without --model" not in capsys.readouterr().err
    with pytest.raises(BadInput, match="without --base the embedded emoji64 is taken"):
        SuspectAndBase(suspect=path).load_models()


def test_every_family_of_transformers_may_be_what_a_transformer_was_made_for() -> None:
    from intaglio.models.diffusion.families.known import FAMILIES
    from intaglio.models.lora.other_bases import base_of_class, made_for_own

    for family in FAMILIES:
        if family.folder == "transformer":
            assert made_for_own("a model whose denoiser is a transformer", family.key)
            assert made_for_own(base_of_class(family.denoiser) or "", family.key)


def test_an_embedding_is_no_lora(shipped, tmp_path) -> None:
    for key in ("clip_l", "clip_g", "emb_params"):
        save_file({key: torch.ones(2, 16)}, tmp_path / "a.safetensors")
        with pytest.raises(BadInput, match="textual inversion"):
            load_model(shipped["sd"], lora=tmp_path / "a.safetensors")


def test_an_alpha_that_is_not_finite_is_named(shipped, tmp_path) -> None:
    save_file(pair(f"lora_unet_{FLAT}", alpha=float("inf")), tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match=rf"NaN or infinity \(lora_unet_{FLAT}\.alpha\)"):
        load_model(shipped["sd"], lora=tmp_path / "a.safetensors")


def test_a_change_beyond_the_precision_is_refused(shipped, tmp_path) -> None:
    tensors = {key: 1e30 * tensor for key, tensor in pair(f"lora_unet_{FLAT}", alpha=1).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    assert len(load_file(tmp_path / "a.safetensors")) == 3
    with pytest.raises(BadInput, match=rf"beyond float32 in its denoiser \({TO_Q}\.weight\)"):
        load_model(shipped["sd"], lora=tmp_path / "a.safetensors")


@pytest.mark.parametrize("second", [f"lora_unet_{FLAT}", ORIGINAL])
def test_one_layer_under_two_names_is_refused(shipped, tmp_path, second) -> None:
    path = tmp_path / "a.safetensors"
    first = pair(f"unet.{TO_Q}", up=".lora_B.weight", down=".lora_A.weight")
    save_file(first | pair(second, alpha=1), path)
    said = rf"two adapters for the same layer \((unet\.{TO_Q}|{second}).* and (unet\.{TO_Q}|{second}).*\)"
    base = load_model(shipped["sd"])
    with pytest.raises(BadInput, match=said):
        load_model(shipped["sd"], lora=path)
    with pytest.raises(BadInput, match=said):
        load_model(shipped["sd"], lora=path, allow_unmatched=True)
    with pytest.raises(BadInput, match=said):
        LoRA.read(path).named_for(base)
    save_file(first | pair(second.replace("to_q", "to_k"), alpha=1), path)
    assert len(change(load_model(shipped["sd"], lora=path), base)) == 2


@pytest.mark.parametrize("ending", ["lora_down.weight", "lora_up.weight", "alpha"])
def test_complex_numbers_are_refused(shipped, tmp_path, ending) -> None:
    tensors = pair(f"lora_unet_{FLAT}", alpha=1)
    key = f"lora_unet_{FLAT}.{ending}"
    save_file(tensors | {key: 1j * tensors[key].to(torch.complex64)}, tmp_path / "a.safetensors")
    with pytest.raises(BadInput, match=f"holds {key} as complex numbers"):
        load_model(shipped["sd"], lora=tmp_path / "a.safetensors")
