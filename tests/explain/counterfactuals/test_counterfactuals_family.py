"""Makers as such: pictures learnt in any order, labels scaled, pictures made and measured."""

import numpy as np
import pytest
import torch

import attribute_scenes
from intaglio.errors import BadInput
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.family import set_alone, some_held
from intaglio.explain.counterfactuals.made_pictures import counterfactuals, made, shown_places
from intaglio.explain.counterfactuals.methods.causal_diffae import CausalDiffAE
from intaglio.explain.counterfactuals.methods.label_only import LabelCode, LabelOnly
from intaglio.explain.counterfactuals.picture_measures import measured_attribute
from intaglio.runs.run import Run

METHOD = LabelOnly(updates=3, channels=8, rows=4)


def test_what_is_learnt_does_not_depend_on_the_order_of_the_pictures():
    images, table = attribute_scenes.squares()
    turned = list(range(len(images)))[::-1]
    other = AttributeTable(table.names, table.values[turned])
    first = METHOD.learnt(images, table, attribute_scenes.GRAPH).state_dict()
    second = METHOD.learnt(images[turned], other, attribute_scenes.GRAPH).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def poor(count=12, known=9):
    """Pictures, the first of which have no labels."""
    images, table = attribute_scenes.squares(count)
    values = table.values.copy()
    values[: count - known] = np.nan
    return images, AttributeTable(table.names, values)


def test_labels_to_judge_by_are_drawn_by_content_and_only_where_others_have_none():
    images, table = poor(24, 20)
    held = some_held(table, images, 0, 99).held
    assert len(held) == 4
    assert table.labelled[list(held)].all()
    turned = list(range(24))[::-1]
    other = some_held(AttributeTable(table.names, table.values[turned]), images[turned], 0, 99)
    assert {images.hashes[turned[k]] for k in other.held} == {images.hashes[k] for k in held}
    assert some_held(table, images, 1, 99).held != held
    assert some_held(*attribute_scenes.squares()[::-1], 0, 99).held == ()
    assert len(some_held(*poor(12, 9)[::-1], 0, 99).held) == 1  # eight are left to learn
    assert some_held(*poor(12, 8)[::-1], 0, 99).held == ()
    assert some_held(table, images, 0, 2).held == tuple(sorted(set(held) & set(some_held(table, images, 0, 2).held)))
    assert len(some_held(table, images, 0, 2).held) == 2  # so that all of them are shown


def test_a_method_of_labels_learns_the_labelled_pictures_alone_without_those_held_out():
    images, table = poor(12, 10)
    kept = [k for k in range(12) if table.labelled[k] and k != 5]
    first = METHOD.learnt(images, table.holding([5]), attribute_scenes.GRAPH).state_dict()
    low, most = table.values[kept].argmin(0), table.values[kept].argmax(0)
    assert 5 not in (*low, *most)  # so that both tables scale alike
    second = METHOD.learnt(images[kept], AttributeTable(table.names, table.values[kept]), attribute_scenes.GRAPH)
    assert all(torch.equal(first[name], one) for name, one in second.state_dict().items())


def test_pictures_that_judge_are_shown_first():
    _, table = poor(12, 9)
    causal = CausalDiffAE(channels=8)
    assert shown_places(causal, table.holding([4, 7]), 7) == [4, 7, 0, 1, 2, 3, 5]
    assert shown_places(METHOD, table.holding([4, 7]), 4) == [4, 7, 3, 5]
    assert shown_places(causal, table, 11) == [*range(3, 12), 0, 1]
    assert shown_places(causal, attribute_scenes.squares()[1], 3) == [0, 1, 2]


def test_labels_are_given_scaled_and_pictures_from_minus_one_to_one(monkeypatch):
    images, table = attribute_scenes.squares()
    seen = []

    def losses(self, pixels, labels, done, source):
        seen.append((pixels, labels, done))
        return {"one": self.encoder(pixels).square().mean()}

    monkeypatch.setattr(LabelCode, "losses", losses)
    LabelOnly(updates=6, channels=8, rows=6).learnt(images, table, attribute_scenes.GRAPH)
    labels = torch.cat([one[1] for one in seen])
    torch.testing.assert_close(labels.amin(0), torch.zeros(2))
    torch.testing.assert_close(labels.amax(0), torch.ones(2))
    assert float(seen[0][0].amax()) == 1
    assert float(seen[0][0].amin()) < -0.2
    assert [one[2] for one in seen] == [0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]
    wanted = {tuple(row) for row in table.scaled(table.values).tolist()}
    assert {tuple(row) for row in labels.tolist()} == wanted


def test_numbers_are_in_the_tables_units_and_pictures_are_kept(tmp_path):
    images, table = attribute_scenes.squares()
    measured = {1: measured_attribute("ink-side", images.pixels, table.values[:, 1])}
    model = METHOD.begun(attribute_scenes.GRAPH, 16).requires_grad_(False)
    about = (METHOD, model, images, table, attribute_scenes.GRAPH, [2, 5, 7], {"brightness": 0.25}, measured)
    open_run = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    with Run.open(tmp_path, "explain", "x", {}, {}, **open_run) as run:
        found = counterfactuals(*about, run=run)
        assert sorted(path.name for path in (run.folder / "images").iterdir()) == [
            f"{part}-{k}.png" for part in ("after", "before", "original") for k in range(3)
        ]
    assert found.pictures == ("02.png", "05.png", "07.png")
    assert found.labels.tolist() == table.values[[2, 5, 7]].tolist()
    assert found.after[:, 0].tolist() == pytest.approx([0.25] * 3)
    assert found.after[:, 1].tolist() == pytest.approx(found.before[:, 1].tolist())
    drawn = made(model, images.pixels[[2, 5, 7]], table.scaled(table.values[[2, 5, 7]]), {})
    np.testing.assert_allclose(found.before, table.unscaled(drawn.before))
    np.testing.assert_allclose(found.measured[0, :, 1], measured[1](images.pixels[[2, 5, 7]]))
    np.testing.assert_allclose(found.measured[1, :, 1], measured[1](drawn.pixels["before"]))
    assert np.isnan(found.measured[:, :, 0]).all()


def test_what_is_set_alone_leaves_the_others():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert set_alone(values, {1: torch.tensor([7.0, 8.0])}).tolist() == [[1, 7], [3, 8]]


def test_pictures_and_attributes_that_do_not_fit_are_refused():
    images, table = attribute_scenes.squares()
    few = AttributeTable(table.names, table.values[:7])
    for asked, rows, graph, words in (
        (images[:7], few, attribute_scenes.GRAPH, "there are 7 pictures to learn from; give 8 or more"),
        (images, few, attribute_scenes.GRAPH, "are not those of the pictures"),
        (images, table, AttributeGraph.of(("size", "brightness")), "are not those of the pictures"),
        (*poor(12, 7), attribute_scenes.GRAPH, "there are labels to learn for 7 of 12 pictures; give 8 or more"),
    ):
        with pytest.raises(BadInput, match=words):
            METHOD.learnt(asked, rows, graph)
    with pytest.raises(BadInput, match="cannot be halved often enough"):
        METHOD.begun(attribute_scenes.GRAPH, 36)
