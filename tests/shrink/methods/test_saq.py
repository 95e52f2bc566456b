import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.removed_branches import remove_branches
from intaglio.models.diffusion.text_cache import cache_text, cached_projections
from intaglio.models.diffusion.token_stairs import Stairs
from intaglio.sampling.loop import sample
from intaglio.shrink.methods.hierarchical import HierarchicalPrune
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.methods.saq import SAQ
from shrink_scenes import planted_rows

SMALL = {"bits": (16, 8, 4), "lengths": (1, 3)}
BAD = {"batch": 0}
PIECES = {"batch": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


@pytest.fixture(scope="module")
def found(model):
    return SAQ(**SMALL)(model, planted_rows())


def prediction(model, rows):
    (one,) = rows.batches(model, len(rows))
    with torch.no_grad():
        return model.predict(*one)


def halved(model):
    twin = model.copy()
    for weight in twin.denoiser.parameters():
        weight.data = weight.data.half().float()
    return twin


def test_exact_numbers_leave_the_model_what_it_is_in_half_precision(model):
    exact = SAQ(bits=(32,), lengths=())(model, planted_rows())
    rows = planted_rows(6)
    assert torch.equal(prediction(exact.model, rows), prediction(halved(model), rows))
    assert exact.facts["text_cache"]["errors"] == {"stairs": 0.0, "exact": 0.0}


def test_keys_and_values_are_those_of_the_stairs(model, found):
    """Each projection by hand: its numbers, rounded head by head."""
    text = model.embed(["red cat", "dog"]).hidden.detach()
    for name, layer in cached_projections(found.model.denoiser).items():
        attention = found.model.denoiser.get_submodule(name.rpartition(".")[0])
        whole = torch.nn.functional.linear(text, layer.weight).unflatten(-1, (attention.heads, -1))
        with torch.no_grad():
            wanted = Stairs((16, 8, 4), (1, 3)).rounded(whole).flatten(-2)
            assert torch.equal(layer(text), wanted)
            assert torch.equal(layer(text), wanted)


def test_errors_are_against_the_model_without_a_cache_and_flat_ones_stand_beside(model, found):
    rows, plain = planted_rows().held, halved(model)
    errors = found.facts["text_cache"]["errors"]
    mean = (16 + 3 * 8 + (tiny.LENGTH - 4) * 4) / tiny.LENGTH
    flat = {"flat, no more bytes": int(mean), "flat, one bit more": int(mean) + 1}
    assert errors.keys() == {"stairs", *flat, "exact"}
    for name, bits in flat.items():
        twin = plain.copy()
        cache_text(twin.denoiser, Stairs((bits,)))
        apart = float((prediction(twin, rows) - prediction(plain, rows)).norm() / prediction(plain, rows).norm())
        assert errors[name] == pytest.approx(apart, rel=1e-3)
    assert errors["exact"] == 0
    assert found.facts["text_cache"]["mean_bits"] == mean


def test_bytes_of_a_prompt_and_multiplications_are_counted(model, found):
    facts = found.facts
    layers = cached_projections(found.model.denoiser)
    wanted = saved = 0
    for name, layer in layers.items():
        heads = found.model.denoiser.get_submodule(name.rpartition(".")[0]).heads
        width, rest = layer.out_features, tiny.LENGTH - 4
        wanted += 2 * width + 3 * (width + 2 * heads) + rest * (width // 2 + 2 * heads)
        saved += tiny.LENGTH * layer.weight.numel()
    assert facts["text_cache"]["bytes_a_prompt"] == wanted
    assert facts["multiplications"]["before"] - facts["multiplications"]["after"] == saved


def test_whoever_samples_with_the_folder_samples_with_the_stairs(model, found, tmp_path):
    read = load_model(found.save(tmp_path / "m"))
    assert read.same_weights(found.model)
    about = {"steps": 2, "sampler": "ddim", "guidance_scale": 2.0}
    drawn = [sample(one, ["red cat"], [0], **about).pixels for one in (read, found.model, halved(model))]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    rounded = RoundToNearest(bits=8)(read)
    assert cached_projections(load_model(rounded.save(tmp_path / "r")).denoiser)


def test_stairs_that_lose_more_than_a_flat_cache_are_told(model):
    worse = SAQ(bits=(4, 8), lengths=(11,))(model, planted_rows())
    errors = worse.facts["text_cache"]["errors"]
    assert (errors["stairs"] > errors["flat, no more bytes"]) == bool(worse.warnings)


def test_a_model_that_keeps_prompts_or_reads_none_is_refused(model, found):
    with pytest.raises(BadInput, match="keeps its keys and values already"):
        SAQ().check(found.model)
    names = [name for name, _ in model.denoiser.named_modules() if name.endswith("attn2")]
    twin = model.copy()
    remove_branches(twin.denoiser, names)
    with pytest.raises(BadInput, match="no cross-attention"):
        SAQ().check(twin)


@pytest.mark.parametrize(("bits", "told"), [((9,), "2 to 8, 16 and 32"), ((8, 4), "one fewer")])
def test_stairs_that_there_are_none_of_are_refused(bits, told):
    with pytest.raises(ValueError, match=told):
        SAQ(bits=bits, lengths=())


def test_a_model_without_some_branches_can_keep_its_prompts(model):
    pruned = HierarchicalPrune(steps=1, batch=1, budget=0.9, order="magnitude", rates="equal")(model, planted_rows())
    assert SAQ(**SMALL)(pruned.model, planted_rows()).facts["multiplications"]["share"] < 1


def test_the_command_tells_errors_and_other_software_is_refused(model, tmp_path, capsys):
    words = ["--prompt", "dog", "--samples", "0", "--rows", "32", "--runs", str(tmp_path / "runs")]
    assert main(["shrink", "saq", "--model", str(model.source), *words]) == 0
    (run,) = (tmp_path / "runs").glob("shrink-saq-*")
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary["text_cache"]["errors"]["exact"] == 0
    assert "flat, one bit more" in (run / "report.html").read_text()
    assert main(["shrink", "saq", "--model", str(model.source), *words, "--layout", "diffusers"]) != 0
    assert "use layout intaglio" in capsys.readouterr().err
