import json
import math

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.commands.kit.png_settings import CHUNK, PictureSettings
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, read_png_text, save_png
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample
from intaglio.sampling.search.best_noise import chosen_start
from intaglio.sampling.search.searches import SEARCHES
from intaglio.sampling.start import UnitNoise
from intaglio.sampling.verifiers.colour_share import ColourShare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


def words(folder, out, *more, prompts=("a red cat", "dog")):
    given = ["sample", "--model", str(folder), "--prompt", *prompts, "--seed", "3", "--steps", "2", "--out", str(out)]
    return [*given, "--search", "random", "--budget", "20", "--search-verifier", "ink", *more]


def search_of(picture):
    start = PictureSettings.read(picture).start
    assert start is not None
    return start.search


def pngs(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.png"))}


def test_the_best_of_the_budget_is_kept_with_its_noise_and_replays_without_a_search(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(words(folder, out)) == 0
    told = capsys.readouterr().err
    assert "pictures   2: 40 calls of the denoiser, 8 decodings, 10 judged pictures" in told  # 5 of 4 calls each
    assert "ink scores the best of 5 candidates" in told
    model, search = load_model(folder), SEARCHES["random"]()
    for name, prompt, seed in (("a-red-cat-3", "a red cat", 3), ("dog-4", "dog", 4)):
        names = [(seed, path) for path in ((), (1,), (2,), (3,), (4,))]
        start = chosen_start(search, model, names, UnitNoise())
        all_five = sample(model, [prompt] * 5, [seed] * 5, steps=2, start=start, batch=8)
        scores = ColourShare("ink")(all_five.pixels, [])
        best = int(scores.argmax())
        assert ImageSet.load(out / f"{name}.png", 16).hashes[0] == all_five.hashes[best]
        recorded = search_of(out / f"{name}.png")
        assert recorded is not None
        assert (recorded.name, recorded.path, recorded.budget) == ("random", names[best][1], 20)
        assert (recorded.verifier, recorded.verifier_hash) == ("ink", ColourShare("ink").hash)
        assert recorded.score == pytest.approx(float(scores[best]), abs=1e-5)
    assert main(["sample", "--replay", str(out / "dog-4.png"), "--out", str(tmp_path / "again")]) == 0
    shown = capsys.readouterr()
    assert "all 768 values are the same" in shown.out
    assert "candidates" not in shown.err
    assert search_of(tmp_path / "again" / "dog-4-replay.png") == recorded


def test_zero_order_replays_its_path(folder, tmp_path, capsys):
    more = ("--search", "zero-order", "--search-neighbours", "2", "--search-cosine", "0.3", "--budget", "40")
    assert main(words(folder, tmp_path, *more, prompts=("dog",))) == 0
    recorded = search_of(tmp_path / "dog-3.png")
    assert recorded is not None
    assert recorded.settings == {"neighbours": 2, "cosine": 0.3}
    assert recorded.path
    assert main(["sample", "--replay", str(tmp_path / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0


def test_a_search_goes_on_where_it_was_and_ends_the_same(folder, tmp_path, monkeypatch, capsys):
    assert main(words(folder, tmp_path / "whole")) == 0
    from intaglio.sampling.search.best_noise import BestNoise

    searched, real = [], BestNoise.__call__

    def stopping(self, model, prompt, seed, **options):
        if searched:
            raise KeyboardInterrupt
        searched.append(seed)
        return real(self, model, prompt, seed, **options)

    with monkeypatch.context() as patch:
        patch.setattr(BestNoise, "__call__", stopping)
        assert main(words(folder, tmp_path / "part")) == 130
    assert list(pngs(tmp_path / "part")) == ["a-red-cat-3.png"]
    assert main(words(folder, tmp_path / "part")) == 0
    assert "1 of 2 pictures were drawn before" in capsys.readouterr().err
    assert pngs(tmp_path / "part") == pngs(tmp_path / "whole")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--budget", "3"), "--budget 3 is less than one picture and its score take, 4 calls"),
        (("--search-verifier", "denoiser", "--budget", "19"), "take, 20 calls"),
        (("--sampler", "ddpm"), "ddpm draws noise at each step"),
        (("--search-verifier", "beauty"), "there is no verifier 'beauty'"),
        (("--search-verifier", "attributes"), "knows no picture of 'a red cat'"),
        (("--search-cosine", "0.5"), "belong to --search zero-order"),
        (("--search", "zero-order", "--search-cosine", "1"), "must lie between -1 and 1"),
        (("--budget", "0"), "--budget must be 1 or more"),
        (("--search-neighbours", "0", "--search", "zero-order"), "--search-neighbours must be 1 or more"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(folder, tmp_path, capsys, more, said):
    assert main(words(folder, tmp_path / "out", *more)) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_search_goes_with_no_particles_no_base_and_not_without_its_flags(folder, tmp_path, capsys):
    given = ["--model", str(folder), "--prompt", "dog", "--out", str(tmp_path)]
    whole = ["--search", "random", "--budget", "99", "--search-verifier", "ink"]
    for line, said in (
        (["sample", "fkc", *given, *whole], "fkc draws further noise"),
        (["sample", *given, *whole, "--base", str(folder)], "cannot go with --base"),
        (["sample", *given, "--budget", "99"], "--budget need --search"),
        (["sample", *given, "--search", "random", "--budget", "99"], "--search needs --budget"),
    ):
        assert main(line) == 2
        assert said in " ".join(capsys.readouterr().err.split())


def test_a_budget_of_one_candidate_draws_the_plain_picture_and_says_so(folder, tmp_path, capsys):
    assert main(words(folder, tmp_path, "--budget", "7", prompts=("dog",))) == 0
    assert "nothing is searched" in capsys.readouterr().err
    plain = sample(load_model(folder), ["dog"], [3], steps=2)
    assert ImageSet.load(tmp_path / "dog-3.png", 16).hashes[0] == plain.hashes[0]


def test_another_guide_is_searched_around(folder, tmp_path):
    more = ("--negative", "cat", "--budget", "30")
    line = words(folder, tmp_path, *more, prompts=("dog",))
    assert main([line[0], "perp-neg", *line[1:]]) == 0
    assert search_of(tmp_path / "dog-3.png") is not None
    assert main(["sample", "--replay", str(tmp_path / "dog-3.png"), "--out", str(tmp_path / "again")]) == 0


@pytest.mark.parametrize(
    "change",
    [{"name": "magic"}, {"path": [-1]}, {"path": ["a"]}, {"path": [1, 2]}, {"settings": {"cosine": 3}}, {"score": "a"}],
)
def test_a_damaged_search_is_refused(folder, tmp_path, capsys, change):
    picture = ImageSet.from_pixels(torch.zeros(1, 3, 16, 16)).pixels[0]
    assert main(words(folder, tmp_path, prompts=("dog",))) == 0
    text = read_png_text(tmp_path / "dog-3.png")
    stored = json.loads(text[CHUNK])
    stored["start"]["search"] |= change
    save_png(picture, tmp_path / "bad.png", {**text, CHUNK: json.dumps(stored)})
    assert main(["sample", "--replay", str(tmp_path / "bad.png"), "--out", str(tmp_path)]) == 2
    assert "damaged or of another version" in " ".join(capsys.readouterr().err.split())


def test_a_picture_keeps_no_folder_of_its_maker(folder, tmp_path):
    known = tmp_path / "private" / "known"
    known.mkdir(parents=True)
    save_png(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)), known / "one.png", {})
    more = ("--search-verifier", f"like:{known}", "--budget", "8")
    assert main(words(folder, tmp_path, *more, prompts=("dog",))) == 0
    assert "private" not in json.dumps(read_png_text(tmp_path / "dog-3.png"))
    recorded = search_of(tmp_path / "dog-3.png")
    assert recorded is not None
    assert recorded.verifier == "like:known"
    assert recorded.score is not None
    assert not math.isnan(recorded.score)


def test_pictures_without_a_search_keep_the_format_of_before(folder, tmp_path):
    assert main(["sample", "--model", str(folder), "--prompt", "dog", "--steps", "1", "--out", str(tmp_path)]) == 0
    text = read_png_text(tmp_path / "dog-0.png")
    stored = json.loads(text[CHUNK])
    assert stored["format"] == 1
    del stored["start"]  # as earlier versions wrote it
    save_png(ImageSet.load(tmp_path / "dog-0.png", 16).pixels[0], tmp_path / "old.png", {CHUNK: json.dumps(stored)})
    assert main(["sample", "--replay", str(tmp_path / "old.png"), "--out", str(tmp_path)]) == 0
    stored["format"] = 4
    save_png(torch.zeros(3, 16, 16), tmp_path / "new.png", {CHUNK: json.dumps(stored)})
    with pytest.raises(BadInput, match="of another version"):
        PictureSettings.read(tmp_path / "new.png")


def test_a_method_led_by_likeness_keeps_no_folder_and_is_told_it_again(folder, tmp_path, capsys):
    known = tmp_path / "private" / "known"
    known.mkdir(parents=True)
    save_png(torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)), known / "one.png", {})
    led = ["sample", "svdd", "--verifier", f"like:{known}"]
    given = ["--model", str(folder), "--prompt", "dog", "--steps", "3", "--particles", "2", "--choose-below", "20"]
    assert main([*led, *given, "--out", str(tmp_path)]) == 0
    picture = tmp_path / "dog-0.png"
    assert "private" not in json.dumps(read_png_text(picture))
    assert PictureSettings.read(picture).method_settings["verifier"] == "like:known"
    assert main(["sample", "--replay", str(picture), "--out", str(tmp_path)]) == 2
    assert main([*led, "--replay", str(picture), "--out", str(tmp_path)]) == 0
    assert "all 768 values are the same" in capsys.readouterr().out


def test_another_search_is_another_series(folder, tmp_path, monkeypatch):
    """A series that was left unfinished is taken up by the very same command alone."""
    from intaglio.sampling.search.best_noise import BestNoise

    def stopped(self, *given, **options):
        raise KeyboardInterrupt

    changes = [(), ("--budget", "24"), ("--search-verifier", "jpeg"), ("--search", "zero-order")]
    changes += [("--search", "zero-order", "--search-cosine", "0.5"), ("--from-step", "700")]
    monkeypatch.setattr(BestNoise, "__call__", stopped)
    for change in [*changes, changes[0]]:
        assert main(words(folder, tmp_path, *change)) == 130
    assert len(list(tmp_path.glob(".unfinished-*"))) == len(changes)
