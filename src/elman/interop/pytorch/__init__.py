"""PyTorch: modules, state_dicts and files, in and out."""
