"""Who may ask, and what every answer forbids."""

import pytest

from bayesopt.web.guard import HEADERS
from tests.bayesopt.web.serving import ask, served
from tests.bayesopt.web.studies import hostile_study


@pytest.fixture(scope="module")
def address():
    with served(hostile_study()) as url:
        yield url


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/style.css", 200),
        ("GET", "/study.json", 200),
        ("GET", "/trials.json?page=none", 400),
        ("GET", "/nothing", 404),
        ("GET", "/../guard.py", 404),
        ("GET", "/files/page.html", 404),
        ("GET", "/trial.json?id=999", 404),
        ("POST", "/", 405),
        ("PUT", "/study.json", 405),
        ("DELETE", "/trial.json?id=0", 405),
        ("OPTIONS", "/study.json", 405),
    ],
)
def test_every_answer_carries_the_strict_headers_and_no_cookie(address, method, path, status):
    answered, headers, _ = ask(address, path, method)
    assert answered == status
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert headers["Set-Cookie"] is None
    assert headers["Access-Control-Allow-Origin"] is None


def test_the_policy_lets_nothing_of_other_origins_in_and_no_text_become_markup():
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("form-action") == "'none'"
    assert policy.pop("frame-ancestors") == policy.pop("trusted-types") == "'none'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'self'"}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "[::1]:8080", "[::1]", "192.168.0.7"])
def test_names_that_cannot_be_pointed_elsewhere_are_answered(address, host):
    assert ask(address, "/study.json", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "", "a@localhost"]
)
def test_a_name_that_somebody_pointed_here_is_refused(address, host):
    status, headers, body = ask(address, "/study.json", Host=host)
    assert status == 421 or (host == "" and status == 400)  # a server may refuse an empty name by itself
    assert b"hacked" not in body
    assert headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"] or status == 400
