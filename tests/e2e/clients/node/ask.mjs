// Asks the proxy all that test_openai_node.py looks at, and prints one JSON object: way of asking -> what came of it.
// The environment names the base URL (OPENAI_BASE_URL); the first argument is a JSON object with the rest.

import OpenAI from "openai";

const { model, messages, maxTokens, tools, bothCalls, endless, ways, engine } = JSON.parse(process.argv[2]);
const greedy = { model, messages, max_tokens: maxTokens, temperature: 0 };

async function read(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

async function refusal(asked) {
  try {
    await asked;
    return null;
  } catch (error) {
    const { status, code, type, message } = error;
    return { kind: error.constructor.name, status, code, type, message, applied: error.headers?.get("unhitch-applied") };
  }
}

async function plain(client) {
  const { data, response } = await client.chat.completions.create(greedy).withResponse();
  return { text: data.choices[0].message.content, applied: response.headers.get("unhitch-applied") };
}

async function streamed(client) {
  const chunks = await read(await client.chat.completions.create({ ...greedy, stream: true }));
  return { text: chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("") };
}

async function helper(client) {
  const events = [];
  const stream = client.chat.completions.stream(greedy).on("content", (delta) => events.push(delta));
  return { final: await stream.finalContent(), text: events.join("") };
}

async function calls(client) {
  const asked = { ...greedy, max_tokens: 160, tools, parallel_tool_calls: true, ...bothCalls };
  const answer = await client.chat.completions.create(asked);
  const stream = await client.chat.completions.stream(asked).finalMessage();
  return [answer.choices[0].message, stream].map((message) =>
    message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)]),
  );
}

async function choices(client) {
  const answer = await client.chat.completions.create({ ...greedy, n: 2, temperature: 1, seed: 1, logprobs: true, max_tokens: 4 });
  return answer.choices.map((choice) => choice.logprobs.content.length);
}

async function running() {
  const text = await (await fetch(`${engine}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("vllm:num_requests_running"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

async function left(client) {
  const stream = await client.chat.completions.create({ ...greedy, ...endless, stream: true });
  let before = 0;
  for await (const chunk of stream) {
    before = await running();
    break; // leaving the loop aborts the request
  }
  const start = performance.now();
  while ((await running()) > 0 && performance.now() - start < 30_000) await new Promise((done) => setTimeout(done, 50));
  return { before, seconds: (performance.now() - start) / 1000 };
}

const results = {};
for (const [way, defaultHeaders] of Object.entries(ways)) {
  const client = new OpenAI({ apiKey: "unused", maxRetries: 0, defaultHeaders });
  results[way] = {};
  for (const each of [plain, streamed, helper, calls, choices, left]) results[way][each.name] = await each(client);
}

const client = new OpenAI({ apiKey: "unused", maxRetries: 0 });
const bare = (value) => ({ headers: { "Unhitch-Mitigation": value } });
const system = [{ role: "system", content: "Be kind." }, ...messages];
results.models = (await client.models.list()).data.map((each) => each.id);
results.refused = {
  badRequest: await refusal(client.chat.completions.create(greedy, bare("bear"))),
  notFound: await refusal(client.chat.completions.create({ ...greedy, model: "none" }, bare("bare"))),
  unprocessable: await refusal(client.chat.completions.create({ ...greedy, messages: system }, bare("bare"))),
};
console.log(JSON.stringify(results));
