"""CuPy arrays as arguments of CUDA kernels: which are accepted or rejected, and when errors are raised.

On the stand-in the arrays are those of fake_cupy.py, which the same C++ code reads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Thread, get_ident
from types import SimpleNamespace

import backends
import cases
import numpy as np
import pytest

import steepest
from steepest import kernels as K


def on_device_1(cupy, array):
    """The array on a second GPU, or an imitation of it on the stand-in."""
    if backends.REAL_CUDA is None:
        return cupy.ndarray(array._host, device_id=1)
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    with cupy.cuda.Device(1):
        return cupy.array(array)


def other_library(array):
    """Wrap the array as an array of another library with memory on the GPU."""
    return SimpleNamespace(array=array, __dlpack_device__=lambda: (2, 0))


class DeviceCase:
    """A case with CuPy arrays."""

    def __init__(self, cupy, case):
        self.cupy, self.copies, self.function = cupy, {}, case.function
        self.args = [self.copy(a) for a in case.args]
        self.kwargs = {k: self.copy(v) for k, v in case.kwargs.items()}
        self.written = [self.copy(a) for a in case.written]

    def copy(self, value):
        if isinstance(value, list | tuple):
            return type(value)(map(self.copy, value))
        if not isinstance(value, np.ndarray):
            return value
        return self.copies.setdefault(id(value), self.cupy.asarray(value))

    def run(self):
        self.function(*self.args, **self.kwargs)

    def bytes(self):
        return [self.cupy.asnumpy(a).tobytes() for a in self.written]


@pytest.mark.parametrize("name", cases.CASES)
def test_every_kernel(cupy, name):
    """Every kernel gives the same bytes eagerly and by replay; its host code must not read device memory."""
    case = cases.make(name)
    eager, captured = DeviceCase(cupy, case), DeviceCase(cupy, case)
    before = captured.bytes()
    with steepest.capture() as graph:
        captured.run()
    assert captured.bytes() == before
    graph.replay()
    eager.run()
    assert eager.bytes() == captured.bytes() != before


def test_product(cupy, rng, dtype):
    a, b = rng.standard_normal((7, 5)).astype(dtype), rng.standard_normal((5, 3)).astype(dtype)
    product = K.matmul(cupy.asarray(a), cupy.asarray(b))
    assert isinstance(product, cupy.ndarray)
    np.testing.assert_allclose(cupy.asnumpy(product), a @ b, rtol=1e-5)


def test_views(cupy, rng, dtype):
    base = rng.standard_normal((9, 14)).astype(dtype)
    device = cupy.asarray(base)
    for index in (np.s_[::2, 1:9:2], np.s_[::-1, 12:3:-1], np.s_[3:4, :]):
        view, expected = device[index], base[index]
        np.testing.assert_array_equal(cupy.asnumpy(K.relu(view)), np.maximum(expected, 0))
        np.testing.assert_allclose(
            cupy.asnumpy(K.matmul(view.T, view)), expected.T @ expected, rtol=1e-4, atol=1e-5
        )


def test_outputs_are_written_where_they_lie(cupy, dtype):
    out = cupy.asarray(np.zeros((4, 6), dtype))
    view = out[1:3, 2:5]
    assert K.relu(cupy.asarray(np.ones((2, 3), dtype)), out=view) is view
    expected = np.zeros((4, 6))
    expected[1:3, 2:5] = 1
    np.testing.assert_array_equal(cupy.asnumpy(out), expected)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty(cupy, dtype, shape):
    x = cupy.asarray(np.zeros(shape, dtype))
    assert K.relu(x).shape == shape
    assert K.matmul(x, cupy.asarray(np.zeros((shape[1], 2), dtype))).shape == (shape[0], 2)


def test_an_array_on_another_device(cupy, dtype):
    a = cupy.asarray(np.ones((3, 3), dtype))
    there = on_device_1(cupy, a)
    message = r"^\[matmul\] b is on CUDA device 1, but device 0 is the current one; call inside `with cupy.cuda.Device"
    with pytest.raises(ValueError, match=message):
        K.matmul(a, there)


def test_a_numpy_array_among_cupys(cupy, dtype):
    a = np.ones((3, 3), dtype)
    with pytest.raises(
        TypeError, match=r"^\[matmul\] b is a numpy.ndarray in host memory, among CuPy arrays; .*asarray"
    ):
        K.matmul(cupy.asarray(a), a)
    with pytest.raises(
        TypeError, match=r"^\[matmul\] b is a .*ndarray on another device, among NumPy arrays"
    ):
        K.matmul(a, cupy.asarray(a))
    with pytest.raises(TypeError, match=r"^\[activation\] out is a numpy.ndarray in host memory"):
        K.relu(cupy.asarray(a), out=a)


def test_a_scalar_array_of_the_other_library(cupy):
    """A 0-d array of the wrong library is rejected: converted to a number, a graph would freeze its value."""
    x, indices, out = (np.arange(6.0), np.arange(6), np.zeros(2))
    on_gpu = [cupy.asarray(a) for a in (x, indices, out)]
    with pytest.raises(
        TypeError, match=r"^\[take_rows\] start is a numpy.ndarray in host memory, among CuPy arrays"
    ):
        K.take_rows(*on_gpu, start=np.array(1))
    with pytest.raises(
        TypeError, match=r"^\[take_rows\] start is a .*ndarray on another device, among NumPy arrays"
    ):
        K.take_rows(x, indices, out, start=cupy.asarray(np.array(1)))
    assert (out == 0).all()


def test_what_is_no_array(cupy, dtype):
    a = cupy.asarray(np.ones((3, 3), dtype))
    with pytest.raises(TypeError, match=r"^\[matmul\] b must be a CuPy array, not list"):
        K.matmul(a, [[1.0]])


def test_dtypes(cupy):
    a, b = cupy.asarray(np.ones((2, 2), np.float32)), cupy.asarray(np.ones((2, 2)))
    with pytest.raises(TypeError, match=r"^\[matmul\] b has dtype float64, but a has float32"):
        K.matmul(a, b)
    with pytest.raises(TypeError, match=r"^\[matmul\] a has dtype complex64; float32 or float64 is needed"):
        K.matmul(cupy.asarray(np.ones((2, 2), np.complex64)), b)


@pytest.mark.skipif(backends.REAL_CUDA is not None, reason="the array of another library is an imitation")
def test_an_array_of_another_library(cupy, dtype):
    array = cupy.asarray(np.full((2, 2), -1, dtype))
    other = other_library(array)
    np.testing.assert_array_equal(cupy.asnumpy(K.matmul(array, other)), np.full((2, 2), 2))
    # The first array determines the backend, whatever its library.
    np.testing.assert_array_equal(cupy.asnumpy(K.relu(other)), np.zeros((2, 2)))


WRITE_TO_ANOTHER_LIBRARYS = {
    "out": lambda x, other, count: K.relu(x, out=other),
    "out of rows": lambda x, other, count: K.take_rows(x, count.reshape(1), out=other),
    "in place": lambda x, other, count: K.sgd_update([other], [x], lr=0.1),
    "state": lambda x, other, count: K.sgd_update([x], [x.copy()], [other], lr=0.1, momentum=0.9),
    "counter": lambda x, other, count: K.increment(other_library(count)),
}


@pytest.mark.skipif(backends.REAL_CUDA is not None, reason="the array of another library is an imitation")
@pytest.mark.parametrize("write", WRITE_TO_ANOTHER_LIBRARYS.values(), ids=WRITE_TO_ANOTHER_LIBRARYS)
def test_nothing_is_written_to_an_array_of_another_library(cupy, write):
    """Such an array may be read-only, as JAX's are, and CuPy does not report that."""
    x, other, count = (
        cupy.asarray(np.ones((1, 3))),
        cupy.asarray(np.full((1, 3), 7.0)),
        cupy.asarray(np.array(0)),
    )
    message = r"^\[\w+\] \w+ is an array of another library, which may be read-only; .*cupy.from_dlpack"
    with pytest.raises(ValueError, match=message):
        write(x, other_library(other), count)
    assert (cupy.asnumpy(other) == 7).all()
    assert int(count) == 0


class TestErrorsInTheData:
    """The kernel detects these errors, and a later call raises them."""

    message = r"^\[softmax_cross_entropy\] label 9 at row 1 is outside 0..2$"

    @pytest.fixture
    def failed(self, cupy):
        """Compute a loss with a label that is no class; return the outputs."""
        logits, labels = cupy.asarray(np.zeros((4, 3), np.float32)), cupy.asarray(np.array([0, 9, 1, 2]))
        loss, gradient = cupy.asarray(np.array(5.0)), cupy.asarray(np.full((4, 3), 7, np.float32))
        K.softmax_cross_entropy(logits, labels, loss=loss, d_logits=gradient)
        return loss, gradient

    def test_synchronize_raises_them_once(self, cupy, failed):
        with pytest.raises(ValueError, match=self.message):
            steepest.synchronize()
        steepest.synchronize()
        loss, gradient = failed
        assert float(loss) == 5
        np.testing.assert_array_equal(cupy.asnumpy(gradient), np.full((4, 3), 7))

    def test_the_next_call_raises_them_and_does_nothing(self, cupy, failed):
        counter = cupy.asarray(np.array(0))

        def call():
            K.increment(counter)
            steepest.synchronize()  # on a GPU the kernel may still have been running

        with pytest.raises(ValueError, match=self.message):
            call()
        assert int(counter) == 0
        K.increment(counter)
        steepest.synchronize()
        assert int(counter) == 1

    def test_a_replay_raises_its_own(self, cupy):
        total, start = cupy.asarray(np.array(0)), cupy.asarray(np.array(0))
        x, indices = cupy.asarray(np.arange(6.0)), cupy.asarray(np.arange(6))
        out = cupy.asarray(np.zeros(2))
        with steepest.capture() as graph:
            K.take_rows(x, indices, out, start=start)
            K.increment(start, 2)
            K.increment(total)
        with pytest.raises(
            IndexError, match=r"^\[take_rows\] 2 rows from position 6 on are not within the 6 indices"
        ):
            graph.replay(5)
        assert int(total) == 3
        np.testing.assert_array_equal(cupy.asnumpy(out), [4, 5])
        steepest.synchronize()

    def test_threads_that_replay_one_graph_take_turns(self, cupy):
        """Each thread gets the failure of its own replay, not of the other thread's."""
        nan, a, out = cupy.asarray(np.array(np.nan)), cupy.asarray(np.ones((64, 64))), cupy.empty((64, 64))
        with steepest.capture() as graph:
            K.matmul(a, a, out=out)  # takes long enough for the other thread to start
            K.require_finite(nan)

        def replay_often(_):
            for _ in range(10):
                with pytest.raises(steepest.DivergenceError, match="in step 0"):
                    graph.replay(3)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(replay_often, range(2)))


class TestStreams:
    """A failure belongs to the stream on which it happened."""

    def fail(self, cupy):
        total = cupy.asarray(np.array(0.0))
        K.require_finite(cupy.asarray(np.array(np.nan)))
        float(total)  # the kernel has run

    def count(self, cupy):
        counter = cupy.asarray(np.array(0))
        K.increment(counter)
        steepest.synchronize()
        return int(counter)

    def test_two_handles_of_the_default_stream(self, cupy):
        """The handles 0 and 1 (cudaStreamLegacy) both mean the default stream."""
        self.fail(cupy)
        with cupy.cuda.ExternalStream(1), pytest.raises(steepest.DivergenceError):
            steepest.synchronize()
        assert self.count(cupy) == 1

    def test_one_with_the_handle_of_one_that_failed(self, cupy):
        if backends.REAL_CUDA is not None:
            pytest.skip("on a GPU the driver chooses the handle of a stream")
        runtime = backends.load_standin("cuda_standin_cupy").runtime
        handles = []
        for work in (self.fail, self.count, self.count):
            handles.append(runtime.create_stream())
            with cupy.cuda.ExternalStream(handles[-1]):
                work(cupy)
            runtime.destroy_stream(handles[-1])
        assert len(set(handles)) == 1

    def test_that_of_a_thread_with_the_id_of_one_that_failed(self, cupy):
        """The handle 2 (cudaStreamPerThread) means a different stream in each thread, even if thread ids repeat."""
        ran = []

        def run(work):
            with cupy.cuda.ExternalStream(2):
                ran.append((get_ident(), work(cupy)))

        for work in (self.fail, *[self.count] * 5):
            thread = Thread(target=run, args=(work,))
            thread.start()
            thread.join()
        # Thread ids are reused.
        assert len({ident for ident, _ in ran}) < len(ran)
        assert [count for _, count in ran] == [None, 1, 1, 1, 1, 1]


def test_one_graph_of_both_devices_is_refused(cupy):
    def step():
        K.increment(cupy.asarray(np.array(0)))
        K.increment(np.array(0))

    with pytest.raises(ValueError, match=r"^\[capture\] "), steepest.capture():
        step()
