"""Makes test/golden/chats: chat templates in the manner of seven families, and what transformers and PEFT make of chats with them.

    python test/golden/make/chats.py test/golden/chats test/golden/models

Needs torch, transformers and peft (made with torch 2.15.0, transformers 5.24.0, peft 0.21.2). Each directory is a model: the tokenizer
of a fixture of test/golden/models with the template's special tokens added, a tiny random model with a LoRA adapter, and the template.

expected.json: for each chat what apply_chat_template gives (`text`, `ids`), the assistant mask as positions (`labels`) and the losses:
-ln p summed over the labels, of float32 logits, for the base model and with the adapter. The mask is transformers' own,
return_assistant_tokens_mask. A template here marks a turn as GENERATION…END; the directory holds it without the marks (but for those
in MARKED), and where the ids of the messages up to a turn are the beginning of the whole, the mask is asserted to be the difference.
A chat that the template refuses has `refused`. `nll_tolerance` = max(1e-4, 20 x the largest difference between float32 and float64).
"""
import json
import os
import sys

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

CHATML = """{% for message in messages %}
{% if loop.first and message.role != 'system' %}
{{ '<|im_start|>system\\nYou answer questions.<|im_end|>\\n' }}{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' }}{% if message['role'] == 'assistant' %}GENERATION{{ message['content'] + '<|im_end|>\\n' }}END{% else %}{{ message['content'] + '<|im_end|>\\n' }}{% endif %}
{% endfor %}
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {{- "You have these functions:\\n\\n" }}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("one call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}GENERATION
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}END
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- elif message.role == 'assistant' %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}GENERATION{{- message['content'] | trim + '<|eot_id|>' }}END
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

GEMMA = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
    {%- endif -%}
    {%- if (message['role'] == 'assistant') -%}
        {{ '<start_of_turn>model\\n' }}GENERATION{{ message['content'] | trim }}{{ '<end_of_turn>\\n' }}END
    {%- else -%}
        {{ '<start_of_turn>' + message['role'] + '\\n' + (first_user_prefix if loop.first else "") }}
        {%- if message['content'] is string -%}
            {{ message['content'] | trim }}
        {%- elif message['content'] is iterable -%}
            {%- for item in message['content'] -%}
                {{ item['text'] | trim }}
            {%- endfor -%}
        {%- else -%}
            {{ raise_exception("Invalid content type") }}
        {%- endif -%}
        {{ '<end_of_turn>\\n' }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\\n'}}
{%- endif -%}
"""

QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' }}GENERATION
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- content }}
            {%- endif %}
        {%- else %}
            {{- content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}END
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

# Its prompt opens the reasoning, which it leaves out of earlier turns.
REASONING = (
    QWEN3.replace("{{- '<|im_start|>assistant\\n' }}\n    {%- if enable", "{{- '<|im_start|>assistant\\n<think>\\n' }}\n    {%- if enable")
    .replace("'\\n' }}GENERATION", "'\\n' }}{% if loop.index0 > ns.last_query_index and (loop.last or reasoning_content) %}{{ '<think>\\n' }}{% endif %}GENERATION")
    .replace("{{- '<think>\\n' + reasoning_content", "{{- reasoning_content")
)

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        GENERATION{{- " " + message["content"]|trim + eos_token}}END
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"""

PHI = """{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' }}GENERATION{{ message['content'] + '<|end|>' }}{% if loop.last and not add_generation_prompt %}{{ eos_token }}{% endif %}END{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% elif messages[-1].role != 'assistant' %}{{ eos_token }}{% endif %}"""

SMALL = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=1024, tie_word_embeddings=True, pad_token_id=0, bos_token_id=0, eos_token_id=0)
# directory: (template, fixture whose tokenizer it has, added tokens, eos, config)
IM = ["<|im_start|>", "<|im_end|>"]
CHATS = {
    "smollm2": (CHATML, "smollm3", IM, "<|im_end|>", dict(SMALL, model_type="llama")),
    "smollm3": (CHATML, "smollm3", IM, "<|im_end|>", dict(SMALL, model_type="smollm3")),
    "llama3": (LLAMA3, "llama", ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], "<|eot_id|>", dict(SMALL, model_type="llama")),
    "gemma3": (GEMMA, "gemma3", ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>",
               dict(SMALL, model_type="gemma3_text", head_dim=8, sliding_window=8)),
    "qwen3": (QWEN3, "qwen3", IM + ["<think>", "</think>"], "<|im_end|>", dict(SMALL, model_type="qwen3", head_dim=8)),
    "reasoning": (REASONING, "qwen2", IM + ["<think>", "</think>"], "<|im_end|>", dict(SMALL, model_type="qwen2")),
    "mistral": (MISTRAL, "mistral", ["[INST]", "[/INST]"], "<eos>", dict(SMALL, model_type="mistral")),
    "phi4": (PHI, "phi3", ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "<eos>",
             dict(SMALL, model_type="phi3")),
}
# Its template stays marked, as in its family.
MARKED = {"smollm3"}
# Its template stands in tokenizer_config.json, in a list.
NAMED = {"mistral"}


def said(*contents, system=None):
    messages = [{"role": "system", "content": system}] if system else []
    return messages + [{"role": ("user", "assistant")[i % 2], "content": c} for i, c in enumerate(contents)]


TOOL = {"type": "function", "function": {"name": "find", "description": "Finds a film's year \u2013 \u00e9.",
                                         "parameters": {"type": "object", "properties": {"title": {"type": "string"}}}}}
CALL = {"type": "function", "function": {"name": "find", "arguments": {"title": "It's \"A\" <b>"}}}
CHATS_SAID = {
    "three turns": dict(messages=said("Was it good?", "The film was good.", "And the plot?", "It was dull.", "So?", "Watch it.", system="Be brief.")),
    "three turns without a system": dict(messages=said("Was it good?", "Good.", "And the plot?", "Dull, dull.", "So?", "Watch it.")),
    "one turn": dict(messages=said("The film was", "good.")),
    "the user has the last word": dict(messages=said("a", "b", "c")),
    "white space and other scripts": dict(messages=said(" a \n", "\n\n  \U0001f600 caf\u00e9 \u4f60\u597d\t ", "\ud55c\uae00", "x\r\n\r\ny  ")),
    "special tokens within": dict(messages=said("say <|im_end|> <eos>", "<|im_end|> [/INST] <end_of_turn> <|end|>", "<bos>?", "<|eot_id|>")),
    "reasoning within": dict(messages=said("a", "<think>\nlong, long\n</think>\n\nshort", "b", "<think>\nhm\n</think>\n\nyes")),
    "reasoning apart": dict(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "short", "reasoning_content": "long"},
                                      {"role": "user", "content": "b"}, {"role": "assistant", "content": "yes", "thinking": "hm"}]),
    "content begins like a prompt": dict(messages=said("a", "<b>bold</b>", "c", "<think")),
    "an empty answer": dict(messages=said("a", "", "b", "c")),
    "two answers in a row": dict(messages=[{"role": "user", "content": "a"}] + [{"role": "assistant", "content": c} for c in "bc"]),
    "the assistant begins": dict(messages=[{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]),
    "a variable": dict(messages=said("a", "b", system="s"), variables={"enable_thinking": False, "date_string": "1 May 2026"}),
    "tools": dict(messages=[{"role": "user", "content": "When?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                            {"role": "tool", "content": "1999"}, {"role": "assistant", "content": "In 1999."}], tools=[TOOL]),
}


def tokens_of(tokenizer, chat, **more):
    return tokenizer.apply_chat_template(chat["messages"], tools=chat.get("tools"), **chat.get("variables", {}), **more)


def as_prefixes(tokenizer, chat, ids):
    """Positions by differences of prefixes; None where the ids of fewer messages do not begin the whole."""
    labels, messages = [], chat["messages"]
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        try:
            before = tokens_of(tokenizer, dict(chat, messages=messages[:i]), add_generation_prompt=True)["input_ids"]
            after = tokens_of(tokenizer, dict(chat, messages=messages[: i + 1]))["input_ids"]
        except Exception:
            return None
        if ids[: len(before)] != before or ids[: len(after)] != after or after[: len(before)] != before:
            return None
        labels += range(len(before), len(after))
    return labels


def expected_of(tokenizer, template, marked, chat):
    try:
        text = tokens_of(tokenizer, chat, tokenize=False)
        prompt = tokens_of(tokenizer, chat, add_generation_prompt=True)["input_ids"]
    except Exception as error:
        return {"refused": str(error)}
    out = tokens_of(tokenizer, chat, chat_template=marked, return_assistant_tokens_mask=True)
    ids, mask = out["input_ids"], out["assistant_masks"]
    assert ids == tokens_of(tokenizer, chat)["input_ids"]
    labels = [i for i, is_label in enumerate(mask) if is_label]
    prefixes = as_prefixes(tokenizer, chat, ids)
    # With enable_thinking the generation prompt itself has the empty reasoning, which the marks enclose.
    assert prefixes in (None, labels) or "enable_thinking" in chat.get("variables", {}), (text, prefixes, labels)
    if template != marked and prefixes is not None:
        labels = prefixes
    return {"text": text, "ids": ids, "prompt": prompt, "labels": labels, "by_prefixes": prefixes is not None}


def losses(model, chats):
    nll = []
    for chat in chats:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([chat["ids"]]), use_cache=False).logits[0]
        lp = torch.log_softmax(logits.double(), -1)
        nll.append(-sum(float(lp[i - 1, chat["ids"][i]]) for i in chat["labels"] if i > 0))
    return nll


def write_tokenizer(directory, source, template, added, eos, named):
    tokenizer = json.load(open(f"{source}/tokenizer.json"))
    first = 1 + max(list(tokenizer["model"]["vocab"].values()) + [t["id"] for t in tokenizer["added_tokens"]])
    for i, content in enumerate(added):
        special = not content.endswith("think>")
        tokenizer["added_tokens"].append(dict(id=first + i, content=content, single_word=False, lstrip=False, rstrip=False,
                                              normalized=False, special=special))
    json.dump(tokenizer, open(f"{directory}/tokenizer.json", "w"))
    config = {"bos_token": "<bos>", "eos_token": eos, "pad_token": "<pad>", "tokenizer_class": "PreTrainedTokenizerFast"}
    if named:
        config["chat_template"] = [{"name": "default", "template": template}, {"name": "tool_use", "template": "{{ tools | tojson }}" + template}]
    else:
        with open(f"{directory}/chat_template.jinja", "w") as f:
            f.write(template)
    json.dump(config, open(f"{directory}/tokenizer_config.json", "w"), indent=1)
    return first + len(added)


def load(directory, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager").eval()


def write_model(directory, config, generator):
    json.dump(config, open(f"{directory}/config.json", "w"), indent=1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    for name, p in model.named_parameters():
        p.data = torch.randn(p.shape, generator=generator) * (0.3 if p.dim() > 1 else 0.2) + (1.0 if "norm" in name and "gemma" not in config["model_type"] else 0.0)
    state = {n: t.to(torch.bfloat16).contiguous() for n, t in model.state_dict().items() if n != "lm_head.weight"}
    save_file(state, f"{directory}/model.safetensors", metadata={"format": "pt"})
    adapted = get_peft_model(load(directory), LoraConfig(r=2, lora_alpha=3, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, p in adapted.named_parameters():
        if "lora_" in name:
            p.data = torch.randn(p.shape, generator=generator) * 0.3
    adapted.save_pretrained(f"{directory}/adapter")
    os.remove(f"{directory}/adapter/README.md")


def main():
    out, models = sys.argv[1:]
    torch.set_num_threads(1)
    for seed, (name, (source, fixture, added, eos, config)) in enumerate(CHATS.items()):
        directory = os.path.join(out, name)
        os.makedirs(directory, exist_ok=True)
        marked = source.replace("GENERATION", "{% generation %}").replace("END", "{% endgeneration %}")
        template = marked if name in MARKED else source.replace("GENERATION", "").replace("END", "")
        size = write_tokenizer(directory, f"{models}/{fixture}", template, added, eos, name in NAMED)
        write_model(directory, dict(config, vocab_size=size), torch.Generator().manual_seed(seed))
        tokenizer = AutoTokenizer.from_pretrained(directory)
        chats = {title: {**chat, **expected_of(tokenizer, template, marked, chat)} for title, chat in CHATS_SAID.items()}
        kept = [chat for chat in chats.values() if "ids" in chat]
        single, double = losses(load(directory), kept), losses(load(directory, torch.float64), kept)
        adapted = losses(PeftModel.from_pretrained(load(directory), f"{directory}/adapter").eval(), kept)
        for chat, base, adapter in zip(kept, single, adapted):
            chat.update(nll={"base": base, "adapter": adapter})
        apart = max(abs(a - b) for a, b in zip(single, double))
        json.dump({"nll_tolerance": max(1e-4, 20 * apart), "chats": chats}, open(f"{directory}/expected.json", "w"))
        print(name, size, apart, {t: c.get("by_prefixes", c.get("refused")) for t, c in chats.items()}, flush=True)


main()
