"""A result, or a folder of them, as one page and as a PDF."""
