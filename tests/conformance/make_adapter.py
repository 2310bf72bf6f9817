#!/usr/bin/env python3
"""Makes a LoRA adapter with random weights for a model of make_tiny_qwen3_omni.py --dense.

Training starts with B = 0, which changes nothing; here B is drawn too, so that each seed is another judge. Rank and alpha
are the paper's (8 and 32). Adapted is the attention of the language model: what vLLM on CPU, ms-swift and peft read
alike. The files are written by hand, since peft on transformers 5 adapts other layers than it is told.

usage: make_adapter.py OUT --model DIR --seed N
"""
import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file

RANK, ALPHA = 8, 32
# Large enough to move every log-probability by far more than rounding does.
SPREAD = 0.2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    args = parser.parse_args()
    text = json.loads((args.model / "config.json").read_text())["thinker_config"]["text_config"]
    hidden, head = text["hidden_size"], text["head_dim"]
    queries, values = text["num_attention_heads"] * head, text["num_key_value_heads"] * head
    shapes = {
        "q_proj": (hidden, queries), "k_proj": (hidden, values), "v_proj": (hidden, values), "o_proj": (queries, hidden),
    }
    drawn = torch.Generator().manual_seed(args.seed)
    weights = {}
    for layer in range(text["num_hidden_layers"]):
        for name, (takes, gives) in shapes.items():
            place = f"base_model.model.thinker.model.layers.{layer}.self_attn.{name}"
            weights[f"{place}.lora_A.weight"] = torch.randn(RANK, takes, generator=drawn) / takes**0.5
            weights[f"{place}.lora_B.weight"] = torch.randn(gives, RANK, generator=drawn) * SPREAD
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": str(args.model.resolve()),
        "r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "bias": "none", "inference_mode": True,
        "target_modules": list(shapes),
    }
    (args.out / "adapter_config.json").write_text(json.dumps(config, indent=1))


if __name__ == "__main__":
    main()
