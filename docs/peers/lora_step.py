"""Times one LoRA step of a frozen Llama of SmolLM2-135M's shape with torch and peft, and prints tokens a second.

The peer of `lm-routed bench --base PATH`: the same sizes, batch, adapters (rank 8 at q, v, up and down of the last blocks,
two of them), full forward pass, backward, clipping, Adam. Weights are random: their values do not change the time.

    OMP_NUM_THREADS=1 taskset -c 0 python docs/peers/lora_step.py --blocks 10 --tokens 128 --batch 4
"""

import argparse
import json
import time

import peft
import torch
import transformers

parser = argparse.ArgumentParser()
parser.add_argument("--blocks", type=int, default=10, help="the uppermost blocks that get adapters")
parser.add_argument("--tokens", type=int, default=128)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--repetitions", type=int, default=7)
parser.add_argument("--threads", type=int, default=1)
asked = parser.parse_args()
torch.set_num_threads(asked.threads)
torch.manual_seed(0)

shape = transformers.LlamaConfig(
    vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=2048, rope_theta=100_000.0, tie_word_embeddings=True,
)
model = transformers.LlamaForCausalLM(shape)
blocks = list(range(30 - asked.blocks, 30))
lora = peft.LoraConfig(
    r=8, lora_alpha=16, lora_dropout=0.0, layers_to_transform=blocks,
    target_modules=["q_proj", "v_proj", "up_proj", "down_proj"],
)
model = peft.get_peft_model(model, lora, adapter_name="rest")
model.add_adapter("behaviour", lora)
model.base_model.set_adapter(["rest", "behaviour"])
learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
adam = torch.optim.Adam(learned, lr=1e-3)
tokens = torch.randint(0, shape.vocab_size, (asked.batch, asked.tokens + 1))


def step():
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learned, 1.0)
    adam.step()
    adam.zero_grad()


step()
rates, cpu = [], []
for _ in range(asked.repetitions):
    began, used = time.perf_counter(), time.process_time()
    step()
    rates.append(asked.batch * asked.tokens / (time.perf_counter() - began))
    cpu.append(asked.batch * asked.tokens / (time.process_time() - used))
rates.sort(), cpu.sort()
print(json.dumps({
    "work": "LoRA step with torch and peft", "threads": asked.threads, "tokens": asked.batch * asked.tokens,
    "adapter_parameters": sum(parameter.numel() for parameter in learned),
    "tokens_per_second": round(rates[len(rates) // 2], 1), "tokens_per_second_min": round(rates[0], 1),
    "tokens_per_second_max": round(rates[-1], 1), "tokens_per_cpu_second": round(cpu[len(cpu) // 2], 1),
    "framework": "PyTorch", "version": f"{torch.__version__}, peft {peft.__version__}",
}))
