// The TypeScript SDK's 1.x client: lists, calls, fails; prints what it was told as JSON. Run by test_mcp_clients.py with the gateway's MCP address.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const client = new Client({ name: "asya-test", version: "1" });
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
await client.connect(transport);
const progress = [];
const answer = {
  revision: transport.protocolVersion,
  tools: (await client.listTools()).tools,
  called: await client.callTool({ name: "greet", arguments: { name: "there" } }, undefined, { onprogress: (told) => progress.push(told.progress) }),
  failed: await client.callTool({ name: "test_error_handling", arguments: {} }),
  refused: await client.callTool({ name: "greet", arguments: { name: 5 } }),
  unknown: await client.callTool({ name: "gret", arguments: {} }).catch((error) => ({ code: error.code, message: error.message })),
  progress,
};
await client.close();
console.log(JSON.stringify(answer));
