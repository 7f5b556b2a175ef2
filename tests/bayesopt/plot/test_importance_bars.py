"""Importance: the bars are the indices, the largest on top, and a model that is not to be trusted says so."""

import numpy as np

from bayesopt import plot
from tests.bayesopt.plot.studies import FREE, SPACE, drawn, study_of


def test_the_bars_are_the_indices_in_their_order():
    study = study_of(lambda i, p: float(p["layers"]) + 0.1 * p["mix"]["web"], 16, space=SPACE, **FREE)
    (ax,) = plot.importance(study).axes
    found = study.importance()
    alone, together = (np.array([bar.get_width() for bar in bars]) for bars in ax.containers[:2])
    np.testing.assert_allclose(alone, [share.first for share in found.shares.values()])
    # clipping at 0 is the picture's own: a total below the first-order index is an error of integration
    np.testing.assert_allclose(together, [share.interactions for share in found.shares.values()])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == list(found.shares)
    assert names[0] == "layers"
    assert ax.yaxis_inverted()  # the first one on top


def test_a_model_that_is_not_to_be_trusted_says_so_in_the_picture():
    texts = "\n".join(drawn(plot.importance(study_of(lambda i, p: float(i * 7919 % 31), 20, space=SPACE, **FREE))))
    assert "Beware: the model of loss orders trials that it has not seen hardly better than chance" in texts


def test_one_trial_is_too_few():
    assert "the model needs two trials that were told" in drawn(plot.importance(study_of(lambda i, p: 1.0, 1, **FREE)))
