"""Forward passes of a torchvision network in one library on synthetic data; prints one JSON object."""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = torchvision.models.get_model(arguments.model, weights=None).eval()
    input = torch.randn(arguments.batch, 3, arguments.size, arguments.size)
    library, _, variant = arguments.peer.partition(":")
    if library == "torch":
        step = torch_step(model, input, *variant.split("-"))
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            torch.onnx.export(model, (input,), str(file), input_names=["input"], dynamo=False)
            if library == "onnxruntime":
                step = onnxruntime_step(file, input, arguments.threads)
            else:
                step = openvino_step(file, input, arguments.threads, *variant.split("-"))

    seconds = []
    with torch.inference_mode():
        for _ in range(arguments.warmup + arguments.steps):
            start = time.perf_counter()
            batches = step()
            seconds.append((time.perf_counter() - start) / batches)
    median = statistics.median(seconds[arguments.warmup :])
    print(json.dumps({"images_per_sec": arguments.batch / median, "latency_ms": median * 1e3}))


def torch_step(model: torch.nn.Module, input: torch.Tensor, layout: str, precision: str = "f32") -> Callable[[], int]:
    """`contiguous`, `channels_last`, or `frozen`: channels_last, traced, batch norm folded and oneDNN's layouts.

    In bf16 weights and activations are both cast once, which is faster than autocast's casts in every step.
    """
    if layout != "contiguous":
        model = model.to(memory_format=torch.channels_last)
        input = input.contiguous(memory_format=torch.channels_last)
    if precision == "bf16":
        model, input = model.bfloat16(), input.bfloat16()
    if layout == "frozen":
        with torch.no_grad():
            model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, input)))

    def step() -> int:
        model(input)
        return 1

    return step


def onnxruntime_step(file: Path, input: torch.Tensor, threads: int) -> Callable[[], int]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    feed = {"input": input.numpy()}

    def step() -> int:
        session.run(None, feed)
        return 1

    return step


def openvino_step(file: Path, input: torch.Tensor, threads: int, hint: str, precision: str) -> Callable[[], int]:
    """`latency`: a batch after the other. `throughput`: as many batches at once as OpenVINO finds best."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": hint.upper(),
    }
    compiled = openvino.Core().compile_model(openvino.convert_model(file), "CPU", settings)
    values = input.numpy()
    if hint == "latency":
        request = compiled.create_infer_request()

        def step() -> int:
            request.infer([values])
            return 1

        return step

    queue = openvino.AsyncInferQueue(compiled)
    # Two rounds of the queue, so that requests overlap.
    batches = 2 * len(queue)

    def step() -> int:
        for _ in range(batches):
            queue.start_async([values])
        queue.wait_all()
        return batches

    return step


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--peer",
        default="torch:channels_last-f32",
        help="torch:(contiguous|channels_last|frozen)-(f32|bf16), onnxruntime, openvino:(latency|throughput)-(f32|bf16)",
    )
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
