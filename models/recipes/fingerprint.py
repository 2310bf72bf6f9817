"""What a trained model says of the built-in clips, from its own full logits: run by `ahwatch bah train` at its end.

usage: fingerprint.py JOB.json

JOB: `model`, `adapter` (or null), `model_type`, `torch_dtype`, `attn_impl`, `system`, `repeats`, and `rows`: rows of
training, one a clip, with `name` and the answer <answer>Yes</answer>. They go through ms-swift's own template, as in training, and once
through the model. The last line of standard output is AHWATCH and JSON: `clips`, by name and repeat the natural
log-probabilities [yes, no] of the two tokens that part the answers, after what both begin with; and their ids.
"""

import json
import sys

import torch
from swift import get_model_processor, get_template
from swift.template import TemplateInputs
from swift.tuners import Swift
from swift.utils import to_device

YES, NO = "<answer>Yes</answer>", "<answer>No</answer>"


def labels(tokenizer):
    """How many tokens the answers begin with alike, and the first that differ."""
    yes, no = (tokenizer.encode(answer, add_special_tokens=False) for answer in (YES, NO))
    shared = next(n for n, (a, b) in enumerate(zip(yes, no)) if a != b)
    return yes[:shared], (yes[shared], no[shared])


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    dtype = getattr(torch, job["torch_dtype"])
    model, processor = get_model_processor(
        job["model"], model_type=job["model_type"], torch_dtype=dtype, attn_impl=job["attn_impl"]
    )
    if job["adapter"]:
        model = Swift.from_pretrained(model, job["adapter"])
    model.eval()
    template = get_template(processor, default_system=job["system"])
    template.set_mode("train")
    template.model = model
    begun, parted = labels(template.tokenizer)
    clips = {}
    for row in job["rows"]:
        name = row.pop("name")
        sample = template.encode(row)
        trained = [at for at, label in enumerate(sample["labels"]) if label != -100]
        end = trained[0] + len(begun)
        answer = list(sample["input_ids"][trained[0] : end + 1])
        if answer != [*begun, parted[0]]:
            raise SystemExit(f"the answer of row {name} begins with the tokens {answer}, not with {[*begun, parted[0]]}")
        batch = to_device(template.data_collator([sample]), model.device)
        batch.pop("labels", None)
        said = []
        for _ in range(job["repeats"]):
            with torch.inference_mode():
                logits = model(**batch).logits[0, end - 1].float()
            logs = torch.log_softmax(logits, dim=-1)
            said.append([logs[token].item() for token in parted])
        clips[name] = said
    print("AHWATCH" + json.dumps({"clips": clips, "ids": parted}), flush=True)


if __name__ == "__main__":
    main()
