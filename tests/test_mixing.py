"""What MixUp and CutMix do to images, targets and weights."""
import numpy as np
import pytest
import torch
from augmented import N, draw, some_images
from estimators import small
from torch.nn import functional as F

from fmnist_sk import CutMix, MixUp, RandomHorizontalFlip
from fmnist_sk._data.images import Batch


def shares(targets, codes):
    """(n,) how much of each image's target is of its own class, where the partner is of another; and those partners."""
    own = targets.gather(1, codes[:, None])[:, 0]
    return own, targets.scatter(1, codes[:, None], 0.0)


def test_mixup_blends_images_and_targets_by_the_same_share():
    x, codes = some_images(), torch.arange(N) % 7
    batch = draw(MixUp(alpha=1.0), x, codes, range(7))
    torch.testing.assert_close(batch.targets.sum(1), torch.ones(N))
    bright = F.one_hot(codes, 7).float()[:, :, None, None] * 100                   # the class can be read in the image
    batch = draw(MixUp(alpha=1.0), bright, codes, range(7))
    torch.testing.assert_close(batch.x[:, :, 0, 0] / 100, batch.targets)
    assert batch.targets.amax(1).min() < 0.51


@pytest.mark.parametrize("mixer", [MixUp(alpha=1.0, p=0.4), CutMix(p=0.4)])
def test_images_that_are_not_chosen_keep_their_targets(mixer):
    codes = torch.arange(N) % 7
    x = F.one_hot(codes, 7).float()[:, :, None, None].repeat(1, 1, 6, 6)
    batch = draw(mixer, x, codes, range(7))
    same = (batch.x == x).all(dim=(1, 2, 3))
    assert same.float().mean() > 0.5
    assert torch.equal(batch.targets[same], F.one_hot(codes[same], 7).float())
    assert (batch.targets.gather(1, codes[:, None])[~same] < 1).all()


def test_mixup_shares_are_beta_distributed():
    codes = torch.arange(N) % 2
    for alpha in (0.3, 1.0, 4.0):
        found = draw(MixUp(alpha=alpha), torch.eye(2)[codes][:, :, None, None], codes, range(2)).x[:, :, 0, 0]
        own = found.gather(1, codes[:, None])[:, 0]
        own = own[own < 1]                                  # partners of the other class
        assert len(own) == pytest.approx(N / 2, rel=0.1)
        assert own.mean() == pytest.approx(0.5, abs=0.03)
        assert own.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_tiny_alphas_leave_images_nearly_alone_or_take_the_partner():
    codes = torch.arange(N) % 2
    for alpha in (1e-3, 1e-6):
        found = draw(MixUp(alpha=alpha), torch.eye(2)[codes][:, :, None, None], codes, range(2)).x[:, :, 0, 0]
        own = found.gather(1, codes[:, None])[:, 0]
        assert ((own > 0.01) & (own < 0.99)).float().mean() < 0.02
        assert own.isfinite().all()


def test_cutmix_pastes_a_rectangle_of_the_partner_at_its_place():
    codes = torch.arange(N) % 5
    place = torch.arange(100.0).reshape(1, 1, 10, 10)
    batch = draw(CutMix(), (place + 1000 * codes[:, None, None, None]), codes, range(5))
    assert torch.equal(batch.x % 1000, place.expand(N, 1, 10, 10))
    of_class = (batch.x // 1000)[:, 0]
    for code in range(5):
        torch.testing.assert_close((of_class == code).float().mean((1, 2)), batch.targets[:, code])
    pasted = of_class != codes[:, None, None]
    rows, columns = pasted.any(2).sum(1), pasted.any(1).sum(1)
    assert torch.equal(pasted.sum((1, 2)), rows * columns)
    has_any = rows > 0
    assert has_any.float().mean() == pytest.approx(0.8, abs=0.05)      # partners of the same class cannot be seen
    assert pasted.any(0).all()


def test_partners_are_another_image_each_and_of_the_classes_that_may_be_changed():
    n = 300
    codes = torch.arange(n) % 3
    for params, may in (({}, {0, 1, 2}), ({"exclude": ["shoe"]}, {0, 1}), ({"only": ["coat"]}, {1})):
        identity = torch.eye(n)[:, :, None, None]
        batch = draw(MixUp(alpha=1.0, **params), identity, codes)
        parts = batch.x[:, :, 0, 0]
        mixed = (parts > 0).sum(1) > 1
        assert {code.item() for code in codes[mixed].unique()} == may
        partner = parts.clone().fill_diagonal_(0)[mixed].argmax(1)
        assert {code.item() for code in codes[partner].unique()} == may
        assert len(partner.unique()) == len(partner)


def test_a_single_image_is_its_own_partner():
    batch = draw([MixUp(), CutMix()], some_images(1))
    torch.testing.assert_close(batch.x, some_images(1))
    assert batch.targets.tolist() == [[1, 0, 0]]


def test_mixed_images_with_a_part_of_an_excluded_class_are_left_alone_afterwards():
    codes = torch.arange(600) % 3
    x = F.one_hot(codes, 3).float()[:, :, None, None].repeat(1, 1, 1, 2) * torch.tensor([1.0, 0.0])
    batch = draw([MixUp(alpha=1.0), RandomHorizontalFlip(p=1, exclude=["shoe"])], x, codes)
    mirrored = batch.x[..., 1].sum((1, 2)) > 0
    assert torch.equal(mirrored, batch.targets[:, 2] == 0)


def test_weights_are_mixed_so_that_the_loss_is_the_weighted_mean_of_two():
    n = 200
    codes, weights = torch.arange(n) % 3, torch.rand(n, generator=torch.Generator().manual_seed(0)) * 3
    batch = draw(MixUp(alpha=1.0), torch.eye(n)[:, :, None, None], codes, weights=weights)
    share = batch.x[:, :, 0, 0]                                        # (n, n): how much of which image
    logits = torch.randn(n, 3, generator=torch.Generator().manual_seed(0))
    each = torch.stack([F.cross_entropy(logits, codes[i].expand(n), reduction="none") for i in range(n)], 1)
    expected = (share * weights * each).sum(1)
    torch.testing.assert_close(F.cross_entropy(logits, batch.targets, reduction="none") * batch.weights, expected)


def test_training_on_mixed_images_counts_the_larger_share_as_the_label(tiny_images):
    X, y = tiny_images()
    classifier = small("ImageClassifier", augment=MixUp(alpha=0.4), max_epochs=60).fit(X, y)
    assert classifier.score(X, y) > 0.9
    assert 0.8 < classifier.history_[-1, "train_acc"] <= 1
    assert classifier.history_[-1, "train_loss"] > 0.1                 # soft targets cannot be met for nothing


@pytest.mark.parametrize("mixer", [MixUp(alpha=1.0, random_state=0), CutMix(random_state=0)])
def test_in_a_pipeline_images_are_mixed_within_their_class(mixer, tiny_images):
    n = 90
    y = np.arange(n) % 3
    X = np.zeros((n, 4, 4), np.uint8)
    X[:] = (60 * y + 10 + np.arange(n) // 3)[:, None, None]            # 30 images of a class, within 30 values
    mixed = mixer.fit_transform(X, y)
    assert mixed.dtype == np.uint8
    assert (mixed != X).any((1, 2)).mean() > 0.7
    np.testing.assert_array_equal((mixed.astype(int) - 10) // 60, np.broadcast_to(y[:, None, None], X.shape))
    with pytest.raises(ValueError, match="mixes images of one class and needs y, the labels, got y=None"):
        mixer.fit_transform(X)




def test_a_batch_knows_which_images_are_wholly_of_some_classes():
    allowed = torch.tensor([True, False, True])
    hard = Batch(torch.zeros(3, 1, 1, 1), torch.tensor([0, 1, 2]))
    assert hard.are_all_of(allowed).tolist() == [True, False, True]
    soft = Batch(hard.x, hard.codes, targets=torch.tensor([[0.5, 0.0, 0.5], [0.9, 0.1, 0.0], [0.0, 1.0, 0.0]]))
    assert soft.are_all_of(allowed).tolist() == [True, False, False]
