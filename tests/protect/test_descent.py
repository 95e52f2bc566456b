"""Steps on a group: every view has timesteps and noise of its own, the same in whatever company."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from intaglio.images.image_set import ImageSet
from intaglio.protect.budget import Allowance
from intaglio.protect.descent import Group, ProtectionWork
from intaglio.protect.family import Protector
from protect_scenes import model, surrogate

DRAWN = []


@dataclass(frozen=True, kw_only=True)
class Drawing(Protector):
    """Notes what each view's generator gives, and raises the brightness."""

    reading: ClassVar[str] = "draws"
    objective: ClassVar[str] = "brightness"
    name: ClassVar[str] = "drawing"

    def gradient(self, surrogate, pixels, target, sources):
        DRAWN.append([float(torch.rand((), generator=source)) for source in sources])
        return pixels.mean((1, 2, 3)), torch.ones_like(pixels) / pixels[0].numel()


def stepped(pixels):
    """The numbers that the views of each picture drew in one step, and the change after it."""
    images = ImageSet.from_pixels(pixels)
    box = Allowance(images.pixels, torch.ones(len(images), 1, *pixels.shape[-2:]), 8.0)
    with surrogate(model()) as given:
        work = ProtectionWork(Drawing(view="tiles", step=2.0), given, None, {}, {}, lambda name, levels: None)
        DRAWN.clear()
        state = work.step(Group(images, box), work.start(Group(images, box)))
    return DRAWN[0], state.change


def test_each_tile_draws_its_own_and_a_picture_the_same_in_any_company():
    pixels = (torch.rand(2, 3, 40, 24, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    drawn, change = stepped(pixels)
    assert len(set(drawn)) == len(drawn) >= 2 * 4
    alone, alone_change = stepped(pixels[:1])
    assert drawn[: len(alone)] == alone
    torch.testing.assert_close(change[:1], alone_change)


def test_a_step_is_of_its_size_along_the_sign():
    pixels = torch.full((1, 3, 16, 16), 100 / 255)
    _, change = stepped(pixels)
    torch.testing.assert_close(change, torch.full_like(change, 2 / 255))
