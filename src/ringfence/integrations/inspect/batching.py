"""Batch the requests of many coroutines in one worker thread."""

import asyncio
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

LINGER = 0.02  # seconds without a new item after which a batch is not waited for any longer
IDLE = 1.0  # seconds without an item after which the thread ends


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    item: T
    key: Hashable
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"


class Batcher(Generic[T, R]):
    """Batches of up to ``size`` items of one key, in the order in which they come.

    work: called in the thread with the items of a batch; returns one result an item. What it raises is raised for
          every item of the batch.

    The thread starts with the first item and ends when none has come for a second; any event loop may hand in.
    """

    def __init__(self, work: Callable[[Sequence[T]], Sequence[R]], size: int) -> None:
        self._work, self._size = work, size
        self._waiting: list[_Waiting[T]] = []
        self._changed = threading.Condition()
        self._serving = False

    async def __call__(self, item: T, key: Hashable = None) -> R:
        """The result of ``item``. Raises ``RuntimeError`` outside asyncio's event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        with self._changed:
            self._waiting.append(_Waiting(item, key, loop, future))
            if not self._serving:
                self._serving = True
                threading.Thread(target=self._serve, name="ringfence-batches", daemon=True).start()
            self._changed.notify()
        return await future

    def _serve(self) -> None:
        while batch := self._next():
            try:
                results: Sequence[Any] = self._work([one.item for one in batch])
                pairs = list(zip(batch, results, strict=True))
            except BaseException as error:  # for the coroutines to raise: in this thread nobody would see it
                for one in batch:
                    _deliver(one, one.future.set_exception, error)
            else:
                for one, result in pairs:
                    _deliver(one, one.future.set_result, result)

    def _next(self) -> list[_Waiting[T]]:
        """The next batch; empty if none came, and then the thread is to end."""
        with self._changed:
            while True:
                self._waiting = [one for one in self._waiting if not one.future.cancelled()]
                if self._waiting:
                    break
                if not self._changed.wait(IDLE):
                    self._serving = False
                    return []
            while len(self._waiting) < self._size and self._changed.wait(LINGER):
                pass
            key = self._waiting[0].key
            batch = [one for one in self._waiting if one.key == key][: self._size]
            taken = set(map(id, batch))
            self._waiting = [one for one in self._waiting if id(one) not in taken]
            return batch


def _deliver(one: _Waiting[Any], put: Callable[[Any], None], value: Any) -> None:
    def settle() -> None:
        if not one.future.done():  # the coroutine may have been cancelled meanwhile
            put(value)

    with suppress(RuntimeError):  # the loop is closed: nobody waits
        one.loop.call_soon_threadsafe(settle)
