import itertools

import pytest
import torch
from torch import nn

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.models.packing.codebook_entries import CodebookEntries
from intaglio.runs.run import Run
from intaglio.shrink.codebooks import fitted_books, nearest_codes
from intaglio.shrink.coded_weight import CodedWeight
from intaglio.shrink.layers import WeightLayer
from intaglio.shrink.methods.pv_tuning import PVTuning
from shrink_scenes import planted_rows

SMALL = {"steps": 2, "batch": 2, "entries": 4, "group": 4}
BAD = {"entries": 12}
PIECES = {"gradient_checkpointing": True}
VARIANTS = {"one book": {"SMALL": {"books": 1, "changed": 1.0}, "BAD": {"changed": 0.0}, "PIECES": {}}}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def no_codes(books, count):
    return torch.zeros(books, count, dtype=torch.uint8)


def coded(books=2, rows=6, groups=5, entries=4, width=3, seed=0):
    layer = nn.Linear(groups * width, rows, bias=False)
    source = torch.Generator().manual_seed(seed)
    codes = torch.randint(entries, (books, rows, groups), generator=source, dtype=torch.uint8)
    book = nn.Parameter(drawn(books, entries, width, seed=seed + 1).half().float())
    scales = (0.5 + torch.rand(rows, generator=source)).half().float()
    return layer, CodedWeight(layer, book, codes, scales), book, codes


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_made_of_a_known_book_is_found_again(seed):
    known = drawn(16, 4, seed=seed)
    made = known[torch.randint(16, (400,), generator=torch.Generator().manual_seed(seed))]
    books = fitted_books(made, 1, 16, torch.Generator().manual_seed(seed + 9))
    codes = nearest_codes(made, books, no_codes(1, 400))
    assert torch.allclose(books[0][codes[0].long()], made, atol=1e-5)


def test_a_second_book_halves_the_error_and_every_entry_is_of_use():
    groups = drawn(3000, 4)
    errors = []
    for count in (1, 2):
        books = fitted_books(groups, count, 16, torch.Generator().manual_seed(1))
        codes = nearest_codes(groups, books, no_codes(count, 3000))
        sums = sum(book[code.long()] for book, code in zip(books, codes, strict=True))
        errors.append(float((groups - sums).square().mean()))
        assert all(len(code.unique()) == 16 for code in codes)
    assert errors[0] < 0.4
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("books", [1, 2])
def test_where_the_beams_hold_all_the_search_finds_the_nearest_sum(books):
    groups, held = drawn(50, 3), drawn(books, 4, 3, seed=1)
    codes = nearest_codes(groups, held, no_codes(books, 50))
    for k, group in enumerate(groups):
        sums = [sum(held[m, e] for m, e in enumerate(each)) for each in itertools.product(range(4), repeat=books)]
        found = sum(held[m, int(codes[m, k])] for m in range(books))
        least = min(float((group - one).square().sum()) for one in sums)
        assert float((group - found).square().sum()) == pytest.approx(least, rel=1e-4)


def test_a_search_never_ends_further_than_it_began():
    groups, held = drawn(200, 4), drawn(3, 32, 4, seed=1)
    before = torch.randint(32, (3, 200), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)

    def errors(codes):
        return (groups - sum(held[m][codes[m].long()] for m in range(3))).square().sum(1)

    found = nearest_codes(groups, held, before)
    assert (errors(found) <= errors(before)).all()
    assert torch.equal(nearest_codes(groups, held, found), found) or (errors(found) > 0).any()


def test_a_layer_computes_with_scaled_sums_whose_gradients_are_true():
    """Of Σ c·w³: a scale's is Σ_j 3c·w²·q over its row; an entry's the sum of 3c·w²·scale over the groups with it."""
    layer, one, book, codes = coded()
    wanted = torch.zeros(6, 15)
    for row, group, m in itertools.product(range(6), range(5), range(2)):
        wanted[row, 3 * group : 3 * group + 3] += book.detach()[m, int(codes[m, row, group])]
    sums, scales = wanted.clone(), one.scales.detach()
    wanted = wanted * scales[:, None]
    assert torch.allclose(layer.weight, wanted, rtol=1e-5)
    c = drawn(6, 15, seed=5)
    (c * layer.weight**3).sum().backward()
    gradient = 3 * c * wanted**2
    assert torch.allclose(one.scales.grad, (gradient * sums).sum(1), rtol=1e-3, atol=1e-4)
    of_book = torch.zeros_like(book)
    for row, group, m in itertools.product(range(6), range(5), range(2)):
        of_book[m, int(codes[m, row, group])] += scales[row] * gradient[row, 3 * group : 3 * group + 3]
    assert torch.allclose(book.grad, of_book, rtol=1e-3, atol=1e-4)


def test_the_term_is_the_weight_in_use_to_the_bit():
    layer, one, book, _ = coded()
    with torch.no_grad():
        book += 1e-3 * drawn(*book.shape, seed=7)
        one.scales.mul_(1.0003)
    assert torch.equal(one.term("x").unpack(), layer.weight.detach())


def test_without_a_gradient_no_code_changes_though_all_are_searched():
    _, one, _, codes = coded()
    assert one.recode(0.5, 1.0) == 0
    assert torch.equal(one.kept["codes"], codes)


def test_the_first_aim_is_a_step_of_signs_of_the_norm_that_is_told():
    """The root of the mean square is |g| times a constant in the first step, so that u is the gradient's sign."""
    layer, one, _, _ = coded()
    used, c = layer.weight.detach().clone(), drawn(6, 15, seed=5)
    (c * layer.weight).sum().backward()
    one.recode(0.01, 0.1)
    moved = one.kept["aim"] - used
    assert torch.allclose(moved, -0.01 * float(used.norm()) / 90**0.5 * c.sign(), rtol=1e-3, atol=1e-6)


def test_gradients_of_several_pieces_count_as_their_sum():
    aims = []
    for cuts in ((0, 6), (0, 2, 6)):
        layer, one, _, _ = coded()
        for step in range(2):
            for low, high in itertools.pairwise(cuts):
                (drawn(6, 15, seed=step) * layer.weight)[low:high].sum().backward()
            one.recode(0.01, 0.1)
        aims.append(one.kept["aim"])
    assert torch.allclose(aims[0], aims[1], atol=1e-6)


def test_only_the_groups_furthest_from_the_aim_take_new_codes():
    layer, one, _, codes = coded()
    before = layer.weight.detach().clone()
    layer.weight.sum().backward()
    assert one.recode(0.0, 0.1) == 0, "the mean square of 1"
    (drawn(6, 15, seed=5) * layer.weight).sum().backward()
    assert one.recode(0.6, 0.1) <= 3
    changed = (one.kept["codes"] != codes).any(0)
    assert 1 <= int(changed.sum()) <= 3
    apart = (one.kept["aim"] - before).view(6, 5, 3).norm(dim=2)
    assert float(apart[changed].min()) >= float(apart.flatten().sort(descending=True).values[2]) - 1e-6


def quadratic(share, steps=150):
    """The least loss that is met where eight groups of one row, of four entries each, are to be at a target."""
    layer, one, _, _ = coded(books=1, rows=1, groups=8, entries=4, width=2, seed=3)
    mix, target = torch.eye(16) + 0.3 * drawn(16, 16, seed=8), drawn(1, 16, seed=9)
    losses = []
    for _ in range(steps):
        loss = ((layer.weight - target) @ mix).square().sum()
        losses.append(float(loss.detach()))
        loss.backward()
        one.recode(0.05, share)
    return losses[0], min(losses)


def test_codes_alone_come_down_a_quadratic():
    for share in (0.125, 1.0):
        first, least = quadratic(share)
        assert least < 0.5 * first, share


def test_layers_of_a_shape_share_their_books_and_large_ones_have_their_own():
    method = PVTuning()

    def named(module):
        return method.book_of(WeightLayer("denoiser", "here", module))

    with torch.device("meta"):
        assert named(nn.Linear(64, 128)) == named(nn.Linear(256, 128)) == named(nn.Conv2d(64, 128, 1)) == "128x1"
        assert named(nn.Conv2d(64, 128, 3)) == "128x9"
        assert named(nn.Linear(1024, 1024)) == "here.weight"
        assert named(nn.Linear(1024, 1023)) == "1023x1"
        assert named(nn.Linear(36, 128)) is None


def test_bytes_are_as_planned_and_codes_move(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "m"))
    method = PVTuning(steps=3, batch=2, entries=8, group=4, code_rate=0.5, learning_rate=1e-2)
    run, logged = Run.none(), []
    run.log = lambda stream, step, **numbers: logged.append(numbers)
    found = method(model, planted_rows(), run=run)
    plan = method.planned(model, 28)
    assert sum(row["recoded"] for row in logged) > 0
    assert found.bytes == pytest.approx(plan.after, rel=0.01)
    terms = [one.terms[0] for one in found.packed["denoiser"].values()]
    coded_terms = [term for term in terms if isinstance(term, CodebookEntries)]
    by_name = {term.name: term.books for term in coded_terms}
    assert 1 < len(by_name) < len(coded_terms)
    assert all(torch.equal(term.books, by_name[term.name]) for term in coded_terms)
    whole = sum(one.bytes for one in found.packed["denoiser"].values()) + len(by_name) * 2 * 2 * 8 * 4
    numbers = sum(one.numbers for one in found.packed["denoiser"].values())
    assert found.bits == found.packing.bits == pytest.approx(8 * whole / numbers)


def test_the_second_aim_divides_by_the_root_of_a_mean_of_decay_0_95():
    """Gradients of 1, then of 1 and 3: mean squares of 0.05·(0.95 + 1) and 0.05·(0.95 + 9)."""
    layer, one, _, _ = coded()
    slopes = torch.where(torch.arange(15) < 7, 1.0, 3.0).expand(6, 15)
    for c in (torch.ones(6, 15), slopes):
        before = one.kept["aim"].clone()
        (c * layer.weight).sum().backward()
        one.recode(0.01, 0.1)
    along = slopes / (0.95 + slopes**2).sqrt()
    wanted = -0.01 * float(before.norm()) / float(along.norm()) * along
    assert torch.allclose(one.kept["aim"] - before, wanted, rtol=1e-3, atol=1e-6)
