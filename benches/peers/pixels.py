"""Resize of the short side and centre crop of 32 pictures of 640 x 427: Pillow, alone and on two threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from common import median_of_five

random = np.random.default_rng(1)
pictures = [Image.fromarray(random.integers(0, 256, (427, 640, 3), dtype=np.uint8)) for _ in range(32)]
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


def crop(picture):
    """Short side 224, long side cut down, offset floored."""
    width, height = picture.size
    width, height = 224 * width // min(width, height), 224 * height // min(width, height)
    left, top = (width - 224) // 2, (height - 224) // 2
    return picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + 224, top + 224))


def normalise(picture):
    pixels = np.asarray(crop(picture)).astype(np.float32) / np.float32(255)
    return ((pixels - MEAN) / STD).transpose(2, 0, 1)


pool = ThreadPoolExecutor(2)  # Pillow lets go of the interpreter's lock while it resizes
for name, every in (("pillow", map), ("pillow-2-threads", pool.map)):
    median_of_five("clip/resize-crop-32-of-640x427", name, lambda: list(every(crop, pictures)))
    median_of_five(
        "clip/resize-crop-normalise-32-of-640x427", name, lambda: np.stack(list(every(normalise, pictures)))
    )
