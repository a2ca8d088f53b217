"""LitServe around PyTorch or ONNX Runtime: base64 photos in JSON, decoded by Pillow in the worker, batches of what waits."""

import argparse
import base64
import io
import json
import socket

import litserve as ls
import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.transforms import functional as transforms


class Photos(ls.LitAPI):
    """A model of pugmark's that squashes its photos."""

    def __init__(self, path: str, onnx: str | None, threads: int, batch: int, bf16: bool):
        super().__init__(max_batch_size=batch, batch_timeout=0.002)
        self.path, self.onnx, self.threads = path, onnx, threads
        self.kind = torch.bfloat16 if bf16 else torch.float32

    def setup(self, device: str) -> None:
        with safe_open(self.path, "pt") as file:
            self.card = json.loads(file.metadata()["pugmark"])
        recipe = self.card["recipe"]
        assert recipe["resize"] == "squash", "a model that squashes its photos is meant"
        self.size, self.mean, self.std = (recipe["width"], recipe["height"]), recipe["mean"], recipe["std"]
        torch.set_num_threads(self.threads)
        if self.onnx:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            session = onnxruntime.InferenceSession(self.onnx, options, providers=["CPUExecutionProvider"])
            self.net = lambda input: torch.from_numpy(session.run(["logits"], {"input": input.numpy()})[0])
            return
        model = torchvision.models.get_model(
            self.card["architecture"], weights=None, num_classes=len(self.card["classes"])
        )
        model.load_state_dict(load_file(self.path), strict=False)
        model = model.to(self.kind, memory_format=torch.channels_last).eval()
        example = torch.zeros(1, 3, *self.size[::-1], dtype=self.kind).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            net = torch.jit.freeze(torch.jit.trace(model, example))
        self.net = lambda input: net(input.to(self.kind, memory_format=torch.channels_last)).float()

    def decode_request(self, request: dict) -> torch.Tensor:
        image = Image.open(io.BytesIO(base64.b64decode(request["image"])))
        image = ImageOps.exif_transpose(image).convert("RGB").resize(self.size, Image.Resampling.BILINEAR)
        return transforms.normalize(transforms.to_tensor(image), self.mean, self.std)

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, input: torch.Tensor) -> np.ndarray:
        with torch.inference_mode():
            input = input if input.dim() == 4 else input[None]
            return (self.net(input) / self.card["temperature"]).softmax(1).numpy()

    def unbatch(self, output: np.ndarray) -> list[np.ndarray]:
        return list(output)

    def encode_response(self, output: np.ndarray) -> dict:
        return {"probabilities": dict(zip(self.card["classes"], output.reshape(-1).tolist(), strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model file of pugmark's")
    parser.add_argument("--onnx", help="the same model as ONNX: let ONNX Runtime compute")
    parser.add_argument("--workers", type=int, default=1, help="processes with a model each")
    parser.add_argument("--threads", type=int, default=2, help="that compute, of each")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--bf16", action="store_true", help="PyTorch's weights and activations")
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = Photos(arguments.model, arguments.onnx, arguments.threads, arguments.batch, arguments.bf16)
    api.api_path = "/invocations"
    server = ls.LitServer(
        api, accelerator="cpu", workers_per_device=arguments.workers, healthcheck_path="/ping", timeout=60
    )
    print(f"http://127.0.0.1:{port}", flush=True)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
