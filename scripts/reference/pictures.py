"""Small pictures of every kind, and Pillow's RGB of them: crates/tvr-clip/tests/data/pictures.

    python3 -m venv .venv && .venv/bin/pip install numpy==2.4.6 pillow==13.0.0 safetensors==0.8.0
    .venv/bin/python scripts/reference/pictures.py crates/tvr-clip/tests/data/pictures

`expected.safetensors` has for each file the bytes of `Image.open(file).convert("RGB")` [height, width, 3], or of "RGBA"
[height, width, 4] if anything in it is transparent, and `crop.NAME` [48, 48, 3]: laid on white, as transformers'
CLIPImageProcessorPil (5.23) does first, with the short side resized to 51 by Pillow's bicubic, cut at the floored centre.
"""

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image
from safetensors.numpy import save_file

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
W, H = 37, 29
y, x = np.mgrid[0:H, 0:W]
smooth = np.stack([x * 255 // (W - 1), y * 255 // (H - 1), (x * 7 + y * 11) % 256], -1).astype(np.uint8)
alpha = ((x * 13 + y * 5) % 256).astype(np.uint8)
wide = (smooth.astype(np.uint16) * 257 + 13) & 0xFFFF


def png16(path, channels, color):
    """Pillow cannot write 16 bits beside grey: the chunks by hand."""
    rows = b"".join(b"\0" + channels[row].astype(">u2").tobytes() for row in range(H))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", W, H, 16, color, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


rgb = Image.fromarray(smooth)
rgba = Image.fromarray(np.dstack([smooth, alpha]))
grey = Image.fromarray(smooth[..., 2])
palette = rgb.quantize(16)
rgb.save(folder / "rgb.png")
rgba.save(folder / "rgba.png")
grey.save(folder / "grey.png")
Image.fromarray(np.dstack([smooth[..., 2], alpha]), "LA").save(folder / "grey_alpha.png")
grey.point(lambda value: 255 * (value > 100)).convert("1").save(folder / "bits_1.png")
palette.save(folder / "palette.png", bits=4)
palette.save(folder / "palette_transparent.png", transparency=3)
png16(folder / "rgb_16.png", wide, 2)
png16(folder / "rgba_16.png", np.dstack([wide, alpha.astype(np.uint16) * 257]), 6)
png16(folder / "grey_alpha_16.png", np.dstack([wide[..., 0], alpha.astype(np.uint16) * 257]), 4)
palette.save(folder / "palette.gif")
Image.fromarray(smooth).save(
    folder / "animated.gif", save_all=True, append_images=[rgb.rotate(180), rgb.rotate(90)], duration=50
)
rgb.save(folder / "rgb.webp", lossless=True)
rgba.save(folder / "rgba.webp", lossless=True, exact=True)
rgb.save(folder / "animated.webp", lossless=True, save_all=True, append_images=[rgb.rotate(180)], duration=50)
rgb.save(folder / "lossy.webp", quality=80)
rgb.save(folder / "rgb_444.jpg", quality=92, subsampling=0)
rgb.save(folder / "rgb_420.jpg", quality=92, subsampling=2)
rgb.save(folder / "progressive.jpg", quality=92, progressive=True)
rgb.convert("CMYK").save(folder / "cmyk.jpg", quality=92)
grey.save(folder / "grey.jpg", quality=92)
exif = Image.Exif()
exif[0x0112] = 6  # a camera turned by 90 degrees: not applied by Image.open
rgb.save(folder / "turned.png", exif=exif)
rgb.save(folder / "turned.jpg", quality=92, exif=exif)
Image.fromarray(smooth[:, :9]).save(folder / "tall.png")  # Pillow 13 resizes its columns first
Image.fromarray(smooth[:1, :1]).save(folder / "one_by_one.png")
Image.fromarray(smooth[:1]).save(folder / "one_row.png")

expected = {}
for path in sorted(folder.iterdir()):
    if path.suffix == ".safetensors":
        continue
    image = Image.open(path)
    if "A" in image.getbands() or image.info.get("transparency") is not None:
        image = image.convert("RGBA")
        expected[path.name] = np.asarray(image).copy()
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image).convert("RGB")
    else:
        image = image.convert("RGB")
        expected[path.name] = np.asarray(image).copy()
    short = min(image.size)
    width, height = (int(51 * side / short) for side in image.size)
    crop = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - 48) // 2, (height - 48) // 2
    expected[f"crop.{path.name}"] = np.asarray(crop.crop((left, top, left + 48, top + 48))).copy()
save_file(expected, folder / "expected.safetensors", metadata={"pillow": PIL.__version__})
print(f"{len(expected) // 2} pictures, Pillow {PIL.__version__}")
