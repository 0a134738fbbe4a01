import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { FileJobOutcome } from "../../src/steps/files/file-job.ts";
import { FileWorkers, type FileWorkersOptions } from "../../src/steps/files/file-workers.ts";

const pools: FileWorkers[] = [];
afterEach(() => Promise.all(pools.splice(0).map((pool) => pool[Symbol.asyncDispose]())));

function poolOf(options: Partial<FileWorkersOptions> = {}) {
  const pool = new FileWorkers({ clock: systemClock, module: new URL("./workers/hostile-worker.ts", import.meta.url), ...options });
  pools.push(pool);
  const run = (act: string, signal = new AbortController().signal) => pool.run({ kind: "convert", options: { act }, bytes: Buffer.from("x") }, signal);
  return { run };
}
const shown = (outcome: FileJobOutcome): string => (outcome.ok ? "done" : `${outcome.fault.name}: ${outcome.fault.message}`);

test("a job that never ends is killed for good, and the job beside it and the next one are done", async () => {
  const { run } = poolOf({ jobMs: 700 });
  const [bad, good] = await Promise.all([run("spin"), run("well")]);
  expect(shown(bad)).toBe("LIMIT.FILE: reading the file takes more than 0.7 s");
  expect(shown(good)).toBe("done");
  expect(shown(await run("well"))).toBe("done");
});

test("a job that eats all its memory is killed for good, alone", async () => {
  const { run } = poolOf({ memoryMib: 32 });
  const [bad, good] = await Promise.all([run("eat"), run("well")]);
  expect(shown(bad)).toBe("LIMIT.FILE: the file needs more than 32 MiB to be read");
  expect(shown(good)).toBe("done");
  expect(shown(await run("well"))).toBe("done");
});

test("a thread that breaks is replaced", async () => {
  const { run } = poolOf({ threads: 1 });
  expect(shown(await run("throw"))).toBe("LIMIT.FILE: reading the file broke off: broken inside");
  expect(shown(await run("well"))).toBe("done");
});

test("a job ends with its signal, while it runs and while it waits, and gives its place on", async () => {
  const { run } = poolOf({ threads: 1 });
  const [first, second] = [new AbortController(), new AbortController()];
  const running = run("wait", first.signal);
  const called = run("well", second.signal);
  const last = run("well");
  second.abort({ name: "CANCELED", message: "called off" });
  expect(shown(await called)).toBe("CANCELED: called off");
  first.abort({ name: "TIMEOUT.START_TO_CLOSE", message: "over" });
  expect(shown(await running)).toBe("TIMEOUT.START_TO_CLOSE: over");
  expect(shown(await last)).toBe("done");
  expect(shown(await run("well", AbortSignal.abort({ name: "CANCELED", message: "before" })))).toBe("CANCELED: before");
});

test("more than a bounded number of jobs do not wait", async () => {
  const { run } = poolOf({ threads: 1, waitingMax: 1 });
  const stop = new AbortController();
  const running = run("wait", stop.signal);
  const waiting = run("well");
  expect(shown(await run("well"))).toMatch(/^WORKER\.BUSY: /);
  stop.abort({ name: "CANCELED", message: "called off" });
  expect([shown(await running), shown(await waiting)]).toEqual(["CANCELED: called off", "done"]);
});
