"""What is read from result folders: tables, figures, reports."""
