"""Bad input: whatever is fed to a reader, it answers in a line, in time and in bounded memory."""
