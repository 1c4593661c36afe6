"""A stand-in for torchrun's agent: keeps the store, forks the ranks of main.py, waits for them.

python -m tests.agent WORLD_SIZE ARGUMENTS...

It prints the ranks' process ids, and at the end their statuses. It imports what the ranks need, so
that they start at once.
"""

import os
import sys

import torch.distributed as dist

import main
import misc.job


def start(rank: int, world_size: int, port: int, arguments: list[str]) -> int:
    """Fork a rank; its process id."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    sys.argv = ["main.py", *arguments]
    try:
        main.main()
    except SystemExit as end:
        os._exit(int(end.code or 0))
    os._exit(0)


if __name__ == "__main__":
    assert misc.job.TASKS
    number = int(sys.argv[1])
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    ranks = [start(rank, number, store.port, sys.argv[2:]) for rank in range(number)]
    print(*ranks, flush=True)
    print(*(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in ranks), flush=True)
