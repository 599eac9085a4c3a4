"""What the processes of a run agree on: records, commands, frames, a node's briefing."""
