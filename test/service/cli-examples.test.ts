/** Every command has an example, in its help and in docs/cli.md, and each of them works. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { commands } from "../../src/cli/commands.ts";
import { createWorkflow, definition } from "./support/definitions.ts";
import { useServer } from "./support/fixture.ts";
import { runCli } from "./support/run-cli.ts";

const examples = commands.flatMap(({ words, examples: lines }) => lines.map((line) => ({ words, line })));
const page = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");
const shown = [...page.matchAll(/^pawf .*$/gm)].map(([line]) => line).filter((line) => !line.startsWith("pawf: "));

const fixture = useServer();
const folder = mkdtempSync(join(tmpdir(), "pawf-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Ids of what an example speaks of, by its command. */
const ids = new Map<string, string>();
const waiting = ["cancel", "terminate", "pause", "signal"];

beforeAll(async () => {
  const { workflows, access } = fixture.clients;
  await workflows.createWorkflow({ workflow: { name: "hello", definition: definition([{ name: "greet", log: { message: "hello" } }]) } });
  const waits = await createWorkflow(fixture.clients, [{ name: "paid", wait_for_event: { any_of: [{ event_type: "payment.settled" }] } }]);
  const fails = await createWorkflow(fixture.clients, [{ name: "charge", fail: { error: "DECLINED" } }]);
  const start = async (workflow: string): Promise<string> => {
    const { execution } = await workflows.startExecution({ workflow, ...(workflow === waits ? {} : { wait: { seconds: 50n, nanos: 0 } }) });
    return execution?.id ?? "";
  };
  for (const verb of waiting) ids.set(`execution ${verb}`, await start(waits));
  ids.set("execution resume", await start(waits));
  await workflows.pauseExecution({ executionId: ids.get("execution resume") ?? "" });
  for (const words of ["execution describe", "execution why", "execution retry", "execution rerun", "saga describe"]) ids.set(words, await start(fails));
  ids.set("watch", await start("hello"));
  const { apiKey } = await access.createApiKey({ name: "leaked", scopes: ["executions:read"] });
  ids.set("key revoke", apiKey?.id ?? "");
  writeFileSync(join(folder, "hello.json"), JSON.stringify({ name: "hello", definition: { steps: [{ name: "greet", log: { message: "good day" } }] } }));
});

/** As a shell splits a line without variables. */
const split = (line: string): string[] => [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");

it("docs/cli.md shows the examples of the commands and no others", () => {
  expect(shown.sort()).toEqual(examples.map(({ line }) => line).sort());
});

it.each(examples)("$line", async ({ words, line }) => {
  const argv = split(line)
    .slice(1)
    .map((text) => (/^(exe|key)_\w{26}$/.test(text) ? (ids.get(words) ?? text) : text === "hello.json" ? join(folder, text) : text));
  const { url, apiKey } = fixture.server;
  const ran = await runCli(argv, { url, apiKey });
  expect({ code: ran.code, err: ran.code === 0 ? "" : ran.err }).toEqual({ code: 0, err: "" });
  const help = await runCli([...words.split(" "), "--help"], { url });
  expect(help).toMatchObject({ code: 0, err: "", out: expect.stringContaining(line) });
});

it("apply says unchanged the second time and makes no revision; YAML is taken too", async () => {
  const { url, apiKey } = fixture.server;
  const file = join(folder, "greeting.yaml");
  writeFileSync(file, "name: greeting\ndefinition:\n  steps:\n    - name: greet\n      log: {message: hi}\n");
  const apply = async (...more: readonly string[]): Promise<string> => (await runCli(["workflow", "apply", "-f", file, ...more], { url, apiKey })).out;
  expect(await apply("--dry-run")).toMatch(/^greeting {2}created/);
  expect(await apply()).toBe("greeting  created  revision 1\n");
  expect(await apply()).toBe("greeting  unchanged  revision 1\n");
  writeFileSync(file, "name: greeting\ndefinition:\n  steps:\n    - name: greet\n      log: {message: good day}\n");
  expect(await apply("--dry-run")).toMatch(/^greeting {2}updated/);
  expect(await apply()).toBe("greeting  updated  revision 2\n");
  writeFileSync(file, "name: greeting\nsteps: []\n");
  expect(await runCli(["workflow", "apply", "-f", file], { url, apiKey })).toMatchObject({ code: 2, err: expect.stringContaining('"steps"') });
});
