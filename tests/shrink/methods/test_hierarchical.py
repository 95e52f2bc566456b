import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.chosen_branches import Chosen
from intaglio.shrink.methods.hierarchical import HierarchicalPrune
from intaglio.shrink.methods.rtn import RoundToNearest
from shrink_scenes import planted_rows

SMALL = {"steps": 2, "batch": 4, "probes": 4, "learning_rate": 1e-3, "budget": 0.9}
BAD = {"budget": 1.0}
PIECES = {"micro_batch": 2, "gradient_checkpointing": True}
VARIANTS = {
    "random": {"SMALL": {"order": "random", "rates": "equal"}, "BAD": {"late_only": 0.0}, "PIECES": {"micro_batch": 1}}
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


@pytest.fixture(scope="module")
def found(model):
    return HierarchicalPrune(steps=2, batch=4, probes=8, budget=0.8, learning_rate=1e-2)(model, planted_rows())


def numbers(network):
    return sum(weight.numel() for weight in network.state_dict().values())


def test_the_budget_is_met_and_the_last_unit_was_needed_for_it(model, found):
    whole = numbers(model.denoiser)
    assert numbers(found.model.denoiser) <= 0.8 * whole
    assert found.facts["share"] == pytest.approx(numbers(found.model.denoiser) / whole)
    sizes = {row["unit"]: row["numbers"] for row in found.facts["contributions"]}
    assert numbers(found.model.denoiser) == whole - sum(sizes[name] for name in found.facts["removed"])
    assert numbers(found.model.denoiser) + sizes[found.facts["removed"][-1]] > 0.8 * whole


def last_layer(network, name):
    kind = name.rpartition(".")[2]
    return network.get_submodule(
        f"{name}.{ {'ff': 'net.2', 'attn1': 'to_out.0', 'attn2': 'to_out.0'}.get(kind, 'conv2') }"
    )


def without(model, names, rows):
    """Predictions with the last layers of these branches at zero."""
    twin = model.copy()
    with torch.no_grad():
        for name in names:
            layer = last_layer(twin.denoiser, name)
            layer.weight.zero_()
            layer.bias.zero_()
        return torch.cat([twin.predict(*batch) for batch in rows.batches(twin, 8)])


def test_each_removal_is_that_of_least_change_on_top_of_those_before(model, found):
    rows = planted_rows().learned.first(8)
    whole = without(model, [], rows)
    units = [row["unit"] for row in found.facts["contributions"]]
    late, gone = units[len(units) - round(len(units) / 2) :], []
    for row in found.facts["contributions"][::5]:
        alone = float((without(model, [row["unit"]], rows) - whole).norm() / whole.norm())
        assert row["contribution"] == pytest.approx(alone, rel=1e-3, abs=1e-5)
    for name in found.facts["removed"][:2]:
        left = [unit for unit in late if unit not in gone]
        costs = {unit: float((without(model, [*gone, unit], rows) - whole).norm()) for unit in left}
        assert costs[name] == pytest.approx(min(costs.values()), rel=1e-3)
        gone.append(name)
    assert set(found.facts["removed"]) <= set(late)


def test_units_are_told_in_the_order_of_execution(found):
    units = [row["unit"] for row in found.facts["contributions"]]
    places = [("down_blocks", "mid_block", "up_blocks").index(name.partition(".")[0]) for name in units]
    assert places == sorted(places)
    middle = [name for name in units if name.startswith("mid_block.")]
    assert middle[0] == "mid_block.resnets.0"
    assert middle[-1] == "mid_block.resnets.1"


def test_what_runs_before_the_first_removed_unit_is_frozen_and_the_rest_learns(model, found):
    units = [row["unit"] for row in found.facts["contributions"]]
    first = min(found.facts["removed"], key=units.index)
    before, after = model.denoiser.state_dict(), found.model.denoiser.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name].half().float())}
    frozen = units[: units.index(first)]
    assert not [name for name in moved if any(name.startswith(f"{unit}.") for unit in frozen)]
    assert not [name for name in moved if name.startswith(("conv_in", "time_embedding", "down_blocks.0"))]
    assert "conv_out.weight" in moved


def test_a_unit_learns_at_one_over_one_and_its_share_of_the_mean_contribution():
    last = {"a": 1.0, "b": 3.0}  # mean 2: 1 / (1 + 1/2) and 1 / (1 + 3/2)
    weights = {"a.weight": torch.zeros(1), "b.weight": torch.zeros(1), "ab.weight": torch.zeros(1)}
    assert Chosen([], 1.0, [], last).shares(weights) == {
        "a.weight": pytest.approx(2 / 3),
        "b.weight": pytest.approx(0.4),
    }
    assert Chosen([], 1.0, [], {}).shares(weights) == {}


def test_the_smaller_model_is_read_again_and_rounded_as_any_other(model, found, tmp_path):
    read = load_model(found.save(tmp_path / "small"))
    assert read.same_weights(found.model)
    assert not read.packing
    assert found.bytes == 2 * numbers(read.denoiser)
    assert found.bits == 16
    rounded = RoundToNearest(bits=4)(read)
    again = load_model(rounded.save(tmp_path / "rounded"))
    assert again.same_weights(rounded.model)
    assert again.denoiser.config["removed_branches"] == sorted(found.facts["removed"])
    assert rounded.bytes < 0.5 * found.bytes
    assert "no other software" in (tmp_path / "small" / "README.md").read_text()


def test_kept_units_stay_and_a_budget_beyond_the_units_is_refused(model):
    about = {"steps": 1, "batch": 1, "order": "magnitude", "late_only": 1.0, "rates": "equal"}
    small = HierarchicalPrune(budget=0.9, keep=("up_blocks", "mid_block.resnets"), **about)(model, planted_rows())
    assert not [name for name in small.facts["removed"] if name.startswith(("up_blocks", "mid_block.resnets"))]
    with pytest.raises(BadInput, match="raise budget"):
        HierarchicalPrune(budget=0.01, **about)(model, planted_rows())


def test_the_least_weights_go_first_where_that_is_the_order(model):
    about = {"steps": 1, "batch": 1, "order": "magnitude", "rates": "equal"}
    removed = HierarchicalPrune(budget=0.9, **about)(model, planted_rows()).facts["removed"]

    def size(name):
        weights = [w for key, w in model.denoiser.get_submodule(name).named_parameters() if "shortcut" not in key]
        return sum(float(w.detach().abs().sum()) for w in weights) / sum(w.numel() for w in weights)

    assert [size(name) for name in removed] == sorted(size(name) for name in removed)


def test_the_layout_of_other_software_is_refused(model, tmp_path, capsys):
    words = ["--model", str(model.source), "--prompt", "dog", "--layout", "diffusers", "--runs", str(tmp_path)]
    assert main(["shrink", "hierarchical", *words]) != 0
    assert "use layout intaglio" in capsys.readouterr().err


def test_the_command_stores_a_smaller_model_and_its_page_tells_contributions(model, tmp_path):
    words = ["--prompt", "dog", "--samples", "0", "--rows", "32", "--runs", str(tmp_path / "runs")]
    small = ["--steps", "1", "--batch", "1", "--probes", "1", "--budget", "0.9"]
    assert main(["shrink", "hierarchical", "--model", str(model.source), *small, *words]) == 0
    (run,) = (tmp_path / "runs").glob("shrink-hierarchical-*")
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary["share"] <= 0.9
    assert summary["bytes"] <= 0.9 * summary["bytes_at_16_bits"]
    assert summary["file_bytes"] >= summary["bytes"]
    assert not list((run / "states").glob("*.safetensors"))
    page = (run / "report.html").read_text()
    assert all(row["unit"] in page for row in summary["contributions"])
    assert "Modules are gone" in page
