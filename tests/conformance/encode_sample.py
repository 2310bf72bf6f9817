#!/usr/bin/env python3
"""What ms-swift's own loader and template make of training rows: one JSON object a row, on standard output.

usage: encode_sample.py MODEL ROWS.jsonl

Each object has `ids` (the prompt's token ids), `answer` (the ids that are trained on), `seconds_per_grid` (what a step of
the video's time axis stands for) and `grid` (time, height, width in patches). FPS is read from the environment, as in training.
"""
import json
import os
import sys

os.environ.setdefault("FPS", "2")
os.environ.update(CUDA_VISIBLE_DEVICES="", ENABLE_AUDIO_OUTPUT="0")

from swift import get_processor, get_template  # noqa: E402
from swift.dataset import load_dataset  # noqa: E402


def plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def main():
    model, rows = sys.argv[1:]
    processor = get_processor(model, model_type="qwen3_omni_moe")
    template = get_template(processor, default_system="You are a Multimodal Emotion Analysis Expert.")
    template.set_mode("train")
    dataset, _ = load_dataset(rows, split_dataset_ratio=0, load_from_cache_file=False)
    for row in dataset:
        sample = template.encode(dict(row))
        answer = [label for label in sample["labels"] if label != -100]
        print(
            json.dumps({
                "ids": plain(sample["input_ids"])[: len(sample["input_ids"]) - len(answer)],
                "answer": plain(answer),
                "seconds_per_grid": plain(sample["video_second_per_grid"]),
                "grid": plain(sample["video_grid_thw"]),
            }),
            flush=True,
        )


if __name__ == "__main__":
    main()
