"""ONNX: models in (`reading`) and out (`writing`)."""
