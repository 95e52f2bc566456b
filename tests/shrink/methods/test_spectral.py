import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.metrics.high_frequencies import high_frequency_energy
from intaglio.models.diffusion.channel_spaces import channel_spaces
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.shrink.calibration_states import CalibrationBatch
from intaglio.shrink.methods.long_conv import LongConv
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.methods.spectral import SpectralDistillation
from intaglio.shrink.narrow_student import kept_sinusoids, narrower
from intaglio.shrink.spectral_error import frequency_weights, spectral_error
from shrink_scenes import planted_rows

SMALL = {"steps": 3, "batch": 4, "learning_rate": 1e-3}
BAD = {"width": 1.0}
PIECES = {"micro_batch": 2, "gradient_checkpointing": True}
VARIANTS = {
    "bias": {"SMALL": {"loss": "bias", "gates": False, "batch": 8}, "BAD": {"alpha": 5.0}, "PIECES": {"micro_batch": 3}}
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


@pytest.fixture(scope="module")
def found(model):
    return SpectralDistillation(steps=2, batch=4, learning_rate=1e-3)(model, planted_rows())


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_full_width_is_the_network_itself(model):
    twin = narrower(model.denoiser, 1.0)
    assert all(torch.equal(weight, twin.state_dict()[name]) for name, weight in model.denoiser.state_dict().items())


@pytest.mark.parametrize("make", [tiny.sd_folder, tiny.sdxl_folder])
def test_every_layer_is_half_as_wide_and_runs(make, tmp_path):
    model = load_model(make(tmp_path / "m"))
    small = narrower(model.denoiser, 0.5)
    for name, weight in model.denoiser.state_dict().items():
        if "resnets" in name and name.endswith("conv2.weight"):
            assert [2 * side for side in small.state_dict()[name].shape[:2]] == list(weight.shape[:2])
    student = model.made_for(model.sampling, small, "narrow")
    latents = drawn(1, tiny.CHANNELS, 8, 8)
    with torch.no_grad():
        assert student.predict(latents, torch.tensor([7]), student.embed(["dog"])).isfinite().all()
    groups = {one.num_channels // one.num_groups for one in small.modules() if isinstance(one, torch.nn.GroupNorm)}
    before = {
        one.num_channels // one.num_groups for one in model.denoiser.modules() if isinstance(one, torch.nn.GroupNorm)
    }
    assert groups == before


def test_channels_of_the_largest_weights_stay_in_whole_groups(model):
    """Between the convolutions of a residual block: the groups of largest sum of squares of the layers before."""
    twin, name = model.copy(), "mid_block.resnets.0"
    block = twin.denoiser.get_submodule(name)
    with torch.no_grad():
        block.conv1.weight[4:8] *= 100
        block.conv1.weight[12:16] *= 50
    small = narrower(twin.denoiser, 0.5).get_submodule(name)
    assert torch.equal(small.norm2.weight, torch.cat([block.norm2.weight[4:8], block.norm2.weight[12:16]]))
    rows = torch.tensor([4, 5, 6, 7, 12, 13, 14, 15])
    assert torch.equal(small.conv1.bias, block.conv1.bias[rows])


def test_of_each_head_the_same_queries_and_keys_stay(model):
    twin, name = model.copy(), "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    attention = twin.denoiser.get_submodule(name)
    with torch.no_grad():
        for weight, rows in ((attention.to_q.weight, [1, 6]), (attention.to_k.weight, [3, 4])):
            weight[rows] *= 100  # two heads of four channels, of each of which two stay
    space = channel_spaces(twin.denoiser).axes[f"{name}.to_k.weight"][0][0]
    small = narrower(twin.denoiser, 0.5).get_submodule(name)
    stream = channel_spaces(twin.denoiser).axes[f"{name}.to_q.weight"][1][0]
    assert (space.size, stream.size, small.heads) == (8, 8, 2)
    columns = [k for k in range(8) if torch.isin(attention.to_q.weight[1, k], small.to_q.weight)]
    assert torch.equal(small.to_q.weight, attention.to_q.weight[[1, 3, 4, 6]][:, columns])
    assert torch.equal(small.to_k.weight, attention.to_k.weight[[1, 3, 4, 6]][:, columns])


def test_sinusoids_of_half_the_width_are_every_second_frequency():
    assert kept_sinusoids(8, 4, 0.0).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    assert kept_sinusoids(5, 5, 1.0).tolist() == list(range(10))


def error(power, found, wanted, latents, weight=1.0):
    schedule = NoiseSchedule(torch.tensor([0.8, 0.1]).double(), torch.tensor([0.6, 0.99]).double(), "epsilon")
    batch = CalibrationBatch(latents, torch.zeros(len(latents), dtype=torch.long), None)
    return spectral_error(schedule, power, weight)(batch, found, wanted)


def test_with_power_0_it_is_the_mean_squared_error():
    found, wanted, latents = (drawn(3, 4, 8, 6, seed=k) for k in range(3))
    plain = (found - wanted).square().flatten(1).mean(1)
    torch.testing.assert_close(error(0.0, found, wanted, latents, 0.5), 0.5 * plain)


def test_an_error_of_one_frequency_counts_by_the_amplitude_of_the_clean_latents():
    """Clean latents of two waves of amplitudes 8 and 1; their bins, two each, and the empty ones at 1% of the mean."""
    x = torch.arange(8) * 2 * torch.pi / 8
    waves = [torch.cos(k * x).expand(8, 8)[None, None] for k in (1, 3)]
    clean = 8 * waves[0] + waves[1]
    wanted = drawn(1, 1, 8, 8)
    latents = clean + 0.6 * wanted
    bins = [8 * 4.0, 4.0]  # half an amplitude over two bins, times 8 places a side by the orthonormal transform
    mean = 2 * sum(bins) / 64
    sizes = torch.tensor([bins[0] / mean] * 2 + [bins[1] / mean] * 2 + [0.01] * 60)
    for k, place in enumerate((0, 2)):
        weight = sizes[place] ** -1 / (sizes**-1).mean()
        told = error(-1.0, wanted + waves[k], wanted, latents)
        assert float(told) == pytest.approx(float(weight) * 0.5, rel=1e-3)


def test_weights_are_1_in_the_mean_and_do_not_depend_on_the_scale():
    clean = drawn(2, 3, 8, 8)
    weights = frequency_weights(clean, -1.0)
    torch.testing.assert_close(weights.mean((1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(frequency_weights(50 * clean, -1.0), weights, rtol=1e-4, atol=1e-5)
    assert frequency_weights(torch.zeros(1, 1, 4, 4), -1.0).isfinite().all()


def test_the_best_linear_denoiser_passes_high_frequencies_at_little_noise_alone():
    """Wiener's filter, a·S/(a²·S + s²) for a·x + s·e of spectrum S, found again by least squares over drawn fields."""
    side, count, a = 16, 4000, 0.8
    f = torch.fft.fftfreq(side).abs()
    spectrum = 1 / (0.05 + (f[:, None] ** 2 + f**2).sqrt()) ** 2
    coefficients = torch.fft.fft2(drawn(count, side, side), norm="ortho") * spectrum.sqrt()
    fields = torch.fft.ifft2(coefficients, norm="ortho").real
    noised = a * fields + (1 - a**2) ** 0.5 * drawn(count, side, side, seed=1)
    x, y = (torch.fft.fft2(one, norm="ortho") for one in (fields, noised))
    fitted = ((x * y.conj()).real.sum(0) / y.abs().square().sum(0)) * a
    wanted = a**2 * spectrum / (a**2 * spectrum + 1 - a**2)
    assert float((fitted - wanted).square().mean()) < 1e-3
    assert float(wanted[0, 0]) > 0.99 > float(wanted[side // 2, side // 2])


def test_energy_of_high_frequencies_is_that_of_waves_beyond_a_quarter_of_a_cycle():
    x = torch.arange(16)
    low, high = (torch.cos(2 * torch.pi * cycles * x / 16).expand(1, 3, 16, 16) for cycles in (4, 5))
    assert float(high_frequency_energy(0.5 + low)) == pytest.approx(0, abs=1e-9)
    assert float(high_frequency_energy(0.5 + low + 2 * high)) == pytest.approx(4 * 0.5, rel=1e-5)


def test_the_plan_tells_the_bytes_that_are_stored_and_the_result_is_read_again(model, found, tmp_path):
    plan = SpectralDistillation().planned(model, 32)
    assert plan.after == found.bytes < 0.35 * plan.before
    read = load_model(found.save(tmp_path / "small"))
    assert read.same_weights(found.model)
    assert not read.notes
    assert read.denoiser.config["wavelet_gates"] is True
    rounded = RoundToNearest(bits=4)(read)
    assert load_model(rounded.save(tmp_path / "rounded")).same_weights(rounded.model)


def test_widths_without_a_layout_and_changed_models_are_refused(model, found):
    with pytest.raises(BadInput, match="channels that divide by four"):
        SpectralDistillation(width=0.25).check(load_model_of_few_channels(model))
    with pytest.raises(BadInput, match="wavelet_gates"):
        SpectralDistillation().check(found.model)
    long = LongConv(steps=1, batch=1, match_steps=1, probes=1)(model, planted_rows()).model
    with pytest.raises(BadInput, match="long_convolutions"):
        SpectralDistillation().check(long)


@pytest.mark.parametrize("wrong", [{"keep": ("conv_in",)}, {"features": 0.1}, {"width": 0.0}, {"spectral": -1.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpectralDistillation(**wrong)


def load_model_of_few_channels(model):
    """A model whose upsampler has two channels at a quarter of the width."""
    twin = model.copy()
    twin.denoiser = tiny.unet(block_out_channels=(8, 8))
    return twin


def test_the_command_stores_it_and_its_page_tells_the_widths(model, tmp_path):
    words = ["--prompt", "dog", "--samples", "1", "--rows", "32", "--runs", str(tmp_path / "runs")]
    small = ["--steps", "2", "--batch", "1"]
    assert main(["shrink", "spectral", "--model", str(model.source), *small, *words]) == 0
    (run,) = (tmp_path / "runs").glob("shrink-spectral-*")
    summary = json.loads((run / "run.json").read_text())["summary"]
    assert summary["channels"] == [[8, 4], [16, 8]]
    assert summary["pictures"]["high_frequencies"] > 0
    assert "channels before" in (run / "report.html").read_text()
    logged = [json.loads(line) for line in (run / "metrics" / "healing.jsonl").read_text().splitlines()]
    assert all(row["loss"] == pytest.approx(row["output"] + row["spectral"], rel=1e-5) for row in logged)


def test_with_a_shift_of_1_the_first_and_the_last_sinusoid_stay():
    """Frequencies e^(-k·c/(n - 1)) of n = 8 and of 4: places k·7/3, rounded."""
    assert kept_sinusoids(8, 4, 1.0).tolist() == [0, 2, 5, 7, 8, 10, 13, 15]
