"""How `reader.onnx` and `answers.json` were made: PyTorch is too large an installation for a test of one model, so its export was kept.

    python -m venv v && v/bin/pip install torch==2.13.0+cpu onnx==1.23.2 onnxscript && v/bin/python Conformance/serving/exported/export.py

The model reads a picture and a few words: a convolution with a batch norm, an embedding, and a linear layer over both. The number of rows is free. The
answers are PyTorch's own.
"""
import json
import pathlib

import onnx
import torch

HERE = pathlib.Path(__file__).parent


class Reader(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten())
        self.word = torch.nn.Embedding(50, 8)
        self.both = torch.nn.Linear(4 * 4 * 4 + 8, 3)

    def forward(self, pixels, words):
        return torch.softmax(self.both(torch.cat([self.seen(pixels), self.word(words).mean(dim=1)], dim=1)), dim=1)


def main():
    torch.manual_seed(11)
    model = Reader()
    # The norm learns the mean and spread of some pictures.
    for _ in range(5):
        model(torch.randn(32, 1, 8, 8) * 3 + 1, torch.randint(0, 50, (32, 5)))
    model.eval()
    pixels = torch.randn(6, 1, 8, 8) * 3 + 1
    words = torch.randint(0, 50, (6, 5))
    rows = torch.export.Dim("rows", min=1)
    torch.onnx.export(
        model, (pixels, words), HERE / "reader.onnx", input_names=["pixels", "words"], output_names=["chances"],
        dynamic_shapes={"pixels": {0: rows}, "words": {0: rows}}, external_data=False, dynamo=True)
    exported = onnx.load(HERE / "reader.onnx")
    # The exporter notes where in whose files a node came from.
    for part in [exported.graph, *exported.graph.node, *exported.graph.input, *exported.graph.output, *exported.graph.value_info, *exported.graph.initializer]:
        del part.metadata_props[:]
    onnx.save(exported, HERE / "reader.onnx")
    with torch.no_grad():
        chances = model(pixels, words)
    answers = {"pixels": pixels.tolist(), "words": words.tolist(), "chances": chances.tolist()}
    (HERE / "answers.json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
