"""Networks that play sound: the JSON of RTNeural, AIDA-X and GuitarML, and .nam of Neural Amp Modeler."""
