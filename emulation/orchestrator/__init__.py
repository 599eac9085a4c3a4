"""The parent of all processes of a run, root: bring-up, slots, records, tear-down."""
