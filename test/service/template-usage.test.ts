/** How templates are used, as a client sees it at once, and the command that counts it anew. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { UsageBucketSize } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { definition, logStep, newName } from "./support/definitions.ts";
import { ms, seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();

test("usage is told per version and over time as soon as an execution ends, and is counted anew by one command", async () => {
  const { templates, workflows } = fixture.clients;
  const name = newName("used");
  const failing = { name: "refuse", run_if: "trigger.data.fail", fail: { error: "NO", message: "asked to" } };
  await templates.createTemplate({ template: { name, definition: definition([logStep("a"), failing]) } });
  const { workflow: first } = await templates.createWorkflowFromTemplate({ template: name, name: newName() });
  await templates.updateTemplate({ template: name, changes: { definition: definition([logStep("b"), failing]) }, updateMask: { paths: ["definition"] } });
  const { workflow: second } = await templates.createWorkflowFromTemplate({ template: name, name: newName() });
  const run = async (workflow: string, fail: boolean) => workflows.startExecution({ workflow, input: { fail }, wait: seconds(50) });
  for (const fail of [false, false, true]) await run(first?.id ?? "", fail);
  await run(second?.id ?? "", false);

  const { total, versions, buckets } = await templates.getTemplateUsageStats({ template: name, bucketSize: UsageBucketSize.HOUR });
  expect(total).toMatchObject({ workflowCount: 2n, executionCount: 4n, successRate: 0.75, mostFailingStep: "refuse" });
  expect(ms(total?.durationP99)).toBeLessThan(20_000);
  expect(versions.map(({ version, usage }) => [version, usage?.workflowCount, usage?.executionCount, usage?.successRate])).toEqual([
    [2, 1n, 1n, 1],
    [1, 1n, 3n, 2 / 3],
  ]);
  expect(buckets.reduce((sum, { usage }) => sum + (usage?.executionCount ?? 0n), 0n)).toBe(4n);
  for (const { startTime } of buckets) expect(ms(startTime) % 3_600_000).toBe(0);
  const longAgo = { startTime: timestampFromMs(Date.now() - 5 * 86_400_000), endTime: timestampFromMs(Date.now() - 3 * 86_400_000) };
  expect((await templates.getTemplateUsageStats({ template: name, ...longAgo })).total).toMatchObject({ executionCount: 0n, successRate: 0 });

  const { databaseUrl } = fixture.database;
  const env = { ...process.env, DATABASE_URL: databaseUrl, PAWF_MASTER_KEY: fixture.server.options.masterKey, PAWF_ADMIN_KEY: fixture.server.apiKey };
  const { stdout } = await promisify(execFile)(process.execPath, [new URL("../../src/main.ts", import.meta.url).pathname, "recompute-usage"], { env });
  expect(stdout).toMatch(/^default: \d+ cells of one version and hour were counted anew$/m);
  const again = await templates.getTemplateUsageStats({ template: name, bucketSize: UsageBucketSize.HOUR });
  expect(again.total).toEqual(total);
});

test("windows that are too long, empty or turned around are refused", async () => {
  const { templates } = fixture.clients;
  const at = (daysAgo: number) => timestampFromMs(Date.now() - daysAgo * 86_400_000);
  const stats = (window: object) => refusal(templates.getTemplateUsageStats({ template: "http-request", ...window }));
  expect(await stats({ startTime: at(91) })).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["start_time"] });
  expect(await stats({ startTime: at(8), bucketSize: UsageBucketSize.HOUR })).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["start_time"] });
  expect(await stats({ startTime: at(1), endTime: at(2) })).toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(await refusal(templates.getTemplateUsageStats({ template: "nobody" }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
});

test("executions are listed and counted by the template behind their revision", async () => {
  const { templates, workflows } = fixture.clients;
  const { template } = await templates.createTemplate({ template: { name: newName("listed"), definition: definition([logStep("a")]) } });
  const { workflow: derived } = await templates.createWorkflowFromTemplate({ template: template?.name ?? "", name: newName() });
  const { workflow: own } = await workflows.createWorkflow({ workflow: { name: newName(), definition: definition([logStep("a")]) } });
  const label = newName();
  const start = async (workflow = "") => (await workflows.startExecution({ workflow, labels: { label }, wait: seconds(50) })).execution?.id;
  const [first, second, other] = [await start(derived?.id), await start(derived?.id), await start(own?.id)];

  const found = async (filter: string) => (await workflows.listExecutions({ filter: `labels.label = ${label} AND ${filter}` })).executions.map(({ id }) => id);
  expect(await found(`template_id = ${template?.id}`)).toEqual([second, first]);
  expect(await found("template_id = tpl_00000000000000000000000000")).toEqual([]);
  expect(await found(`id = ${other}`)).toEqual([other]);
  expect(await found(`workflow = ${own?.id}`)).toEqual([other]);
  expect(await found(`workflow = ${derived?.name}`)).toEqual([second, first]);
  const { groups } = await workflows.countExecutions({ filter: `labels.label = ${label}`, groupBy: ["template_id"] });
  expect(groups.map(({ values, count }) => [values["template_id"], count])).toEqual([
    [template?.id, 2n],
    ["", 1n],
  ]);
});
