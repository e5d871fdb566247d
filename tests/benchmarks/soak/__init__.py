"""Half an hour of mixed load on a real engine that is killed now and then, behind a policy file that changes."""
