"""CuPy's arrays at the door of the CUDA kernels: which are taken, which refused and how, and when errors are raised.

On the stand-in the arrays are those of fake_cupy.py, seen by the same C++ code as CuPy's.
"""

from __future__ import annotations

from types import SimpleNamespace

import backends
import numpy as np
import pytest

import steepest
from steepest import kernels as K


def on_device_1(cupy, array):
    """The array as it would be on a second GPU."""
    if backends.REAL_CUDA is None:
        return cupy.ndarray(array._host, device_id=1)
    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    with cupy.cuda.Device(1):
        return cupy.array(array)


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
    """As a number it would be read now, and frozen in a graph."""
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


@pytest.mark.skipif(backends.REAL_CUDA is not None, reason="the array of another library is a pretended one")
def test_an_array_of_another_library(cupy, dtype):
    array = cupy.asarray(np.full((2, 2), -1, dtype))
    other = SimpleNamespace(array=array, __dlpack_device__=lambda: (2, 0))
    np.testing.assert_array_equal(cupy.asnumpy(K.matmul(array, other)), np.full((2, 2), 2))
    # The first array picks the backend, whichever library holds it.
    np.testing.assert_array_equal(cupy.asnumpy(K.relu(other)), np.zeros((2, 2)))


class TestErrorsInTheData:
    """They are found by the kernel, and raised by a later call."""

    message = r"^\[softmax_cross_entropy\] label 9 at row 1 is outside 0..2$"

    @pytest.fixture
    def failed(self, cupy):
        """A loss with a label that is no class; its outputs."""
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
            steepest.synchronize()  # on a GPU the kernel may have been on its way still

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


def test_one_graph_of_both_devices_is_refused(cupy):
    def step():
        K.increment(cupy.asarray(np.array(0)))
        K.increment(np.array(0))

    with pytest.raises(ValueError, match=r"^\[capture\] "), steepest.capture():
        step()
