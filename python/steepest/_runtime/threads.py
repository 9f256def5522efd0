"""Support for threadpoolctl, a dependency of scikit-learn: it can read and limit the number of kernel threads."""

from __future__ import annotations

import threadpoolctl

from steepest._version import __version__


class SteepestController(threadpoolctl.LibController):  # type: ignore[misc]
    """Controller through which ``threadpool_limits`` and ``threadpool_info`` access the kernels' threads."""

    user_api = "steepest"
    internal_api = "steepest"
    filename_prefixes = ("_cpu",)
    check_symbols = ("steepest_get_num_threads", "steepest_set_num_threads")

    def get_num_threads(self) -> int:
        """Return the number of threads that the kernels use."""
        return int(self.dynlib.steepest_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        """Set the number of threads that the kernels use."""
        self.dynlib.steepest_set_num_threads(num_threads)

    def get_version(self) -> str:
        """Return the version of steepest."""
        return __version__


threadpoolctl.register(SteepestController)
