/** The server as it comes: embedded PostgreSQL in its data folder, its own key, and everything still there after kill -9. */
import { rm } from "node:fs/promises";
import { afterAll, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep } from "./support/definitions.ts";
import { ended } from "./support/fixture.ts";
import { startLedger } from "./support/ledger.ts";
import { restart, startServer } from "./support/server.ts";
import { range, sequences } from "./support/watching.ts";

const ledger = await startLedger();
let dataDir: string | undefined;
afterAll(async () => {
  await ledger.close();
  if (dataDir !== undefined) await rm(dataDir, { recursive: true, force: true });
});

test("a first start, kill -9 in the middle of a run, and a second start on the same folder", async () => {
  const first = await startServer({ egressAllow: [ledger.address] });
  dataDir = first.options.dataDir;
  expect(first.apiKey).toMatch(/^pawf_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43}$/);
  const workflow = await createWorkflow(connect(first), [httpStep("a", `${ledger.url}/a`), delayStep("b", "0.5s"), httpStep("c", `${ledger.url}/c`)]);
  const { execution } = await connect(first).workflows.startExecution({ workflow });
  await ledger.called("/a");
  await first.kill();

  const second = await restart(first);
  try {
    expect(second.apiKey).toBe(first.apiKey);
    expect((await ended(connect(second), execution?.id ?? "")).state).toBe(ExecutionState.COMPLETED);
    const { events } = await connect(second).workflows.listExecutionEvents({ executionId: execution?.id ?? "" });
    expect(sequences(events)).toEqual(range(1, events.length));
    expect(new Set(ledger.calls.map((call) => call.key)).size).toBe(2);
  } finally {
    await second.stop();
  }
});

test("a wrong setting is said in one sentence, with the nearest name", async () => {
  const words = await startServer({ env: { PAWF_LOG_LEVLE: "info", PORT: "99999" } }).then(
    () => "it started",
    (error: Error) => error.message,
  );
  expect(words).toMatch(/PORT must be/);
  expect(words).toMatch(/PAWF_LOG_LEVLE.*PAWF_LOG_LEVEL/);
  expect(words).not.toMatch(/\n {4}at /);
});
