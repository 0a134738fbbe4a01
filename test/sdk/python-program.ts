/** Small Python programs with the client of the Python SDK, run as processes of their own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Tool } from "./toolchains.ts";

export interface Target {
  readonly url: string;
  readonly apiKey: string;
}

/**
 * Runs the program with `wf`, a client of the service at `target`, and `say`, which prints one JSON line; resolves with what it said.
 * `onLine` hears each line as it comes. Rejects with its last words when it fails.
 */
export async function runPython(
  { command: [program = "", ...args], environment }: Exclude<Tool, { missing: string }>,
  target: Target,
  text: string,
  onLine: (line: unknown) => void = () => undefined,
): Promise<unknown[]> {
  const env = { ...process.env, ...environment, PAWF_URL: target.url, PAWF_API_KEY: target.apiKey };
  const child = spawn(program, [...args, `${preamble}${text}`], { env, stdio: ["ignore", "pipe", "pipe"] });
  const said: unknown[] = [];
  const words: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => words.push(line));
  const lines = createInterface({ input: child.stdout }).on("line", (line) => {
    said.push(JSON.parse(line));
    onLine(said.at(-1));
  });
  const [[code]] = await Promise.all([once(child, "close"), once(lines, "close")]);
  if (code !== 0) throw new Error(`the program ended with ${code}:\n${words.join("\n")}`);
  return said;
}

const preamble = `
import json
from datetime import datetime
from pyairtable_workflow import WorkflowApiError, WorkflowClient, is_reason
wf = WorkflowClient()
def say(value):
    print(json.dumps(value, default=str), flush=True)
def line(told):
    return f"{told.sequence} {told.step if told.type == 'step' else told.type} {told.state}"
def refusal(call):
    try:
        call()
    except WorkflowApiError as error:
        return error
    raise SystemExit("the call was not refused")
`;
