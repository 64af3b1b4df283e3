"""Export of the embedded model to ONNX, and the comparison of the two runtimes."""
