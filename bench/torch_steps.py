"""Training steps of a torchvision network on synthetic data; prints one JSON object, as `pugmark bench --json` does."""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
import torchvision


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    # Ours does not round f32 either.
    torch.backends.cudnn.allow_tf32 = False
    layout = torch.channels_last if arguments.channels_last else torch.contiguous_format
    model = torchvision.models.get_model(arguments.model, weights=None).to(arguments.device, memory_format=layout).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    forward = torch.compile(model) if arguments.compile else model
    # Moved in each step, as a batch is.
    batch = torch.randn(arguments.batch, 3, arguments.size, arguments.size).contiguous(memory_format=layout)
    batch = batch.pin_memory() if arguments.device == "cuda" else batch
    batch_labels = torch.randint(0, 1000, (arguments.batch,))

    seconds = []
    for _ in range(arguments.warmup + arguments.steps):
        start = time.perf_counter()
        input, labels = batch.to(arguments.device), batch_labels.to(arguments.device)
        optimizer.zero_grad()
        with torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = F.cross_entropy(forward(input), labels)
        loss.backward()
        optimizer.step()
        # The loss is told after every step, here as there.
        loss.item()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"images_per_sec": arguments.batch / statistics.median(seconds[arguments.warmup :])}))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: autocast")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--channels-last", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
