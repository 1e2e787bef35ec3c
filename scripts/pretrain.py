"""Train MobileNetV2 from random weights on an endless stream of phantom radiographs.

Windows of the images come first, whole images last. The targets are the presence and the kind of
an opacity and coarse maps of lesion and lungs on two feature grids; their heads are thrown away
and the backbone is saved as float16 safetensors, averaged over the last steps.
"""

import argparse
import json
import multiprocessing as mp
import queue
import time
from itertools import islice
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchmetrics.functional.classification import binary_auroc

from cxrlab.data.phantom.cohort import draw_case, stream
from cxrlab.data.phantom.geometry import WHOLE, Window
from cxrlab.data.phantom.lesions import KINDS

ARCHITECTURE = "mobilenetv2_100"
MEAN, STD = 0.5, 0.25
MAX_MINUTES = 120
MARGIN = 1.125
"""Images are rendered this much larger than the network's input, which is cropped from them."""
STAGES = ((0.5, 3 / 7), (0.85, 4 / 7), (1.0, 1.0))
"""End of each stage as a share of the time, and side of its images against `--size`."""
WARM_STEPS = 100
"""Steps after which the average of the weights starts afresh."""
MIN_AREA = 0.004
"""Share of a window that a lesion must cover to count as present."""
HELD_BACK = 1_000_003
"""Added to the seed for the patients that the AUROC is measured on."""

Chunk = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def random_window(rng: np.random.Generator, share: float) -> Window:
    """Square at 0.5 to 1.2 times the native scale; `share` is its side at native scale."""
    side = min(1.0, share / rng.uniform(0.5, 1.2))
    x, y = rng.uniform(0, 1 - side, 2)
    return x, y, x + side, y + side


def offer(out: "mp.Queue[Chunk]", chunk: Chunk) -> bool:
    """Put a chunk into the queue; False once the process that takes them has ended."""
    trainer = mp.parent_process()
    while trainer is not None and trainer.is_alive():
        try:
            out.put(chunk, timeout=5)
        except queue.Full:
            continue
        return True
    out.cancel_join_thread()
    return False


def render_chunks(
    out: "mp.Queue[Chunk]", side: "Synchronized[int]", seed: int, count: int, size: int
) -> None:
    """Fill a queue for ever: images, lesion and lung masks (N, 3, side, side), kinds (N,)."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, 11])
    patient = 0
    while True:
        pixels = side.value
        window = pixels < round(size * MARGIN)
        planes = np.empty((count, 3, pixels, pixels), np.uint8)
        kinds = np.empty(count, np.int64)
        for row in range(count):
            case = draw_case(seed, patient, 0, prevalence=0.6, difficulty=rng.uniform(0, 0.8))
            patient += 1
            part = random_window(rng, pixels / size) if window else WHOLE
            phantom = case.render(pixels, part)
            planes[row] = (phantom.image, phantom.lesion_mask * 255, phantom.lung_mask * 255)
            kinds[row] = KINDS.index(case.kind) if case.kind != "none" else -1
        if not offer(out, (planes, kinds)):
            return


class Pool:
    """The last images of the renderer; a batch is drawn from it at random."""

    def __init__(self, capacity: int) -> None:
        """Keep up to `capacity` images."""
        self.capacity = capacity
        self.planes = np.empty((capacity, 3, 1, 1), np.uint8)
        self.kinds = np.empty(capacity, np.int64)
        self.seen = self.filled = self.next = 0

    def add(self, chunk: Chunk) -> None:
        """Take in new images over the oldest; after a change of size the pool starts afresh."""
        planes, kinds = chunk
        if planes.shape[1:] != self.planes.shape[1:]:
            self.planes = np.empty((self.capacity, *planes.shape[1:]), np.uint8)
            self.filled = self.next = 0
        rows = (self.next + np.arange(len(kinds))) % self.capacity
        self.planes[rows], self.kinds[rows] = planes, kinds
        self.next = (self.next + len(kinds)) % self.capacity
        self.filled = min(self.capacity, self.filled + len(kinds))
        self.seen += len(kinds)

    def batch(self, rng: np.random.Generator, count: int, size: int) -> tuple[Tensor, Tensor]:
        """Planes (count, 3, size, size) in [0, 1], cropped and flipped at random, and kinds."""
        rows = rng.integers(self.filled, size=count)
        spare = self.planes.shape[-1] - size
        planes = np.empty((count, 3, size, size), np.uint8)
        for slot, row in enumerate(rows):
            x, y = rng.integers(spare + 1, size=2)
            crop = self.planes[row, :, y : y + size, x : x + size]
            planes[slot] = crop[..., ::-1] if rng.random() < 0.5 else crop
        return torch.from_numpy(planes).float() / 255, torch.from_numpy(self.kinds[rows])


class Network(nn.Module):
    """Backbone with the heads that teach it: presence and kinds, coarse maps at strides 32, 16."""

    def __init__(self) -> None:
        """Start from random weights."""
        super().__init__()
        self.backbone = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)
        self.kinds = nn.Linear(1280, 1 + len(KINDS))
        self.map32 = nn.Conv2d(1280, 2, 1)
        self.map16 = nn.Conv2d(96, 2, 1)

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, 4), (B, 2, h, w) and (B, 2, 2h, 2w) of images (B, 1, H, W) in [0, 1]."""
        x = ((grey - MEAN) / STD).expand(-1, 3, -1, -1)
        x = self.backbone.bn1(self.backbone.conv_stem(x))
        middle = self.backbone.blocks[:5](x)
        x = self.backbone.blocks[5:](middle)
        x = self.backbone.bn2(self.backbone.conv_head(x))
        return self.kinds(x.mean((2, 3))), self.map32(x), self.map16(middle)


def loss_of(network: nn.Module, planes: Tensor, kind: Tensor, bf16: bool = False) -> Tensor:
    """Sum of the losses of presence and kinds, lesion map and lung map."""
    grey = planes[:, :1] + 0.1 * torch.randn(len(planes), 1, 1, 1)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits, *maps = network(grey.contiguous(memory_format=torch.channels_last))
    area = planes[:, 1].mean((1, 2))
    present = area > MIN_AREA
    target = torch.zeros(len(kind), 1 + len(KINDS))
    target[:, 0] = present
    target[present, 1 + kind[present]] = 1
    clear = (present | (area == 0)).float()[:, None]
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, weight=clear)
    for grid in maps:
        truth = F.adaptive_avg_pool2d(planes[:, 1:], grid.shape[-2:])
        cells = F.binary_cross_entropy_with_logits(grid.float(), truth, reduction="none")
        loss = loss + cells[:, 0].mean() + 0.3 * cells[:, 1].mean()
    return loss


def held_back(seed: int, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Whole images (N, 1, size, size) uint8 and labels (N,) of patients never trained on."""
    cases = list(islice(stream(seed + HELD_BACK, difficulty=0.5), count))
    images = np.stack([case.render(size).image for case in cases])
    return torch.from_numpy(images)[:, None], torch.tensor([case.label for case in cases])


@torch.inference_mode()
def presence_auroc(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve of the presence head."""
    network.eval()
    scores = [network(batch.float() / 255)[0][:, 0] for batch in images.split(64)]
    network.train()
    return float(binary_auroc(torch.cat(scores), labels))


def save(backbone: nn.Module, path: Path, size: int, facts: dict[str, str]) -> None:
    """Write the weights as float16 with the metadata that `model.weights` reads, atomically."""
    tensors = {
        key: value.half().contiguous()
        for key, value in backbone.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    metadata = {
        "architecture": ARCHITECTURE,
        "input_size": json.dumps([3, size, size]),
        "mean": json.dumps([MEAN] * 3),
        "std": json.dumps([STD] * 3),
        "model_args": json.dumps({}),
        "tag": "phantom",
        "source": "scripts/pretrain.py on the synthetic radiographs of cxrlab.data.phantom",
        "license": "Apache-2.0",
        **facts,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, metadata)
    partial.chmod(0o644)  # safetensors makes files that only their owner reads
    partial.replace(path)


def learning_rate(progress: float, peak: float) -> float:
    """Warm-up over the first 3 % of the time, then a cosine to nearly zero."""
    if progress < 0.03:
        return peak * max(progress, 1e-4) / 0.03
    return peak * (0.005 + 0.995 * 0.5 * (1 + np.cos(np.pi * min(1.0, progress))))


def refill(pool: Pool, chunks: "mp.Queue[Chunk]", drawn: int, reuse: int) -> None:
    """Take in new images until each is used `reuse` times on average; wait beyond twice that."""
    while drawn > reuse * pool.seen:
        try:
            pool.add(chunks.get(block=drawn > 2 * reuse * pool.seen, timeout=120))
        except queue.Empty:
            if drawn > 2 * reuse * pool.seen:
                raise RuntimeError("the renderer produced nothing for two minutes") from None
            return


def train(args: argparse.Namespace) -> None:
    """Train for `args.minutes` and save the averaged backbone now and then."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng([args.seed, 12])
    network = Network().to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.996), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.lr, weight_decay=0.02)
    sides = [(end, round(args.size * share)) for end, share in STAGES]
    context = mp.get_context("spawn")
    chunks: mp.Queue[Chunk] = context.Queue(maxsize=8)
    side: Synchronized[int] = context.Value("i", round(sides[0][1] * MARGIN))
    renderer = context.Process(
        target=render_chunks, args=(chunks, side, args.seed, 16, args.size), daemon=True
    )
    renderer.start()
    unseen = held_back(args.seed, args.held_back, args.size)
    pool = Pool(1024)
    limit = 60 * args.minutes
    begin = saved = time.monotonic()
    step, running = 0, 0.0

    def report() -> None:
        minutes = (time.monotonic() - begin) / 60
        auroc = presence_auroc(average.module, *unseen)
        facts = {"seed": str(args.seed), "images": str(pool.seen), "minutes": f"{minutes:.1f}"}
        facts |= {"steps": str(step), "held_back_auroc": f"{auroc:.4f}"}
        save(average.module.backbone, args.output, args.size, facts)
        print(
            f"{minutes:5.1f} min  step {step}  images {pool.seen} (used {step * args.batch})  "
            f"loss {running:.4f}  held-back AUROC {auroc:.4f}",
            flush=True,
        )

    while (elapsed := time.monotonic() - begin) < limit:
        progress = elapsed / limit
        side.value = round(MARGIN * next(pixels for end, pixels in sides if progress <= end))
        refill(pool, chunks, drawn=(step + 1) * args.batch, reuse=args.reuse)
        crop = round(pool.planes.shape[-1] / MARGIN)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, args.lr)
        loss = loss_of(network, *pool.batch(rng, args.batch, crop), args.bf16)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        if step == WARM_STEPS:
            average.n_averaged.zero_()
        average.update_parameters(network)
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        step += 1
        if time.monotonic() - saved > 60 * args.report_minutes:
            report()
            saved = time.monotonic()
    renderer.terminate()
    report()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument(
        "--minutes", type=float, default=65, help=f"wall-clock time, at most {MAX_MINUTES}"
    )
    parser.add_argument("--size", type=int, default=224, help="side of whole images")
    parser.add_argument("--bf16", action="store_true", help="where the processor computes in it")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--reuse", type=int, default=3, help="uses of a rendered image, on average")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--held-back", type=int, default=256, help="images for the AUROC")
    parser.add_argument("--report-minutes", type=float, default=5, help="between AUROC and saving")
    args = parser.parse_args()
    if not 0 < args.minutes <= MAX_MINUTES:
        parser.error(f"--minutes {args.minutes:g}: give more than 0 and at most {MAX_MINUTES}")
    train(args)


if __name__ == "__main__":
    main()
