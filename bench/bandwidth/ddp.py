"""ddp.py RANK WORKERS MASTER ELEMENTS STEPS: what PyTorch DDP with gloo sends in a step, an all-reduce of the adapter's float32 gradients.

Rank 0 prints the seconds of each step as JSON. The first step connects the ring.
"""

import json
import os
import sys
import time

import torch
import torch.distributed as distributed

rank, workers, master, elements, steps = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
os.environ.update(MASTER_ADDR=master, MASTER_PORT="29500")
torch.set_num_threads(1)
distributed.init_process_group("gloo", rank=rank, world_size=workers)
gradient, seconds = torch.ones(elements), []
for _ in range(steps):
    begin = time.perf_counter()
    distributed.all_reduce(gradient)
    gradient /= workers
    seconds.append(time.perf_counter() - begin)
distributed.barrier()
if rank == 0:
    print(json.dumps(seconds))
distributed.destroy_process_group()
