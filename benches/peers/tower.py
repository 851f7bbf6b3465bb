"""ViT-B/32 and its text tower, random weights, f32, two threads: transformers on PyTorch."""

import torch
from transformers import CLIPConfig, CLIPModel

from common import median_of_five

torch.set_num_threads(2)
torch.manual_seed(1)

# The defaults are ViT-B/32, quick-GELU, 49,408 tokens.
model = CLIPModel(CLIPConfig()).train()
CAPTIONS, TOKENS, VOCABULARY = 32, 32, 49408

# The last token is the end of text, the largest id, as in benches/clip.rs.
place = torch.arange(CAPTIONS * TOKENS).reshape(CAPTIONS, TOKENS)
ids = place * 7919 % (VOCABULARY - 2)
ids[:, -1] = VOCABULARY - 1


def images(frames):
    pooled = model.vision_model(pixel_values=frames).pooler_output
    return model.visual_projection(pooled)


def texts():
    return model.text_projection(model.text_model(input_ids=ids).pooler_output)


def step(codes):
    model.zero_grad(set_to_none=True)
    codes().square().sum().backward()


for count in (12, 96):
    frames = torch.randn(count, 3, 224, 224)
    with torch.no_grad():
        median_of_five(f"clip/vit-b-32/encode-{count}-frames", "pytorch", lambda: images(frames))
with torch.no_grad():
    median_of_five("clip/vit-b-32/encode-32-captions", "pytorch", texts)
frames = torch.randn(12, 3, 224, 224)
median_of_five("clip/vit-b-32/forward-backward-12-frames", "pytorch", lambda: step(lambda: images(frames)))
median_of_five("clip/vit-b-32/forward-backward-32-captions", "pytorch", lambda: step(texts))
