"""What every part of the package stands on: backends, memory, capture and replay, threads, checks of arguments."""
