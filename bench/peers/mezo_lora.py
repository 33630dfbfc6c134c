"""A MeZO step on a LoRA adapter (Malladi et al. 2023, algorithm 1) as PyTorch, transformers and PEFT users write it, for comparison.

python mezo_lora.py MODEL_DIR THREADS reads a JSON object a line from stdin and answers each with one on stdout:
  {"rows": [{"ids": [...], "labels": [...]}, ...]}   the rows that follow are measured on; answered with the versions
  {"dtype": "float32" | "bfloat16", "batch": R}           one pass over the rows in minibatches of R, a direction each, two-sided,
                                                          update included; answered with {"seconds": s, "rowDirections": n}
The rows are sorted by length, so that a minibatch pads little; logits are made for the labels only.
"""
import json
import sys
import time

import peft
import torch
import transformers

RANK, ALPHA, EPSILON, LEARNING_RATE = 8, 16, 1e-2, 1e-5


class Peer:
    def __init__(self, directory, dtype):
        base = transformers.AutoModelForCausalLM.from_pretrained(directory, attn_implementation="sdpa").to(dtype)
        config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
        self.model = peft.get_peft_model(base, config, autocast_adapter_dtype=False).eval()
        self.trunk = base.model
        self.head = base.lm_head
        self.parameters = [p.data for p in self.model.parameters() if p.requires_grad]

    def move(self, seed, length):
        """θ += length·z, z drawn again from its seed."""
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters:
            z = torch.empty_like(parameter).normal_(generator=generator)
            parameter.add_(z, alpha=length)

    def loss(self, ids, mask, positions, labels):
        hidden = self.trunk(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        logits = self.head(hidden[positions[0], positions[1]]).float()
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum").item() / ids.shape[0]

    def step(self, seed, batch):
        self.move(seed, EPSILON)
        plus = self.loss(*batch)
        self.move(seed, -2 * EPSILON)
        minus = self.loss(*batch)
        self.move(seed, EPSILON)
        self.move(seed, -LEARNING_RATE * (plus - minus) / (2 * EPSILON))


def padded(rows):
    width = max(len(row["ids"]) for row in rows)
    ids = torch.tensor([row["ids"] + [0] * (width - len(row["ids"])) for row in rows])
    mask = torch.tensor([[1] * len(row["ids"]) + [0] * (width - len(row["ids"])) for row in rows])
    places = [(i, t) for i, row in enumerate(rows) for t in row["labels"]]
    labels = torch.tensor([rows[i]["ids"][t] for i, t in places])
    positions = torch.tensor([[i for i, _ in places], [t - 1 for _, t in places]])
    return ids, mask, positions, labels


def main():
    directory, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    peers, rows = {}, []
    for line in sys.stdin:
        request = json.loads(line)
        if "rows" in request:
            rows = sorted(request["rows"], key=lambda row: len(row["ids"]))
            answer = {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__}
        else:
            dtype, size = request["dtype"], request["batch"]
            peer = peers.setdefault(dtype, None) or Peer(directory, getattr(torch, dtype))
            peers[dtype] = peer
            batches = [padded(rows[i : i + size]) for i in range(0, len(rows), size)]
            start = time.perf_counter()
            for seed, batch in enumerate(batches):
                peer.step(seed, batch)
            answer = {"seconds": time.perf_counter() - start, "rowDirections": len(rows)}
        print(json.dumps(answer), flush=True)


with torch.inference_mode():
    main()
