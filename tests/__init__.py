"""The checks of the lab; the folders mirror the project's."""
