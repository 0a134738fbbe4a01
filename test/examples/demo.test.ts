/** The demo as a user runs it, and that it says so when something is not as it claims. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";

type Fact = { readonly type: string } & Readonly<Record<string, unknown>>;

/** Runs the demo to its end; `onFact` may interfere. */
async function runDemo(executions: number, onFact: (fact: Fact) => void = () => undefined): Promise<{ exitCode: number; facts: Fact[]; errors: string }> {
  const child = spawn(process.execPath, ["examples/demo/demo.ts", "--json", "--executions", String(executions)], { stdio: ["ignore", "pipe", "pipe"] });
  const facts: Fact[] = [];
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  createInterface({ input: child.stdout }).on("line", (line) => {
    const fact = JSON.parse(line) as Fact;
    facts.push(fact);
    onFact(fact);
  });
  const [exitCode] = (await once(child, "close")) as [number];
  return { exitCode, facts, errors };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

it("fulfils, compensates, survives a SIGKILL, and leaves no process behind", async () => {
  const { exitCode, facts, errors } = await runDemo(200);
  expect(errors).toBe("");
  expect(exitCode).toBe(0);
  const verified = facts.filter((fact) => fact.type === "verified");
  expect(verified).toEqual([
    expect.objectContaining({ part: 1, effects: 4 }),
    expect.objectContaining({ part: 2, undone: ["reserve"], standing_effects: [] }),
    expect.objectContaining({ part: 2, undone: ["charge", "reserve"], standing_effects: [] }),
    expect.objectContaining({ part: 3, executions: 200, lost: 0, finished_twice: 0, effects: 600, done_twice: 0 }),
  ]);
  const ended = facts
    .filter((fact) => fact.type === "event")
    .map((fact) => (fact["event"] as { type: string }).type)
    .filter((type) => type === "execution_ended");
  expect(ended).toHaveLength(3);
  expect(facts.at(-1)).toMatchObject({ type: "done", ok: true });
  expect(isAlive(Number(facts.find((fact) => fact.type === "ready")?.["pid"]))).toBe(false);
});

it("exits with 1 and says why when the service dies by itself", async () => {
  let pid = 0;
  const { exitCode, facts, errors } = await runDemo(200, (fact) => {
    if (fact.type !== "ready") return;
    pid = Number(fact["pid"]);
    process.kill(pid, "SIGKILL");
  });
  expect(pid).toBeGreaterThan(0);
  expect(exitCode).toBe(1);
  expect(facts.find((fact) => fact.type === "failed")).toMatchObject({ ok: false });
  expect(errors).toMatch(/✗ /);
  expect(isAlive(pid)).toBe(false);
});
