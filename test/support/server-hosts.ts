/** As vitest's `globalSetup`: the processes in which hosted servers live (test/service/support/server-host.ts) for one run. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    /** Ports on 127.0.0.1. */
    serverHosts: readonly number[];
  }
}

/** Two processors are busy with the tests as well; a third host would only warm up once more. */
const hostCount = 2;
const script = fileURLToPath(new URL("../service/support/server-host.ts", import.meta.url));

const hosts: ChildProcess[] = [];

export async function setup(project: TestProject): Promise<void> {
  const ports: number[] = [];
  // One after the other: the first leaves what it compiled to the next, and to every server with a process of its own.
  while (hosts.length < hostCount) ports.push(await startHost());
  project.provide("serverHosts", ports);
}

/** They end when their standard input does, so a killed vitest leaves none behind. */
export function teardown(): void {
  for (const host of hosts.splice(0)) host.stdin?.end();
}

async function startHost(): Promise<number> {
  const host = spawn(process.execPath, [script], { stdio: ["pipe", "pipe", "inherit"] });
  hosts.push(host);
  const ended = once(host, "exit").then(([code]) => Promise.reject(new Error(`a host of servers ended with ${code} before it was ready`)));
  const [port] = (await Promise.race([once(createInterface({ input: host.stdout }), "line"), ended])) as [string];
  ended.catch(() => undefined);
  return Number(port);
}
