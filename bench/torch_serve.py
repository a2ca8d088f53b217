"""FastAPI with PyTorch and Pillow: photos are decoded on threads, and a thread runs the model on the photos that wait, at most 16."""

import argparse
import asyncio
import io
import json
import queue
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import torch
import torchvision
import uvicorn
from fastapi import FastAPI, Request
from PIL import Image, ImageOps
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.transforms import functional as transforms

BATCH = 16


class Classifier:
    """A model of pugmark's on a thread of its own."""

    def __init__(self, path: str, threads: int):
        torch.set_num_threads(threads)
        with safe_open(path, "pt") as file:
            self.card = json.loads(file.metadata()["pugmark"])
        recipe = self.card["recipe"]
        assert recipe["resize"] == "squash", "a model that squashes its photos is meant"
        self.size, self.mean, self.std = (recipe["width"], recipe["height"]), recipe["mean"], recipe["std"]
        model = torchvision.models.get_model(
            self.card["architecture"], weights=None, num_classes=len(self.card["classes"])
        )
        model.load_state_dict(load_file(path), strict=False)
        model = model.to(memory_format=torch.channels_last).eval()
        example = torch.zeros(1, 3, *self.size[::-1]).contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            self.net = torch.jit.freeze(torch.jit.trace(model, example))
            self.net(example)
        self.waiting: queue.SimpleQueue[tuple[torch.Tensor, Future]] = queue.SimpleQueue()
        threading.Thread(target=self.work, daemon=True).start()

    def decode(self, body: bytes) -> torch.Tensor:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB")
        image = image.resize(self.size, Image.Resampling.BILINEAR)
        return transforms.normalize(transforms.to_tensor(image), self.mean, self.std)

    def work(self) -> None:
        while True:
            batch = [self.waiting.get()]
            while len(batch) < BATCH:
                try:
                    batch.append(self.waiting.get_nowait())
                except queue.Empty:
                    break
            input = torch.stack([photo for photo, _ in batch])
            with torch.inference_mode():
                logits = self.net(input.contiguous(memory_format=torch.channels_last))
                rows = (logits / self.card["temperature"]).softmax(1).tolist()
            for (_, answer), row in zip(batch, rows, strict=True):
                answer.set_result(row)


def serve(model: str, threads: int) -> None:
    classifier, app, decoders = Classifier(model, threads), FastAPI(), ThreadPoolExecutor(threads)

    @app.get("/ping")
    async def ping() -> None:
        pass

    @app.post("/invocations")
    async def invocations(request: Request) -> dict:
        body = await request.body()
        photo = await asyncio.get_running_loop().run_in_executor(decoders, classifier.decode, body)
        answer: Future = Future()
        classifier.waiting.put((photo, answer))
        row = await asyncio.wrap_future(answer)
        return {"probabilities": dict(zip(classifier.card["classes"], row, strict=True))}

    config = uvicorn.Config(app, port=0, log_level="error")
    listener = config.bind_socket()
    listener.listen()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run([listener])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a model file of pugmark's")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    serve(arguments.model, arguments.threads)


if __name__ == "__main__":
    main()
