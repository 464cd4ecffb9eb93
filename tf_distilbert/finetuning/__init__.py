"""Fine-tuning on tasks, and what a student keeps of its teacher there."""
