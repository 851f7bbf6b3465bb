"""ViT-B/32 on 12 frames, random weights, f32, two threads: transformers on PyTorch."""

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from common import measure

torch.set_num_threads(2)
torch.manual_seed(1)

config = CLIPVisionConfig(
    hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
    image_size=224, patch_size=32, projection_dim=512, hidden_act="quick_gelu",
)  # fmt: skip
tower = CLIPVisionModelWithProjection(config).train()
frames = torch.randn(12, 3, 224, 224)


@torch.no_grad()
def encode():
    return tower(pixel_values=frames).image_embeds


def forward_backward():
    tower.zero_grad(set_to_none=True)
    tower(pixel_values=frames).image_embeds.square().sum().backward()


measure("clip/vit-b-32/encode-12-frames", "pytorch", encode, seconds=8)
measure("clip/vit-b-32/forward-backward-12-frames", "pytorch", forward_backward, seconds=12)
