"""The gradient of a batch, whole and in chunks, in plain PyTorch: the model of benches/steps.rs, f32, two threads, 60
steps of each, in turns. Chunks as published (GradCache, arXiv 2101.06983): every part is encoded twice, the first time without
a graph. Nothing is masked."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, scaled_dot_product_attention

from common import in_turns

torch.set_num_threads(2)
torch.manual_seed(1)
PAIRS, FRAMES, WIDTH, HEADS = 96, 12, 256, 4


def perceptron(norm, expand, contract, x):
    y = expand(norm(x))
    return x + contract(y * torch.sigmoid(1.702 * y))


class Block(nn.Module):
    """CLIP's residual block."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key, self.value, self.output = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.expand, self.contract = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        y = self.first(x)
        heads = (layer(y).unflatten(2, (HEADS, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        x = x + self.output(scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        return perceptron(self.second, self.expand, self.contract, x)


class Videos(nn.Module):
    """A linear map, the frame adapter, and two blocks over the frames."""

    def __init__(self):
        super().__init__()
        self.map, self.adapt = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.expand, self.contract = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.positions = nn.Parameter(0.1 * torch.randn(FRAMES, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, frames):
        x = perceptron(self.norm, self.expand, self.contract, self.adapt(self.map(frames)))
        x = x + self.blocks(x + self.positions)
        return normalize(normalize(x, dim=-1).mean(1), dim=-1)


videos = Videos()
words = nn.Linear(WIDTH, WIDTH, bias=False)
scale = nn.Parameter(torch.tensor(3.0))
modules = nn.ModuleList([videos, words])
frames = torch.arange(PAIRS * FRAMES * WIDTH).mul(0.7).sin().reshape(PAIRS, FRAMES, WIDTH)
captions = torch.arange(PAIRS * WIDTH).mul(0.7).sin().reshape(PAIRS, WIDTH)
SIDES = ((lambda part: normalize(words(part), dim=-1), captions), (videos, frames))


def loss(texts, videos):
    logits = scale.exp() * texts @ videos.T
    same = torch.arange(PAIRS)
    return (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2


def forget():
    modules.zero_grad(set_to_none=True)
    scale.grad = None


def whole():
    forget()
    loss(*(encode(items) for encode, items in SIDES)).backward()


def chunks(size):
    forget()
    with torch.no_grad():
        codes = [torch.cat([encode(part) for part in items.split(size)]) for encode, items in SIDES]
    leaves = [code.requires_grad_() for code in codes]
    loss(*leaves).backward()
    for (encode, items), leaf in zip(SIDES, leaves):
        for part, pull in zip(items.split(size), leaf.grad.split(size)):
            encode(part).backward(pull)


def gradients(step):
    step()
    return torch.cat([parameter.grad.flatten() for parameter in [*modules.parameters(), scale]])


for count in (2, 4):
    assert torch.allclose(gradients(whole), gradients(lambda: chunks(PAIRS // count)), atol=1e-5)
pieces = {f"steps/whole/{PAIRS}": whole}
for count in (2, 4):
    pieces[f"steps/{count}-chunks/{PAIRS}"] = lambda count=count: chunks(PAIRS // count)
in_turns("pytorch", 60, pieces)
