/** A thread that does what a bad file could make it do. */
import { parentPort } from "node:worker_threads";

const kept: unknown[] = [];
parentPort?.on("message", ({ options }: { options: { act?: string } }) => {
  if (options.act === "spin") for (;;) Math.random();
  if (options.act === "eat") for (;;) kept.push(new Array(100_000).fill(kept.length).map(String));
  if (options.act === "throw") throw new Error("broken inside");
  if (options.act === "wait") return;
  parentPort?.postMessage({ ok: true, value: { kind: "facts", facts: { done: true } } });
});
