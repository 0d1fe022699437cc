"""Makes the tiny random models of this folder and their logits: `python models.py` in it.

Needs torch and transformers. Each family is saved in f32, whole, and in bf16, in shards; `logits.json` has the logits of
the sequence TOKENS, computed in f32 from the weights as they were saved.
"""

import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM, GPT2Config, GPTNeoConfig, GPTNeoXConfig, LlamaConfig, Qwen2Config,
)

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35]
HERE = Path(__file__).parent
gated = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 64}
FAMILIES = {
    "llama": LlamaConfig(**gated, tie_word_embeddings=True, rope_theta=500.0),
    "qwen2": Qwen2Config(**gated, tie_word_embeddings=False),
    "gpt2": GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=32, vocab_size=40),
    "gpt_neox": GPTNeoXConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
                              vocab_size=40, max_position_embeddings=64, rotary_pct=0.5),
    "gpt_neo": GPTNeoConfig(hidden_size=16, intermediate_size=24, num_layers=2, num_heads=4, vocab_size=40,
                            max_position_embeddings=32, window_size=4, attention_types=[[["global", "local"], 1]]),
}

logits = {}
for seed, (name, config) in enumerate(FAMILIES.items()):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    for dtype, shard in [("f32", "1GB"), ("bf16", "8KB")]:
        folder = HERE / f"{name}-{dtype}"
        model.to(torch.float32 if dtype == "f32" else torch.bfloat16).save_pretrained(folder, max_shard_size=shard)
        (folder / "generation_config.json").unlink(missing_ok=True)
        model.float().eval()
        with torch.no_grad():
            rows = model(torch.tensor([TOKENS])).logits[0]
        logits[folder.name] = [[round(x, 6) for x in row] for row in rows.tolist()]
(HERE / "logits.json").write_text(json.dumps({"tokens": TOKENS, "logits": logits}) + "\n")
