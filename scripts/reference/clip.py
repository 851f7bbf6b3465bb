#!/usr/bin/env python3
"""Golden tensors of CLIP checkpoints, made by the reference, for `cargo xtask verify`.

Pinned: python 3.11, transformers 5.24.0, torch 2.9.0 (CPU, one thread), tokenizers 0.23.3, safetensors 0.8.0,
numpy 2.4.6, pillow 13.0.0. Pixels: `CLIPImageProcessorPil`, the image processor that is equal to Pillow; the class that
transformers takes by itself where torchvision is installed is up to a level off (14 on striped pictures), so it is not
used. Text: `CLIPTokenizer` of the folder itself. Another version of transformers is refused unless --any-version is
given; the versions that ran are written into the metadata of `expected.safetensors` in either case.

    pip install transformers==5.24.0 torch==2.9.0 pillow==13.0.0
    python scripts/reference/clip.py --weights DIR --out GOLDEN          # texts and pictures of our own
    python scripts/reference/clip.py --weights DIR --out GOLDEN --texts texts.txt --images pictures/
    cargo xtask verify --weights DIR --golden GOLDEN

    python scripts/reference/clip.py --weights SAVED --out GOLDEN --same-as OTHER    # a folder that tvr saved: transformers
                                                       # finds every key, no other, and computes what it did for OTHER

    python scripts/reference/clip.py --fixture crates/tvr-clip/tests/fixtures/clip    # the tiny random checkpoint of the
                                                                                      # repository's own test, and its tensors

A golden folder holds `texts.txt`, `images/*.png`, `images_other/*.jpg` and `expected.safetensors`:
input_ids, attention_mask [T, L]; pixels_u8, openai.pixels_u8 [I, 3, S, S] (Hugging Face's crop, which rounds the offset
down, and OpenAI's, which rounds it to even); pixel_values; patch_embed, vision_embed, vision_hidden.0 ... n,
vision_pooled, image_tokens, image, image_normalized; text_hidden.0 ... n, text_last, text_pooled, text_tokens, text,
text_normalized; logit_scale, logits [T, I]; of the JPEGs, as Pillow's libjpeg-turbo decodes them, other.pixels_u8,
other.pixel_values, other.image and other.image_normalized: decoders differ by a few levels, and `verify` says by how many. `--small` keeps the codes and leaves the states between out.
"""
import argparse
import json
import math
import os
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
import transformers
from PIL import Image
import PIL
from safetensors.torch import load_file, save_file
from transformers import AutoModel, CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

TRANSFORMERS = "5.24.0"

TEXTS = [
    "a man is driving a car",
    "A Woman   is slicing\tVegetables in the kitchen.",
    "two dogs play with a ball #funny",
    "caf\u00e9 na\u00efve \u2014 it's 3:45 o'clock, they're late!!!",
    "\u4e00\u4e2a\u7537\u4eba\u5728\u5531\u6b4c \U0001f3a4",
    "!",
    "the same sentence again and again, " * 12,
]


def pictures(folder):
    """Pictures of our own: wide, tall and striped, smaller than the tower's. Drawn, so that nobody owns them."""
    os.makedirs(folder, exist_ok=True)
    y, x = np.mgrid[0:60, 0:106]
    wide = np.stack([x * 255 // 105, y * 255 // 59, (x * y) % 256], -1).astype(np.uint8)
    wide[(x - 60) ** 2 + (y - 25) ** 2 < 300] = (250, 40, 10)
    Image.fromarray(wide).save(os.path.join(folder, "0_wide_106x60.png"), optimize=True)
    y, x = np.mgrid[0:91, 0:40]
    tall = np.stack([((x + y) % 2) * 255, 255 - y * 2, x * 6], -1).astype(np.uint8)
    tall[::7] = 255
    Image.fromarray(tall).save(os.path.join(folder, "1_tall_40x91.png"), optimize=True)
    y, x = np.mgrid[0:11, 0:13]
    Image.fromarray(np.stack([x * 20, y * 23, (x ^ y) * 16], -1).astype(np.uint8)).save(
        os.path.join(folder, "2_small_13x11.png"), optimize=True)


def lossy(folder):
    """A picture of our own as JPEG, with colour at half the resolution and at the full."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    y, x = np.mgrid[0:90, 0:140]
    picture = np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), (x * 2 + y) % 256], -1).astype(np.uint8)
    picture[(x - 70) ** 2 + (y - 40) ** 2 < 500] = (250, 40, 10)
    for name, subsampling in [("0_colour_420.jpg", 2), ("1_colour_444.jpg", 0)]:
        Image.fromarray(picture).save(os.path.join(folder, name), quality=85, subsampling=subsampling)


def openai_pixels(image, processor):
    """OpenAI's transform on Pillow: the short side by bicubic, the centre with an offset rounded half to even. Palettes
    become colours first: Pillow would resize them by the nearest neighbour (docs/deviations.md)."""
    if image.mode in ("1", "P"):
        image = image.convert("RGBA" if image.info.get("transparency") is not None else "RGB")
    side, crop = processor.size.shortest_edge, processor.crop_size["height"]
    width, height = image.size
    if side is None:
        size = (processor.size.width, processor.size.height)
    else:
        size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    image = image if image.size == size else image.resize(size, Image.BICUBIC)
    image = image.convert("RGB")
    left, top = (int(round((n - crop) / 2.0)) for n in image.size)
    return np.asarray(image.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1)


def load(weights):
    """The model, and how many keys transformers found wrong: older exports carry buffers, nobody may lack a weight."""
    model, found = CLIPModel.from_pretrained(
        weights, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    auto, also = AutoModel.from_pretrained(weights, dtype=torch.float32, output_loading_info=True)
    assert type(auto) is CLIPModel and all(torch.equal(a, b) for a, b in zip(model.parameters(), auto.parameters()))
    kinds = ["missing_keys", "unexpected_keys", "mismatched_keys"]
    counts = {kind: max(len(found[kind]), len(also[kind])) for kind in kinds}
    print(f"{weights}: loaded by CLIPModel and by AutoModel, {len(model.state_dict())} tensors, "
          + ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.items()))
    if counts["missing_keys"] or counts["mismatched_keys"]:
        sys.exit(f"{weights}: {found}")
    return model.eval(), sum(counts.values())


def same(out, other, wrong):
    """Compares two golden folders and demands that no key was wrong."""
    found, expected = (load_file(os.path.join(folder, "expected.safetensors")) for folder in (out, other))
    names = sorted(set(found) & set(expected))
    largest = max((found[n].double() - expected[n].double()).abs().max().item() for n in names)
    print(f"{out} and {other}: {len(names)} tensors, largest difference {largest:.1e}")
    if wrong or largest > 1e-6 or set(found) != set(expected):
        sys.exit("not the same")


def golden(weights, out, small):
    model, wrong = load(weights)
    tokenizer = CLIPTokenizer.from_pretrained(weights)
    processor = CLIPImageProcessorPil.from_pretrained(weights)
    context = model.config.text_config.max_position_embeddings
    texts = [t for t in open(os.path.join(out, "texts.txt"), encoding="utf-8", newline="\n").read().split("\n") if t]
    folder = os.path.join(out, "images")
    images = [Image.open(os.path.join(folder, name)) for name in sorted(os.listdir(folder))]
    folder = os.path.join(out, "images_other")
    others = [Image.open(os.path.join(folder, name)) for name in sorted(os.listdir(folder))]
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=context, return_tensors="pt")
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    crops = processor(images=images, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"]
    assert crops.dtype == np.uint8
    pixels = torch.from_numpy(np.ascontiguousarray(processor(images=images, return_tensors="np")["pixel_values"]))
    pixels = pixels.float()
    other_crops = processor(images=others, do_rescale=False, do_normalize=False, return_tensors="np")["pixel_values"]
    other_pixels = torch.from_numpy(np.ascontiguousarray(processor(images=others, return_tensors="np")["pixel_values"]))
    result = {
        "input_ids": ids,
        "attention_mask": mask,
        "pixels_u8": torch.from_numpy(np.ascontiguousarray(crops)),
        "openai.pixels_u8": torch.from_numpy(np.stack([openai_pixels(i, processor) for i in images]).copy()),
        "pixel_values": pixels,
        "other.pixels_u8": torch.from_numpy(np.ascontiguousarray(other_crops)),
        "other.pixel_values": other_pixels.float(),
    }
    vision, text = model.vision_model, model.text_model
    with torch.no_grad():
        seen = vision(pixel_values=pixels, output_hidden_states=True)
        read = text(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        image, code = model.visual_projection(seen.pooler_output), model.text_projection(read.pooler_output)
        if not small:
            result["patch_embed"] = vision.embeddings.patch_embedding(pixels).flatten(2).transpose(1, 2)
            result["vision_embed"] = vision.embeddings(pixels)
            result |= {f"vision_hidden.{i}": h for i, h in enumerate(seen.hidden_states)}
            result["vision_pooled"] = seen.pooler_output
            result["image_tokens"] = model.visual_projection(vision.post_layernorm(seen.hidden_states[-1]))
            result |= {f"text_hidden.{i}": h for i, h in enumerate(read.hidden_states)}
            result["text_last"], result["text_pooled"] = read.last_hidden_state, read.pooler_output
            result["text_tokens"] = model.text_projection(read.last_hidden_state)
        result["image"], result["text"] = image, code
        seen = vision(pixel_values=other_pixels.float())
        other = model.visual_projection(seen.pooler_output)
        result["other.image"], result["other.image_normalized"] = other, other / other.norm(dim=-1, keepdim=True)
        result["image_normalized"] = image / image.norm(dim=-1, keepdim=True)
        result["text_normalized"] = code / code.norm(dim=-1, keepdim=True)
        result["logit_scale"] = model.logit_scale.clone()
        whole = model(pixel_values=pixels, input_ids=ids, attention_mask=mask)
        result["logits"] = whole.logits_per_text
        assert torch.allclose(whole.text_embeds, result["text_normalized"], atol=1e-5)
        assert torch.allclose(whole.image_embeds, result["image_normalized"], atol=1e-5)
    made_by = {
        "made_by": "scripts/reference/clip.py",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "image_processor": type(processor).__name__,
        "dtype": "f32",
    }
    path = os.path.join(out, "expected.safetensors")
    save_file({k: v.contiguous().clone() for k, v in result.items()}, path, metadata=made_by)
    print(f"{path}: {len(result)} tensors, {os.path.getsize(path)} bytes")
    return wrong


def letters():
    """The 256 letters that stand for bytes in byte-level BPE."""
    own = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [byte for byte in range(256) if byte not in own]
    table = {byte: chr(byte) for byte in own} | {byte: chr(256 + i) for i, byte in enumerate(rest)}
    return [table[byte] for byte in own + rest]


MERGES = [tuple(pair.split(" ")) for pair in (
    "i n|t h|a n|r e|a r|e r|th e</w>|in g</w>|o n|a t|o r|e n|an d</w>|i s</w>|s l|k i|c a|ca r</w>|d o|g s</w>|"
    "do gs</w>|a n</w>|m an</w>|a g|ag a|i n</w>|' s</w>").split("|")]


def fixture(out):
    """A random checkpoint of a few kilobytes with every part of a real one, in the order: make, write, run."""
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    symbols = letters()
    vocabulary = symbols + [s + "</w>" for s in symbols] + ["".join(pair) for pair in MERGES]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(vocabulary)}
    context = 20
    tokenizer = CLIPTokenizer(vocab=dict(vocabulary), merges=MERGES, pad_token="<|endoftext|>", model_max_length=context)
    tokenizer.save_pretrained(out)
    end = vocabulary["<|endoftext|>"]
    config = CLIPConfig(
        text_config=dict(vocab_size=len(vocabulary), hidden_size=16, intermediate_size=24, projection_dim=12,
                         num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=context,
                         hidden_act="quick_gelu", bos_token_id=end - 1, eos_token_id=end, pad_token_id=end),
        vision_config=dict(hidden_size=18, intermediate_size=28, projection_dim=12, num_hidden_layers=2,
                           num_attention_heads=3, image_size=16, patch_size=8, hidden_act="quick_gelu"),
        projection_dim=12)
    model = CLIPModel(config)
    generator = np.random.Generator(np.random.PCG64(9))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = generator.standard_normal(tuple(parameter.shape))
            if name == "logit_scale":
                values = np.array(math.log(20.0))
            elif "norm" in name or "layrnorm" in name:
                values = 0.2 * values + (1.0 if name.endswith("weight") else 0.0)
            elif name.endswith("bias"):
                values = 0.2 * values
            elif "embedding" in name and "patch" not in name:
                values = 0.5 * values
            else:
                values = 1.2 * values / math.sqrt(np.prod(parameter.shape[1:]))
            parameter.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
    model.save_pretrained(out)
    processor = {"crop_size": {"height": 16, "width": 16}, "do_center_crop": True, "do_convert_rgb": True,
                 "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3, "rescale_factor": 1 / 255,
                 "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
                 "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 19}}
    json.dump(processor, open(os.path.join(out, "preprocessor_config.json"), "w"), indent=2)
    inputs(out, None, None)
    golden(out, out, small=False)


def inputs(out, texts, images):
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "texts.txt")
    if texts:
        shutil.copyfile(texts, path)
    else:
        open(path, "w", encoding="utf-8", newline="\n").write("\n".join(TEXTS) + "\n")
    folder = os.path.join(out, "images")
    shutil.rmtree(folder, ignore_errors=True)
    if images:
        shutil.copytree(images, folder)
    else:
        pictures(folder)
    lossy(os.path.join(out, "images_other"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", help="the checkpoint's folder")
    parser.add_argument("--out", help="the golden folder to write")
    parser.add_argument("--texts", help="a text a line, in place of our own")
    parser.add_argument("--images", help="a folder of lossless pictures, in place of our own")
    parser.add_argument("--small", action="store_true", help="codes only, without the states between")
    parser.add_argument("--same-as", metavar="DIR", help="a golden folder that the new one must equal")
    parser.add_argument("--fixture", metavar="DIR", help="make the repository's tiny checkpoint and its golden tensors")
    parser.add_argument("--any-version", action="store_true", help=f"run with a transformers other than {TRANSFORMERS}")
    args = parser.parse_args()
    if transformers.__version__ != TRANSFORMERS and not args.any_version:
        sys.exit(f"transformers is {transformers.__version__}, but {TRANSFORMERS} is pinned; see --any-version")
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if args.fixture:
        return fixture(args.fixture)
    if not (args.weights and args.out):
        parser.error("--weights and --out are needed, or --fixture")
    inputs(args.out, args.texts, args.images)
    wrong = golden(args.weights, args.out, args.small)
    if args.same_as:
        same(args.out, args.same_as, wrong)


if __name__ == "__main__":
    main()
