"""Training and compression: from labelled sentences to a checkpoint that the machine can run."""
