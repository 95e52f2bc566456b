"""The bench of explanations: its grids, its planted sums, and its rows end to end on a small scene."""

import json

import pytest
import torch

from explain_scenes import classifier, pictures
from intaglio.bench.explain import explain_scene
from intaglio.bench.explain.bench import ExplainBench, figures_of
from intaglio.bench.explain.beside import figures_beside
from intaglio.bench.explain.explain_scene import ExplainScene, planted_sum
from intaglio.errors import BadInput
from intaglio.explain.methods.integrated_gradients import PathGradients
from intaglio.explain.methods.occlusion import HiddenSquares
from intaglio.explain.pointing_grids import PictureGrid
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.scored_network import classifier_score
from intaglio.runs.run import Run


def test_a_planted_sum_is_found_by_who_hides_its_cells_and_by_gradients():
    weights = torch.linspace(-1, 1, 64)
    scored, grey = planted_sum(weights), torch.full((1, 3, 64, 64), 0.5)
    with torch.no_grad():
        assert float(scored.score(grey, 0)) == pytest.approx(0.5 * float(weights.sum()), abs=1e-4)
    for method in (HiddenSquares(stride=8, blank="white"), PathGradients(steps=2, blank="white")):
        found = method(scored, ImageSet.from_pixels(grey), [0]).maps[0]
        cells = found.view(8, 8, 8, 8).sum((1, 3)).flatten()
        assert float(torch.corrcoef(torch.stack([cells, weights]))[0, 1]) == pytest.approx(1, abs=1e-4)


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(explain_scene, "PLANTED", 1)
    monkeypatch.setattr(testbed, "real_pictures", lambda: pictures(4))
    monkeypatch.setattr(ExplainScene, "scored", classifier_score(classifier(), "kind", side=16))
    monkeypatch.setattr(ExplainScene, "classifier", classifier())
    grid = PictureGrid(torch.cat([pictures(4).pixels[:2].reshape(3, 32, 16)] * 2, 2), (0, 1, 2, 1))
    monkeypatch.setattr(ExplainScene, "picture_grids", lambda self, repeated: [grid])
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
    assert asked == ["occlusion", "grad-cam", "grad-cam"]  # the one of more passes first
    assert set(found["rows"]) == {"grad-cam", "occlusion"}
    assert found["rows"]["occlusion"]["difull"] > 0.5
    assert found["rows"]["occlusion"]["planted"] > 0.9
    assert found["gridpg_grad_cam"] == found["rows"]["grad-cam"]["gridpg"]
    assert found["insertion_lima"] is None
    assert json.dumps(found)
    assert "occlusion" in small.summary(found)


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


def test_figures_of_other_benches_stand_beside_and_those_that_were_not_run_are_none(tmp_path):
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    for error, method, finishes in ((0.3, "patching", True), (0.1, "patching", False), (0.9, "words", True)):
        with Run.open(tmp_path, "bench", method, {"error": error}, {}, **about) as run:
            if finishes:
                run.finish({"relp_error": error, "other": 1})
    found = figures_beside(tmp_path)
    assert (found["relp_error"], found["craft_recovery"], found["bias_after"]) == (0.3, None, None)
    assert [name.rsplit("-", 1)[0] for name in found["beside"].values()] == ["bench-patching"]
    assert figures_beside(tmp_path / "none")["beside"] == {}
