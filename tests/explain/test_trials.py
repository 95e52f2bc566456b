"""What is asked of a method: its corners' own classes, sanity under another head, and networks that cannot be split."""

import pytest
import torch

from explain_scenes import classifier, pictures, untrained
from intaglio.errors import BadInput
from intaglio.explain.family import Attribution
from intaglio.explain.methods.grad_cam import GradCAM
from intaglio.explain.methods.input_gradient import InputGradient
from intaglio.explain.methods.occlusion import HiddenSquares
from intaglio.explain.pointing_grids import PictureGrid
from intaglio.explain.trials import AttributionTrials, check_grids, rank_correlation, shares, with_random_head
from intaglio.models.scored_network import classifier_score
from intaglio.randomness import generator

GRID = PictureGrid(torch.cat([pictures(4).pixels[:2].reshape(3, 32, 16)] * 2, 2), (0, 1, 2, 1))


class Noted(HiddenSquares):
    """Whose maps are high where the network's cell is, if it is split; classes that it was asked are kept."""

    def attributed(self, scored, pixels, target, content):
        ASKED.append(target)
        return Attribution(torch.ones(pixels.shape[1:]), 1)


ASKED = []


def trials(scored=None):
    return AttributionTrials(scored or untrained(), pictures(4), [GRID], [GRID], 3, seed=0)


def test_each_corner_of_a_grid_is_explained_for_its_own_class():
    ASKED.clear()
    maps = trials().pointed(Noted(), [GRID])
    assert ASKED == [0, 1]
    assert shares(maps, [GRID]) == (0.25, 0.25)
    inside = torch.zeros(2, 32, 32)
    inside[0, :16, :16], inside[1, :16, :16] = 1, 1
    assert shares(inside, [GRID]) == (1.0, 0.0)


def test_each_corner_of_a_split_grid_has_its_own_network():
    maps = trials().split(InputGradient())
    assert shares(maps, [GRID]) == (1.0, 1.0)
    assert len(trials().split(GradCAM(layer="stages.0.0"))) == 0  # its maps would be of one cell each
    assert len(trials().split(GradCAM(layer="stages.0"))) == 2


def test_a_map_that_owes_nothing_to_the_head_fails_the_sanity_check():
    class Blind(HiddenSquares):
        def attributed(self, scored, pixels, target, content):
            return Attribution((1 - pixels).sum(0), 1)

    class OfTheNetwork(HiddenSquares):
        def attributed(self, scored, pixels, target, content):
            return Attribution(torch.randn(16, 16, generator=generator(0, scored.hash)), 1)

    asked, images = trials(), pictures(4)
    maps = torch.stack([(1 - one).sum(0) for one in images.pixels])
    assert asked.sanity(Blind(), maps) == pytest.approx([1.0] * 3)
    turned = torch.stack([-(1 - one).sum(0) for one in images.pixels])
    assert asked.sanity(Blind(), turned) == pytest.approx([1.0] * 3)  # a sign alone makes no other map
    own = torch.stack([OfTheNetwork().attributed(asked.scored, one, 0, "").map for one in images.pixels])
    assert 0 <= max(asked.sanity(OfTheNetwork(), own)) < 0.3


def test_rank_correlation_by_hand():
    assert rank_correlation(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert rank_correlation(torch.ones(3), torch.arange(3.0)) == 0.0


def test_only_the_asked_head_is_drawn_anew():
    scored = classifier_score(classifier(), "artist", side=16)
    before = {name: one.clone() for name, one in scored.network.state_dict().items()}
    drawn = with_random_head(scored, 0)
    changed = {name for name, one in drawn.network.state_dict().items() if not torch.equal(one, before[name])}
    assert changed == {"heads.artist.weight"}  # its bias is 0, and so is the deviation
    assert all(torch.equal(one, before[name]) for name, one in scored.network.state_dict().items())


def test_a_network_that_takes_no_grids_is_told():
    check_grids(untrained(), [])
    without = AttributionTrials(untrained(), pictures(2), [], [], 1, seed=0)(InputGradient())
    assert (without.gridpg, without.difull, len(without.insertion)) == ((), (), 2)

    class Fixed(type(untrained())):
        def raw_logits(self, pixels):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    scored = Fixed(classifier(), "kind", ("animal", "food", "place"), 16)
    with pytest.raises(BadInput, match="does not take grids of 32x32 pixels"):
        check_grids(scored, [GRID])
