import numpy as np
import pytest
import torch

import explain_scenes
from intaglio.explain.repairs.methods.cut_edges import CutEdges
from intaglio.runs.run import Run

SMALL = {"screened": 9, "most": 0.2}
BAD = {"screened": 0}
PIECES = {"batch": 5}


def test_the_planted_chain_is_cut_at_one_place_and_nothing_else():
    scored = explain_scenes.marked_chain()
    found = CutEdges(**SMALL)(scored, *explain_scenes.marked_reds(), column="green")
    ((source, target, effect),) = found.result.cut
    assert source.split()[1] == "1"
    assert target.split()[1] == "1"
    assert found.result.share == pytest.approx(1 / 21)
    assert abs(found.result.gap.before) > 10
    assert effect == pytest.approx(abs(found.result.gap.before), rel=0.1)
    assert abs(found.result.gap.after) < 0.05 * abs(found.result.gap.before)
    assert found.result.worst == (0.0, 1.0)
    assert found.result.mean[1] == 1.0


def test_which_value_is_called_what_does_not_count():
    images, truth, green = explain_scenes.marked_reds()
    named = {"yes": "a", "no": "b"}
    found, turned = (
        CutEdges(**SMALL)(explain_scenes.marked_chain(), images, truth, texts).result
        for texts in (green, [named[one] for one in green])
    )
    assert found.gap.before * turned.gap.before < 0
    assert [one[:2] for one in turned.cut] == [one[:2] for one in found.cut]
    assert turned.cut[0][2] > 0


def test_the_result_is_the_same_in_another_order_and_the_network_stays():
    scored = explain_scenes.marked_chain()
    before = {name: one.clone() for name, one in scored.network.state_dict().items()}
    images, truth, green = explain_scenes.marked_reds()
    order = np.random.default_rng(0).permutation(len(images)).tolist()
    texts = [[one[k] for k in order] for one in (truth, green)]
    one = CutEdges(**SMALL)(scored, images, truth, green)
    other = CutEdges(**SMALL)(scored, images[order], *texts)
    assert (one.result.cut, one.result.gap.after) == (other.result.cut, other.result.gap.after)
    assert all(torch.equal(one, before[name]) for name, one in scored.network.state_dict().items())


def test_a_stopped_search_goes_on_with_the_next_edges(tmp_path, monkeypatch):
    scored, lessons = explain_scenes.marked_chain(), explain_scenes.marked_reds()
    whole = CutEdges(**SMALL)(scored, *lessons).result
    record, stored = Run.record, []

    def stopping(self, kind, name, values):
        record(self, kind, name, values)
        stored.extend([name] if kind == "edges" else [])
        if len(stored) == 2:
            raise KeyboardInterrupt

    about = {"seed": 0, "device": "cpu", "command": [], "progress": "none"}
    monkeypatch.setattr(Run, "record", stopping)
    with pytest.raises(KeyboardInterrupt), Run.open(tmp_path, "explain", "x", {}, {}, **about) as run:
        CutEdges(**SMALL)(scored, *lessons, run=run)
    with Run.open(tmp_path, "explain", "x", {}, {}, **about) as run:
        again = CutEdges(**SMALL)(scored, *lessons, run=run).result
    assert stored == ["0-0", "1-0", "2-0"]
    assert again.cut == whole.cut
