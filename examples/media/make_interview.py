#!/usr/bin/env python3
"""Makes interview.mp4 and interview.json: fifty seconds of a person talking about quitting smoking.

The face is NASA's portrait of Eileen Collins (public domain) as scikit-image ships it, with a slow camera motion; the
voice is espeak-ng's. Nobody said this: it is made so that the shipped detector has something to show, and it proves
nothing about real people.

Needs: python3 with pip and numpy, ffmpeg (libx264, aac), espeak-ng 1.51. The picture comes from the scikit-image 0.26.0
wheel on PyPI, pinned by hash.

    make_interview.py                       both files, beside this script
    make_interview.py --astronaut FILE.png  only the picture
"""
import argparse
import glob
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
ASTRONAUT_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
RATE = 22050  # espeak-ng's own
WIDTH, HEIGHT, FPS = 640, 480, 25
VOICE, SPEED, SLOW_SPEED, PITCH = "en-us+f3", 165, 130, 45

# Blocks of whole 5-s windows. A string is spoken; a number is a silence in seconds inside the sentence; `um(s)` is a
# drawn-out filled pause of s seconds. What a block lacks is shared out between its sentences (fluent) or put at its end.
def um(seconds):
    return ("um", seconds)

def slow(text):
    return ("slow", text)

BLOCKS = [
    ("fluent", 15, [
        "I started smoking when I was nineteen, mostly because everyone around me did.",
        "Last year my doctor explained what it does to my lungs, and I understood it.",
        "So I made a plan, I told my family, and I picked a date in the spring.",
    ]),
    ("hesitant", 15, [
        "But I", 0.8, um(0.8), 0.6, slow("I don't really"), 1.0, slow("know if I"), um(0.7), 0.8, slow("want to."),
        0.7, um(0.8), 0.7, slow("I like it,"), 1.0, "and", um(0.6), 0.7, slow("maybe"),
    ]),
    ("fluent", 10, [
        "My sister stopped two years ago, and she says that the second week was the worst.",
        "She walks every morning now, and she sleeps much better than before.",
    ]),
    ("hesitant", 10, [
        "And then", 0.8, um(0.8), 0.7, slow("part of me"), 0.9, slow("wants to"), um(0.7), 0.8, slow("wait,"), 0.8,
        um(0.6),
    ]),
]


def run(*command, stdin=None):
    return subprocess.run(command, input=stdin, stdout=subprocess.PIPE, check=True).stdout


def astronaut(work):
    """Path of the portrait, 512 x 512."""
    run(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", "--abi", "cp311",
        "--platform", "manylinux_2_28_x86_64", "--dest", work, "scikit-image==0.26.0")
    with zipfile.ZipFile(glob.glob(os.path.join(work, "scikit_image-*.whl"))[0]) as wheel:
        png = wheel.read("skimage/data/astronaut.png")
    found = hashlib.sha256(png).hexdigest()
    if found != ASTRONAUT_SHA256:
        sys.exit(f"astronaut.png has sha256 {found}, expected {ASTRONAUT_SHA256}")
    path = os.path.join(work, "astronaut.png")
    with open(path, "wb") as file:
        file.write(png)
    return path


def pcm(*source):
    """A sound file or filter's output as float amplitudes."""
    import numpy as np
    raw = run("ffmpeg", "-v", "error", *source, "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-")
    return np.frombuffer(raw, "<i2").astype(np.float64) / 32768


def trimmed(sound, floor=0.01):
    """Without the silence espeak-ng puts around what it says."""
    import numpy as np
    loud = np.flatnonzero(np.abs(sound) > floor)
    return sound[max(0, loud[0] - RATE // 100):loud[-1] + RATE // 50]


def spoken(work, text, speed=SPEED, ssml=False):
    wav = os.path.join(work, "said.wav")
    run("espeak-ng", "-v", VOICE, "-s", str(speed), "-p", str(PITCH), *(["-m"] if ssml else []), "-w", wav, text)
    return trimmed(pcm("-i", wav))


def drawn_out_um(work, seconds):
    """"uhm" on one level tone, stretched to its length with the pitch kept."""
    short = spoken(work, "<prosody range='0%'>um</prosody>", 120, ssml=True)
    factor = min(1.0, max(0.5, len(short) / RATE / seconds))
    raw = (short * 32767).astype("<i2").tobytes()
    path = os.path.join(work, "um.raw")
    with open(path, "wb") as file:
        file.write(raw)
    return 0.8 * pcm("-f", "s16le", "-ac", "1", "-ar", str(RATE), "-i", path, "-af", f"atempo={factor}")


def block_sound(work, kind, seconds, parts):
    import numpy as np
    pieces = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(spoken(work, part))
        elif isinstance(part, (int, float)):
            pieces.append(np.zeros(int(part * RATE)))
        elif part[0] == "um":
            pieces.append(drawn_out_um(work, part[1]))
        else:
            pieces.append(spoken(work, part[1], SLOW_SPEED))
    length = int(seconds * RATE)
    lead = np.zeros(int(0.15 * RATE))
    rest = length - len(lead) - sum(map(len, pieces))
    print(f"{kind}: {seconds} s, {rest / RATE:+.2f} s left", file=sys.stderr)
    if rest < 0:
        sys.exit("the block is too long")
    if kind == "fluent":
        gap = np.zeros(rest // len(pieces))
        pieces = [x for piece in pieces for x in (piece, gap)]
    sound = np.concatenate([lead, *pieces])
    return np.pad(sound, (0, max(0, length - len(sound))))[:length]


def frames(work, count):
    """The portrait under a camera that drifts and breathes; bilinear, so that it moves by parts of a pixel."""
    import numpy as np
    raw = run("ffmpeg", "-v", "error", "-i", astronaut(work), "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    image = np.frombuffer(raw, np.uint8).reshape(512, 512, 3).astype(np.float32)
    for n in range(count):
        t = n / FPS
        wide = 262 + 26 * np.sin(2 * np.pi * t / 23)
        high = wide * HEIGHT / WIDTH
        x0 = 226 + 14 * np.sin(2 * np.pi * t / 17) - wide / 2
        y0 = 112 + 6 * np.sin(2 * np.pi * t / 13) - high / 2
        xs = np.clip(x0 + (np.arange(WIDTH) + 0.5) * wide / WIDTH, 0, 510.99)
        ys = np.clip(y0 + (np.arange(HEIGHT) + 0.5) * high / HEIGHT, 0, 510.99)
        xi, yi = xs.astype(int), ys.astype(int)
        fx, fy = (xs - xi).astype(np.float32)[None, :, None], (ys - yi).astype(np.float32)[:, None, None]
        rows = image[yi] * (1 - fy) + image[yi + 1] * fy
        picture = rows[:, xi] * (1 - fx) + rows[:, xi + 1] * fx
        yield (picture + 0.5).astype(np.uint8).tobytes()


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--astronaut", metavar="FILE.png", help="only write the portrait there")
    wanted = options.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if wanted.astronaut:
            os.replace(astronaut(work), wanted.astronaut)
            return
        import numpy as np
        sound = np.concatenate([block_sound(work, *block) for block in BLOCKS])
        seconds = sum(block[1] for block in BLOCKS)
        # A quiet room: total silence would be a gift to any detector.
        noise = np.random.RandomState(1).normal(0, 10 ** (-60 / 20), len(sound))
        sound = sound * (0.5 / np.abs(sound).max()) + noise
        raw = os.path.join(work, "sound.raw")
        with open(raw, "wb") as file:
            file.write((sound * 32767).astype("<i2").tobytes())
        out = os.path.join(HERE, "interview.mp4")
        encoder = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH}x{HEIGHT}",
             "-r", str(FPS), "-i", "-", "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-i", raw,
             "-c:v", "libx264", "-preset", "slow", "-crf", "26", "-pix_fmt", "yuv420p", "-g", str(2 * FPS),
             "-threads", "1", "-c:a", "aac", "-b:a", "64k", "-ar", "48000", "-t", str(seconds), "-fflags", "+bitexact",
             "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-movflags", "+faststart", out],
            stdin=subprocess.PIPE)
        for frame in frames(work, seconds * FPS):
            encoder.stdin.write(frame)
        encoder.stdin.close()
        if encoder.wait() != 0:
            sys.exit("ffmpeg failed")
    spans, start = [], 0
    for kind, length, _ in BLOCKS:
        spans.append({"start_s": start, "end_s": start + length, "kind": kind})
        start += length
    about = {
        "file": "interview.mp4",
        "made_by": "make_interview.py",
        "face": "NASA portrait of Eileen Collins, public domain, from scikit-image 0.26.0",
        "voice": f"espeak-ng 1.51, {VOICE}: synthetic, nobody said this",
        "duration_s": start,
        "spans": spans,
    }
    with open(os.path.join(HERE, "interview.json"), "w") as file:
        json.dump(about, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    main()
