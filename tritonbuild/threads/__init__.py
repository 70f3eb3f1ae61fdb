"""Threads: background calls, bounded queues between threads, and the stop of all threads at the end of the process."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Final, Generic, TypeVar

T = TypeVar("T")

_POLL: Final = 0.1


class NoAnswerError(TimeoutError):
    """A background call has not returned in time."""


class StoppedError(Exception):
    """The thread must end: its consumer has stopped, or the process ends."""


_stopping: Final = threading.Event()


def stop() -> None:
    """Make all threads end at their next step."""
    _stopping.set()


def go_on() -> None:
    """Raise `StoppedError` if the process ends."""
    if _stopping.is_set():
        raise StoppedError


def pause(seconds: float) -> None:
    """Wait, or raise `StoppedError` if the process ends."""
    if _stopping.wait(seconds):
        raise StoppedError


def in_background(call: Callable[[], T], *, name: str) -> Callable[[float | None], T]:
    """Start *call* in a daemon thread, which does not keep the interpreter from ending.

    Returns:
        A function that waits at most so many seconds (forever with None) and returns the result of *call*. It raises
        what *call* raises, and `NoAnswerError` if *call* is still running. It may be called once.
    """
    answers: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            failure = error

            def fail() -> T:
                raise failure

            answers.put(fail)
        else:
            answers.put(lambda: result)

    def wait(seconds: float | None) -> T:
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            raise NoAnswerError(f"{name} gave no answer within {seconds:g} s") from None
        return answer()

    threading.Thread(target=run, name=name, daemon=True).start()
    return wait


class Lane(Generic[T]):
    """A bounded queue from one thread to another, until one of them closes it or the process ends.

    Args:
        depth: Items that it holds at most.
    """

    def __init__(self, depth: int) -> None:
        self._items: queue.Queue[T] = queue.Queue(depth)
        self._closed = threading.Event()

    def put(self, item: T) -> bool:
        """Put an item as soon as the lane has room; return False if the lane is closed."""
        while not self._closed.is_set() and not _stopping.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=_POLL)
                return True
        return False

    def take(self, patience: float = math.inf) -> T:
        """Return the next item as soon as the lane has one.

        Args:
            patience: Seconds to wait for it.

        Raises:
            StoppedError: The lane is closed, the process ends, or no item came in time.
        """
        end = time.monotonic() + patience
        while not self._closed.is_set() and time.monotonic() < end:
            go_on()
            with contextlib.suppress(queue.Empty):
                return self._items.get(timeout=_POLL)
        raise StoppedError

    def close(self) -> None:
        """Refuse all further items."""
        self._closed.set()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END: Final = object()


def ahead(items: Iterable[T], *, depth: int = 4) -> Generator[T, None, None]:
    """Yield *items*, which another thread takes, up to *depth* of them ahead of the consumer.

    Errors that *items* raises are raised in the consumer's thread. A consumer that stops early ends the other thread
    and closes *items*.
    """
    lane: Lane[object] = Lane(depth)

    def work() -> None:
        iterator: Iterator[T] = iter(items)
        try:
            for item in iterator:
                if not lane.put(item):
                    break
            else:
                lane.put(_END)
        except BaseException as error:  # noqa: BLE001 - it is raised in the thread that waits for the items
            lane.put(_Failed(error))
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := lane.take()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item  # type: ignore[misc]  # the two others were handled
    finally:
        lane.close()
        thread.join()
