/** Real workers: the example worker as a process of its own, as an operator starts it. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Target } from "./connect-client.ts";

const script = fileURLToPath(new URL("../../../examples/workers/invoices.ts", import.meta.url));

export interface WorkerProcess {
  readonly exited: Promise<number | null>;
  /** What it wrote to its log. */
  readonly lines: readonly string[];
  /** Resolves when it has begun so many tasks. */
  began(count: number): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

export interface WorkerChoices {
  readonly queue: string;
  readonly notebook: string;
  readonly inFlight?: number;
  readonly workMs?: number;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Resolves when it runs; that it has reached the service is seen by what it takes. */
export async function startWorkerProcess({ url, apiKey }: Target, { queue, notebook, inFlight = 10, workMs = 20 }: WorkerChoices): Promise<WorkerProcess> {
  const args = [script, "--url", url, "--queue", queue, "--notebook", notebook, "--in-flight", String(inFlight), "--work-ms", String(workMs)];
  const { PATH = "", NODE_COMPILE_CACHE = "" } = process.env;
  const child = spawn(process.execPath, args, { env: { PATH, NODE_COMPILE_CACHE, PAWF_API_KEY: apiKey }, stdio: ["pipe", "pipe", "pipe"] });
  running.add(child);
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => lines.push(line));
  const exited = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => {
      running.delete(child);
      resolve(code);
    });
  });
  const output = createInterface({ input: child.stdout });
  let begun = 0;
  const waiters = new Set<() => void>();
  await new Promise<void>((resolve, reject) => {
    output.once("line", () => resolve());
    void exited.then((code) => reject(new Error(`the worker ended with ${code}: ${lines.join("\n")}`)));
  });
  output.on("line", (line) => {
    if (line.includes('"began"')) begun += 1;
    for (const tell of waiters) tell();
  });
  const began = async (count: number): Promise<void> => {
    while (begun < count) await new Promise<void>((resolve) => waiters.add(resolve));
    waiters.clear();
  };
  return { exited, lines, began, kill: (signal) => void child.kill(signal) };
}
