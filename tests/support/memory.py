"""Peak memory of a process that a test starts."""

# Code for `backends.run_python`. VmHWM counts the process alone, whereas `ru_maxrss` starts at its parent's peak.
PEAK = """
def peak():
    "The most memory, in bytes, that this process has had so far."
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) << 10
"""
