"""The result folder: its versioned schema, its writer and its reader."""
