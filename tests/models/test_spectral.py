import numpy as np
from scipy import sparse

from nightshift.models.attributes import Bags
from nightshift.models.spectral import item_factors, share_with_words

GROUPS = np.kron(np.eye(2), np.ones((10, 5)))


def test_items_bought_by_the_same_people_start_close():
    factors = item_factors(sparse.csr_array(GROUPS), 4, seed=1)
    likeness = factors @ factors.T
    assert likeness[:5, :5].min() > 0.5
    assert abs(likeness[:5, 5:]).max() < 1e-6


def test_more_dimensions_than_items_are_left_empty():
    factors = item_factors(sparse.csr_array(GROUPS), 64, seed=1)
    assert factors.shape == (10, 64)
    assert not factors[:, 10:].any()


def test_ids_and_words_sum_to_the_factors():
    factors = np.random.default_rng(1).normal(size=(4, 3))
    words = Bags(np.array([0, 1, 1, 5]), np.array([0, 2, 3, 4]))  # the last item has none
    of_id, of_word = share_with_words(factors, words, 8)
    means = [of_word[[0, 1]].mean(axis=0), of_word[1], of_word[5], np.zeros(3)]
    np.testing.assert_allclose(of_id + means, factors)


def test_an_item_that_nobody_has_is_what_its_words_say():
    matrix = sparse.csr_array(np.hstack([GROUPS, np.zeros((20, 1))]))
    words = Bags(np.array([0] * 5 + [1] * 6), np.arange(11))
    factors = item_factors(matrix, 4, seed=1)
    of_id, of_word = share_with_words(factors, words, 2)
    assert not of_id[10].any()
    np.testing.assert_allclose(of_word[1], factors[5:10].mean(axis=0))
