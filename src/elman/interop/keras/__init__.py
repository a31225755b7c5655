"""Keras: `.keras` and `.h5` files and live models, in and out."""
