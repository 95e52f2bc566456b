"""Automatic decoding without a plan; with one it is tested beside plans."""

from flow_scenes import Sequential, latents, unit
from intaglio.flow.block.guidance import UNGUIDED
from intaglio.flow.methods.auto import AutoDecoder as Auto
from intaglio.flow.plan.decoder_plan import Choice
from intaglio.flow.plan.planned_decoder import PlannedDecoder

SMALL = {"batch": 2}
BAD = {"batch": 0}
PIECES = {"batch": 1}


def test_without_a_plan_it_is_sequential_on_a_processor_and_says_how_to_measure_one(tmp_path, caplog):
    model = unit()
    z = latents(model, 3)
    found = Auto(plans=tmp_path, batch=8)(model, z, denoise=False)
    assert "so it goes patch by patch; measure one with: intaglio flow calibrate --batch 3" in caplog.text
    assert found.report.decoder == "auto"
    assert [block.method for block in found.report.blocks] == ["sequential"] * 3
    assert found.patches.equal(Sequential()(model, z, denoise=False).patches)


def test_settings_of_the_call_pass_to_the_planned_decoder(tmp_path):
    prepared = Auto(plans=tmp_path, batch=8, certify=True).prepared(unit(), 3, UNGUIDED, lambda sentence: None)
    assert isinstance(prepared, PlannedDecoder)
    assert (prepared.batch, prepared.certify) == (8, True)
    assert prepared.plan.choices == (Choice("sequential"),) * 3
