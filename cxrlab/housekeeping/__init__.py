"""What runs and caches take on the disk, and how some of it is given back."""
