"""Opens in transformers and peft what is written here for other programs, and compares logits.

    cargo run --example for_python -- OUT && python opens.py OUT           folders of every family, adapters, merged weights
    cargo run --example for_python -- OUT MODEL && python opens.py OUT MODEL    one model, such as what `export` has written

Exit code 1 where any logit differs by 1e-4 or more. Says that it was skipped where torch, transformers or peft is missing.
"""

import json
import sys
from pathlib import Path

try:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(0)


def logits(model, tokens):
    with torch.no_grad():
        return model.float().eval()(torch.tensor([tokens])).logits[0]


def compare(what, model, expected, tokens):
    found = logits(model, tokens)
    difference = (found - torch.tensor(expected)).abs().max().item()
    print(f"{what:<24} largest difference {difference:.1e} of logits up to {found.abs().max().item():.1f}")
    return difference < 1e-4


out, models = Path(sys.argv[1]), sys.argv[2:]
good = True
if models:
    known = json.loads((out / "model/logits.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(models[0])
    good &= compare(models[0], model, known["base"], known["tokens"])
    tokenizer = AutoTokenizer.from_pretrained(models[0])
    text = tokenizer("<|endoftext|>One day", return_tensors="pt")
    print(tokenizer.decode(model.generate(**text, max_new_tokens=20, do_sample=False)[0]))
for file in sorted(out.glob("*/logits.json")) if not models else []:
    known, folder = json.loads(file.read_text()), file.parent
    open_base = lambda name: AutoModelForCausalLM.from_pretrained(folder / name)
    good &= compare(f"{folder.name} base", open_base("base"), known["base"], known["tokens"])
    if (folder / "adapter").exists():
        adapted = PeftModel.from_pretrained(open_base("base"), folder / "adapter")
        good &= compare(f"{folder.name} with adapter", adapted, known["adapted"], known["tokens"])
        good &= compare(f"{folder.name} merged by peft", adapted.merge_and_unload(), known["adapted"], known["tokens"])
        good &= compare(f"{folder.name} merged here", open_base("merged"), known["adapted"], known["tokens"])
sys.exit(0 if good else 1)
