"""Plain Python processes that do work for this one and end with it, even if it is killed.

`multiprocessing` would run the user's main script again in each process (and fail without a `__main__` guard), and
its pools outlive a parent that was killed. Here a process reads calls from a pipe, and ends when the pipe does.
"""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class Worker:
    """One process that executes one call at a time. Functions and arguments are pickled.

    Args:
        threads: Whether the `tokenizers` library may use all cores inside the process.
    """

    def __init__(self, *, threads: bool = False) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "TOKENIZERS_PARALLELISM": "true" if threads else "false",
        }
        command = [sys.executable, "-c", "from datamodules.text.workers import serve; serve()"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=-1
        )

    def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Executes a call and waits for its result.

        Raises:
            RuntimeError: The process died.
            Exception: What the function raised.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(pickle.dumps(pickle.dumps((function, arguments))))
            self._process.stdin.flush()
            succeeded, value = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            code = self._process.wait()
            raise RuntimeError(
                f"a preparation process ended with code {code} (-9: out of memory?); start again, what is done is kept"
            ) from None
        if not succeeded:
            raise value
        return value

    def close(self, *, kill: bool = False) -> None:
        """Ends the process, at once if `kill`, and waits for it."""
        if kill:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # what a dead process never read
                pipe.close()
        self._process.wait()


def call_in_process(function: Callable[..., Result], *arguments: Any) -> Result:
    """Executes one call in a process of its own that may use all cores."""
    worker = Worker(threads=True)
    finished = False
    try:
        result = worker.call(function, *arguments)
        finished = True
        return result
    finally:
        worker.close(kill=not finished)


def map_in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_processes: int
) -> Iterator[tuple[Task, Result]]:
    """Executes a function on every task, in any order.

    Yields:
        Each task with its result, as soon as it is there.
    """
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    workers = [Worker() for _ in range(min(num_processes, len(tasks)))]
    for worker in workers:
        idle.put(worker)

    def execute(task: Task) -> Result:
        worker = idle.get()
        try:
            return worker.call(function, task)
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(max(1, len(workers)))
    finished = False
    try:
        futures = {threads.submit(execute, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()
        finished = True
    finally:
        for worker in workers:
            worker.close(kill=not finished)
        threads.shutdown(cancel_futures=True)


def serve() -> None:
    """The loop of a worker process: reads calls until the pipe ends."""
    calls = sys.stdin.buffer
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a function prints must not run into the results
    while True:
        try:
            call = pickle.load(calls)
        except EOFError:
            return
        try:
            function, arguments = pickle.loads(call)  # fails where a class lives in the user's main script
            answer = pickle.dumps((True, function(*arguments)))
        except Exception as error:
            answer = pickle.dumps((False, error))
        results.write(answer)
        results.flush()
