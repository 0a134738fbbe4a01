/** The examples of docs/clients.md are true: they are run as they stand there. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { create, fromBinary, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { GetExecutionRequestSchema, type GetExecutionResponse, GetExecutionResponseSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { startFake } from "../sdk/fake-service.ts";
import { startRelay } from "../sdk/relay.ts";
import { pythonClient } from "../sdk/toolchains.ts";
import { useServer } from "../service/support/fixture.ts";

const service = useServer();
const root = fileURLToPath(new URL("../../", import.meta.url));
const text = readFileSync(new URL("../../docs/clients.md", import.meta.url), "utf8");
const blocks = (language: string): string[] => [...text.matchAll(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, "gs"))].map((match) => match[1] ?? "");
const json = (index: number): JsonValue => JSON.parse(blocks("json")[index] ?? "") as JsonValue;

beforeAll(async () => {
  await service.clients.workflows.createWorkflow({ workflow: fromJson(WorkflowSchema, json(0)) });
});

async function run(program: string): Promise<string[]> {
  const env = { ...process.env, PAWF_URL: service.server.url, PAWF_API_KEY: service.server.apiKey, NODE_OPTIONS: "" };
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module-typescript", "--eval", program], { cwd: root, env });
  return stdout.trim().split("\n");
}

test("the first program follows a run, approves it, prints its result, and ends by itself", async () => {
  const lines = await run(blocks("ts")[0] ?? "");
  expect(lines).toEqual(expect.arrayContaining([expect.stringMatching(/^\d+ price COMPLETED$/), expect.stringMatching(/^\d+ approval WAITING$/)]));
  expect(lines.at(-1)).toMatch(/^\{.*order: 42.*\}$/);
  expect(lines.at(-1)).toContain("by: 'Ada'");
});

test("the second one reads why a run failed and why a call was refused", async () => {
  const [failed, refused] = await run(blocks("ts")[1] ?? "");
  expect(failed).toMatch(/^refuse USER\.order_refused execution exe_\w+ did not complete: .*nobody wants to pay for it$/);
  expect(refused).toBe("NOT_FOUND EXECUTION_NOT_FOUND true");
});

test("the Python program does the same", async ({ skip }) => {
  const tool = await pythonClient();
  if ("missing" in tool) return skip(tool.missing);
  const env = { ...process.env, ...tool.environment, PAWF_URL: service.server.url, PAWF_API_KEY: service.server.apiKey };
  const [program = "", ...args] = tool.command;
  const { stdout } = await promisify(execFile)(program, [...args, blocks("python")[0] ?? ""], { env });
  const lines = stdout.trim().split("\n");
  expect(lines).toEqual(expect.arrayContaining([expect.stringMatching(/^\d+ price COMPLETED$/), expect.stringMatching(/^\d+ approval WAITING$/)]));
  expect(lines.at(-3)).toBe("{'by': 'Ada', 'order': 42}");
  expect(lines.at(-2)).toMatch(/^refuse USER\.order_refused execution exe_\w+ did not complete: .*nobody wants to pay for it$/);
  expect(lines.at(-1)).toBe("['price', 'approval', 'check']");
}, 240_000);

test("with the service config a plain gRPC client waits for a service that is not there yet", async () => {
  const fake = await startFake({ getExecution: () => ({ execution: { id: "exe_1" } }) });
  const relay = await startRelay();
  onTestFinished(async () => {
    await relay.close();
    await fake.close();
  });
  const options = { "grpc.service_config": JSON.stringify(json(1)), "grpc.initial_reconnect_backoff_ms": 50 };
  const client = new Client(relay.url.slice("http://".length), credentials.createInsecure(), options);
  const answer = new Promise<GetExecutionResponse | undefined>((resolve, reject) =>
    client.makeUnaryRequest(
      "/pyairtable.workflow.v1.WorkflowService/GetExecution",
      (request) => Buffer.from(toBinary(GetExecutionRequestSchema, request)),
      (bytes) => fromBinary(GetExecutionResponseSchema, bytes),
      create(GetExecutionRequestSchema, { executionId: "exe_1" }),
      (error: ServiceError | null, message) => (error ? reject(error) : resolve(message)),
    ),
  );
  answer.catch(() => undefined); // looked at below
  await expect.poll(() => relay.connections).toBeGreaterThan(0);
  relay.target = fake.port;
  expect((await answer)?.execution?.id).toBe("exe_1");
  client.close();
});
