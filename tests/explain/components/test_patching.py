"""Branches, points, checks and results of patched components."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr, t

import tiny
from component_scenes import Planted, planted_point
from intaglio.errors import BadInput
from intaglio.explain.components.denoiser_branches import DenoiserBranch, denoiser_branches
from intaglio.explain.components.exact_checks import (
    CheckedComponents,
    ExactChecks,
    chosen_components,
    exact_checks,
    place_of,
)
from intaglio.explain.components.methods.attribution_patching import AttributionPatching
from intaglio.explain.components.result import PatchedComponents
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.tensors import write_state


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def test_branches_are_what_is_added_to_what_goes_past(model):
    every = denoiser_branches(model.denoiser)
    modules = dict(model.denoiser.named_modules())
    kinds = {kind: [one.site for one in every if one.kind == kind] for kind in ("resnet", "attention", "feed-forward")}
    assert all(one.endswith(".resnets.0.conv2") or ".resnets." in one for one in kinds["resnet"])
    assert {type(modules[one]).__name__ for one in kinds["attention"]} == {"Attention"}
    assert {type(modules[one]).__name__ for one in kinds["feed-forward"]} == {"FeedForward"}
    assert len(kinds["attention"]) == 2 * len(kinds["feed-forward"])
    assert [one.site for one in denoiser_branches(model.denoiser, "resnet")] == kinds["resnet"]
    inner, outer = type("OwnAttention", (torch.nn.Module,), {}), type("FeedForward", (torch.nn.Sequential,), {})
    nested = torch.nn.ModuleDict({"a": outer(inner()), "ab": inner()})
    assert [one.site for one in denoiser_branches(nested)] == ["a", "ab"]
    with pytest.raises(BadInput, match=r"the denoiser \(Linear\) has no attention branches"):
        denoiser_branches(torch.nn.Linear(2, 2), "attention")


def test_patching_a_resnets_branch_as_a_whole_takes_its_sum_and_leaves_no_hook(model):
    """All branches that take up the prompt have their clean values: the prediction is the clean one."""
    method = AttributionPatching(draws=1, steps=1)
    with torch.no_grad(), model.frozen():
        point = method.point(model, "red cat", "dog", method.planned_draws(model)[0])
        masks = {k: torch.ones(1, count, dtype=torch.bool) for k, count in enumerate(point.channels)}
        assert float(point.exact(masks, 1)) == pytest.approx(1, abs=1e-3)
        nothing = {k: torch.zeros(1, count, dtype=torch.bool) for k, count in enumerate(point.channels)}
        assert float(point.exact(nothing, 1)) == 0
    assert not any(module._forward_hooks for module in model.denoiser.modules())


def test_a_point_starts_from_the_corrupted_prompt_and_its_way_leads_to_the_clean_one(model):
    method = AttributionPatching(draws=1, steps=1)
    with torch.no_grad(), model.frozen():
        point = method.point(model, "red cat", "dog", method.planned_draws(model)[0])
        corrupted, clean = (model.predict(point.latents, point.t, model.embed([one])) for one in ("dog", "red cat"))
    torch.testing.assert_close(point.base, corrupted, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(point.base + point.way, clean, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(corrupted, clean, atol=1e-5)


def test_draws_are_spread_over_the_noise_levels_each_with_its_share_of_the_steps(model):
    draws = AttributionPatching(draws=4, steps=8).planned_draws(model)
    assert [one.t for one in draws] == [874, 624, 375, 125]
    assert [one.steps for one in draws] == [1, 3, 5, 7]
    assert len({one.seed for one in draws}) == 4


def test_prompts_that_are_predicted_alike_are_refused(model):
    with pytest.raises(BadInput, match="the same; give two that differ"):
        AttributionPatching()(model, "dog", "dog")
    alike = Planted(lambda x: 0 * x)
    with pytest.raises(BadInput, match="predicts the same for both prompts"):
        planted_point(alike)


def test_the_largest_are_checked_and_as_many_of_the_others():
    effects = torch.tensor([0.1, -0.9, 0.0, 0.5, 0.2, 0.05])
    chosen = chosen_components(effects, 2, seed=3)
    assert chosen.numbers[:2].tolist() == [1, 3]
    assert chosen.top == 2
    assert len(set(chosen.numbers.tolist())) == 4
    assert chosen_components(effects, 9, 0).numbers.sort().values.tolist() == list(range(6))
    assert [place_of(k, (2, 1, 3)) for k in range(6)] == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]


def test_checks_are_exact_one_by_one_and_together():
    point = planted_point(Planted())
    every = torch.arange(8)
    found = exact_checks(point, CheckedComponents(every[[7, 0, 1, 2, 3]], 1), (4, 4), 3)
    linear = torch.cat(AttributionPatching().effects(point, [0, 1]))
    torch.testing.assert_close(found["exact"], linear[[7, 0, 1, 2, 3]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["joint"], torch.tensor([float(linear[7]), 1.0]), rtol=1e-4, atol=1e-5)


def patched(draws=3, checks=True):
    source = torch.Generator().manual_seed(0)
    effects = torch.randn(draws, 5, generator=source)
    numbers = torch.tensor([4, 0, 2, 3])
    exact = effects[:, numbers] + 0.1 * torch.randn(draws, 4, generator=source)
    checked = (
        ExactChecks(CheckedComponents(numbers, 2), exact, torch.tensor([[0.5, 0.1]]).repeat(draws, 1))
        if checks
        else None
    )
    branches = (DenoiserBranch("a.ff", "feed-forward"), DenoiserBranch("b", "attention"))
    about = ("x", "y", False, "cat", "dog", branches, (4, 1))
    places = (tuple(range(draws)), tuple(range(draws)), (0.1,) * draws)
    return PatchedComponents(*about, *places, 4, effects, checked)


def test_rows_are_ranked_with_intervals_and_agreement_is_pearsons_of_means():
    found = patched()
    means = found.effects.mean(0)
    rows = found.rows()
    first = int(means.abs().argmax())
    assert rows[0]["component"] == ("b" if first == 4 else f"a.ff {first}")
    assert [abs(row["effect"]) for row in rows] == sorted((abs(row["effect"]) for row in rows), reverse=True)
    half = t.ppf(0.975, 2) * found.effects[:, first].std() / 3**0.5
    assert rows[0]["high"] - rows[0]["low"] == pytest.approx(2 * float(half), rel=1e-5)
    exact = found.checks.exact.mean(0)
    own = means[found.checks.chosen.numbers]
    assert found.agreement.pearson == pytest.approx(pearsonr(own, exact).statistic)
    assert found.agreement.spearman == pytest.approx(spearmanr(own, exact).statistic)
    low, high = found.agreement.interval
    assert low <= found.agreement.pearson <= high
    assert {row["component"]: row["exact"] for row in rows}["a.ff 1"] is None
    assert found.branch_rows()[0]["sum"] == pytest.approx(float(means[:4].sum()))
    alone = patched(draws=1, checks=False)
    assert alone.rows()[0]["low"] is None
    assert alone.figures()["pearson"] is None
    assert np.isinf(alone.margins).all()


def test_stored_and_read_again_and_a_damaged_file_is_told(tmp_path):
    found = patched()
    found.save(tmp_path)
    again = PatchedComponents.load(tmp_path)
    assert again.rows() == found.rows()
    assert again.figures() == found.figures()
    tensors, about = found._parts()
    for broken in ({**about, "sizes": [4, 2]}, {**about, "sizes": [4]}):
        write_state(tmp_path / found.file, tensors, broken)
        with pytest.raises(BadInput, match="is damaged .* delete it, and the same command patches again"):
            PatchedComponents.load(tmp_path)
    write_state(tmp_path / found.file, {**tensors, "checked": torch.tensor([4, 0, 2, 9])}, about)
    with pytest.raises(BadInput, match="checks do not fit"):
        PatchedComponents.load(tmp_path)
