"""First-order LoRA fine-tuning of the same model on the same rows (AdamW, PyTorch, transformers, PEFT): the ceiling of a zeroth-order run.

python adamw_lora.py EXAMPLE_DIR [EPOCHS] [SEED]     EXAMPLE_DIR holds model/, train.jsonl and test.jsonl
prints a JSON object a line: test accuracy and loss before the first and after each epoch.
"""
import json
import random
import sys
import time

import peft
import torch
import transformers

RANK, ALPHA, LEARNING_RATE, BATCH = 8, 16, 2e-4, 8


def encoded(tokenizer, row):
    """All options of a row: ids and where the completion begins, the longest common prefix with the prompt's own ids."""
    own = tokenizer(row["prompt"])["input_ids"]
    options = []
    for option in row["options"]:
        ids = tokenizer(row["prompt"] + option)["input_ids"]
        first = next((i for i, (a, b) in enumerate(zip(ids, own)) if a != b), min(len(ids), len(own)))
        options.append((ids, first))
    return options, row["label"]


def nll(model, rows):
    """Summed negative log likelihood of the completion of each row, `[rows]`."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in rows])
    hidden = model.base_model.model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    losses = []
    for i, (row, first) in enumerate(rows):
        logits = model.base_model.model.lm_head(hidden[i, first - 1 : len(row) - 1])
        losses.append(torch.nn.functional.cross_entropy(logits, ids[i, first : len(row)], reduction="sum"))
    return torch.stack(losses)


@torch.inference_mode()
def evaluated(model, examples):
    correct, loss = 0, 0.0
    flat = [option for options, _ in examples for option in options]
    values = torch.cat([nll(model, flat[i : i + 32]) for i in range(0, len(flat), 32)])
    at = 0
    for options, label in examples:
        own = values[at : at + len(options)]
        at += len(options)
        loss += own[label].item()
        correct += all(i == label or own[label] < other for i, other in enumerate(own))
    return {"accuracy": correct / len(examples), "loss": loss / len(examples)}


def main():
    directory = sys.argv[1]
    epochs, seed = (int(value) for value in (sys.argv[2:] + ["3", "1"][len(sys.argv) - 2 :])[:2])
    torch.manual_seed(seed)
    tokenizer = transformers.AutoTokenizer.from_pretrained(f"{directory}/model")
    read = lambda name: [encoded(tokenizer, json.loads(line)) for line in open(f"{directory}/{name}.jsonl")]
    train, test = read("train"), read("test")
    base = transformers.AutoModelForCausalLM.from_pretrained(f"{directory}/model").to(torch.float32)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear")
    model = peft.get_peft_model(base, config)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE)
    print(json.dumps({"epoch": 0, **evaluated(model.eval(), test)}), flush=True)
    order = random.Random(seed)
    start = time.perf_counter()
    for epoch in range(1, epochs + 1):
        order.shuffle(train)
        for i in range(0, len(train), BATCH):
            loss = nll(model.train(), [options[label] for options, label in train[i : i + BATCH]]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = time.perf_counter() - start
        print(json.dumps({"epoch": epoch, **evaluated(model.eval(), test), "seconds": round(seconds)}), flush=True)


main()
