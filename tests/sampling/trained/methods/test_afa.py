import copy

import pytest
import torch
from torch import nn

import tiny
from intaglio.errors import BadInput
from intaglio.learning.step_randomness import batch_at, dropped_at, noise_at, timesteps_at
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.unet_lockstep import UNetLockstep
from intaglio.models.lora.lora import LoRA
from intaglio.randomness import generator_32bit, seed_32bit
from intaglio.runs.run import Run
from intaglio.sampling.several_networks import routers_of
from intaglio.sampling.trained.kept_apart import held_out
from intaglio.sampling.trained.methods.afa import AFARouters

SMALL = {
    "others": ("another",),
    "pictures": 4,
    "steps": 2,
    "updates": 3,
    "rows": 3,
    "width": 8,
    "learning_rate": 1e-5,  # Adam makes whole steps of gradients that are rounding
}
BAD = {"width": 12}
PIECES = {"batch": 3, "at_once": 1}
PROMPTS = ["red cat", "dog", "red"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny.fine_tune_folder(tiny.sd_folder(root / "base"), root / "another")
    broken = load_model(root / "base").copy()
    nn.init.normal_(broken.denoiser.conv_out.weight, std=0.5, generator=torch.Generator().manual_seed(0))
    broken.save(root / "broken")
    return root


@pytest.fixture(scope="module")
def model(root):
    return load_model(root / "base")


def trainer(root, *others, **changes):
    return AFARouters(**{**SMALL, "others": tuple(root / name for name in others or ("another",)), **changes})


def opened(folder, settings):
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    return Run.open(folder, "sample", "train-afa", {"width": settings.width}, {}, **about)


@pytest.mark.parametrize("drop", [0.0, 0.55])
def test_the_loss_is_that_of_the_merged_output_on_own_latents_of_each_model(root, model, tmp_path, drop):
    """The loss of the first update, derived again from stored latents and from the draws by seed and step."""
    train = trainer(root, "another", drop=drop, pictures=8)
    with opened(tmp_path, train) as run:
        kept, run.drop_state = {}, lambda name: kept.setdefault(name, run.load_state(name)[0]["latents"].clone())
        facts = train(model, PROMPTS, run=run).facts
        logged = run.logged("routers")[0]["loss"]
    latents = torch.cat([kept["own_latents_0"], kept["own_latents_1"]])
    captions = [PROMPTS[k % 3] for k in range(4)] * 2
    held = torch.cat([held_out(4, seed_32bit(0, "held", network)) for network in (0, 1)])
    assert int(held.sum()) == 2, "one of each model"
    chosen = batch_at((~held).nonzero()[:, 0].tolist(), 0, 3, 0, "routers")
    t, noise, bare = timesteps_at(3, 1000, 0, 0), noise_at((3, 4, 8, 8), 0, 0), dropped_at(3, drop, 0, 0)
    text = model.embed(["" if gone else captions[k] for k, gone in zip(chosen, bare, strict=True)])
    networks = train.networks(model)
    s, n = (values[t].view(3, 1, 1, 1) for values in (model.schedule.signals, model.schedule.noises))
    noised = (s * latents[chosen] + n * noise).float()
    lockstep = UNetLockstep([one.denoiser for one in networks], routers_of(networks, 8, 0))
    with torch.no_grad():
        (output,) = lockstep(noised, t, text.hidden)
    assert logged == pytest.approx(float((output - noise).square().mean()), rel=1e-5)
    assert bool(bare.any()) == bool(drop)
    assert not bare.all()
    assert not torch.equal(kept["own_latents_0"], kept["own_latents_1"])
    judged = held.nonzero()[:, 0].tolist()
    check_measures(facts, networks, latents[judged], model.embed([captions[k] for k in judged]))


@torch.no_grad()
def check_measures(facts, networks, clean, text):
    """Errors of the models' noise at the middles of four ranges of timesteps, derived again from pictures kept."""
    told, wanted = [], []
    for level, at in enumerate((125, 375, 625, 875)):
        t = torch.tensor([at, at])
        wanted.append(torch.randn(clean.shape, generator=generator_32bit(0, "measured", level)))
        noised = networks[0].noised(clean, wanted[-1], t)
        told.append(torch.stack([one.predict(noised, t, text) for one in networks]))
    told, wanted = torch.cat(told, 1), torch.cat(wanted)
    each = (told - wanted).square().mean((2, 3, 4))
    assert [facts["loss_1"], facts["loss_2"]] == pytest.approx(each.mean(1).tolist(), rel=1e-4)
    assert facts["loss_mean"] == pytest.approx(float((told.mean(0) - wanted).square().mean()), rel=1e-4)
    assert facts["loss_best"] == pytest.approx(float(torch.minimum(*each).mean()), rel=1e-4)


def test_routers_learn_to_leave_out_a_model_whose_output_is_broken(root, model):
    """The models differ in conv_out alone, so that at first the loss is about that of the mean of their outputs."""
    settings = {"updates": 12, "rows": 4, "learning_rate": 5e-2, "warmup": 0, "pictures": 4, "scale": 1.0}
    found = trainer(root, "broken", **settings)(model, PROMPTS).facts
    assert found["loss_2"] > 1.5 * found["loss_1"]
    assert found["loss"] < found["loss_1"] + 0.5 * (found["loss_mean"] - found["loss_1"])
    assert found["loss_best"] <= min(found["loss_1"], found["loss_2"])


def test_planned_calls_are_those_that_the_networks_see(root, model):
    train = trainer(root, pictures=5, updates=4)
    networks, seen, back = train.networks(model), [0, 0], [0]

    def counting(place):
        def count(module, given, output):
            seen[place] += len(given[0])
            if output[0].requires_grad:
                back[0] += len(given[0])

        return count

    hooks = [one.denoiser.register_forward_hook(counting(place)) for place, one in enumerate(networks)]
    try:
        train(model, PROMPTS)
    finally:
        for hook in hooks:
            hook.remove()
    merged = 4 * 3 + 2 * 4  # updates of 3 rows, and one kept picture of each model at 4 timesteps
    planned = train.planned(model, PROMPTS)
    assert sum(seen) + merged == planned.forward
    assert 2 * back[0] == planned.backward == 2 * 4 * 3


def test_the_part_knows_its_models_and_not_their_places(root, model):
    part = trainer(root)(model, PROMPTS)
    assert part.settings["others"] == ["another"]
    assert part.settings["networks"] == [model.fingerprint, load_model(root / "another").fingerprint]


def test_a_lora_of_the_model_is_another_model(root, model, tmp_path):
    adapter = LoRA.new(model, rank=2, alpha=2.0, generator=torch.Generator().manual_seed(0))
    for weight in adapter.parameters():
        nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(1))
    adapter.write(tmp_path / "lora.safetensors")
    found = trainer(tmp_path, "lora.safetensors").networks(model)
    assert found[1].part_fingerprint("denoiser") != model.part_fingerprint("denoiser")
    assert found[1].autoencoder is model.autoencoder


def changed(model, part):
    twin = model.copy()
    twin.autoencoder = copy.deepcopy(model.autoencoder)
    next(twin.parts[part].parameters()).data.add_(0.1)
    return twin


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("autoencoder", "another autoencoder"),
        ("text_encoder", "another text_encoder"),
        ("layout", "another denoiser block_out_channels"),
        ("schedule", "another noise schedule"),
        ("same", "has the denoiser of base; leave one of them out"),
    ],
)
def test_a_model_that_cannot_run_in_lockstep_is_refused(root, model, tmp_path, name, said):
    if name in model.parts:
        changed(model, name).save(tmp_path / name)
    elif name == "layout":
        tiny.sd_folder(tmp_path / name, unet_changes={"block_out_channels": (8, 8)})
    elif name == "schedule":
        tiny.sd_folder(tmp_path / name, schedule={"beta_end": 0.02})
    else:
        model.save(tmp_path / name)
    with pytest.raises(BadInput, match=said):
        trainer(tmp_path, name).check(model, PROMPTS)


def test_it_is_refused_without_others_and_with_too_few_pictures(root, model):
    with pytest.raises(BadInput, match="give --others"):
        AFARouters().check(model, PROMPTS)
    with pytest.raises(BadInput, match="5 pictures are fewer than 2 a model"):
        trainer(root, "another", "broken", pictures=5).check(model, PROMPTS)
    with pytest.raises(ValueError, match="others must differ"):
        trainer(root, "another", "another")
