// The TypeScript SDK's 2.x client: lists, calls, fails; prints what it was told as JSON. Run by test_mcp_clients.py with the
// address of the gateway and the way to agree on a revision: legacy or auto.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const client = new Client({ name: "asya-test", version: "1" }, { versionNegotiation: { mode: process.argv[3] } });
const transport = new StreamableHTTPClientTransport(new URL(process.argv[2]));
await client.connect(transport);
const progress = [];
const answer = {
  revision: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
  tools: (await client.listTools()).tools,
  called: await client.callTool({ name: "greet", arguments: { name: "there" } }, { onprogress: (told) => progress.push(told.progress) }),
  failed: await client.callTool({ name: "test_error_handling", arguments: {} }),
  refused: await client.callTool({ name: "greet", arguments: { name: 5 } }),
  unknown: await client.callTool({ name: "gret", arguments: {} }).catch((error) => ({ code: error.code, message: error.message })),
  progress,
};
await client.close();
console.log(JSON.stringify(answer));
