#!/usr/bin/env bash
# Makes picture-0.jpg to picture-9.jpg and speech.wav. Needs ffmpeg, espeak-ng and python3 with pip.
#
# The pictures are ten crops of NASA's portrait of Eileen Collins (public domain), as if a camera moved over it.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
../../examples/media/make_interview.py --astronaut "$work/astronaut.png"
exact=(-map_metadata -1 -fflags +bitexact -flags:v +bitexact)
for n in 0 1 2 3 4 5 6 7 8 9; do
    ffmpeg -v error -y -i "$work/astronaut.png" -vf "crop=320:240:$((20 * n)):$((8 * n))" -q:v 4 -pix_fmt yuvj420p "${exact[@]}" "picture-$n.jpg"
done
espeak-ng -v en-us -s 165 -w "$work/speech.wav" "I have thought about quitting for a long time, and today I am going to begin."
ffmpeg -v error -y -i "$work/speech.wav" -t 3 -ac 1 -ar 16000 -c:a pcm_s16le "${exact[@]}" speech.wav
