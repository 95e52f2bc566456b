"""All ways of decoding give the one inverse there is; their guarantees, one by one."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from flow_scenes import exact_decoders, inverted_by_hand, latents, unit

from intaglio.errors import BadInput, IntaglioError
from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import BlockInverse, limits, step
from intaglio.flow.iterate.stopping import Stopping
from intaglio.flow.iterate.sweeps import sweep
from intaglio.flow.methods.frontier import FrontierDecoder as Frontier
from intaglio.flow.methods.gs_jacobi import GSJacobiDecoder as GSJacobi
from intaglio.flow.methods.jacobi import JacobiDecoder as Jacobi
from intaglio.flow.methods.sejd import SelectiveJacobiDecoder as SelectiveJacobi
from intaglio.flow.methods.sequential import SequentialDecoder as Sequential
from intaglio.flow.results import BlockReport
from intaglio.flow.sampling import noise_of, sample_flow

LABELS = torch.tensor([0, 2, -1, 1])
every_decoder = pytest.mark.parametrize("name", exact_decoders())


def largest(one, two) -> float:
    return float((one - two).abs().max())


@every_decoder
@pytest.mark.parametrize(
    "further",
    [{}, {"blocks": 2}, {"nvp": False}, {"num_classes": 0}, {"size": (4, 10)}, {"double": False}, {"size": (2, 2)}],
    ids=str,
)
def test_every_decoder_inverts_the_flow(name, further):
    model = unit(**further)
    blocks = model.config.num_blocks
    if "gs" in name and model.config.tokens == 1:
        return
    z = latents(model, 4)
    labels = LABELS if model.config.num_classes else None
    found = exact_decoders(blocks)[name](model, z, labels=labels, denoise=False).patches
    bound = 1e-10 if model.working_dtype == torch.float64 else 1e-4
    assert largest(found, inverted_by_hand(model, z, labels)) < bound
    assert largest(model(model.pictures(found), labels).latents, z) < bound


@every_decoder
@pytest.mark.parametrize(
    "guidance",
    [
        Guidance(scale=1.5),
        Guidance(scale=1.5, annealed=False, what="a"),
        Guidance(scale=3.0, rule="gaussian"),
        Guidance(scale=1.0, temperature=0.5, what="b"),
        Guidance(scale=2.0, blocks="first"),
    ],
    ids=str,
)
def test_every_decoder_inverts_the_guided_flow(name, guidance):
    model = unit(spread=0.1)
    z = latents(model, 4)
    found = exact_decoders()[name](model, z, labels=LABELS, guidance=guidance, denoise=False).patches
    exact = guided_by_hand(model, z, LABELS, guidance)
    assert largest(found, exact) < 1e-9
    assert largest(exact, inverted_by_hand(model, z, LABELS)) > 1e-3


def guided_by_hand(model, z, labels, guidance):
    """The guided inverse, with the formulas of the papers for single patches."""
    h = z
    for order, index in enumerate(reversed(range(model.config.num_blocks))):
        block = model.block(index)
        v = block.permuted(h)
        u = v[:, :1]
        for at in range(1, v.shape[1]):
            a, b = (part[:, -1:] for part in block.parameters_after(u, block.offset(labels)[:, :at]))
            if guidance.blocks == "all" or order == 0:
                scale = torch.full((len(u), 1, 1, 1), 1 / guidance.temperature, dtype=u.dtype)
                away = block.parameters_after(u, block.offset(None)[:, :at], query_scale=scale)
                a_u, b_u = (part[:, -1:] for part in away)
                g = guidance.scale * (at / (v.shape[1] - 1) if guidance.annealed else 1)
                if guidance.rule == "gaussian":
                    s = (a.exp() / a_u.exp()).clamp(max=1) ** 2
                    d = 1 + g - g * s
                    a, b = (a.exp() / d.sqrt()).log(), ((1 + g) * b - g * s * b_u) / d
                else:
                    a = a + g * (a - a_u) if "a" in guidance.what else a
                    b = b + g * (b - b_u) if "b" in guidance.what else b
            u = torch.cat([u, v[:, at : at + 1] * a.exp() + b], 1)
        h = block.permuted(u)
    return h


def one_block(model, n=3, index=2):
    block = model.block(index)
    v = latents(model, n)
    inverse = BlockInverse(block, n)
    u = v.clone()
    for at in range(v.shape[1] - 1):
        a, b = inverse.parameters(u[:, : at + 1])
        u[:, at + 1] = v[:, at + 1] * a[:, -1].exp() + b[:, -1]
    return BlockInverse(block, n), v, u


def test_after_t_sweeps_patches_up_to_t_are_exact_from_any_finite_guess():
    model = unit(spread=0.3)
    inverse, v, exact = one_block(model)
    u = 5 * torch.randn(v.shape, dtype=v.dtype, generator=torch.Generator().manual_seed(4))
    u[:, 0] = v[:, 0]
    states = []
    sweep(
        inverse,
        v,
        u,
        Stopping.of("exact", 0.0, v),
        15,
        BlockReport(0, ""),
        lambda u, final: states.append((u.clone(), final)),
    )
    for count, (state, final) in enumerate(states, 1):
        assert final == min(count + 1, 16)
        assert largest(state[:, :final], exact[:, :final]) < 1e-12
    assert len(states) <= 15


def test_a_guess_with_a_wrong_first_patch_needs_one_sweep_more():
    model = unit(spread=0.3)
    inverse, v, exact = one_block(model)
    u = torch.zeros_like(v)
    for _ in range(16):
        before = largest(u, exact)
        a, b = inverse.parameters(u[:, :-1])
        u = torch.cat([v[:, :1], v[:, 1:] * a.exp() + b], 1)
    assert largest(u, exact) < 1e-12 < before


@pytest.mark.parametrize("window", [1, 2, 5, 15, None])
def test_the_frontier_settles_a_patch_a_pass_at_least(window):
    model = unit(spread=0.3)
    report = Frontier(tolerance=0.0, window=window)(model, latents(model, 3), denoise=False).report
    for block in report.blocks:
        assert block.passes <= 15
        assert block.frontier == sorted(set(block.frontier))
        assert block.frontier[-1] == 15
    if window == 1:
        assert [block.passes for block in report.blocks] == [15, 15, 15]


def test_a_looser_frontier_takes_fewer_passes_and_stays_near():
    model = unit(spread=0.3)
    z = latents(model, 3)
    exact = Sequential()(model, z, denoise=False).patches
    passes, errors = [], []
    for tolerance in (1e-8, 1e-3, 1e-1):
        found = Frontier(tolerance=tolerance, window=8)(model, z, denoise=False)
        passes.append(sum(block.passes for block in found.report.blocks))
        errors.append(largest(found.patches, exact))
    assert passes == sorted(passes, reverse=True)
    assert passes[0] > passes[2]
    assert errors[0] < 1e-6
    assert errors[1] < 1e-2


@pytest.mark.parametrize("decoder", [Jacobi(tau=1e-3), SelectiveJacobi(tau=0.1), Jacobi(tau=1e-2, rule="estimate")])
def test_a_pictures_result_does_not_depend_on_its_neighbours(decoder):
    model = unit(spread=0.3)
    z = latents(model, 5)
    together = decoder(model, z, labels=torch.tensor([0, 1, 2, -1, 0]), denoise=False).patches
    for row, label in enumerate([0, 1, 2, -1, 0]):
        alone = decoder(model, z[row : row + 1], labels=torch.tensor([label]), denoise=False).patches
        torch.testing.assert_close(alone[0], together[row], atol=1e-9, rtol=1e-9)


def test_guidance_of_zero_and_guidance_without_a_contrast_change_nothing():
    model, plain = unit(), unit(num_classes=0)
    z = latents(model, 4)
    told = Sequential()(model, z, labels=LABELS, denoise=False).patches
    assert torch.equal(Sequential()(model, z, labels=LABELS, guidance=Guidance(scale=0.0), denoise=False).patches, told)
    free = Sequential()(plain, z, denoise=False).patches
    assert torch.equal(Sequential()(plain, z, guidance=Guidance(scale=3.0), denoise=False).patches, free)
    blurred = Sequential()(plain, z, guidance=Guidance(scale=0.5, temperature=1.5), denoise=False).patches
    assert largest(blurred, free) > 1e-3


def test_annealed_guidance_grows_from_a_share_to_all_of_it():
    scales = Guidance(scale=3.0).scales(16)
    assert scales[1] == pytest.approx(3.0 / 15)
    assert scales[15] == pytest.approx(3.0)
    assert Guidance(scale=3.0, annealed=False).scales(4) == [3.0] * 4


def test_the_gaussian_rule_never_widens():
    conditional, unconditional = ((torch.randn(9, 4, 5), torch.randn(9, 4, 5)) for _ in range(2))
    a, _ = Guidance(scale=2.0, rule="gaussian").apply(conditional, unconditional, torch.full((4, 1), 2.0))
    assert bool((a <= conditional[0] + 1e-6).all())


@pytest.mark.parametrize("seed", [16, 32, 38])
@pytest.mark.parametrize(
    "decoder",
    [
        Jacobi(rule="exact"),
        Jacobi(tau=1e-6),
        Jacobi(rule="estimate", tau=1e-6),
        Frontier(tolerance=0.0, window=8),
        Frontier(tolerance=1e-6, window=15),
    ],
    ids=str,
)
def test_sweeps_that_overflow_on_the_way_still_end_at_the_answer(seed, decoder):
    model = unit(spread=0.6, seed=seed, double=False, blocks=1)
    z, labels = latents(model, 2, seed), torch.tensor([0, 1])
    exact = inverted_by_hand(model, z, labels)
    assert exact.isfinite().all()
    plain, inverse = z.clone(), BlockInverse(model.block(0), 2, labels)
    for _ in range(15):
        a, b = inverse.parameters(plain[:, :-1])
        plain = torch.cat([plain[:, :1], z[:, 1:] * a.exp() + b], 1)
    assert not plain.isfinite().all(), "plain sweeps do not overflow here, so this would show nothing"
    found = decoder(model, z, labels=labels, denoise=False)
    assert largest(found.patches, exact) < 1e-3 * float(exact.abs().max())
    assert sum(block.clamped for block in found.report.blocks) > 0


def test_a_patch_that_is_held_back_has_not_settled():
    """Held at its limit twice, a patch does not change, which must not pass for an answer."""
    v = torch.ones(1, 4, 2)
    far = (torch.full((1, 3, 2), 9.0), torch.zeros(1, 3, 2))
    inverse = BlockInverse(unit(double=False, patch=4, num_classes=0).block(0), 1)
    one, held = step(v[:, 1:], far, 1, limits(v), inverse.counts)
    two, again = step(v[:, 1:], far, 1, limits(v), inverse.counts)
    assert torch.equal(one, two)
    assert held is not None
    assert held.tolist() == [[False, True, True]] == again.tolist()
    assert one[0, 0, 0] == pytest.approx(torch.tensor(9.0).exp().item())
    assert one[0, 1:].abs().max() <= 10
    stopping = Stopping.of("change", 1.0, v)
    assert not stopping.done(two, two - one, again).any()
    assert inverse.counts.clamped == 4


def test_the_certificate_proves_an_answer_and_flags_a_wrong_patch():
    model = unit(spread=0.3)
    inverse, v, exact = one_block(model)
    assert float(inverse.residual(exact, v).max()) < 1e-12
    wrong = exact.clone()
    wrong[1, 7, 3] += 0.01
    found = inverse.residual(wrong, v)
    assert found[1] > 1e-3
    assert float(found[[0, 2]].max()) < 1e-12
    guided = Jacobi(rule="exact", certify=True)(
        model, v, labels=LABELS[:3], guidance=Guidance(scale=1.0), denoise=False
    )
    assert guided.report.residual < 1e-12


def test_neither_noise_nor_labels_nor_model_are_touched():
    model = unit()
    z, labels = latents(model, 4), LABELS.clone()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for decoder in exact_decoders().values():
        decoder(model, z, labels=labels)
    assert torch.equal(z, latents(model, 4))
    assert torch.equal(labels, LABELS)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())


def test_two_threads_may_decode_with_one_model():
    model = unit()
    inputs = [latents(model, 4, seed) for seed in range(4)]
    for decoder in (Sequential(), Frontier(tolerance=1e-6), Jacobi(tau=1e-6)):
        apart = [decoder(model, z, labels=LABELS, denoise=False).patches for z in inputs]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(partial(decoder, model, labels=LABELS, denoise=False), inputs))
        assert [largest(one.patches, two) for one, two in zip(together, apart, strict=True)] == [0.0] * 4


def test_batches_in_parts_give_the_same_pictures():
    model = unit(double=False, noise_std=0.1)
    seeds, labels = range(5), torch.tensor([0, 1, 2, 0, 1])
    whole = sample_flow(model, seeds, Jacobi(), labels=labels)
    parts = sample_flow(model, seeds, Jacobi(batch=2), labels=labels)
    torch.testing.assert_close(parts.pictures.pixels, whole.pictures.pixels, atol=1e-5, rtol=0)
    assert parts.report.pictures == 5
    assert parts.pictures.names == ("00000.png", "00001.png", "00002.png", "00003.png", "00004.png")
    alone = sample_flow(model, [3], Jacobi(), labels=torch.tensor([0]))
    torch.testing.assert_close(alone.pictures.pixels[0], whole.pictures.pixels[3], atol=1e-5, rtol=0)


def test_seeded_noise_belongs_to_its_seed():
    model = unit(double=False)
    assert torch.equal(noise_of(model, [4, 5])[1], noise_of(model, [5])[0])
    assert not torch.equal(noise_of(model, [5])[0], noise_of(model, [5], attempt=1)[0])


def test_hidden_states_are_those_of_the_forward_pass():
    model = unit()
    found = Jacobi(rule="exact")(model, latents(model, 2), keep_hidden=True, denoise=False)
    forward = model(model.pictures(found.patches)).hidden
    assert len(found.hidden) == 4
    for one, two in zip(found.hidden, forward, strict=True):
        assert largest(one, two) < 1e-10


def test_watchers_see_every_pass_in_the_pictures_own_order():
    model, seen = unit(), []
    found = Sequential()(
        model, latents(model, 1), denoise=False, watch=lambda b, p, u, c: seen.append((b, p, c, u.clone()))
    )
    assert [entry[0] for entry in seen] == [2] * 15 + [1] * 15 + [0] * 15
    assert torch.equal(seen[-1][3], found.patches)
    assert seen[14][2] == 16


@pytest.mark.parametrize("count", [0, 1])
def test_no_pictures_and_a_single_patch_are_no_special_cases(count):
    model = unit(size=(4, 4), patch=4)
    for decoder in (Sequential(), Jacobi(), Frontier(), SelectiveJacobi(), GSJacobi()):
        found = decoder(model, latents(model, count), denoise=False)
        assert found.patches.shape == (count, 1, 48)
        assert torch.equal(found.patches, latents(model, count))
        assert len(found.pictures) == count
    whole = unit()
    assert Frontier()(whole, latents(whole, 0)).patches.shape == (0, 16, 12)


def test_odd_windows_and_segments():
    model = unit()
    z = latents(model, 2)
    exact = Sequential()(model, z, denoise=False).patches
    for decoder in (
        Frontier(tolerance=0.0, window=15),
        Frontier(tolerance=0.0, window=999),
        Jacobi(max_sweeps=99, tau=0.0),
        *(GSJacobi(segments=(count,), sweeps=(99,), other_sweeps=99, epsilon=0.0) for count in (0, 1, 2, 14, 15, 99)),
    ):
        assert largest(decoder(model, z, denoise=False).patches, exact) < 1e-10, decoder


def test_stale_keys_are_what_one_sweep_too_few_leaves():
    model = unit(spread=0.3)
    z = latents(model, 2)
    exact = Sequential()(model, z, denoise=False).patches
    few = {"segments": (3,), "sweeps": (5,), "other_sweeps": 15, "epsilon": 0.0}
    fresh, stale = (GSJacobi(**few, stale=of)(model, z, denoise=False) for of in (False, True))
    assert largest(fresh.patches, exact) < 1e-10
    assert stale.report.blocks[0].passes < fresh.report.blocks[0].passes


@pytest.mark.parametrize(
    ("sentence", "call"),
    [
        ("must be \\[n, 16, 12\\]", lambda m: Sequential()(m, torch.zeros(2, 12, 16))),
        ("not finite", lambda m: Sequential()(m, torch.full((2, 16, 12), torch.nan))),
        ("0 to 2, or -1", lambda m: Sequential()(m, latents(m, 2), labels=torch.tensor([0, 3]))),
        ("0 to 2, or -1", lambda m: Sequential()(m, latents(m, 1), labels=torch.tensor([-2]))),
        ("a label each", lambda m: Sequential()(m, latents(m, 2), labels=torch.tensor([0]))),
        ("no block 7", lambda m: GSJacobi(hard_blocks=(7,))(m, latents(m, 1))),
        ("no block 3", lambda m: SelectiveJacobi(sequential_blocks=(3,))(m, latents(m, 1))),
    ],
)
def test_input_that_does_not_fit_is_named(sentence, call):
    with pytest.raises(BadInput, match=sentence):
        call(unit())


def test_labels_for_a_model_without_classes_are_refused():
    model = unit(num_classes=0)
    with pytest.raises(BadInput, match="without classes"):
        Sequential()(model, latents(model, 1), labels=torch.tensor([0]))


@pytest.mark.parametrize(
    ("setting", "make"),
    [
        ("tau", lambda: Jacobi(tau=0.0)),
        ("tau", lambda: Jacobi(tau=-1.0)),
        ("max_sweeps", lambda: Jacobi(max_sweeps=0)),
        ("tau", lambda: SelectiveJacobi(tau=0.0)),
        ("window", lambda: Frontier(window=0)),
        ("segments", lambda: GSJacobi(segments=(-1,))),
        ("sweeps", lambda: GSJacobi(sweeps=(0,))),
        ("segments", lambda: GSJacobi(segments=(1, 2, 3))),
        ("scale", lambda: Guidance(scale=-1.0)),
        ("temperature", lambda: Guidance(temperature=0.0)),
        ("batch", lambda: Sequential(batch=0)),
        ("gaussian", lambda: Guidance(rule="gaussian", what="a")),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(setting, make):
    with pytest.raises(ValueError, match=setting):
        make()


def test_guidance_without_a_contrast_and_noise_of_another_type_are_told(tmp_path, caplog):
    model = unit(num_classes=0, double=False)
    Sequential()(model, latents(model, 1).half(), guidance=Guidance(scale=1.0))
    assert "has no effect" in caplog.text
    assert "float16 and was converted" in caplog.text
    integers = torch.ones(1, 16, 12, dtype=torch.int64)
    assert Sequential()(model, integers).patches.dtype == torch.float32


def test_a_picture_that_overflows_is_named_or_drawn_again_alone():
    model = unit(spread=12.0, double=False, num_classes=0)
    seeds = range(6)
    with pytest.raises(IntaglioError, match="overflows while it is decoded"):
        sample_flow(model, seeds, Sequential(), denoise=False)
    calls = []
    z = latents(unit(double=False, num_classes=0), 3)
    calm = unit(double=False, num_classes=0)
    wild = z.clone()
    wild[1] = 3e38

    def redraw(place, attempt):
        calls.append((place, attempt))
        return z[1]

    found = Sequential()(calm, wild, denoise=False, redraw=redraw)
    exact = Sequential()(calm, z, denoise=False)
    assert calls == [(1, 1)]
    assert found.report.redrawn == (1,)
    torch.testing.assert_close(found.patches, exact.patches)


def test_coarse_weights_stop_where_they_can_do_no_better():
    model = unit(double=False, spread=0.2).to(torch.bfloat16)
    z = latents(model, 2)
    found = Jacobi(tau=1e-7)(model, z, denoise=False)
    exact = Sequential()(model, z, denoise=False)
    assert found.patches.dtype == torch.float32
    assert largest(found.patches, exact.patches) < 0.3
