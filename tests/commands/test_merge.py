"""`intaglio merge`, end to end: folders, single files and LoRAs of tiny models."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tiny
from intaglio.cli import main
from intaglio.denoising.losses import losses
from intaglio.denoising.samples import fixed_samples
from intaglio.images.image_set import ImageSet, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.models.lora.lora import LoRA
from intaglio.randomness import seed_32bit
from intaglio.report import write_report
from intaglio.sampling.loop import sample
from merge_scenes import fine_tunes, flat

FAST = ("--samples", "1", "--prompt", "red cat")


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A base, three fine-tunes of it as folders, and six pictures of which one has a caption."""
    folder = tmp_path_factory.mktemp("merge")
    base = load_model(tiny.sd_folder(folder / "base"))
    for k, model in enumerate(fine_tunes(base, 3)):
        model.save(folder / f"tune{k}")
    for place, pixels in enumerate(tiny.pixels(6)):
        save_png(pixels, folder / "pictures" / f"{place}.png")
    (folder / "pictures" / "0.txt").write_text("dog")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def merged(*words, runs="runs"):
    return main(["merge", *map(str, words), "--runs", str(runs)])


def only(scene, pattern):
    (found,) = scene.glob(pattern)
    return found


@pytest.fixture(scope="module")
def finished(scene):
    assert merged("soup", "tune0", "tune1", "--base", "base", "--images", "pictures", *FAST) == 0
    return only(scene, "runs/merge-soup-*")


def summary_of(run):
    return json.loads((run / "run.json").read_text())["summary"]


def test_the_run_has_the_mean_its_card_and_no_states(scene, finished):
    models = [load_model(scene / f"tune{k}") for k in range(2)]
    found = load_model(finished / "model")
    assert np.allclose(flat(found), (flat(models[0]) + flat(models[1])) / 2, atol=1e-7)
    card = (finished / "README.md").read_text()
    assert all(one.fingerprint in card for one in (*models, load_model(scene / "base")))
    assert not list((finished / "states").glob("*.safetensors"))
    plan = json.loads(only(finished, "records/plan/*.json").read_text())["value"]
    assert plan["bytes_before"] == 3 * plan["bytes_after"]
    tensors = [w for part in found.parts.values() for w in part.state_dict().values()]
    assert plan["bytes_after"] == sum(w.numel() * w.element_size() for w in tensors)


def by_hand(model, pixels, prompts):
    """Denoising losses of pictures at 16 timesteps and noises that are the same for all."""
    with torch.no_grad():
        latents = model.encode(pixels)
    noise, t = fixed_samples(16, tuple(latents.shape[1:]), (0, model.schedule.count - 1), 0)
    rows = []
    for row, prompt in zip(latents, prompts, strict=True):
        with torch.no_grad():
            rows.append(float(losses(model, model.embed([prompt]), row[None], noise, t, 16).mean()))
    return np.array(rows)


def test_losses_are_of_the_held_out_pictures_with_intervals_of_paired_differences(scene, finished):
    images, judged = ImageSet.load(scene / "pictures", 16), summary_of(finished)["losses"]
    prompts = ["dog", *["red cat"] * 5]
    each = {
        name: by_hand(load_model(scene / folder), images.pixels, prompts)
        for name, folder in (("base", "base"), ("model-0", "tune0"), ("model-1", "tune1"))
    }
    mine = by_hand(load_model(finished / "model"), images.pixels, prompts)
    assert judged["pictures"] == 6
    assert judged["merged"]["loss"] == pytest.approx(mine.mean(), rel=1e-4)
    assert [row["model"] for row in judged["others"]] == list(each)
    for row in judged["others"]:
        less = mine - each[row["model"]]
        assert row["loss"] == pytest.approx(each[row["model"]].mean(), rel=1e-4)
        assert row["merged_less_it"] == pytest.approx(less.mean(), rel=1e-2, abs=1e-5)
        low, high = row["merged_less_it_interval_95"]
        assert less.min() - 1e-5 <= low <= row["merged_less_it"] <= high <= less.max() + 1e-5
    gain = (each["model-0"] + each["model-1"]) / 2 - mine
    assert judged["gain"] == pytest.approx(gain.mean(), rel=1e-2, abs=1e-5)


def test_every_model_draws_the_same_seeds(scene, finished):
    names = sorted(path.relative_to(finished / "images").as_posix() for path in (finished / "images").rglob("*.png"))
    assert names == [f"{name}/00.png" for name in ("base", "merged", "model-0", "model-1")]
    shown = ImageSet.load(finished / "images" / "merged" / "00.png", 16)
    record = [json.loads(path.read_text()) for path in finished.glob("records/drawn/*.json")]
    assert sorted(row["key"] for row in record) == ["base", "merged", "model-0", "model-1"]
    drawn = sample(load_model(finished / "model"), ["red cat"], [seed_32bit(0, "merged", 0)], steps=30, sampler="ddim")
    assert shown.hashes == drawn.hashes


def unfinished(scene, finished, runs):
    """A copy of the finished run as a kill leaves it before the model is written."""
    target = scene / runs / finished.name
    shutil.copytree(finished, target)
    header = json.loads((target / "run.json").read_text())
    (target / "run.json").write_text(json.dumps({**header, "status": "unfinished", "summary": {}, "results": []}))
    shutil.rmtree(target / "model")
    return target


def test_it_is_found_again_and_goes_on_where_it_was_killed(scene, finished, capsys, monkeypatch):
    words = ("soup", "tune0", "tune1", "--base", "base", "--images", "pictures", *FAST)
    assert merged(*words) == 0
    assert "calls of the denoiser" not in capsys.readouterr().err, "nothing is planned for a run that is done"
    target = unfinished(scene, finished, "killed")
    monkeypatch.setattr("intaglio.shrink.merging.merge_run.sample", None)  # no picture is drawn again
    monkeypatch.setattr("intaglio.denoising.picture_samples.PictureSamples.errors", None)  # no loss computed
    assert merged(*words, runs="killed") == 0
    assert summary_of(target) == summary_of(finished)
    assert load_model(target / "model").fingerprint == load_model(finished / "model").fingerprint


def test_a_stored_run_is_resumed_by_its_own_words(scene, finished):
    target = unfinished(scene, finished, "resumed")
    assert main(["runs", "resume", str(target)]) == 0
    assert load_model(target / "model").fingerprint == load_model(finished / "model").fingerprint


def test_the_report_has_the_models_the_losses_and_the_pictures(finished):
    page = write_report(finished).read_text()
    assert "2 models as one, by soup" in page
    assert page.count('loading="lazy"') == 4
    assert "base, the base" in page
    assert "denoising loss" in page
    assert "Below the mean of its parts" in page


def test_a_greedy_soup_chooses_by_one_half_and_is_judged_by_the_other(scene, capsys):
    words = ("soup", "tune0", "tune1", "tune2", "--greedy", "--images", "pictures", "--samples", "0")
    assert merged(*words, "--prompt", "red cat", runs="greedy") == 0
    run = only(scene, "greedy/merge-soup-*")
    assert "3 choose the models, 3 others judge the result" in capsys.readouterr().err
    images, summary = ImageSet.load(scene / "pictures", 16), summary_of(run)
    by_content = sorted(range(6), key=lambda k: images.hashes[k])
    prompts = ["dog", *["red cat"] * 5]
    halves = [sorted(by_content[0::2]), sorted(by_content[1::2])]
    models = [load_model(scene / f"tune{k}") for k in range(3)]
    chose, judged = (
        [by_hand(model, images.pixels[half], [prompts[k] for k in half]).mean() for model in models] for half in halves
    )
    assert [row["choosing_loss"] for row in summary["models"]] == pytest.approx(chose, rel=1e-4)
    assert [row["loss"] for row in summary["losses"]["others"]] == pytest.approx(judged, rel=1e-4)
    assert "3 other pictures" in write_report(run).read_text()
    assert not (run / "images").exists()


def test_the_first_word_is_the_base_where_a_method_needs_one(scene):
    assert merged("dare", "base", "tune0", "tune1", "--drop", "0.5", "--samples", "0", runs="first") == 0
    assert merged("dare", "tune0", "tune1", "--base", "base", "--drop", "0.5", "--samples", "0", runs="flag") == 0
    one, other = (only(scene, f"{runs}/merge-dare-*") for runs in ("first", "flag"))
    assert one.name == other.name
    assert load_model(one / "model").fingerprint == load_model(other / "model").fingerprint
    assert summary_of(one)["losses"] is None
    assert "--images" in write_report(one).read_text()


def test_loras_are_taken_on_top_of_the_base(scene, capsys):
    """One is as diffusers and PEFT save it, the other in kohya's layout; the products are added up here."""
    base, updates = load_model(scene / "base"), {}
    for k, name in enumerate(("peft", "kohya.safetensors")):
        adapter = LoRA.new(base, 2, 1.0, targets=("attn1.to_q",), generator=torch.Generator().manual_seed(k))
        for _, path, layer in adapter.items():
            with torch.no_grad():
                layer.up.normal_(0, 0.1, generator=torch.Generator().manual_seed(k))
            updates.setdefault(path, []).append((layer.up @ layer.down).detach() / 2)
        if name == "peft":
            lines = {
                f"unet.{path}.lora_{letter}.weight": tensor.detach().contiguous()
                for _, path, layer in adapter.items()
                for letter, tensor in (("A", layer.down), ("B", layer.up))
            }
            lines |= {f"unet.{path}.alpha": torch.tensor(1.0) for _, path, _ in adapter.items()}
            (scene / "peft").mkdir()
            save_file(lines, scene / "peft" / "pytorch_lora_weights.safetensors", metadata={"format": "pt"})
        else:
            adapter.write(scene / name, "kohya")
    words = ("soup", "peft/pytorch_lora_weights.safetensors", "kohya.safetensors", "--samples", "0")
    assert merged(*words, "--base", "base", runs="loras") == 0
    found = dict(load_model(only(scene, "loras/merge-soup-*") / "model").denoiser.named_parameters())
    assert updates
    for path, weight in base.denoiser.named_parameters():
        wanted = weight + sum(updates.get(path.removesuffix(".weight"), ())) / 2
        assert torch.allclose(found[path], wanted, atol=1e-6), path
    assert merged(*words, runs="refused") == 2
    assert "is a LoRA and no model of its own; give the model it was made for as --base" in capsys.readouterr().err


def test_an_unfinished_runs_page_is_plain(scene, finished):
    assert "merge soup" in write_report(unfinished(scene, finished, "begun")).read_text()


def test_models_of_one_name_are_told_apart(scene):
    for k in range(2):
        shutil.copytree(scene / f"tune{k}", scene / f"run{k}" / "model")
    assert merged("slerp", "run0/model", "run1/model", "--samples", "0", runs="named") == 0
    run = only(scene, "named/merge-slerp-*")
    assert [row["model"] for row in summary_of(run)["models"]] == ["run0/model", "run1/model"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["soup"], "2 models or more, not 0"),
        (["soup", "tune0"], "2 models or more, not 1"),
        (["ties"], "give the base as the first word"),
        (["ties", "base", "tune0"], "2 models or more beside the base, not 1"),
        (["dare", "base"], "1 models or more beside the base, not 0"),
        (["slerp", "tune0", "tune1", "tune2"], "merges 2 models, not 3"),
        (["soup", "tune0", "tune1", "--greedy"], "give --images"),
        (["soup", "tune0", "nowhere"], "nowhere does not exist"),
        (["soup", "tune0", ""], "a word before the flags is empty"),
        (["dare", "base", "tune0", "--drop", "1"], "drop must be at least 0 and below 1"),
        (["slerp", "tune0", "tune1", "--t", "1.2"], "t must be 0 to 1"),
        (["soup", "tune0", "tune1", "--samples", "-1"], "samples must be at least 0"),
        (["soup", "tune0", "tune1", "--batch", "0"], "batch must be at least 1"),
        (["soup", "tune0", "tune1", "--picture-seed", "-1"], "picture_seed must be 0"),
        (["linear", "base", "tune0", "--weights", "1", "1"], "2 weights are given for 1 models"),
        (["blend", "tune0", "tune1"], "merge has no method 'blend'"),
    ],
)
def test_bad_words_are_refused_before_any_work(scene, capsys, words, told):
    assert merged(*words, runs="refused") == 2
    assert told in capsys.readouterr().err
    assert not (scene / "refused").exists()
