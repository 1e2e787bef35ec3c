"""Ways to attribute a logit to pixels."""
