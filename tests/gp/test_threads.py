"""Blocks on one thread leave no trace, however they overlap."""

import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.linalg
import torch
from threadpoolctl import threadpool_info

from gp.threads import single_threaded


def settings():
    """Threads of torch in this thread, and of every BLAS that is loaded."""
    blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
    assert blas, "numpy and scipy bring a BLAS; if none is found, none is limited"
    return [torch.get_num_threads(), *blas]


def run(*works):
    """Each work in a thread of its own, all at once; what they raise is raised here."""
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:
            future.result(60)


@pytest.fixture(autouse=True)
def _three_threads():
    """Starts from a setting that is neither 1 nor a default by chance."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_within_and_what_was_before_after():
    before = settings()
    assert before[0] == 3
    with single_threaded():
        assert set(settings()) == {1}
    assert settings() == before


def test_nested_blocks_restore_at_the_outermost_end():
    before = settings()
    with single_threaded():
        with single_threaded():
            assert set(settings()) == {1}
        assert set(settings()) == {1}
    assert settings() == before


def test_an_error_within_restores_too():
    before = settings()
    with pytest.raises(ZeroDivisionError), single_threaded():
        _ = 1 / 0
    assert settings() == before


def test_overlapping_blocks_of_several_threads_restore_each_ones_own():
    """The first to enter leaves first, so that the others' end must not take its number, nor its end theirs."""
    before = settings()
    n = 4
    entered, left = ([threading.Event() for _ in range(n)] for _ in range(2))

    def work(index):
        if index > 0:
            assert entered[index - 1].wait(30)
        with single_threaded():
            entered[index].set()
            assert entered[-1].wait(30)
            if index > 0:
                assert left[index - 1].wait(30)
            assert set(settings()) == {1}
        left[index].set()
        assert left[-1].wait(30)
        assert settings() == before

    run(*(functools.partial(work, index) for index in range(n)))
    assert settings() == before


def test_a_thread_that_enters_while_another_is_within_computes_on_one_thread_too():
    entered, done = threading.Event(), threading.Event()

    def other():
        with single_threaded():
            entered.set()
            assert done.wait(30)

    def late():
        torch.set_num_threads(3)  # a thread that torch knew before
        assert entered.wait(30)
        with single_threaded():
            assert set(settings()) == {1}
        assert torch.get_num_threads() == 3
        done.set()

    run(other, late)


def test_many_short_blocks_in_several_threads_leave_no_trace():
    before = settings()
    A = np.eye(20) + 0.1

    def work():
        for _ in range(50):
            with single_threaded():
                scipy.linalg.cholesky(A)
        assert torch.get_num_threads() == before[0]

    run(*[work] * 4)
    assert settings() == before


def test_a_thread_started_afterwards_finds_what_was_set_before():
    before = settings()
    with single_threaded():
        pass

    def work():
        assert settings() == before

    run(work)
