"""Many runs at once: which trials, their parent run, what they show together."""
