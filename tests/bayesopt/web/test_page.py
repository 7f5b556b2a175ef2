"""The page in a real browser: what is seen, what is not executed, and whether anybody can use it."""

from pathlib import Path

import pytest

import bayesopt as bo
from tests.bayesopt.web.studies import ATTACKS, SPACE, hostile_study, long_study, usual_study

AUDIT = (Path(__file__).parent / "accessibility.js").read_text("utf-8")


def text_of(browser, selector):
    return browser.run(f"document.querySelector({selector!r}).textContent")


def count(browser, selector):
    return browser.run(f"document.querySelectorAll({selector!r}).length")


def test_a_study_with_everything_is_seen(page):
    study = usual_study()
    browser = page(study)
    assert text_of(browser, "h1") == study.name
    assert study.name in browser.run("document.title")
    assert text_of(browser, "#goal") == "minimize val_loss, subject to memory_gb ≤ 16"
    assert text_of(browser, "#state") == "Going on: 2 trials are being evaluated"
    assert text_of(browser, "#best .big") == f"{study.best.values['val_loss']:.6g}"
    assert "A model of the" in text_of(browser, "#proposal")
    assert "14 of 48 trials left" in text_of(browser, "#budget")
    assert text_of(browser, "#verdict .pill") == "feasible"
    assert "nan at step 120" in text_of(browser, "#failures")
    ended = sum(trial.state in ("complete", "failed") for trial in study.trials)
    assert count(browser, "#progress svg > .mark") == ended
    assert count(browser, "#parallel .lines path:not(.casing)") == ended + 2  # the pending ones
    assert count(browser, "#constraints svg > .mark") == ended
    browser.wait("document.querySelectorAll('#rows tr').length === 25")


@pytest.mark.slow
def test_beliefs_are_shown_once_a_model_has_judged_them(page):
    browser = page(usual_study())
    browser.wait("document.getElementById('beliefs').textContent.includes('Right with probability')")
    assert count(browser, "#beliefs .belief") == 3  # each, and all together
    assert "After 30 told trials" in text_of(browser, "#beliefs")


def test_a_trial_told_while_one_watches_appears_by_itself(page):
    study = bo.Study(bo.Space({"x": bo.Float(0.0, 1.0)}), minimize="loss", seed=0, budget=bo.Budget(trials=2))
    browser = page(study)
    assert text_of(browser, "#best") == "No trial has ended yet."
    study.tell(study.ask(), 2.5)
    browser.wait("document.querySelector('#best .big')?.textContent === '2.5'")
    study.tell(study.ask(), 1.5)
    browser.wait("document.getElementById('state').textContent === 'Over: budget: all 2 trials are used'")
    browser.wait("document.querySelector('#rows th')?.textContent === '1'")


def test_hostile_names_are_shown_as_text_and_nothing_runs(page):
    study = hostile_study()
    browser = page(study)
    script, image, svg, _, _, title, _ = ATTACKS
    assert text_of(browser, "h1") == image
    assert title in text_of(browser, "#goal")
    headings = browser.run("[...document.querySelectorAll('#columns th')].map((cell) => cell.textContent)")
    assert headings[2:6] == [title, svg, script, image]
    browser.run("document.querySelector('#failures button').click()")
    browser.wait("document.getElementById('details').open")
    assert script in text_of(browser, "#details-body pre")
    assert browser.run("window.hacked") is None
    assert count(browser, "script") == 1  # our own
    assert count(browser, "img") == 1
    assert count(browser, "[onerror], [onload], a[href^=javascript]") == 0


def test_the_policy_stops_what_markup_would_do(page):
    browser = page(hostile_study())
    assert (
        browser.run("(() => { try { document.body.innerHTML = '<b>'; } catch (e) { return e.name; } })()")
        == "TypeError"
    )
    assert browser.run("(() => { try { return (0, eval)('1'); } catch (e) { return e.name; } })()") == "EvalError"
    assert browser.complaints  # the browser says what it refused
    browser.complaints.clear()


def test_a_study_of_thousands_is_drawn_and_turned_page_by_page(page):
    browser = page(long_study(5000))
    assert text_of(browser, "#caption") == "Trials 1 to 25 of 5000"
    assert count(browser, "#progress svg > .mark") == 600
    assert "600 of 5000 trials are drawn" in text_of(browser, "#progress-legend")
    assert browser.run("document.querySelectorAll('*').length") < 5000  # a page, not a dump
    browser.run("document.getElementById('next').click()")
    browser.wait("document.getElementById('caption').textContent === 'Trials 26 to 50 of 5000'")
    assert text_of(browser, "#page") == "Page 2 of 200"


def test_order_and_kind_choose_what_the_table_lists(page):
    study = usual_study()
    browser = page(study)
    pick = "(id, v) => { const s = document.getElementById(id); s.value = v; s.dispatchEvent(new Event('change')); }"
    browser.run(f"({pick})('order', 'best')")
    browser.wait(f"document.querySelector('#rows th').textContent === '{study.best.id}'")
    browser.run(f"({pick})('show', 'pending')")
    browser.wait("document.getElementById('caption').textContent === 'Trials 1 to 2 of 2'")
    browser.run(f"({pick})('show', 'lost')")
    browser.wait("document.getElementById('caption').textContent === 'No such trials'")


def test_a_range_on_an_axis_keeps_the_lines_that_cross_it(page):
    study = usual_study()
    browser = page(study)
    browser.run("document.getElementById('parallel').scrollIntoView({block: 'center'})")
    box = browser.run(
        "(() => { const r = document.querySelector('.axis-zone').getBoundingClientRect();"
        " return {x: r.x + r.width / 2, y: r.y, height: r.height}; })()"
    )
    top, middle = box["y"] + 8, box["y"] + box["height"] / 2
    browser.mouse("mousePressed", box["x"], top)
    browser.mouse("mouseMoved", box["x"], middle)
    browser.mouse("mouseReleased", box["x"], middle)
    browser.wait("!document.getElementById('unbrush').disabled")
    drawn = [t for t in study.trials if t.state != "queued"]
    upper = sum(float(SPACE["lr"].encode(trial.params["lr"])[0]) >= 0.5 for trial in drawn)
    kept = int(text_of(browser, "#parallel-legend li:last-child").split()[0])
    assert abs(kept - upper) <= 2  # a pixel is a three hundredth of the axis
    assert 0 < kept < len(drawn)
    browser.run("document.getElementById('unbrush').click()")
    assert text_of(browser, "#parallel-legend li:last-child") == f"{len(drawn)} of {len(drawn)} trials"


def test_what_is_near_the_pointer_is_named(page):
    browser = page(usual_study())
    place = browser.run(
        "(() => { const r = document.querySelector('#progress .mark').getBoundingClientRect();"
        " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    browser.mouse("mouseMoved", *place)
    browser.wait("!document.getElementById('tip').hidden")
    assert text_of(browser, "#tip").startswith("trial 0, val_loss ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_read_it(page, scheme, width):
    study = usual_study()
    browser = page(study, width=width)
    browser.prefer(scheme)
    assert browser.run(AUDIT) == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    browser.run("document.querySelector('#rows button').click()")
    browser.wait("document.getElementById('details').open")
    assert browser.run(AUDIT) == []


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("document.getElementById('goal').style.color = '#aaa'", "contrast 2."),
        ("document.querySelector('label[for=order]').remove()", "nameless: <select id=order"),
        ("document.querySelector('#progress svg').removeAttribute('aria-label')", "nameless: <svg"),
        ("document.querySelector('.title img').removeAttribute('alt')", "no alt"),
        ("document.querySelector('h1').remove()", "there is not one h1"),
        ("document.querySelector('#columns th').removeAttribute('scope')", "a th without scope"),
        ("document.getElementById('best').id = 'budget'", "the id budget stands twice"),
        ("document.documentElement.lang = ''", "does not say its language"),
    ],
)
def test_the_audit_finds_what_it_looks_for(page, damage, fault):
    browser = page(usual_study())
    browser.run(damage)
    faults = browser.run(AUDIT)
    assert any(found.startswith(fault) or fault in found for found in faults), faults


def test_everything_is_reached_by_the_keyboard_and_shows_it(page):
    browser = page(usual_study())
    expected = browser.run(
        "[...document.querySelectorAll('a[href], button:not(:disabled), select, [tabindex=\"0\"], input:checked')]"
        ".filter((node) => node.checkVisibility()).length"
    )
    state = """(() => { const node = document.activeElement; const style = getComputedStyle(node);
        node.dataset.reached = 'yes';
        return [node.outerHTML.slice(0, 60), style.outlineStyle, parseFloat(style.outlineWidth)]; })()"""
    for _ in range(expected):
        browser.press("Tab")
        name, outline, width = browser.run(state)
        assert outline != "none" and width >= 2, f"no focus is seen on {name}"
    assert count(browser, "[data-reached]") == expected


def test_the_details_open_and_close_by_the_keyboard(page):
    browser = page(usual_study())
    browser.run("document.querySelector('#rows button').focus()")
    browser.run("document.activeElement.click()")
    browser.wait("document.getElementById('details').open")
    assert browser.run("document.getElementById('details').contains(document.activeElement)")
    browser.press("Escape")
    browser.wait("!document.getElementById('details').open")
    assert browser.run("document.activeElement === document.querySelector('#rows button')")
