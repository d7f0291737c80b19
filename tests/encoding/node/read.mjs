// Reads streams with the clients that browsers use: a line of JSON in ({format, body}), a line of JSON out.
import { createInterface } from "node:readline";
import { HttpAgent } from "@ag-ui/client";
import { DefaultChatTransport, readUIMessageStream } from "ai";

const HEADERS = { "content-type": "text/event-stream" };

async function readAISDK(body) {
  const transport = new DefaultChatTransport({ fetch: async () => new Response(body, { headers: HEADERS }) });
  const chunks = [];
  const stream = (await transport.sendMessages({ messages: [] })).pipeThrough(
    new TransformStream({ transform: (chunk, to) => (chunks.push(chunk), to.enqueue(chunk)) }),
  );
  const errors = [];
  let message = null;
  for await (const shown of readUIMessageStream({ stream, onError: (error) => errors.push(error.message) })) {
    message = shown;
  }
  return { chunks, errors, message };
}

async function readAGUI(body) {
  const agent = new HttpAgent({ url: "http://nowhere", fetch: async () => new Response(body, { headers: HEADERS }) });
  const told = { events: [], errors: [], outcome: null };
  try {
    await agent.runAgent({}, {
      onEvent: ({ event }) => void told.events.push(event.type),
      onRunFinishedEvent: ({ event }) => void (told.outcome = event.outcome ?? null),
      onRunErrorEvent: ({ event }) => void told.errors.push(event.message),
    });
  } catch (error) {
    told.thrown = error.message;
  }
  return { ...told, messages: agent.messages, state: agent.state };
}

const readers = { "ai-sdk": readAISDK, "ag-ui": readAGUI };
console.error = console.warn = () => {};
for await (const line of createInterface({ input: process.stdin })) {
  const { format, body } = JSON.parse(line);
  let told;
  try {
    told = await readers[format](body);
  } catch (error) {
    told = { thrown: `${error}` };
  }
  process.stdout.write(JSON.stringify(told) + "\n");
}
