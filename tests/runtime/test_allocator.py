import os
import platform
import subprocess
import sys

import pytest

from tests import ROOT

FAULTS = """
import resource, torch
from misc.runtime.distributed import processes

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with processes("cpu"):
    for _ in range(20):
        before = faults()
        torch.ones(2**24)  # 16,384 pages
    print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
@pytest.mark.parametrize("own", [None, "MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_"])
def test_freed_memory_is_used_again_unless_the_user_has_decided(own):
    """A page that the process already has causes no fault."""
    values = {"MALLOC_MMAP_MAX_": "65536", "MALLOC_MMAP_THRESHOLD_": "1000000"}
    chosen = {} if own is None else {own: values[own]}
    made = subprocess.run(
        [sys.executable, "-c", FAULTS],
        cwd=ROOT,
        env={**os.environ, **chosen, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (int(made.stdout) < 1000) == (own is None)
