"""The HTTP edges: the only home of starlette; `mcp` and `mcp_tasks` are the only home of the MCP package."""
