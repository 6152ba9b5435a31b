"""A signal stops at once where nothing is half done, and later where something is."""

from __future__ import annotations

import pickle
import signal
import threading

import pytest

from tunesmith.errors import Interrupted
from tunesmith.train.interruption import Interruption


def test_at_once_outside_undisturbed_blocks() -> None:
    stop = Interruption()
    with stop.listening(), pytest.raises(Interrupted) as caught:
        signal.raise_signal(signal.SIGTERM)
    assert (caught.value.exit_code, caught.value.message) == (143, "Stopped by SIGTERM.")


def undisturbed_work(stop: Interruption, done: list[str], asked_first: bool) -> None:
    with stop.undisturbed():
        if asked_first:
            signal.raise_signal(signal.SIGINT)
        done.append("step")
        with stop.breakable():
            done.append("pass begun")
            signal.raise_signal(signal.SIGINT)
            done.append("pass ended")
        done.append("step ended")


def test_what_is_undisturbed_goes_on_until_a_breakable_part_begins() -> None:
    stop, done = Interruption(), []
    with stop.listening(), pytest.raises(Interrupted):
        undisturbed_work(stop, done, asked_first=True)
    assert done == ["step"]


def test_a_breakable_part_is_abandoned_at_once() -> None:
    stop, done = Interruption(), []
    with stop.listening(), pytest.raises(Interrupted):
        undisturbed_work(stop, done, asked_first=False)
    assert done == ["step", "pass begun"]


def test_what_is_undisturbed_is_finished_first() -> None:
    stop, done = Interruption(), []

    def work() -> None:
        with stop.undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append("finished")

    with stop.listening(), pytest.raises(Interrupted) as caught:
        work()
    assert (done, caught.value.exit_code) == (["finished"], 130)


def test_asked_twice_the_last_checkpoint_is_still_written() -> None:
    stop, done = Interruption(), []
    with stop.listening():
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        with stop.undisturbed():
            signal.raise_signal(signal.SIGTERM)
            done.append("saved")
    assert done == ["saved"]


def test_handlers_are_put_back_and_other_threads_install_none() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = Interruption()
    with stop.listening():
        assert signal.getsignal(signal.SIGTERM) == stop._receive
    assert signal.getsignal(signal.SIGTERM) is before
    seen = []

    def elsewhere() -> None:
        with Interruption().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before]


def test_the_error_survives_pickling() -> None:
    error = Interrupted(signal.SIGTERM, "after step 3 of 9")
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "Stopped by SIGTERM after step 3 of 9."
