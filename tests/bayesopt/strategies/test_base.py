import copy
import json
import pickle

import pytest

from bayesopt.strategies import Suggestion


def test_a_suggestion_is_a_configuration_that_carries_a_memory():
    suggestion = Suggestion({"lr": 0.1, "on": True}, memory={"k": 1})
    assert suggestion == {"lr": 0.1, "on": True}
    assert json.dumps(suggestion) == '{"lr": 0.1, "on": true}'
    assert suggestion.memory == {"k": 1}
    assert Suggestion({"lr": 0.1}).memory is None


@pytest.mark.parametrize("made", [lambda s: pickle.loads(pickle.dumps(s)), copy.deepcopy, copy.copy])
def test_a_copy_keeps_the_memory(made):
    twin = made(Suggestion({"lr": 0.1}, {"k": [1.0]}))
    assert (twin, twin.memory) == ({"lr": 0.1}, {"k": [1.0]})
