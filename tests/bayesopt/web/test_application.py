"""What the page is told: of one moment, bounded, and without a write to the study."""

import json
from importlib.resources import files

import pytest

import bayesopt as bo
from bayesopt.errors import StorageError
from bayesopt.record.storage import MemoryStore
from bayesopt.web.application import FILES, Watch
from bayesopt.web.drawing import MOST_DRAWN
from bayesopt.web.table import PAGE
from tests.bayesopt.web.serving import ask, ask_json, served
from tests.bayesopt.web.studies import ATTACKS, hostile_study, long_study, usual_study


class ReadOnly:
    """A study's store that can be read alone."""

    def __init__(self, store):
        self._store, self.name, self.spec = store, store.name, store.spec

    def __getattr__(self, name):
        assert name in {"changes", "reports", "recommendation", "silent_since", "close"}, f"the page calls {name}"
        return getattr(self._store, name)

    def transact(self, work):
        raise AssertionError("the page writes")


def test_nothing_is_written_whatever_is_read():
    study = usual_study()
    store = ReadOnly(study._store)
    watched = bo.Study(
        study.space,
        minimize="val_loss",
        subject_to=study.outcomes.constraints,
        storage=store,
        noise=0.0,
        name=study.name,
    )
    with served(watched) as address:
        for path in ("/study.json", "/trials.json", "/trials.json?order=best&show=failed", "/trial.json?id=0", "/"):
            assert ask(address, path)[0] == 200


def test_an_unchanged_study_is_not_sent_again():
    with served(hostile_study(pending_timeout=None)) as address:
        for _ in range(2):  # a model may still be looking at the belief when it is asked for the first time
            _, headers, _ = ask(address, "/study.json")
            status, _, body = ask(address, "/study.json", If_None_Match=headers["ETag"])
        assert (status, body) == (304, b"")
        assert ask(address, "/study.json", If_None_Match="other")[0] == 200


def test_a_trial_told_later_is_seen():
    study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", seed=0)
    watch = Watch(study)
    assert json.loads(watch.look().body)["best"] is None
    study.tell(study.ask(), 2.5)
    watch._pause_until = 0.0  # as if a second had passed
    assert json.loads(watch.look().body)["best"]["value"] == "2.5"


def test_what_is_sent_stays_bounded_however_long_the_study():
    with served(long_study(5000)) as address:
        _, _, study = ask(address, "/study.json")
        _, _, table = ask(address, "/trials.json?page=200&order=best")
    drawing = json.loads(study)["drawing"]
    assert len(drawing["trials"]["id"]) == MOST_DRAWN
    assert drawing["n_candidates"] == 5000
    assert json.loads(table)["total"] == 5000
    assert len(json.loads(table)["rows"]) == PAGE
    # 600 trials of 8 heights and 7 other columns, of at most 12 characters each
    assert len(study) < MOST_DRAWN * 15 * 12
    assert len(table) < PAGE * 14 * 24


def test_a_text_of_any_length_is_sent_short():
    space = bo.Space({"n" * 100_000: bo.Choice(["o" * 100_000, "p"])})
    study = bo.Study(space, minimize="m" * 100_000, seed=0)
    study.fail(study.ask(), "r" * 100_000)
    study.tell(study.ask(), 1.0)
    with served(study) as address:
        for path in ("/study.json", "/trials.json", "/trial.json?id=0"):
            assert len(ask(address, path)[2]) < 10_000


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/trials.json?page=0", 400, "page: expected a whole number from 1 on, got '0'"),
        ("/trials.json?page=" + "9" * 5000, 400, "page: expected a whole number"),
        ("/trials.json?order=worst", 400, "order: expected newest, oldest, best, got 'worst'"),
        ("/trials.json?show=<script>", 400, "show: expected all, feasible, infeasible, unmeasured, failed"),
        ("/trial.json", 400, "id: expected a whole number from 0 on, got"),
        ("/trial.json?id=77", 404, "there is no trial 77"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(path, status, message):
    with served(hostile_study()) as address:
        answered, headers, body = ask(address, path)
    assert answered == status
    assert headers["Content-Type"] == "application/json"
    assert message in json.loads(body)["error"]


def test_a_storage_that_cannot_be_read_is_said_and_then_forgotten():
    class Broken(MemoryStore):
        is_broken = True

        def changes(self, since):
            if self.is_broken:
                raise StorageError("tune.db: the disk is gone.")
            return super().changes(since)

    store = Broken("study", {})
    store.is_broken = False
    spec_of = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", seed=0)
    store.spec = spec_of._store.spec
    study = bo.Study(spec_of.space, minimize="loss", storage=store)
    store.is_broken = True
    with served(study) as address:
        status, _, body = ask(address, "/study.json")
        assert (status, json.loads(body)) == (503, {"error": "tune.db: the disk is gone."})
        store.is_broken = False
        assert ask(address, "/study.json")[0] == 200


def test_names_arrive_as_they_were_given():
    with served(hostile_study()) as address:
        study = ask_json(address, "/study.json")
        failed = ask_json(address, "/trials.json?show=failed")
    script, image, svg, _, template, title, _ = ATTACKS
    assert study["name"] == image
    assert study["objective"] == title
    assert study["constraints"][0]["name"] == svg
    assert [axis["label"][:9] for axis in study["drawing"]["axes"]] == [
        script[:9],
        image[:9],
        "__proto__",
        *[template[:9]] * 2,
    ]
    assert failed["rows"][0]["cells"][-1].startswith(script)


def test_no_file_of_the_page_names_another_origin():
    folder = files("bayesopt.web") / "files"
    assert {entry.name for entry in folder.iterdir()} == set(FILES)
    for name in FILES:
        text = (folder / name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")  # a name, not a place
        assert "://" not in text, name
        assert "innerHTML" not in text
        assert "eval(" not in text
