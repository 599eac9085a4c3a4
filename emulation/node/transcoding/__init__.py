"""Real work: units that transcode video clips with FFmpeg."""
