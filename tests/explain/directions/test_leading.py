import numpy as np
import pytest
import torch

import tiny
from direction_scenes import direction_judge
from families import Killed, breaking, opened
from intaglio.errors import BadInput
from intaglio.explain.directions.family import agreements
from intaglio.explain.directions.leading import lead_pictures
from intaglio.explain.directions.methods.random import RandomDirections
from intaglio.explain.directions.result import Directions, LedPictures, rank_correlations
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

SITE, STEPS = "mid_block", 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("led") / "base"))


def shifts_of(model, own, count=1):
    with torch.no_grad():
        seen = []
        handle = model.denoiser.get_submodule(SITE).register_forward_hook(lambda m, i, o: seen.append(o))
        sample(model, ["cat"], [1], steps=1, guidance_scale=1.0)
        handle.remove()
    shape = seen[0].shape[1:]
    return torch.randn(own, count, STEPS, *shape, generator=torch.Generator().manual_seed(3))


def directions(model, own=1, seeds=()):
    about = ("random", "drawn", "one", "", model.fingerprint, SITE, STEPS, 2.0)
    return Directions(*about, shifts_of(model, own), (float("nan"),), (float("nan"),), seeds)


def led(model, found, seeds, strengths=(-1.0, 1.0), run=None, batch=3):
    options = {"strengths": strengths, "similarity": load_similarity("ssim"), "judge": direction_judge()}
    return lead_pictures(model, found, ["cat", "dog"], seeds, **options, batch=batch, run=run or Run.none())


def test_strength_0_is_plain_sampling_to_the_bit_and_others_are_not(model, tmp_path):
    found = directions(model)
    with opened(tmp_path, RandomDirections()) as run:
        drawn = led(model, found, (5, 6), run=run, batch=2)
        stored = run.load_state("unled")
    plain = sample(model, ["cat", "dog"], [5, 6], steps=STEPS, guidance_scale=2.0).pixels
    assert stored is not None
    assert torch.equal(stored[0]["pixels"], plain)
    assert drawn.strengths == (-1.0, 0.0, 1.0)
    assert (drawn.similarity[:, 1] == 1).all()
    assert (drawn.similarity[:, 0] < 1).all()
    redness = direction_judge().scores["red"](plain)
    np.testing.assert_allclose(drawn.scores[:, 1], redness.expand(2, 2))


def test_each_picture_is_led_by_its_own_shifts_where_they_are_of_pictures(model):
    """Of two pictures with different shifts, each is the same as alone with its own."""
    both = directions(model, own=2, seeds=(5, 6))
    whole = led(model, both, (5, 6))
    for k, seed in enumerate((5, 6)):
        alone = Directions(**{**vars(both), "shifts": both.shifts[k : k + 1], "seeds": (seed,)})
        options = {"strengths": (-1.0, 1.0), "similarity": load_similarity("ssim"), "judge": direction_judge()}
        one = lead_pictures(model, alone, [["cat", "dog"][k]], [seed], **options)
        np.testing.assert_allclose(one.scores[0, :, 0], whole.scores[0, :, k], atol=1e-5)
    with pytest.raises(BadInput, match="are of their own pictures alone"):
        led(model, both, (5, 7))
    small = Directions(**{**vars(both), "shifts": both.shifts[:1, ..., :1], "seeds": ()})
    with pytest.raises(BadInput, match="find directions of this model"):
        led(model, small, (5, 6))


def test_a_killed_run_goes_on_with_the_same_numbers(model, tmp_path):
    found = directions(model)
    whole = led(model, found, (5, 6))
    with pytest.raises(Killed), opened(tmp_path, RandomDirections()) as killed:
        led(model, found, (5, 6), run=breaking(killed, 2))
    with opened(tmp_path, RandomDirections()) as again:
        rest = led(model, found, (5, 6), run=breaking(again, 0))
        assert again.steps <= 3  # of four batches
    np.testing.assert_array_equal(rest.scores, whole.scores)
    np.testing.assert_array_equal(rest.similarity, whole.similarity)


def made(changes, target="red", agreement=0.9, kept=0.9):
    """Scores that rise evenly from -change/2 to change/2, the control's last."""
    levels = np.array([-0.5, 0.0, 0.5])
    scores = np.array([np.outer(levels, row) for row in changes])
    shifts = torch.ones(1, len(changes) - 1, 2, 3, 1, 1)
    known = (0.5,) * (len(changes) - 1), (agreement,) * (len(changes) - 1)
    found = Directions("h-space", "one", "one", "share", "m", SITE, 2, 1.0, shifts, *known)
    similarity = np.full(scores.shape, kept)
    names = tuple("abcd"[: len(changes[0])])
    return LedPictures(found, names, tuple(range(len(names))), (-1.0, 0.0, 1.0), target, scores, similarity)


def test_the_result_says_what_it_does_not_know():
    sure = made([[0.1, 0.1, 0.2], [-2.0, -2.5, -3.0], [0.1, 0.0, 0.1]])
    assert sure.warnings == ()
    assert "Direction 2 moves the log-odds of red by -2.50" in sure.statement
    assert sure.rows()[1]["spearman"] == -1
    assert "differ among each other" in made([[2.0, -2.0, 1.0], [0.0, 0.0, 0.0]]).warnings[0]
    assert "a random direction of this length" in made([[1.0, 1.1, 1.2], [2.0, 2.0, 2.0]]).warnings[0]
    assert "hardly that of the other half" in made([[1.0, 1.1], [0.0, 0.0]], agreement=0.1).warnings[0]


def test_rank_correlations_are_scipys_and_0_where_nothing_changes():
    from scipy.stats import spearmanr

    scores = np.random.default_rng(0).integers(0, 4, (1, 5, 3)).astype(float)
    scores[0, :, 2] = 1.0
    found = rank_correlations(scores)[0]
    for k in (0, 1):
        assert found[k] == pytest.approx(spearmanr(range(5), scores[0, :, k]).statistic)
    assert found[2] == 0
    one = torch.eye(4).view(1, 2, 8)[..., None, None]
    assert agreements(one, -one) == pytest.approx([1.0])
