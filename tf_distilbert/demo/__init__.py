"""A local page that shows what teacher and student answer, side by side.

Answers come from `exports.prediction`; here is only how they are compared and shown. It may import
`evaluation`, `exports` and what lies below; only `cli` imports it, and Gradio alone when it runs.
"""
