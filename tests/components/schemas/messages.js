// Judges snapshots of what is sent, given as files behind a folder of node's packages, by what others wrote about it: cards by
// the library that shows Adaptive Cards, messages of Slack and events of PagerDuty by the types that those publish for
// TypeScript. Says what each had; fails at what is wrong.

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const [packages, ...files] = process.argv.slice(2);
const cards = require(path.join(packages, "node_modules/adaptivecards/dist/adaptivecards.js"));

const name = (file) => file.split("__").pop();
const kind = (file) => name(file).split("_")[0];
const body = (file) => JSON.parse(fs.readFileSync(file, "utf8").split("---\n").slice(2).join("---\n"));

function judgeCard(file) {
  const [attachment] = body(file).attachments;
  if (attachment.contentType !== "application/vnd.microsoft.card.adaptive") throw new Error(`${file}: no Adaptive Card`);
  const context = new cards.SerializationContext(new cards.Version(1, 4));
  const card = new cards.AdaptiveCard();
  card.parse(attachment.content, context);
  const events = [...Array(context.eventCount).keys()].map((index) => context.getEventAt(index));
  const failures = card.validateProperties().validationEvents;
  const remarks = [...events, ...failures].map((event) => event.message);
  if (remarks.length > 0) throw new Error(`${file}: ${remarks.join("; ")}`);
  if (card.getItemCount() !== attachment.content.body.length) throw new Error(`${file}: not all of it is known`);
  console.log(`${name(file)}: ${card.getItemCount()} elements of a card`);
}

// Beside what pdjs knows the API takes the name of a client, and where that leads.
const PAGERDUTY = `EventPayloadV2 & { client?: string; client_url?: string }`;
// An incident is ended without a payload.
const RESOLVE = `Omit<EventPayloadV2, "payload">`;

function declaration(file, number) {
  const value = body(file);
  const type = kind(file) === "slack" ? "KnownBlock[]" : value.event_action === "resolve" ? RESOLVE : PAGERDUTY;
  const judged = kind(file) === "slack" ? value.blocks : value;
  return `// ${name(file)}\nexport const message${number}: ${type} = ${JSON.stringify(judged, null, 1)};\n`;
}

function judgeTypes(files) {
  const folder = fs.mkdtempSync(path.join(packages, "types-"));
  try {
    const imports = `import type { KnownBlock } from "@slack/types";\nimport type { EventPayloadV2 } from "@pagerduty/pdjs/build/src/events";\n`;
    const source = path.join(folder, "messages.ts");
    fs.writeFileSync(source, imports + files.map(declaration).join(""));
    const options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "node20", "--types", ""];
    const checked = spawnSync(path.join(packages, "node_modules/.bin/tsc"), [...options, source], { encoding: "utf8" });
    if (checked.status !== 0) throw new Error(checked.stdout + checked.stderr);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
  files.forEach((file) => console.log(`${name(file)}: as its types say`));
}

try {
  files.filter((file) => kind(file) === "teams").forEach(judgeCard);
  judgeTypes(files.filter((file) => kind(file) !== "teams"));
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
