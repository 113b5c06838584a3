"""What must hold before a run may go on, and while it does."""
