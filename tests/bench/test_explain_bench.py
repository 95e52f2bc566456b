"""The bench of explanations: its grids, its planted sums, and its rows end to end on a small scene."""

import json
from types import SimpleNamespace

import pytest
import torch

from explain_scenes import classifier, pictures
from intaglio.bench.explain import explain_scene
from intaglio.bench.explain.bench import ExplainBench, figures_of
from intaglio.bench.explain.explain_scene import ExplainScene, planted_sum, rank_correlation
from intaglio.bench.explain.pointing_grids import PictureGrid, picture_grids, split_score
from intaglio.errors import BadInput
from intaglio.explain.family import Attribution
from intaglio.explain.methods.integrated_gradients import PathGradients
from intaglio.explain.methods.occlusion import HiddenSquares
from intaglio.images.image_set import ImageSet
from intaglio.metrics.revealing_curves import share_within
from intaglio.models import testbed
from intaglio.models.scored_network import classifier_score
from intaglio.randomness import generator


def test_a_head_that_sees_one_cell_is_moved_by_nothing_outside():
    scored = split_score(classifier(), "kind", 3, 32)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (slope,) = torch.autograd.grad(scored.score(pixels, 1).sum(), pixels)
    cell = PictureGrid(pixels.detach()[0], (0, 1, 2, 3)).cell(3)
    assert cell[16:, 16:].all()
    assert int(cell.sum()) == 256
    assert share_within(slope[0].abs().sum(0), cell) == 1.0
    assert {"stages.0", "stages.1"} <= set(scored.layers)
    alone = classifier_score(classifier(), "kind").score(pixels[:, :, 16:, 16:], 1)
    torch.testing.assert_close(scored.score(pixels, 1), alone)


def test_grids_have_four_classes_and_each_picture_once():
    images = pictures(9)
    scored = classifier_score(classifier(), "kind", side=16)
    sure = torch.full((9, 5), 0.0)
    truth = [0, 1, 2, 3, 0, 1, 2, 3, 4]
    sure[range(9), truth] = 9.0
    sure[8] = 0.0  # not sure of it
    scored = type(scored)(scored.network, "kind", tuple("abcde"), 16)
    object.__setattr__(scored, "logits", lambda pixels: sure)
    grids = picture_grids(scored, images, truth, 5, seed=1)
    assert [sorted(one.targets) for one in grids] == [[0, 1, 2, 3]] * 2
    parts = [grid.pixels[:, grid.cell(k)].view(3, 16, 16) for grid in grids for k in range(4)]
    used = [next(i for i in range(9) if torch.equal(images.pixels[i], part)) for part in parts]
    assert sorted(used) == list(range(8))
    assert [truth[i] for i in used] == [one for grid in grids for one in grid.targets]


def test_a_planted_sum_is_found_by_who_hides_its_cells_and_by_gradients():
    weights = torch.linspace(-1, 1, 64)
    scored, grey = planted_sum(weights), torch.full((1, 3, 64, 64), 0.5)
    with torch.no_grad():
        assert float(scored.score(grey, 0)) == pytest.approx(0.5 * float(weights.sum()), abs=1e-4)
    for method in (HiddenSquares(stride=8, blank="white"), PathGradients(steps=2, blank="white")):
        found = method(scored, ImageSet.from_pixels(grey), [0]).maps[0]
        cells = found.view(8, 8, 8, 8).sum((1, 3)).flatten()
        assert float(torch.corrcoef(torch.stack([cells, weights]))[0, 1]) == pytest.approx(1, abs=1e-4)


def test_a_map_that_owes_nothing_to_the_head_fails_the_sanity_check(small):
    class Blind(HiddenSquares):
        def attributed(self, scored, pixels, target, content):
            return Attribution((1 - pixels).sum(0), 1)

    class OfTheNetwork(HiddenSquares):
        def attributed(self, scored, pixels, target, content):
            return Attribution(torch.randn(16, 16, generator=generator(0, scored.hash)), 1)

    scene = small._scene()
    images, targets = scene.images, scene.scored.called(scene.images.pixels).tolist()
    blind, other = (scene._sanity(one, one(scene.scored, images, targets).maps) for one in (Blind(), OfTheNetwork()))
    assert blind == pytest.approx([1.0] * 4)
    assert 0 <= max(other) < 0.3
    assert rank_correlation(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([3.0, 2.0, 1.0])) == pytest.approx(-1)
    assert rank_correlation(torch.ones(3), torch.arange(3.0)) == 0.0


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(explain_scene, "PLANTED", 1)
    monkeypatch.setattr(testbed, "real_pictures", lambda: pictures(4))
    monkeypatch.setattr(ExplainScene, "scored", classifier_score(classifier(), "kind", side=16))
    monkeypatch.setattr(ExplainScene, "classifier", classifier())
    grid = PictureGrid(torch.cat([pictures(4).pixels[:2].reshape(3, 32, 16)] * 2, 2), (0, 1, 2, 1))
    monkeypatch.setattr(ExplainScene, "grid_pictures", [grid])
    return ExplainBench(runs=tmp_path, workers=1, rows=("grad-cam", "occlusion"), quick=True)


def test_rows_end_to_end_and_a_stopped_bench_goes_on(small, monkeypatch):
    asked, row = [], ExplainScene.row

    def stopping(self, method):
        asked.append(method.name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return row(self, method)

    monkeypatch.setattr(ExplainScene, "row", stopping)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == ["grad-cam", "occlusion", "occlusion"]
    assert list(found["rows"]) == ["grad-cam", "occlusion"]
    assert found["rows"]["occlusion"]["difull"] > 0.5
    assert found["rows"]["occlusion"]["planted"] > 0.9
    assert found["gridpg_grad_cam"] == found["rows"]["grad-cam"]["gridpg"]
    assert found["insertion_lima"] is None
    assert json.dumps(found)
    assert "occlusion" in small.summary(found)


def test_each_corner_of_a_grid_is_explained_for_its_own_class(small, monkeypatch):
    asked = []

    def noted(self, scored, images, targets, run=None):
        asked.append(targets)
        return SimpleNamespace(maps=torch.ones(1, 32, 32))

    monkeypatch.setattr(HiddenSquares, "__call__", noted)
    assert small._scene()._pointed(HiddenSquares(), split=False) == [0.25, 0.25]
    assert asked == [[0], [1]]


def test_the_best_peer_is_neither_of_the_two_and_leads_are_over_the_same_pictures():
    def row(insertion):
        names = ("deletion", "chance", "passes", "gridpg", "difull", "planted", "sanity")
        return {"insertion": insertion, **{key: [0.5] for key in names}}

    found = figures_of({"lima": row([0.8, 0.6]), "smdl": row([0.9, 0.7]), "rise": row([0.5, 0.5])}, 1.0)
    assert (found["best_peer"], found["insertion_best_peer"]) == ("rise", 0.5)
    assert found["lima_ahead"][0] == pytest.approx(0.2)
    assert found["smdl_ahead"][0] == pytest.approx(0.3)


def test_an_unknown_row_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no row called 'saliency'; choose from: grad-cam"):
        ExplainBench(runs=tmp_path, rows=("saliency",))(progress="none")
