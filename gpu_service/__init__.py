"""What runs on the GPU machines: the worker, and the model repository of its Triton server."""
