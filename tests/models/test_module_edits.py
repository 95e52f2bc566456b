import pytest
import torch
from torch import nn

from intaglio.errors import BadInput
from intaglio.models.module_edits import ModuleEdit, edited


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.both = nn.Linear(3, 3), Both()

    def forward(self, x):
        return self.both(self.first(x))[0]


class Both(nn.Module):
    def forward(self, x):
        return 2 * x, "aside"


def hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def test_edits_act_in_order_on_the_rows_and_timesteps_that_they_name():
    net, x = Net(), torch.randn(4, 3)
    plain = net(x)
    edits = [ModuleEdit("both", lambda h, t: h + t, {7}), ModuleEdit("both", lambda h, t: 3 * h)]
    with edited(net, edits, 7, slice(2, 4)):
        found = net(x)
    assert torch.equal(found[:2], plain[:2])
    torch.testing.assert_close(found[2:], 3 * (plain[2:] + 7))
    with edited(net, edits, 8):
        torch.testing.assert_close(net(x), 3 * plain)
    assert torch.equal(net(x), plain)


def test_no_hook_is_left_whatever_goes_wrong():
    net, x = Net(), torch.randn(1, 3)
    cut = [ModuleEdit("first", lambda h, t: h), ModuleEdit("both", lambda h, t: h[:, :1])]
    with pytest.raises(ValueError, match=r"the edit of both makes \(1, 1\) of \(1, 3\)"), edited(net, cut, 0):
        net(x)
    assert hooks(net) == 0
    lost = [ModuleEdit("first", lambda h, t: h), ModuleEdit("fist", lambda h, t: h)]
    with pytest.raises(BadInput, match="no module 'fist'; some that it has: first"), edited(net, lost, 0):
        pass
    assert hooks(net) == 0
