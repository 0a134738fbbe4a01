/** Token endpoints and echoes that mean harm cost little memory and never keep the process from other work. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { Mask } from "../../src/base/mask.ts";
import { OAuthTokens } from "../../src/steps/auth/oauth-tokens.ts";
import { httpRequest } from "../../src/steps/http-request.ts";
import { maskedServices } from "../../src/steps/masked-services.ts";
import type { HttpEgress, StepOutcome } from "../../src/steps/step-handler.ts";
import { attemptOf, failureIn, localEgress, resultIn, secretsOf, servicesOf } from "./step-call.ts";

const secret = `quote"and\\slash+${"k".repeat(40)}`;
const mebibyte = 1024 * 1024;
const bomb = gzipSync(Buffer.alloc(64 * mebibyte));
let server: Server;
let origin: string;
let egress: HttpEgress & AsyncDisposable;
let answer: (response: ServerResponse) => void;

beforeAll(async () => {
  egress = localEgress();
  server = createServer((request, response) => {
    request.resume();
    request.on("end", () => answer(response));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await egress[Symbol.asyncDispose]();
});

async function run(auth: "oauth2" | "bearer", timeoutMs = 60_000): Promise<StepOutcome> {
  const mask = new Mask();
  const services = maskedServices({ ...servicesOf(egress), tokens: new OAuthTokens(egress, systemClock) }, mask);
  const slot = { slot: "key" };
  const config = {
    url: `${origin}/service`,
    max_response_bytes: 5 * mebibyte,
    auth: auth === "bearer" ? { bearer: slot } : { oauth2: { token_url: `${origin}/token`, client_id: "c", client_secret: slot } },
  };
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort({ name: "TIMEOUT.START_TO_CLOSE", message: "late" }), timeoutMs);
  try {
    const call = attemptOf(httpRequest, config, {}, { secrets: secretsOf({ key: secret }, mask), signal: controller.signal });
    return mask.json((await httpRequest.run(call, services)) as never) as StepOutcome;
  } finally {
    clearTimeout(timer);
  }
}

/** What `work` cost beside its result: growth of memory in MiB, longest time that nothing else could run in ms. */
async function costOf(work: () => Promise<void>): Promise<{ grownMiB: number; stalledMs: number }> {
  await work();
  const before = process.memoryUsage().rss;
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  await work();
  delay.disable();
  return { grownMiB: (process.memoryUsage().rss - before) / mebibyte, stalledMs: delay.max / 1e6 };
}

it.each<[string, (response: ServerResponse) => void, string]>([
  ["pushes without end", (response) => void pushForever(response), "LIMIT.BODY"],
  ["answers a bomb", (response) => void response.writeHead(200, { "content-encoding": "gzip" }).end(bomb), "LIMIT.BODY"],
  ["answers a list of brackets", (response) => void response.end("[".repeat(60_000)), "SCHEMA"],
  ["answers one huge text of escapes", (response) => void response.end(`{"access_token":"${"\\\\".repeat(30_000)}"}`), "SCHEMA"],
  ["sends headers without end", (response) => void response.writeHead(200, { "x-long": "x".repeat(64 * 1024) }).end(), "LIMIT.HEADERS"],
])("a token endpoint that %s", async (_, behaviour, name) => {
  answer = behaviour;
  const { grownMiB, stalledMs } = await costOf(async () => {
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => run("oauth2")));
    for (const outcome of outcomes) expect([failureIn(outcome).failure.name, failureIn(outcome).outcome]).toEqual([name, "failed"]);
  });
  // Generous: a few MiB and a few ms here.
  expect(grownMiB).toBeLessThan(150);
  expect(stalledMs).toBeLessThan(10_000);
});

it("an answer of five megabytes that is full of the secret in all its forms", async () => {
  const forms = [secret, JSON.stringify(secret), encodeURIComponent(secret), Buffer.from(secret).toString("base64"), Buffer.from(secret).toString("hex")];
  const rows = Array.from({ length: 9_000 }, (_, index) => ({ index, forms, filler: "x".repeat(40) }));
  const body = JSON.stringify(rows);
  expect(body.length).toBeGreaterThan(3 * mebibyte);
  answer = (response) => void response.writeHead(200, { "content-type": "application/json" }).end(body);
  let result = "";
  const { grownMiB, stalledMs } = await costOf(async () => {
    result = JSON.stringify(resultIn(await run("bearer", 30_000)));
  });
  expect(result).not.toContain("kkkkkkkkkk");
  expect(result).not.toContain("quote");
  expect(result.match(/\*\*\*/g)?.length).toBeGreaterThanOrEqual(45_000);
  expect(grownMiB).toBeLessThan(400);
  expect(stalledMs).toBeLessThan(15_000);
});

it("a token endpoint that never ends its answer ends with the attempt", async () => {
  answer = (response) => void response.writeHead(200).write("{");
  const { grownMiB } = await costOf(async () => {
    expect(failureIn(await run("oauth2", 100))).toMatchObject({ failure: { name: "TIMEOUT.START_TO_CLOSE" }, outcome: "failed" });
  });
  expect(grownMiB).toBeLessThan(100);
});

function pushForever(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024, "x");
  const push = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on("drain", push);
  push();
}
