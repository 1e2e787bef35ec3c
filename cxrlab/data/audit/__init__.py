"""What is wrong with a dataset and its split: checks, and how they are told."""
