"""ddsp: payloads in the lowest bits are gone without a trace, the mark dwt-dct mostly, and pictures stay near."""

import pytest
import torch

from intaglio.images.image_set import to_uint8
from intaglio.models import testbed
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.methods.dwt_dct import DwtDct
from intaglio.protect.purify.methods.ddsp import DDSP

SMALL = {"piece": 64}
BAD = {"piece": 1}
PIECES = {"piece": 6}


def psnr_by_hand(a, b):
    return -10 * float(((a - b).double() ** 2).mean().log10())


def test_the_lowest_bits_are_read_wrong_half_the_time_and_pictures_stay_near():
    clean = testbed.controls_wide().pixels[:4]
    bits = torch.randint(0, 2, (6, *clean.shape), generator=torch.Generator().manual_seed(0))
    hidden = (((to_uint8(clean) & 254) + bits) / 255).flatten(0, 1)
    found = DDSP().clean(hidden, None, 0).unflatten(0, (6, 4))
    assert all(torch.equal(found[0], other) for other in found[1:]), "whatever the bits are"
    wrong = ((to_uint8(found[0]) & 1) != bits).double().mean()
    assert float(wrong) == pytest.approx(0.5, abs=4 * 0.5 / bits.numel() ** 0.5)
    assert psnr_by_hand(found[0], clean) > 40


def test_the_bits_of_dwt_dct_are_mostly_gone():
    clean, mark = testbed.controls_wide().pixels[4:28], DwtDct()
    keys = [MarkKey.of_seed(place) for place in range(len(clean))]
    hidden = torch.cat([mark.embed(one[None], key, 0) for one, key in zip(clean, keys, strict=True)])
    found = to_uint8(DDSP().clean(hidden, None, 0)) / 255
    meant = torch.cat([mark.meant(key, [0], ()) for key in keys])
    assert ((mark.read(hidden) > 0.5) == meant).all()
    assert float(((mark.read(found) > 0.5) != meant).double().mean()) > 0.35
    assert psnr_by_hand(found, clean) > psnr_by_hand(hidden, clean)
