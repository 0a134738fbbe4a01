/** A thread that does what a bad file could make it do. */
import { parentPort } from "node:worker_threads";
import type { FromThread, ToThread } from "../../../src/steps/files/thread-messages.ts";

const kept: unknown[] = [];
const post = (message: FromThread): void => parentPort?.postMessage(message);
const done = (facts: object): void => post({ type: "done", outcome: { ok: true, value: { facts: { ...facts } } }, cpuMs: 0 });
let act: unknown;

parentPort?.on("message", (message: ToThread) => {
  if (message.type === "stop") return done({ stopped: true });
  if (message.type !== "task") return;
  act = message.options["act"];
  if (act === "spin") for (;;) Math.random();
  if (act === "eat") for (;;) kept.push(new Array(100_000).fill(kept.length).map(String));
  if (act === "hoard") hoard();
  if (act === "throw") throw new Error("broken inside");
  if (act === "idle" || act === "wait") return;
  if (act === "pour") {
    post({ type: "made", mediaType: "text/plain" });
    return post({ type: "result", bytes: Buffer.from("half of it") });
  }
  done({ done: true });
});

/** Memory outside of the heap, up to 200 MiB, not faster than anybody could look at it; then it goes on without ever being done. */
function hoard(): void {
  for (let startedAt = performance.now(); ; ) {
    if (kept.length < 200 && performance.now() - startedAt > kept.length) kept.push(Buffer.alloc(1024 * 1024, 1));
  }
}
