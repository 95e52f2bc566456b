"""Words of prompts, tested steps, and correlations of maps with effects."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import tiny
from intaglio.errors import BadInput
from intaglio.explain.words.family import spread_steps
from intaglio.explain.words.methods.removal import WordRemoval
from intaglio.explain.words.prompt_words import asked_words
from intaglio.explain.words.result import WordMaps
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.tensors import write_state
from intaglio.sampling.loop import sample


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def test_words_have_their_own_tokens_and_the_prompt_without_each(model):
    asked = asked_words(model, "  red   cat, - dog.")
    assert asked.words == ("red", "cat", "dog")
    assert asked.prompt == "red cat, - dog."
    (row,) = model.tokens([asked.prompt])[0].tolist()
    own = [[row[place] for place in places] for places in asked.tokens]
    tokenizer = model.tokenizers[0]
    assert own == [tokenizer(part, add_special_tokens=False).input_ids for part in ("red", "cat,", "dog.")]
    torch.testing.assert_close(asked.without.hidden[1], model.embed(["red - dog."]).hidden[0])
    with pytest.raises(BadInput, match="has no word"):
        asked_words(model, " , ")
    with pytest.raises(BadInput, match=r"the prompt has \d+ tokens, of which the model reads \d+"):
        asked_words(model, "cat " * 90)


def test_watching_changes_no_bit_of_the_pictures_and_removal_is_its_own_test(model):
    found = WordRemoval(steps=3, tested=3, batch=1, seed=7)(model, "red cat", 2)
    plain = sample(model, ["red cat"] * 2, [7, 8], steps=3, batch=1)
    assert torch.equal(found.pixels, plain.pixels)
    torch.testing.assert_close(found.maps, found.effects)
    assert found.agreement == pytest.approx(np.ones((2, 2)))


def test_steps_are_spread_evenly():
    assert spread_steps(20, 5) == [2, 6, 10, 14, 18]
    assert spread_steps(3, 3) == [0, 1, 2]
    assert spread_steps(7, 1) == [3]


def maps(count=2, words=3, seed=0):
    source = torch.Generator().manual_seed(seed)
    drawn = [torch.rand(count, words, 4, 4, generator=source) for _ in range(2)]
    return WordMaps("x", "y", "a b c", ("a", "b", "c")[:words], (5, 6)[:count], torch.rand(count, 3, 8, 8), *drawn)


def test_agreement_is_spearmans_with_the_own_word_and_beside_it_with_the_others():
    found = maps()

    def rho(k, i, j):
        return spearmanr(found.maps[k, i].flatten(), found.effects[k, j].flatten()).statistic

    assert found.agreement[1, 2] == pytest.approx(rho(1, 2, 2))
    assert found.with_other_words[1, 2] == pytest.approx((rho(1, 2, 0) + rho(1, 2, 1)) / 2)
    row = found.rows()[2]
    assert row["agreement"] == pytest.approx((rho(0, 2, 2) + rho(1, 2, 2)) / 2)
    flat = WordMaps("x", "y", "a", ("a",), (5,), torch.rand(1, 3, 8, 8), torch.ones(1, 1, 2, 2), torch.rand(1, 1, 2, 2))
    assert flat.figures() == {"pictures": 1, "words": 1, "agreement": 0.0, "with_other_words": None}


def test_stored_and_read_again_and_a_damaged_file_is_told(tmp_path):
    found = maps()
    found.save(tmp_path)
    again = WordMaps.load(tmp_path)
    assert again.rows() == found.rows()
    assert (again.prompt, again.seeds) == ("a b c", (5, 6))
    assert "word,agreement" in (tmp_path / "words.csv").read_text()
    about = {"method": "x", "reading": "y", "prompt": "a", "words": ["a"], "seeds": [1]}
    write_state(
        tmp_path / "words.safetensors", {n: torch.ones(1, 2, 2, 2) for n in ("pixels", "maps", "effects")}, about
    )
    with pytest.raises(BadInput, match="is damaged .maps do not fit the words.; delete it"):
        WordMaps.load(tmp_path)
