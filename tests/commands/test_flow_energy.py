"""The estimate in the plan of `intaglio flow sample`, by the passes that decoders say, against those that are seen."""

import json

import pytest
import torch

import tiny
from flow_scenes import Jacobi, SelectiveJacobi, Sequential, latents
from intaglio import cli
from intaglio.commands.kit.flow_energy import drawing_work, is_exact, is_told
from intaglio.energy.layers.parse import seen
from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.decoding import Decoding, decode_batch
from intaglio.flow.methods.auto import AutoDecoder
from intaglio.flow.methods.frontier import FrontierDecoder
from intaglio.flow.methods.reference_sequential import ReferenceSequentialDecoder
from intaglio.models.flow.tarflow_files import save_flow
from planted_profiles import plant, planted_cost


def flops(step):
    return sum(calls * layer.flops for layer, calls in step.layers.items() if layer.family.of_kind.matrix)


def decoded(model, decoder, pictures, guidance=UNGUIDED):
    """The layers of a real decoding, and its passes."""
    reports = []
    inputs = Decoding(model, latents(model, pictures), None, guidance)
    step = seen(lambda: reports.extend(decode_batch(decoder, inputs)[1]))
    return step, sum(report.passes for report in reports)


@pytest.mark.parametrize("decoder", [Sequential(), ReferenceSequentialDecoder(), Sequential(certify=True)])
@pytest.mark.parametrize("guidance", [UNGUIDED, Guidance(scale=1.0), Guidance(scale=1.0, blocks="first")])
def test_patch_by_patch_is_known_exactly(decoder, guidance):
    model = tiny.flow(double=False, size=(8, 4))
    work = drawing_work(model, decoder, 2, guidance, denoise=False)
    step, passes = decoded(model, decoder, 2, guidance)
    assert is_exact(decoder, model)
    assert work.calls == {"blocks": passes + decoder.certify * model.config.num_blocks}
    assert flops(work.whole) == pytest.approx(flops(step), rel=1e-9)


@pytest.mark.parametrize(
    "decoder", [Jacobi(tau=1e-3), Jacobi(tau=0.0, max_sweeps=2), SelectiveJacobi(tau=1e-3), Jacobi(coarse_sweeps=1)]
)
def test_sweeps_are_bounded(decoder):
    model = tiny.flow(double=False, size=(8, 4))
    work = drawing_work(model, decoder, 2, UNGUIDED, denoise=False)
    step, passes = decoded(model, decoder, 2)
    assert not is_exact(decoder, model)
    assert passes <= work.calls["blocks"]
    assert flops(step) <= flops(work.whole)


def test_a_last_batch_is_smaller():
    model = tiny.flow(double=False)
    one, two, three = (
        flops(drawing_work(model, Sequential(batch=2), count, UNGUIDED, denoise=False).whole) for count in (1, 2, 3)
    )
    assert three == one + two


def test_a_plan_s_choices_are_taken_and_windows_are_not_told(tmp_path):
    model = tiny.flow(double=False)
    unmeasured = AutoDecoder(plans=tmp_path).prepared(model, 2, UNGUIDED, lambda said: None)
    assert is_exact(unmeasured, model), "without a plan a processor goes patch by patch"
    assert is_told(unmeasured, model)
    assert not is_told(FrontierDecoder(), model)
    assert not is_told(AutoDecoder(), model), "before its plan is looked up it does not know"


def test_denoising_is_a_forward_and_a_backward_pass():
    model = tiny.flow(double=False, noise_std=0.1)
    for weight in model.parameters():
        weight.requires_grad_(False)
    whole = drawing_work(model, Sequential(), 3, UNGUIDED, denoise=True)
    forward = flops(seen(lambda: model(torch.zeros(3, 3, 8, 8))))
    assert whole.calls["denoising"] == 1
    assert forward < flops(whole.parts["denoising"]) <= 3 * forward


def test_the_plan_has_the_line_and_the_run_its_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    model = tiny.flow(double=False)
    save_flow(model, tmp_path / "m")
    words = ["flow", "sample", "sequential", "--model", "m", "--count", "2"]
    assert cli.main([*words, "--runs", "before"]) == 0
    assert "energy" not in capsys.readouterr().err, "there is no profile"
    work = drawing_work(model, Sequential(), 2, UNGUIDED, denoise=False)
    plant([work.whole], tmp_path)
    assert cli.main([*words, "--runs", "after"]) == 0
    assert "energy     about" in capsys.readouterr().err
    (record,) = (tmp_path / "after").glob("*/run.json")
    told = json.loads(record.read_text())["summary"]["energy_estimate"]
    assert told["amount"] == pytest.approx(planted_cost(work.whole), rel=1e-3)
    assert told["at_most"] is False
    assert cli.main(["energy", "estimate", "--job", "flow-sample", "--flow", "m", "--pictures", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["amount"] == pytest.approx(told["amount"], rel=1e-6)
