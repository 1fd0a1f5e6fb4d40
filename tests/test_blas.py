import threading

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from jointembed.blas import blas_threads, one_blas_thread, shared_blas


def active_threads():
    """The threads of NumPy's BLAS as another program's tool sees them."""
    libraries = {info["filepath"]: info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}
    return max(threads for path, threads in libraries.items() if "numpy" in path or len(libraries) == 1)


@pytest.fixture(autouse=True)
def two_threads():
    """Gives BLAS two threads, however many cores there are."""
    with threadpool_limits(2, "blas"):
        assert active_threads() == 2
        yield


@pytest.fixture
def in_thread():
    """Enters a block in a thread of its own, which leaves it when it is asked to."""
    leave = []

    def enter(block):
        entered, left = threading.Event(), threading.Event()

        def run():
            with block():
                entered.set()
                left.wait(30)

        thread = threading.Thread(target=run)
        thread.start()
        assert entered.wait(30)

        def end():
            left.set()
            thread.join(30)

        leave.append(end)
        return end

    yield enter
    for end in leave:
        end()


@pytest.mark.parametrize("block", [one_blas_thread, shared_blas])
def test_blocks_of_several_threads_limit_blas_until_the_last_has_ended(block, in_thread):
    first = in_thread(block)
    assert active_threads() == (1 if block is one_blas_thread else 2)
    second = in_thread(block)
    assert active_threads() == 1 and blas_threads() == 2
    first()
    assert active_threads() == (1 if block is one_blas_thread else 2)
    second()
    assert active_threads() == 2
