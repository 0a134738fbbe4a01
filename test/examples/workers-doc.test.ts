/** The commands of docs/workers.md are true: they are run as they stand there. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { afterAll, expect, test } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { ended, useServer } from "../service/support/fixture.ts";

const service = useServer();
const root = fileURLToPath(new URL("../../", import.meta.url));
const text = readFileSync(join(root, "docs/workers.md"), "utf8");
const folder = mkdtempSync(join(tmpdir(), "workers-doc-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].map((match) => match[1] ?? "");

async function run(script: string): Promise<string> {
  const { url, apiKey } = service.server;
  const env = { PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}`, HOME: folder, URL: url, KEY: apiKey };
  const { stdout } = await promisify(execFile)("bash", ["-ec", script], { cwd: folder, env });
  return stdout;
}

async function start(): Promise<string> {
  const { workflows } = service.clients;
  const definition = fromJson(WorkflowDefinitionSchema, JSON.parse(/```json\n(.*?)```/s.exec(text)?.[1] ?? "") as JsonValue);
  const name = `doc-${crypto.randomUUID().slice(0, 8)}`;
  await workflows.createWorkflow({ workflow: { name, definition } });
  const { execution } = await workflows.startExecution({ workflow: name, input: { number: "R-1" } });
  return execution?.id ?? "";
}

test("take, say how far, report and look, by curl", async () => {
  const id = await start();
  const said = await run(blocks.filter((block) => block.includes("curl -sS")).join("\n"));
  expect(said).toContain('"decision":"STEP_DECISION_CONTINUE"');
  expect(said).toMatch(/"name":\s*"invoices"/);
  expect((await ended(service.clients, id)).state).toBe(ExecutionState.COMPLETED);
});

test("buf curl takes tasks by reflection alone", async () => {
  const id = await start();
  const command = blocks.at(-1)?.split("grpcurl")[0] ?? "";
  expect(command).toContain("buf curl");
  expect(await run(command)).toContain(`"executionId": "${id}"`);
});
