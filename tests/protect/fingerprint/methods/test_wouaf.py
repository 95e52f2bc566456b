"""wouaf: scales by hand, in a call and in the weights, the loss by hand, a bit that a tiny decoder learns, its file."""

from functools import cache

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from safetensors.torch import load_file, save_file
from scipy.stats import binom
from torch import nn

from audit_scenes import model
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.protect.fingerprint.decoder_tuning import decoder_of, picture_distance, with_own_decoder
from intaglio.protect.fingerprint.jpeg_loop import compressed
from intaglio.protect.fingerprint.keyed_decoder import channels_of, keyed_layers, new_key_map, scaled
from intaglio.protect.fingerprint.keyed_file import KeyedDecoder, new_keyed_parts
from intaglio.protect.fingerprint.keyed_training import KeyedTraining
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.marked_model import mark_model
from intaglio.protect.fingerprint.methods.wouaf import WOUAF

SMALL = {"updates": 3, "rows": 2, "bits": 4}
BAD = {"bits": 33}
PIECES = {}

KEY = MarkKey.of_seed(0)


@cache
def net():
    """A tiny model whose decoder has attention, as those of Stable Diffusion have."""
    given = model()
    config = {**given.autoencoder.config, "mid_block_add_attention": True}
    with torch.random.fork_rng():
        torch.manual_seed(4)
        found = with_own_decoder(given, "tiny-0")
        found.autoencoder = AutoencoderKL.from_config(config).eval().requires_grad_(False)
    return found


def latents(count=3):
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def keyed(bits=4, spread=0.3):
    """A decoder as it was, with scales that hang on the message: heads of random weights."""
    keys, reader = new_keyed_parts(net(), testbed.extractor(), bits, 0)
    source = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in (*keys.heads.parameters(), *keys.second.parameters()):
            weight.copy_(spread * torch.randn(weight.shape, generator=source) / weight.shape[-1] ** 0.5)
    decoder = decoder_of(net()).state_dict()
    return KeyedDecoder(net().part_fingerprint("autoencoder"), decoder, keys, reader, {})


def test_a_call_with_scales_gives_what_baked_weights_give_row_by_row():
    part, changed = keyed(), with_own_decoder(net(), "scaled")
    messages = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]).bool()
    layers, before = keyed_layers(changed), net().decode(latents(), clamp=False)
    blocks = [one for one in decoder_of(changed).modules() if isinstance(one, ResnetBlock2D)]
    shortcuts = sum(one.conv_shortcut is not None for one in blocks)
    assert len(layers) == 2 * len(blocks) + shortcuts + 3, "with q, k and v of the attention in the middle"
    with torch.no_grad():
        with scaled(list(layers.values()), part.map(messages.float())):
            together = changed.decode(latents(), clamp=False)
        apart = [part.baked(net(), part.scales(one), "x").decode(latents(), clamp=False) for one in messages]
        assert torch.equal(changed.decode(latents(), clamp=False), before), "the scales are gone after the call"
    for row, one in enumerate(apart):
        torch.testing.assert_close(together[row], one[row], rtol=0, atol=1e-6 * float(before.abs().max()))
        assert float((one[row] - before[row]).abs().max()) > 1e-3


def test_of_one_bit_scales_and_weights_are_those_by_hand():
    part, layers = keyed(bits=1), keyed_layers(net())
    states = {name: one.detach() for name, one in part.map.state_dict().items()}

    def bent(numbers):
        return torch.where(numbers > 0, numbers, 0.2 * numbers)

    for bit, entry in ((False, -1.0), (True, 1.0)):
        known = bent(states["first.weight"][:, 0] * entry + states["first.bias"])
        known = entry + states["second.weight"] @ known + states["second.bias"]
        message = torch.tensor([bit])
        changed = keyed_layers(part.baked(net(), part.scales(message), "x"))
        for place, (name, layer) in enumerate(layers.items()):
            scales = 1 + states[f"heads.{place}.weight"] @ known + states[f"heads.{place}.bias"]
            expected = torch.einsum("oi...,i->oi...", layer.weight, scales)
            torch.testing.assert_close(changed[name].weight, expected, rtol=1e-5, atol=1e-7)
            assert torch.equal(changed[name].bias, layer.bias)


def test_before_it_learns_all_scales_are_1_and_the_decoder_is_bit_for_bit_as_it_was():
    keys, reader = new_keyed_parts(net(), testbed.extractor(), 4, 0)
    decoder = decoder_of(net()).state_dict()
    part = KeyedDecoder(net().part_fingerprint("autoencoder"), decoder, keys, reader, {})
    changed = part.baked(net(), part.scales(torch.tensor([True, False, True, True])), "x")
    for name, weight in decoder_of(changed).state_dict().items():
        assert torch.equal(weight, decoder[name])
    pixels = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(reader(pixels), testbed.extractor()(pixels)[:, :4])
    assert float(keys.first(torch.randn(2000, 4).sign()).square().mean().detach()) == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("step", [0, 1])
def test_the_loss_is_the_cross_entropy_of_the_messages_and_the_distance(step):
    """Even updates read the pictures as they are, odd ones after JPEG."""
    part, changed, z = keyed(), with_own_decoder(net(), "changed"), latents(2)
    training = KeyedTraining(net(), changed, part.map, part.reader, z, 2.0, 0.7, 2, True, 3)
    messages = training.messages(step)
    assert set(messages.flatten().tolist()) == {0.0, 1.0}
    assert not torch.equal(messages, training.messages(step + 2))
    found = training.objective()(step)
    with torch.no_grad():
        after = torch.cat([part.baked(net(), part.scales(m.bool()), "x").decode(z, clamp=False) for m in messages])
        for order in (torch.tensor([0, 3]), torch.tensor([1, 2])):  # of the two latents in the batch, as drawn
            pixels, before = after[order], net().decode(z[order % 2])
            seen = compressed(pixels.clamp(0, 1), 3, step) if step % 2 else pixels.clamp(0, 1)
            logits = 2 * part.reader(seen)
            cross = -(messages * logits.sigmoid().log() + (1 - messages) * (1 - logits.sigmoid()).log()).mean()
            wanted = float(cross) + 0.7 * float(picture_distance(pixels, before))
            if found.value == pytest.approx(wanted, rel=1e-4):
                return
    pytest.fail("neither order of the batch gives the loss")


def test_a_bit_that_is_learnt_once_is_read_of_every_user_s_pictures(tmp_path):
    mark = WOUAF(bits=1, updates=15, rows=4, nearness=0.0, learning_rate=5e-3, hardened=False)
    images = ImageSet.from_pixels(torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    made = mark_model(mark, net(), images, tmp_path, KEY, user=0)
    assert made.mark.trained == tmp_path / "wouaf.safetensors"
    assert (tmp_path / "wouaf.safetensors").stat().st_mode & 0o077 == 0
    users = [next(k for k in range(50) if bool(KEY.bits(1, "message", k)[0]) is bit) for bit in (False, True)]
    for user in users:
        baked = mark_model(made.mark, net(), images, tmp_path / str(user), KEY, user=user)
        assert [one.bits for one in baked.marks.pictures] == [1.0, 1.0]
        assert not (tmp_path / str(user) / "wouaf.safetensors").exists()
        assert baked.model.part_fingerprint("denoiser") == net().part_fingerprint("denoiser")
    assert "| trained | None |" in made.card()


def test_what_is_stored_is_read_again_bit_for_bit_and_other_files_are_refused(tmp_path):
    part, path = keyed(), tmp_path / "a.safetensors"
    part.save(path)
    again = KeyedDecoder.load(path)
    for one, other in ((part.map, again.map), (part.reader, again.reader)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name])
    assert again.decoder.keys() == part.decoder.keys()
    tensors, pixels = load_file(path), torch.rand(1, 3, 32, 32)
    mark = WOUAF(bits=4, trained=path)
    torch.testing.assert_close(mark.read(pixels), part.reader(pixels))
    another = model(seed=1)
    for call in (lambda: mark.ready(another, latents(), tmp_path), lambda: mark.apply(another, latents(), KEY, 0)):
        with pytest.raises(BadInput, match="trained for another autoencoder .* than that of tiny-1"):
            call()
    with pytest.raises(BadInput, match="--rows would have no effect; leave it out"):
        WOUAF(bits=4, trained=path, rows=2).check_model(net())
    with pytest.raises(BadInput, match="of 4 bits, and --bits of 16; give the same"):
        WOUAF(trained=path).read(pixels)
    with pytest.raises(BadInput, match="trained to; give its file, with --trained"):
        WOUAF().apply(net(), latents(), KEY, 0)
    save_file(tensors, tmp_path / "bare.safetensors")
    with pytest.raises(BadInput, match="holds no trained decoder of a mark"):
        KeyedDecoder.load(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    "changes", [{"channels": "[4096]"}, {"bits": "0"}, {"widths": '["x"]'}, {"settings": "3"}, {"bits": None}]
)
def test_a_file_whose_shapes_do_not_fit_is_told(changes, tmp_path):
    from safetensors import safe_open

    keyed().save(tmp_path / "a.safetensors")
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        about = {**file.metadata(), **changes}
    about = {name: value for name, value in about.items() if value is not None}
    save_file(load_file(tmp_path / "a.safetensors"), tmp_path / "b.safetensors", about)
    with pytest.raises(BadInput, match="b.safetensors is damaged"):
        KeyedDecoder.load(tmp_path / "b.safetensors")


def test_of_wrong_keys_right_bits_are_binomial(tmp_path):
    """One picture, 400 keys: a law over keys, whatever was trained."""
    part = keyed(bits=16)
    part.save(tmp_path / "a.safetensors")
    mark = WOUAF(trained=tmp_path / "a.safetensors")
    with torch.no_grad():
        reading = mark.read(torch.ones(1, 3, 64, 64))
    found = [mark.agreement(reading, mark.meant(MarkKey.of_seed(k), [0], ()), KEY) for k in range(400)]
    right, p = (torch.stack([one[place][0, 0] for one in found]) for place in (1, 0))
    assert abs(float(right.mean()) - 8) < 4 * (16 / 4 / 400) ** 0.5
    torch.testing.assert_close(p[7], torch.tensor(binom.sf(float(right[7]) - 1, 16, 0.5)), rtol=1e-9, atol=0)
    for rate in (0.5, 0.1, 0.02):
        assert float((p <= rate).double().mean()) <= rate + 3 * (rate * (1 - rate) / 400) ** 0.5


def test_a_decoder_without_resnet_blocks_and_small_pictures_are_refused():
    bare = with_own_decoder(net(), "bare")
    bare.autoencoder.decoder = nn.Conv2d(4, 3, 3)
    with pytest.raises(BadInput, match="the decoder of bare has no ResNet blocks"):
        WOUAF().check_model(bare)
    with pytest.raises(BadInput, match="x.png has 64x12 pixels"):
        WOUAF().check_shape((3, 12, 64), "x.png")
    assert [channels_of(layer) for layer in (nn.Conv2d(4, 3, 3), nn.Linear(5, 2))] == [4, 5]
    assert torch.equal(new_key_map(2, [3], 0).first.weight, new_key_map(2, [3], 0).first.weight)
