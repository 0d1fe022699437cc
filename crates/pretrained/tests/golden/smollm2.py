"""Greedy continuations of three prompts by transformers, to hold `lm-routed generate --temperature 0` to.

usage: python smollm2.py FOLDER FILE.gguf      (needs torch, transformers, gguf)
"""

import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

folder, file = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
for prompt in ["The capital of France is", "Once upon a time", "Water boils at"]:
    tokens = tokenizer(prompt, return_tensors="pt").input_ids
    print(tokenizer.decode(model.generate(tokens, max_new_tokens=24, do_sample=False)[0]), end="\n\n")
