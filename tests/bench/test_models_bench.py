"""The bench of models: its peak against planted allocations, one family through it, and its words."""

import pytest
import torch

import tiny
from intaglio.bench.models import bench as room
from intaglio.bench.models.bench import ModelsBench
from intaglio.bench.models.measured_peak import peak_bytes, weight_bytes
from intaglio.bench.models.random_models.random_pipelines import PIPELINES
from intaglio.bench.models.random_models.wider import WIDER
from intaglio.errors import BadInput
from intaglio.models.diffusion.families.known import FAMILIES
from intaglio.models.diffusion.loading import load_model


def test_the_peak_is_the_most_at_once_on_top_of_the_weights(tmp_path):
    """Two megabytes at once, of four that are taken in all."""
    model = load_model(tiny.sd_folder(tmp_path / "m"))

    def call() -> None:
        for _ in range(2):
            one = torch.zeros(250_000)
            two = one + 1
            del one, two

    assert peak_bytes(call, model) - weight_bytes(model) == pytest.approx(2_000_000, rel=0.01)
    assert weight_bytes(model) >= sum(w.nbytes for part in model.parts.values() for w in part.parameters())


def test_a_family_is_measured_and_the_audits_are_set_side_by_side(tmp_path, monkeypatch):
    falls = {"fall": 0.3, "fall_of_holdouts": 0.1}
    monkeypatch.setattr(
        room,
        "audited",
        lambda bed, name, methods, **about: {
            "testbed": bed,
            "set": name,
            "auc": dict.fromkeys(methods, 0.9 if bed == "flow" else 0.7),
            **falls,
        },
    )
    bench = ModelsBench(quick=True, families=("klein",), runs=tmp_path)
    figures = bench(progress="none")
    row = figures["by_family"]["klein"]
    assert row["family"] == "FLUX.2 klein"
    assert figures["difference"] == row["difference"] < 2e-5
    assert row["planned_over_peak"] == pytest.approx(1, abs=0.2)
    assert row["draw_step_seconds"] / row["diffusers_step_seconds"] == pytest.approx(row["draw_ratio"], rel=1e-9)
    assert (figures["auc_unet_loss-gap"], figures["auc_flow_secmi"]) == pytest.approx((0.7, 0.9))
    lines = bench.summary(figures).splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["kind", "klein"]
    assert "loss-gap   0.700   0.900" in bench.summary(figures)


def test_every_family_is_there_once():
    pipes = [PIPELINES[kind]() for kind in WIDER]
    assert len({type(pipe).__name__ for pipe in pipes}) == len(WIDER)
    denoisers = {type(getattr(pipe, "transformer", None) or pipe.unet).__name__ for pipe in pipes}
    assert denoisers == {family.denoiser for family in FAMILIES}


@pytest.mark.parametrize(("setting", "value"), [("families", ("sd4",)), ("sets", ("nobody",))])
def test_unknown_names_are_refused_with_those_there_are(setting, value):
    with pytest.raises(BadInput, match="choose from"):
        ModelsBench(**{setting: value})
