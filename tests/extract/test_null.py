import numpy as np
import pytest
import torch

from extract_scenes import NONE, encoder, extraction, pair
from intaglio.extract.extraction import scores_of
from intaglio.extract.grouping import Cluster
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.methods.direct import Direct
from intaglio.extract.methods.finextract import FineXtract
from intaglio.extract.null import BaseNull, search_base
from intaglio.runs.run import Run


def test_q_values_count_the_bases_groups_as_chance():
    found = extraction([9, 6, 4, 1], [9.0, 6.0, 4.0, 3.0, 1.0])
    beside = BaseNull(torch.tensor([5.0, 2.0, 1.0], dtype=torch.float64), NONE, (5, 2, 1), 100)
    # p is 1/4 for 9 and 6, above all of the base's three, 2/4 for 4 and 3, 4/4 for 1; times five tests over the rank.
    np.testing.assert_allclose(beside.q_values(found), [5 / 8, 5 / 8, 5 / 8, 1.0])


def test_lone_pictures_are_groups_too():
    groups = [Cluster((1, 2), 1, 0.8, 0.8), Cluster((3,), 3, float("nan"), float("nan"))]
    torch.testing.assert_close(scores_of(groups), torch.tensor([2.4, 1.0], dtype=torch.float64))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return pair(tmp_path_factory.mktemp("models"))


def test_the_control_is_the_same_search_in_the_base(models):
    suspect, base = models
    method = Direct(generations=8, pictures=2, steps=2, batch=4, patience=0)
    found = method(suspect, base, prompts=("red cat",), similarity=encoder())
    inputs = ExtractionInputs(suspect, base, ("red cat",), encoder())
    beside = search_base(method, inputs, found, Run.none(), 1)
    assert beside.drawn == 8
    # The base in the suspect's place, with the suspect for base: direct sampling asks only the one that it draws from.
    turned = method(base, suspect, prompts=("red cat",), similarity=encoder())
    assert sum(beside.sizes) <= 8
    alike = turned.descriptors @ turned.descriptors.T
    largest = 1 + max(int((row >= found.threshold).sum()) - 1 for row in alike)
    assert beside.sizes[0] <= largest
    assert beside.pictures.pixels.shape[1:] == (3, 16, 16)


def test_guided_by_itself_the_base_is_led_by_its_prompt_alone(models):
    _, base = models
    method = FineXtract(generations=4, pictures=2, steps=2, scale=3.0, correction=0.0)
    guide = method.guide(base, prompted=True)
    assert guide.base is base
    assert guide.scale == 3.0
