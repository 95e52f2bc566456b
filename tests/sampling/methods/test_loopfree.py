import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import tiny
from exact_draws import ExactMixture, drawn
from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.unet_halves import encoder_blocks
from intaglio.sampling.calls import Calls
from intaglio.sampling.loop import latent_batches, sample
from intaglio.sampling.methods.loopfree import Loopfree
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.shared_pass import passes_worth

SMALL = {}
BAD = {"at_once": 0}
PIECES = {"at_once": 1}

GRID = (900, 500, 100)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction", "sample"])
def model(request, tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd", prediction=request.param))


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    base = load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))
    return base.made_for(BakedSampling(GRID, "ddim", "baked", (4.5, 4.5), "loopfree"), base.denoiser, "student")


def latents(model, method, steps=3, scale=4.0, sampler="ddim", **options):
    about = {"steps": steps, "guidance_scale": scale, "sampler": sampler, "negative": "", **options}
    return torch.cat(list(latent_batches(model, ["dog", "red cat"], [7, 8], method=method, **about)))


def test_one_step_is_plain_sampling(model):
    """At the first timestep the encoder is the step's own."""
    for scale in (1.0, 4.0):
        known = latents(model, Plain(), steps=1, scale=scale)
        assert torch.allclose(latents(model, Loopfree(), steps=1, scale=scale), known, atol=1e-4)


def test_the_walk_written_out(model):
    """DDIM by the outputs of decoders on features of the first step, put in by hand."""
    blocks, kept = encoder_blocks(model.denoiser), {}
    x = torch.stack([torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(k)) for k in (7, 8)]).double()
    given, empty = model.embed(["dog", "red cat"]), model.embed(["", ""])
    s, n = model.schedule.signals.double(), model.schedule.noises.double()

    def noise(branch, t):
        def own(module, args, output, name=None):
            return kept.setdefault((id(branch), name), output)

        handles = [
            block.register_forward_hook(lambda m, a, o, name=name: own(m, a, o, name)) for name, block in blocks.items()
        ]
        with torch.no_grad():
            found = model.predict(x.float(), torch.tensor([t, t]), branch).double()
        for handle in handles:
            handle.remove()
        return found

    for here, there in ((999, 666), (666, 332), (332, None)):
        eps = noise(empty, here) + 4.0 * (noise(given, here) - noise(empty, here))
        x = (x - n[here] * eps) / s[here]
        x = x if there is None else s[there] * x + n[there] * eps
    assert torch.allclose(latents(model, Loopfree()), x.float(), atol=1e-4 * float(x.abs().max()), rtol=1e-4)
    assert (latents(model, Plain()) - x.float()).abs().max() > 1e-3 * x.abs().max(), "it is an approximation"


@pytest.mark.parametrize(
    ("model", "sampler"),
    [("epsilon", "ddim"), ("epsilon", "heun"), ("v_prediction", "ddpm"), ("sample", "dpm++2m")],
    indirect=["model"],
)
def test_decoders_one_by_one_and_in_one_batch_are_the_same(model, sampler):
    known = latents(model, Loopfree(at_once=9), sampler=sampler)
    assert known.isfinite().all()
    for at_once in (1, 2):
        found = latents(model, Loopfree(at_once=at_once), sampler=sampler)
        assert torch.allclose(found, known, rtol=1e-4, atol=1e-5 * float(known.abs().max()))


def test_decoder_passes_are_the_calls_and_the_encoder_is_run_once(student):
    sizes, calls = [], Calls()
    inner = student.denoiser.down_blocks[0].resnets[0]
    handle = inner.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    try:
        latents(student, Loopfree(), scale=4.5, calls=calls)
    finally:
        handle.remove()
    assert calls == Calls(forward=2 * 3)
    assert sizes == [2]


def test_a_student_is_drawn_on_its_own_grid_and_by_no_other_method(student):
    asked, predict = [], student.predict
    student.predict = lambda x, t, given: asked.append(t.tolist()) or predict(x, t, given)
    try:
        latents(student, Loopfree(), scale=4.5)
    finally:
        del student.predict
    assert asked == [[900, 900, 500, 500, 100, 100]], "step by step, and the pictures within"
    with pytest.raises(BadInput, match="intaglio sample loopfree --model"):
        latents(student, Plain(), scale=4.5)
    with pytest.raises(BadInput, match="distilled for the method loopfree"):
        sample(student, ["dog"], [1], steps=3, guidance_scale=4.5)


def test_a_model_without_an_encoder_is_refused():
    mixture = ExactMixture(torch.zeros(1, 1, 1, 1), torch.tensor([1.0]), {"": [0.0]})
    with pytest.raises(BadInput, match="encoder of a U-Net"):
        drawn(mixture, Loopfree(), count=1, steps=1)


@pytest.mark.parametrize("model", ["epsilon"], indirect=True)  # what is predicted costs no multiplication
def test_multiplications_of_the_passes_are_those_of_the_blocks(model):
    """One step is a call; each further step adds the decoder, of which the encoder's blocks are no part."""
    one, two, five = (passes_worth(model, steps) for steps in (1, 2, 5))
    assert one == 1
    assert five - two == pytest.approx(3 * (two - one))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.predict(torch.randn(1, tiny.CHANNELS, 8, 8), torch.tensor([10]), model.embed(["dog"]))
    spent = {name: sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    whole = type(model.denoiser).__name__
    encoder = [f"{whole}.conv_in", f"{whole}.mid_block"]
    encoder += [f"{whole}.down_blocks.{k}" for k in range(len(model.denoiser.down_blocks))]
    assert two - one == pytest.approx(1 - sum(spent[name] for name in encoder) / spent[whole], abs=1e-3)
