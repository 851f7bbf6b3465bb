"""12 uniform frames of real clips, short side 224 (Pillow's bicubic), centre crop: decord, torchcodec, PyAV, two programs.

Both cores in every case: two clips at a time with one decoder thread each, or one clip at a time with two threads;
take the better of both. Frames are those of the centre sampler, floor((i + 0.5) n / 12).
decord is no valid peer on AVI: it returns other frames (four of the clips). A package that is not there is left out.
"""

import glob
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from common import median_of_five

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../shared/data/videos")
FRAMES, SIDE = 12, 224


def clips():
    """All of `clips`, but of MSR-VTT only two (the others have 1 or 2 frames a second), and the pancake."""
    paths = sorted(glob.glob(FOLDER + "/clips/*/*.*"))
    measured = [p for p in paths if "/msrvtt/" not in p or p.endswith(("video9770.mp4", "video7500.mp4"))]
    return measured + [FOLDER + "/decord/flipping_a_pancake.mkv"]


def index(count):
    return [int((i + 0.5) * count / FRAMES) for i in range(FRAMES)]


def finish(frame):
    height, width = frame.shape[:2]
    short = min(height, width)
    size = (SIDE * width // short, SIDE * height // short)
    left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    image = Image.fromarray(frame).resize(size, Image.BICUBIC)
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def with_decord(path, threads):
    import decord

    reader = decord.VideoReader(path, num_threads=threads)
    return list(reader.get_batch(index(len(reader))).asnumpy())


def with_torchcodec(mode):
    from torchcodec.decoders import VideoDecoder

    def decode(path, threads):
        reader = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=threads, seek_mode=mode)
        return list(reader.get_frames_at(index(len(reader))).data.numpy())

    return decode


def with_pyav(path, threads):
    """One pass from the start; packets are counted first, since nothing else tells how many frames there are."""
    import av

    with av.open(path) as container:
        stream = container.streams.video[0]
        count = sum(1 for packet in container.demux(stream) if packet.size)
    wanted, frames = index(count), []
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        for place, frame in enumerate(container.decode(stream)):
            if place in wanted:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == FRAMES:
                break
    return frames


def with_programs(path, threads):
    """ffprobe and ffmpeg, a process each for every clip."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_packets"]
    probe += ["-show_entries", "stream=nb_read_packets,width,height", "-of", "csv=p=0", path]
    text = subprocess.run(probe, capture_output=True, text=True, check=True).stdout
    width, height, count = (int(word) for word in text.split("\n")[0].strip(",").split(",")[:3])
    select = "+".join(f"eq(n\\,{i})" for i in index(count))
    command = ["ffmpeg", "-nostdin", "-v", "error", "-threads", str(threads), "-i", path, "-an", "-sn"]
    command += ["-vf", f"select={select}", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    return list(np.frombuffer(data, np.uint8).reshape(-1, height, width, 3))


def main():
    paths = clips()
    ways = {"PyAV": lambda: __import__("av") and with_pyav}
    ways["decord (wrong frames on AVI)"] = lambda: __import__("decord") and with_decord
    ways["torchcodec, exact"] = lambda: __import__("torchcodec.decoders") and with_torchcodec("exact")
    ways["torchcodec, approximate"] = lambda: __import__("torchcodec.decoders") and with_torchcodec("approximate")
    ways["ffprobe + ffmpeg"] = lambda: with_programs
    for name, way in ways.items():
        try:
            decode = way()
        except (ImportError, OSError, RuntimeError) as cause:  # torchcodec's word for a missing library of FFmpeg
            print(f"# {name}: left out, {str(cause).splitlines()[0]}")
            continue

        for times in (1, 8):
            many = paths * times

            def one_by_one():
                return [[finish(frame) for frame in decode(path, 2)] for path in many]

            def two_at_once():
                with ThreadPoolExecutor(2) as pool:
                    return list(pool.map(lambda path: [finish(frame) for frame in decode(path, 1)], many))

            identifier = f"frames/decode-{FRAMES}x{SIDE}/{len(many)}-clips"
            median_of_five(identifier, f"{name}, a clip at a time", one_by_one)
            median_of_five(identifier, f"{name}, two at once", two_at_once)


if __name__ == "__main__":
    main()
