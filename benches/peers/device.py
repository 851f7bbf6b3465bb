"""What `--bench device` measures, in PyTorch: bf16 under autocast, scaled-dot-product attention, fused AdamW, and
torch.compile (`pytorch-compiled`). `device.py DEVICE [PAIRS] [PART]`, such as `device.py cuda 32 f32`, all ids or those that
hold the part; same ids, same columns."""

import sys
import time

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize, scaled_dot_product_attention
from transformers import CLIPConfig, CLIPModel

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cpu"
PAIRS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
PART = sys.argv[3] if len(sys.argv) > 3 else ""
FRAMES, TOKENS, WARM, MEASURED = 12, 32, 4, 10
torch.manual_seed(1)
torch.backends.cuda.matmul.allow_tf32 = True  # burn's f32 products may take tf32 too
TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def tower(tokens, width):
    return 12 * (24 * tokens * width * width + 4 * tokens * tokens * width)


FRAME, CAPTION = tower(50, 768) + 2 * 49 * 3072 * 768, tower(TOKENS, 512)


def settle():
    if DEVICE.startswith("cuda"):
        torch.cuda.synchronize()


def measure(identifier, name, items, operations, work):
    if PART not in identifier:
        return

    def once():
        start = time.perf_counter()
        work()
        settle()
        return time.perf_counter() - start

    first = sum(once() for _ in range(WARM))
    median = sorted(once() for _ in range(MEASURED))[MEASURED // 2]
    rate = items * operations / median / 1e12
    print(f"{identifier}\t{name}\t{median * 1e3:.3f}\t{items / median:.1f}\t{rate:.2f}\t{first:.1f}", flush=True)


class Block(nn.Module):
    def __init__(self, width, head=64, causal=False):
        super().__init__()
        self.head, self.causal = head, causal
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x):
        items, tokens, width = x.shape
        y = self.first(x)
        q, k, v = (f(y).view(items, tokens, -1, self.head).transpose(1, 2) for f in (self.query, self.key, self.value))
        y = scaled_dot_product_attention(q, k, v, is_causal=self.causal).transpose(1, 2).reshape(items, tokens, width)
        x = x + self.output(y)
        y = self.expand(self.second(x))
        return x + self.contract(y * torch.sigmoid(1.702 * y))


def parts(kind):
    dtype, images, tokens, width = TYPES[kind], PAIRS * FRAMES, 50, 768
    normal = lambda *shape: torch.randn(*shape, device=DEVICE, dtype=dtype)
    large = 8192 if DEVICE.startswith("cuda") else 1024
    square = normal(large, large)
    with torch.no_grad():
        measure(f"device/product-{large}/{kind}", "pytorch", 1, 2 * large**3, lambda: square @ square)
        x, layer = normal(images, tokens, width), nn.Linear(width, 4 * width, device=DEVICE, dtype=dtype)
        measure(f"device/linear-768-3072/{kind}", "pytorch", images, 8 * tokens * width * width, lambda: layer(x))
        wide = normal(images, tokens, 4 * width)
        measure(f"device/quick-gelu-3072/{kind}", "pytorch", images * tokens, 0, lambda: wide * torch.sigmoid(1.702 * wide))
        norm = nn.LayerNorm(width, device=DEVICE, dtype=dtype)
        measure(f"device/layer-norm-768/{kind}", "pytorch", images * tokens, 0, lambda: norm(x))
        q, k, v = (normal(images, 12, tokens, 64) for _ in range(3))
        measure(
            f"device/attention-12x50x64/{kind}", "pytorch", images, 4 * tokens * tokens * width,
            lambda: scaled_dot_product_attention(q, k, v),
        )
        block = Block(width).to(DEVICE, dtype)
        measure(f"device/block-768/{kind}", "pytorch", images, tower(tokens, width) / 12, lambda: block(x))


class Small(nn.Module):
    """A temporal transformer over features: msrvtt476's projections, or the built-in world's text tower."""

    def __init__(self, width, frames, layers, text, inputs=None):
        super().__init__()
        self.text, self.map = text, nn.Linear(inputs, width, bias=False) if inputs else nn.Identity()
        self.blocks = nn.Sequential(*[Block(width, width // 4) for _ in range(layers)])
        self.positions, self.scale = nn.Parameter(torch.randn(frames, width)), nn.Parameter(torch.tensor(3.0))

    def forward(self, texts, frames):
        frames = self.map(frames)
        videos = normalize(self.blocks(frames + self.positions) + frames, dim=-1).mean(1)
        logits = normalize(self.text(texts), dim=-1) @ normalize(videos, dim=-1).T * self.scale.exp()
        same = torch.arange(len(frames), device=DEVICE)
        return (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2


class WorldText(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(400, 64), nn.Parameter(torch.randn(24, 64))
        self.blocks = nn.Sequential(*[Block(64, 16, causal=True) for _ in range(2)])
        self.norm, self.project = nn.LayerNorm(64), nn.Linear(64, 96, bias=False)

    def forward(self, ids):
        return self.project(self.norm(self.blocks(self.embedding(ids) + self.positions)[:, -1]))


def small(name, model, texts, frames):
    model = model.to(DEVICE)
    texts, frames = texts.to(DEVICE), frames.to(DEVICE)
    pairs, count, _ = frames.shape
    for label, function in (("pytorch", model), ("pytorch-compiled", torch.compile(model))):
        step = stepping(model, lambda: function(texts, frames))
        measure(f"device/{name}/step-{pairs}x{count}", label, pairs, 0, step)


def stepping(model, loss, losses=None):
    adam = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1, fused=DEVICE.startswith("cuda"))

    def work():
        value = loss()
        number = value.item()
        if losses is not None:
            losses.append(number)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        adam.zero_grad(set_to_none=True)

    return work


def whole(kind):
    model = CLIPModel(CLIPConfig()).to(DEVICE)
    model.config._attn_implementation = "sdpa"
    pixels = torch.randn(PAIRS * FRAMES, 3, 224, 224, device=DEVICE)
    place = torch.arange(PAIRS * TOKENS, device=DEVICE).reshape(PAIRS, TOKENS)
    ids = place * 7919 % 49406
    ids[:, -1] = 49407

    def images(pixels):
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

    def loss(pixels, ids):
        frames = normalize(images(pixels).float(), dim=-1)
        videos = normalize(frames.view(PAIRS, FRAMES, -1).mean(1), dim=-1)
        texts = normalize(model.text_projection(model.text_model(input_ids=ids).pooler_output).float(), dim=-1)
        logits = texts @ videos.T * model.logit_scale.exp()
        same = torch.arange(PAIRS, device=DEVICE)
        return (cross_entropy(logits, same) + cross_entropy(logits.T, same)) / 2

    kind_of = torch.autocast(DEVICE.split(":")[0], dtype=TYPES[kind], enabled=kind != "f32")
    # Compiling takes half a minute each time: bf16 alone, which is what one would train in.
    wraps = [("pytorch", lambda f: f)] + [("pytorch-compiled", torch.compile)] * (kind == "bf16")
    for name, wrap in wraps:
        model.eval()
        encode = wrap(images)
        with torch.no_grad(), kind_of:
            frames = PAIRS * FRAMES
            measure(f"device/vit-b-32/encode-{frames}-frames/{kind}", name, frames, FRAME, lambda: encode(pixels))
        model.train()
        function, losses = wrap(loss), []
        if DEVICE.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()

        def narrow():
            with kind_of:
                return function(pixels, ids)

        work = stepping(model, narrow, losses)
        measure(
            f"device/vit-b-32/step-{PAIRS}x{FRAMES}/{kind}", name, PAIRS, 3 * (FRAMES * FRAME + CAPTION), work
        )
        if DEVICE.startswith("cuda") and losses:
            peak = torch.cuda.max_memory_allocated() / 2**30
            print(f"# {name} {kind}: peak {peak:.2f} GiB, loss {losses[0]:.3f} to {losses[-1]:.3f}", flush=True)


for kind in TYPES:
    parts(kind)
small("msrvtt476", Small(256, 6, 1, nn.Linear(512, 256, bias=False), 512), torch.randn(256, 512), torch.randn(256, 6, 512))
ids = torch.arange(96 * 24).reshape(96, 24) % 397
small("world", Small(96, 8, 2, WorldText()), ids, torch.randn(96, 8, 96))
for kind in TYPES:
    whole(kind)
