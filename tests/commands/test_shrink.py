import json
from shutil import rmtree

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

import tiny
from families import FAMILIES
from intaglio.cli import main
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.images.image_set import save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.shrink.calibration_states import drawn_states
from intaglio.shrink.methods.ptq4dm import PTQ4DM
from intaglio.shrink.methods.rtn import RoundToNearest
from rows import MODELLESS, matrix, with_paths
from shrink_scenes import exact_integers, planted_rows

DRAWING = ["--prompt", "dog", "red cat", "--samples", "1", "--rows", "32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    assert main(["shrink", "gptq", "--model", str(folder), *DRAWING, "--runs", str(runs)]) == 0
    (found,) = runs.glob("shrink-gptq-*")
    return found


def test_the_run_keeps_a_small_model_with_its_price_and_no_states(folder, run, capsys):
    base, small = load_model(folder), load_model(run / "model")
    summary = json.loads((run / "run.json").read_text())["summary"]
    file = run / "model" / "unet" / "intaglio_packed.safetensors"
    assert summary["file_bytes"] == file.stat().st_size
    assert summary["bytes"] == sum(t.numel() * t.element_size() for t in load_file(file).values())
    assert summary["bytes"] < 0.6 * summary["bytes_at_16_bits"]
    assert summary["error"]["low"] <= summary["error"]["whole"] <= summary["error"]["high"]
    assert summary["ruler"]["bytes"] <= summary["bytes"]
    assert small.packing["denoiser"].base == base.fingerprint
    assert small.packing["denoiser"].bits == pytest.approx(summary["bits"])
    assert not list((run / "states").glob("*.safetensors"))
    assert sorted(p.relative_to(run / "images").as_posix() for p in (run / "images").rglob("*.png")) == [
        "after/00.png",
        "before/00.png",
    ]
    assert base.fingerprint in (run / "README.md").read_text()
    page = (run / "report.html").read_text()
    assert "What the predictions lost" in page
    assert main(["shrink", "gptq", "--model", str(folder), *DRAWING, "--runs", str(run.parent)]) == 0
    shown = capsys.readouterr()
    assert str(run / "model") in shown.out
    assert "at 16 bits a weight" not in shown.err, "nothing is planned for a run that is done"


def test_the_error_is_that_of_the_rows_held_back(folder, run):
    """Written out anew: norm of the change over norm of the prediction, on every eighth walk."""
    base, small = load_model(folder), load_model(run / "model")
    rows = drawn_states(base, ["dog", "red cat"], 32)
    change = size = 0.0
    with torch.no_grad():
        for k in range(32):
            if rows.origins[k] % 8 == 7:
                given = base.embed([rows.texts[rows.places[k]]])
                wanted = base.predict(rows.latents[k : k + 1], rows.t[k : k + 1], given)
                found = small.predict(rows.latents[k : k + 1], rows.t[k : k + 1], given)
                change, size = change + float((found - wanted).square().sum()), size + float(wanted.square().sum())
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary["error"]["whole"] == pytest.approx((change / size) ** 0.5, rel=1e-3)


def test_without_rows_and_samples_nothing_is_drawn_and_nothing_judged(folder, tmp_path):
    words = ["--model", str(folder), "--rows", "0", "--samples", "0", "--runs", str(tmp_path)]
    assert main(["shrink", "rtn", "--bits", "4", *words]) == 0
    (found,) = tmp_path.glob("shrink-rtn-*")
    assert "error" not in json.loads((found / "run.json").read_text())["summary"]
    assert "Nothing was judged" in (found / "report.html").read_text()


def test_pictures_to_learn_from_take_the_place_of_drawn_states(folder, tmp_path):
    for k, picture in enumerate(tiny.pixels(8)):
        save_png(picture, tmp_path / "pictures" / f"{k}.png")
    words = ["--model", str(folder), "--calibration", str(tmp_path / "pictures"), "--rows", "16", "--samples", "0"]
    assert main(["shrink", "wanda", *words, "--runs", str(tmp_path / "r")]) == 0
    (found,) = (tmp_path / "r").glob("shrink-wanda-*")
    assert "16 noised latents of 8 pictures" in (found / "report.html").read_text()


def test_the_dense_layout_is_read_by_other_tools_and_is_the_same_model(folder, tmp_path, capsys):
    words = ["--model", str(folder), "--rows", "0", "--samples", "0", "--layout", "diffusers", "--runs", str(tmp_path)]
    assert main(["shrink", "rtn", *words]) == 0
    (found,) = tmp_path.glob("shrink-rtn-*")
    stored = load_file(found / "model" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.float16}
    assert "as diffusers, for other software" in capsys.readouterr().err
    theirs = UNet2DConditionModel.from_pretrained(found / "model" / "unet")
    ours = RoundToNearest()(load_model(folder)).model.denoiser.state_dict()
    for name, weight in theirs.state_dict().items():
        assert torch.allclose(weight.float(), ours[name], rtol=1e-3, atol=1e-6)


def test_a_gguf_file_is_written_where_codes_fit_the_format_and_refused_before_a_model_is_read(folder, tmp_path, capsys):
    (tmp_path / "model_index.json").touch()
    words = ["--model", str(folder), "--rows", "0", "--samples", "0", "--layout", "gguf", "--runs", str(tmp_path)]
    assert main(["shrink", "rtn", "--bits", "4", "--group", "16", *words, "--model", str(tmp_path)]) == 2
    assert "groups of 32" in capsys.readouterr().err
    assert main(["shrink", "rtn", "--bits", "4", "--group", "32", *words]) == 0
    (found,) = tmp_path.glob("shrink-rtn-*")
    file = found / "model" / "unet.gguf"
    assert json.loads((found / "run.json").read_text())["summary"]["file_bytes"] == file.stat().st_size
    assert "`unet.gguf`" in (found / "README.md").read_text()
    assert load_model(found / "model").packing == {}


@exact_integers
def test_a_model_with_rounded_inputs_draws_in_int8_and_its_picture_is_drawn_again(folder, tmp_path, capsys):
    small = PTQ4DM(times="even")(load_model(folder), planted_rows()).save(tmp_path)
    words = ["--prompt", "dog", "--steps", "2", "--dtype", "int8", "--out", str(tmp_path / "out")]
    assert main(["sample", "--model", str(small), *words]) == 0
    (picture,) = (tmp_path / "out").glob("*.png")
    assert main(["sample", "--replay", str(picture), "--out", str(tmp_path / "again")]) == 0
    assert main(["sample", "--model", str(folder), *words]) == 2
    assert "has no packed weights" in capsys.readouterr().err


def test_bytes_that_were_changed_are_refused(folder, tmp_path):
    small = RoundToNearest()(load_model(folder)).save(tmp_path)
    file = small / "unet" / "intaglio_packed.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 255
    file.write_bytes(data)
    with pytest.raises(BadInput, match="bytes that were written"):
        load_model(small)


def test_plain_rounding_that_is_nearer_in_no_more_bytes_is_told(folder, tmp_path, capsys):
    words = ["--model", str(folder), *DRAWING, "--runs", str(tmp_path)]
    assert main(["shrink", "magnitude", "--sparsity", "0.8", *words]) == 0
    assert "plain rounding to" in capsys.readouterr().err


def test_a_packed_model_is_not_packed_again(run, capsys, tmp_path):
    assert main(["shrink", "rtn", "--model", str(run / "model"), *DRAWING, "--runs", str(tmp_path)]) == 2
    assert "is packed already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["gptq", "--rows", "0"], "learns from calibration rows"),
        (["gptq", "--rows", "20", "--prompt", "dog"], "--rows must be 32 or more"),
        (["rtn", "--rows", "-1"], "--rows must be"),
        (["rtn", "--keep", "conv_inn", "--prompt", "dog"], "near are conv_in"),
        (["rtn", "--parts", "text_encoder_2", "--prompt", "dog"], "no part text_encoder_2"),
        (["rtn", "--prompt", "dog", "--prompts", "x.txt"], "not both"),
        (["rtn"], "give --prompt"),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, capsys, words, told):
    assert main(["shrink", *words, "--model", str(folder), "--runs", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


def test_a_model_that_is_not_there_is_told_of_first(tmp_path, capsys):
    assert main(["shrink", "rtn", "--model", str(tmp_path / "nowhere"), "--runs", str(tmp_path)]) == 2
    assert "nowhere does not exist" in capsys.readouterr().err


def test_a_damaged_packing_is_refused_by_whatever_reads_it(folder, tmp_path, capsys):
    saved = RoundToNearest()(load_model(folder)).save(tmp_path / "small")
    file = saved / "unet" / "intaglio_packed.safetensors"
    save_file(load_file(file), file)
    assert main(["sample", "--model", str(saved), "--prompt", "dog", "--out", str(tmp_path / "o")]) == 2
    assert "does not say how its weights are packed" in capsys.readouterr().err


ROWS = {row.verb: row for row in matrix().values() if row.verb not in MODELLESS}


@pytest.mark.parametrize("verb", [verb for verb in ROWS if verb != "shrink"])
def test_every_verb_takes_a_model_that_was_made_smaller(verb, tmp_path):
    row, family = ROWS[verb], FAMILIES[verb]
    (_, *others) = models = family.models(tmp_path)
    small = load_model(RoundToNearest(bits=4)(models[0]).save(tmp_path / "small"))
    method = load(row.target)(**with_paths(row.small))
    assert family.numbers(family.call(method, (small, *others), Run.none()))


def test_parts_that_a_folder_lacks_bring_their_packing_with_them(folder, tmp_path):
    saved = RoundToNearest(parts=("text_encoder",))(load_model(folder)).save(tmp_path / "small")
    bare = tmp_path / "bare"
    load_model(folder).save(bare)
    rmtree(bare / "text_encoder")
    assert set(load_model(bare, like=saved).packing) == {"text_encoder"}
    with pytest.raises(BadInput, match="packed already"):
        RoundToNearest(parts=("text_encoder",)).check(load_model(bare, like=saved))
