/** Child processes of the demo: started with their first line of output, ended by their process id. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { DemoFailure } from "./checks.ts";

export interface Child {
  readonly name: string;
  readonly pid: number;
  /** The JSON object that the child printed first. */
  readonly ready: Record<string, unknown>;
  /** Last lines that it wrote to standard error. */
  lastWords(): string;
  isRunning(): boolean;
  /** SIGKILL, at once. */
  kill(): Promise<void>;
  /** SIGTERM, and SIGKILL after the patience is over. May be called twice. */
  stop(): Promise<void>;
}

export interface ChildOptions {
  readonly name: string;
  /** A file for this same Node, with its arguments. */
  readonly command: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly readyMsMax?: number;
  readonly onExit?: (name: string) => void;
}

const readyMsMaxDefault = 30_000;
const stopMsMax = 25_000;
const wordsMax = 40;

/** All that were started and have not ended, for an exit that nobody planned. */
const running = new Set<ChildProcess>();

export async function startChild({ name, command, env = process.env, readyMsMax = readyMsMaxDefault, onExit }: ChildOptions): Promise<Child> {
  // A group of its own: Ctrl-C is meant for the demo, which ends its children in order.
  const child = spawn(process.execPath, command, { env, stdio: ["pipe", "pipe", "pipe"], detached: true });
  running.add(child);
  const words: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    words.push(line);
    if (words.length > wordsMax) words.shift();
  });
  let isWanted = false;
  const exited = once(child, "exit").then(() => {
    running.delete(child);
    if (!isWanted) onExit?.(name);
  });
  const line = await Promise.race([firstLine(child), exited.then(() => undefined), sleep(readyMsMax, undefined, { ref: false })]);
  if (line === undefined) {
    isWanted = true;
    child.kill("SIGKILL");
    throw new DemoFailure(`${name} did not start:\n${words.join("\n")}`);
  }
  const end = async (signal: "SIGTERM" | "SIGKILL"): Promise<void> => {
    isWanted = true;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    if ((await Promise.race([exited.then(() => "ended"), sleep(stopMsMax, undefined, { ref: false })])) !== "ended") child.kill("SIGKILL");
    await exited;
  };
  return {
    name,
    pid: child.pid ?? 0,
    ready: JSON.parse(line) as Record<string, unknown>,
    lastWords: () => words.join("\n"),
    isRunning: () => running.has(child),
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}

/** For an exit that cannot wait: siblings also end by themselves when their standard input closes. */
export function killAllChildren(): void {
  for (const child of running) child.kill("SIGKILL");
}

async function firstLine(child: ChildProcess): Promise<string | undefined> {
  if (!child.stdout) return undefined;
  const lines = createInterface({ input: child.stdout });
  // Later lines are read and dropped: a full pipe would stop the child.
  for await (const line of lines) {
    lines.removeAllListeners();
    child.stdout.resume();
    return line;
  }
  return undefined;
}
