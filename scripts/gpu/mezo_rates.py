"""MeZO-LoRA in PyTorch on a GPU: rows times directions a second, by dtype and minibatch. A line of JSON for each model.

mezo_rates.py TOKENS SECONDS: TOKENS a row, of which 4 are predicted; SECONDS for each minibatch. The directories of the models come on
stdin, a line each: until then the GPU is left alone. Rank 8 on all linear layers; a measurement perturbs by +e, -2e, +e from one seed, as
MeZO does. No update: what it is compared with makes none either.
"""

import copy
import gc
import itertools
import json
import sys
import time

import peft
import torch
import transformers

EPSILON, PREDICTED = 1e-2, 4
# The first minibatch, how much larger each next one is, and how much faster one must have been than the one before for a larger one to be tried.
FIRST_BATCH, GROWTH, GAIN = 16, 4, 1.05


def rates(model: torch.nn.Module, tokens: int, seconds: float) -> dict:
    """Of a model on the GPU, which becomes the adapters' own."""
    config = peft.LoraConfig(r=8, lora_alpha=16, target_modules='all-linear')
    adapted = peft.get_peft_model(model, config, autocast_adapter_dtype=False).eval()
    parameters = [p.data for p in adapted.parameters() if p.requires_grad]

    def move(seed: int, step: float) -> None:
        generator = torch.Generator('cuda').manual_seed(seed)
        for p in parameters:
            p.add_(torch.empty_like(p).normal_(generator=generator), alpha=step)

    def loss(ids: torch.Tensor) -> float:
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, -PREDICTED - 1 : -1]
        logits = model.lm_head(hidden).float().flatten(0, 1)
        total = torch.nn.functional.cross_entropy(logits, ids[:, -PREDICTED:].flatten(), reduction='sum')
        return total.item() / ids.shape[0]

    def measure(seed: int, ids: torch.Tensor) -> float:
        move(seed, EPSILON)
        plus = loss(ids)
        move(seed, -2 * EPSILON)
        minus = loss(ids)
        move(seed, EPSILON)
        return (plus - minus) / (2 * EPSILON)

    found = {}
    before = 0.0
    with torch.inference_mode():
        for batch in (FIRST_BATCH * GROWTH**i for i in itertools.count()):
            ids = torch.randint(0, model.config.vocab_size, (batch, tokens), device='cuda')
            try:
                measure(0, ids)
                torch.cuda.synchronize()
                begin, measured = time.perf_counter(), 0
                while time.perf_counter() - begin < seconds:
                    measure(measured, ids)
                    measured += 1
                torch.cuda.synchronize()
                found[batch] = measured * batch / (time.perf_counter() - begin)
            except torch.cuda.OutOfMemoryError:
                break
            if found[batch] < GAIN * before:
                break
            before = found[batch]
    return found


if __name__ == '__main__':
    row_tokens, budget = int(sys.argv[1]), float(sys.argv[2])
    torch.set_float32_matmul_precision('high')  # TF32, as PyTorch users run float32
    for line in sys.stdin:
        result: dict = {}
        told: dict = {'rates': result, 'torch': torch.__version__}
        try:
            loaded = transformers.AutoModelForCausalLM.from_pretrained(line.rstrip('\n'), attn_implementation='sdpa')
            torch.cuda.reset_peak_memory_stats()
            for name in ('float32', 'bfloat16', 'float16'):
                result[name] = rates(copy.deepcopy(loaded).to('cuda', getattr(torch, name)), row_tokens, budget)
                gc.collect()
                torch.cuda.empty_cache()
            told['peakMiB'] = torch.cuda.max_memory_allocated() >> 20
        # What one model fails with says nothing of the next.
        except Exception as error:
            told['error'] = f'{type(error).__name__}: {error}'.split('\n')[0]
        print(json.dumps(told), flush=True)
