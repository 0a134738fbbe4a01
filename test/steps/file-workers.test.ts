import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { ok } from "../../src/base/result.ts";
import { failure } from "../../src/domain/failure.ts";
import { type FileTask, type FileTaskOutcome, wholeBytesMax } from "../../src/steps/files/file-job.ts";
import { FileWorkers, type FileWorkersOptions } from "../../src/steps/files/file-workers.ts";

const pools: FileWorkers[] = [];
afterEach(() => Promise.all(pools.splice(0).map((pool) => pool[Symbol.asyncDispose]())));

async function* bytesOf(text: string): AsyncIterable<Uint8Array> {
  yield Buffer.from(text);
}
/** A source of which nothing comes. */
async function* nothing(): AsyncIterable<Uint8Array> {
  await new Promise(() => undefined);
  yield Buffer.alloc(0);
}
const smallSource = { sizeBytes: 1, read: () => bytesOf("x") };

function poolOf(options: Partial<FileWorkersOptions> = {}) {
  const pool = new FileWorkers({ clock: systemClock, module: new URL("./workers/hostile-worker.ts", import.meta.url), ...options });
  pools.push(pool);
  const run = (act: string, signal = new AbortController().signal, task: Partial<FileTask> = {}) =>
    pool.run({ kind: "convert", options: { act }, source: smallSource, ...task }, signal);
  return { pool, run };
}
const shown = (outcome: FileTaskOutcome): string => (outcome.ok ? "done" : `${outcome.fault.name}: ${outcome.fault.message}`);

test("a task that never ends is killed for its CPU time for good, and the task beside it and the next one are done", async () => {
  const { run } = poolOf({ cpuMs: 300 });
  const [bad, good] = await Promise.all([run("spin"), run("well")]);
  expect(shown(bad)).toBe("LIMIT.FILE: reading the file takes more than 0.3 s of CPU time");
  expect(shown(good)).toBe("done");
  expect(shown(await run("well"))).toBe("done");
});

test("a task that is busy without using the thread is killed for its time", async () => {
  const { run } = poolOf({ busyMs: 300 });
  expect(shown(await run("idle"))).toBe("LIMIT.FILE: reading the file takes more than 0.3 s");
});

test("the time in which the source does not come is not the task's", async () => {
  const stop = new AbortController();
  let seconds = 0;
  const hurrying = {
    ...systemClock,
    monotonic: () => seconds * 1_000,
    async sleep() {
      await nextTurn();
      if (++seconds === 100) stop.abort({ name: "CANCELED", message: "called off" });
    },
  };
  const { run } = poolOf({ busyMs: 5_000, clock: hurrying });
  expect(shown(await run("idle", stop.signal, { source: { sizeBytes: 1, read: nothing } }))).toBe("CANCELED: called off");
});

test("a task that eats all its memory is killed for good, alone", async () => {
  const { run } = poolOf({ memoryMib: 32 });
  const [bad, good] = await Promise.all([run("eat"), run("well")]);
  expect(shown(bad)).toBe("LIMIT.FILE: the file needs more than 32 MiB to be read");
  expect(shown(good)).toBe("done");
  expect(shown(await run("well"))).toBe("done");
});

test("memory outside of the heap counts, too", async () => {
  const { run } = poolOf({ memoryMib: 64 });
  expect(shown(await run("hoard"))).toBe("LIMIT.FILE: the file needs more than 64 MiB to be read");
});

test("a thread that breaks is replaced", async () => {
  const { run } = poolOf({ threads: 1 });
  expect(shown(await run("throw"))).toBe("LIMIT.FILE: reading the file broke off: broken inside");
  expect(shown(await run("well"))).toBe("done");
});

test("a source that breaks off ends its task with the source's reason, and the thread stays", async () => {
  const { run } = poolOf({ threads: 1 });
  async function* broken(): AsyncIterable<Uint8Array> {
    yield Buffer.from("half");
    throw failure("NETWORK", "the storage is away");
  }
  expect(shown(await run("wait", undefined, { source: { sizeBytes: 9, read: broken } }))).toBe("NETWORK: the storage is away");
  expect(shown(await run("well"))).toBe("done");
});

test.each([
  ["called off", "CANCELED: called off"],
  ["killed for its time", "LIMIT.FILE: reading the file takes more than 2 s"],
])("whoever keeps the result hears that it stays half, when the task is %s", async (how, reason) => {
  const { run, pool } = poolOf(how === "called off" ? {} : { busyMs: 2_000 });
  const stop = new AbortController();
  let heard: unknown;
  const keep: NonNullable<FileTask["keep"]> = async (_, bytes) => {
    try {
      for await (const piece of bytes) {
        expect(Buffer.from(piece).toString()).toBe("half of it");
        if (how === "called off") stop.abort({ name: "CANCELED", message: "called off" });
      }
    } catch (thrown) {
      heard = thrown;
      throw thrown;
    }
    return ok("kept");
  };
  expect(shown(await run("pour", stop.signal, { keep }))).toBe(reason);
  expect(heard).toMatchObject({ name: reason.split(":")[0] });
  expect(pool.bytesUnderWay).toBe(0);
});

test("a result that cannot be kept ends the task with that reason", async () => {
  const { run, pool } = poolOf({ threads: 1 });
  const keep = async () => ({ ok: false, fault: failure("LIMIT.FILES", "the quota is used up") }) as const;
  expect(shown(await run("pour", undefined, { keep }))).toBe("LIMIT.FILES: the quota is used up");
  expect(shown(await run("well"))).toBe("done");
  expect(pool.bytesUnderWay).toBe(0);
});

test("a task ends with its signal, while it runs and while it waits, and gives its place on", async () => {
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

test("small files do not wait for large ones", async () => {
  const { run } = poolOf({ threads: 2 });
  const stop = new AbortController();
  const large = { source: { sizeBytes: 20 * 1024 * 1024, read: nothing } };
  const [first, second] = [run("wait", stop.signal, large), run("wait", stop.signal, large)];
  expect(shown(await run("well"))).toBe("done");
  stop.abort({ name: "CANCELED", message: "called off" });
  expect([shown(await first), shown(await second)]).toEqual(["CANCELED: called off", "CANCELED: called off"]);
});

test("more than a bounded number of tasks do not wait", async () => {
  const { run } = poolOf({ threads: 1, waitingMax: 1 });
  const stop = new AbortController();
  const running = run("wait", stop.signal);
  const waiting = run("well");
  expect(shown(await run("well"))).toMatch(/^WORKER\.BUSY: /);
  stop.abort({ name: "CANCELED", message: "called off" });
  expect([shown(await running), shown(await waiting)]).toEqual(["CANCELED: called off", "done"]);
});

test("a thread that was started ahead of its first file does that file", async () => {
  const { pool, run } = poolOf({ threads: 1 });
  pool.expect(1);
  expect(shown(await run("well"))).toBe("done");
  expect(shown(await run("well"))).toBe("done");
});

test("a large file beside other work goes through as well", async () => {
  let asked = 0;
  const { run } = poolOf({ othersWork: () => ++asked > 0 });
  const large = { sizeBytes: wholeBytesMax + 1, read: () => bytesOf("x") };
  expect(shown(await run("well", undefined, { source: large }))).toBe("done");
  expect(asked).toBe(1);
});
