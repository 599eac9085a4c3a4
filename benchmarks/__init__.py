"""Measurements of the lab itself: bring-up, simulator, training; and what they are held against."""
