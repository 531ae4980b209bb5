// A second implementation of OpenRouter's and xAI's video cycles, with one clip for all prompts.
// node aimock.mjs FOLDER_OF_NODE_MODULES CLIP.mp4 → one line of JSON: where it answers.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";

const [folder, clip] = process.argv.slice(2);
const { LLMock } = createRequire(`${folder}/package.json`)("@copilotkit/aimock");
const bytes = readFileSync(clip);

// Files lie at another origin, whose signed addresses refuse a key.
const files = createServer((request, response) => {
  response.writeHead(request.headers.authorization ? 400 : 200, { "content-type": "video/mp4" });
  response.end(request.headers.authorization ? "" : bytes);
});
await new Promise((ready) => files.listen(0, "127.0.0.1", ready));
const url = `http://127.0.0.1:${files.address().port}/clip.mp4?sig=canary`;

const polls = { pollsBeforeInProgress: 1, pollsBeforeCompleted: 2 };
const mock = new LLMock({ port: 0, openRouterVideo: polls, grokVideo: polls });
const done = { id: "v", status: "completed", url, b64: bytes.toString("base64"), duration: 1 };
// Its catalogue names the models that are matched.
for (const model of ["a/kite", "grok-imagine-video"]) {
  const on = (userMessage, video) => mock.on({ endpoint: "video", userMessage, model }, { video });
  on(/tears/, { id: "v", status: "failed", error: "The kite tore" });
  on(/nobody may see/, { id: "v", status: "failed", error: "Content policy violation" });
  on(/./, { ...done, cost: 0.25 });
}
console.log(JSON.stringify({ root: await mock.start() }));
