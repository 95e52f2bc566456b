import numpy as np
import pytest
import torch

from extract_scenes import encoder, extraction
from intaglio.errors import BadInput
from intaglio.extract.evaluation import check_held_out, evaluate
from intaglio.images.image_set import ImageSet


def pictures(count: int, seed: int, prefix: str) -> ImageSet:
    pixels = torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return ImageSet.from_pixels(pixels, [f"{prefix}{i}.png" for i in range(count)])


def found(pixels: torch.Tensor):
    from dataclasses import replace

    return replace(extraction([3] * len(pixels), [3.0]), pictures=ImageSet.from_pixels(pixels))


TRAINING, HELD_OUT = pictures(3, 1, "t"), pictures(7, 2, "h")


def test_a_copy_is_found_and_nothing_else_changes_it():
    result = evaluate(found(torch.cat([HELD_OUT.pixels[:1], TRAINING.pixels[1:2]])), TRAINING, HELD_OUT, encoder())
    assert result.nearest[1] == "t1.png"
    assert float(result.similarity[1]) == pytest.approx(1, abs=1e-5)
    assert float(result.held_out[0]) == pytest.approx(1, abs=1e-5)
    e = encoder()
    expected = e.matrix(TRAINING.pixels, torch.cat([HELD_OUT.pixels[:1], TRAINING.pixels[1:2]])).max(1).values
    assert result.coverage.average == pytest.approx(float(expected.mean()), abs=1e-6)


def test_matches_are_held_against_subsets_as_large_as_the_training_set():
    select = torch.cat([TRAINING.pixels[:2], HELD_OUT.pixels[:1]])
    result = evaluate(found(select), TRAINING, HELD_OUT, encoder())
    others = encoder().matrix(select, HELD_OUT.pixels)
    # Seven held-out pictures make two subsets of three; the seventh is left.
    null = torch.cat([others[:, :3].max(1).values, others[:, 3:6].max(1).values])
    for place in range(3):
        rates = []
        for at in result.similarity[result.similarity <= result.similarity[place]]:
            chance = (1 + int((null >= at).sum())) / (1 + len(null))
            rates.append(min(1.0, chance * 3 / int((result.similarity >= at).sum())))
        np.testing.assert_allclose(result.matches[place], min(rates))


def test_thresholds_are_fitted_where_there_are_pairs_enough():
    few = evaluate(found(TRAINING.pixels), TRAINING, HELD_OUT, encoder())
    assert few.loose is few.strict is None
    training, held_out = pictures(10, 3, "t"), pictures(20, 4, "h")
    more = evaluate(found(training.pixels), training, held_out, encoder())
    apart = encoder().matrix(training.pixels, held_out.pixels).flatten().sort(descending=True).values
    assert more.loose == pytest.approx(float(apart[2]))
    assert more.strict is None
    assert more.coverage.rate(more.loose) == 1


def test_without_held_out_pictures_there_is_no_null():
    result = evaluate(found(TRAINING.pixels), TRAINING, None, encoder())
    assert result.matches is None
    assert result.loose is None
    assert result.coverage.average == pytest.approx(1, abs=1e-5)


def test_nothing_returned_is_nothing_to_evaluate():
    assert evaluate(found(TRAINING.pixels[:0]), TRAINING, None, encoder()) is None


def test_too_few_held_out_pictures_and_shared_ones_are_refused():
    with pytest.raises(BadInput, match="2 held-out pictures cannot stand for 3 training pictures"):
        check_held_out(TRAINING, HELD_OUT[:2])
    shared = ImageSet.from_pixels(torch.cat([HELD_OUT.pixels, TRAINING.pixels[:1]]))
    with pytest.raises(BadInput, match=r"t0.png is in the training set and, as 0007, among the held-out"):
        check_held_out(TRAINING, shared)
