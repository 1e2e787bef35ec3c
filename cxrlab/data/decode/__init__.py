"""From the bytes of an image file to gray values, a module a family of formats."""
