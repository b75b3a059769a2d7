"""The work of ``asya flow``: read a flow and what is around it, draw, write. The compiler itself is `asya_flowc`, which does no I/O."""
