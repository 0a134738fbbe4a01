/**
 * Templates over gRPC with 10,000 of them stored: reading one, a filtered page of 50, and making a workflow from one; one call
 * after the other, with the raw commit of the same run on the same disk.
 */
import { randomBytes } from "node:crypto";
import { type Client, createClient } from "@connectrpc/connect";
import type pg from "pg";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { uuidV7 } from "../src/base/ids.ts";
import { measureRawCommitMs, median, round, writeResults } from "./measure.ts";
import { type Service, startService } from "./service.ts";

const storedCount = 10_000;
const calls = 400;
const categories = ["integration", "file-processing", "sync", "automation", "notification"];
const tags = ["crm", "billing", "daily", "alerts", "files", "orders", "reports"];

export async function run(): Promise<void> {
  const service = await startService();
  try {
    const templates = createClient(TemplateService, service.transport);
    const names = await store(service, templates);
    const pick = (): string => names[Math.floor(Math.random() * names.length)] as string;
    const any = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)] as T;

    const getMs = await measure(() => templates.getTemplate({ template: pick() }));
    print("get one, whole", getMs, await measureRawCommitMs(service.database));
    const listMs = await measure(() => templates.listTemplates({ pageSize: 50, filter: `category = ${any(categories)} AND tags:${any(tags)}` }));
    print("list 50 of a category and tag", listMs);
    print("list 50 by name", await measure(() => templates.listTemplates({ pageSize: 50, orderBy: "name", filter: `category = ${any(categories)}` })));
    print("list 50 by use", await measure(() => templates.listTemplates({ pageSize: 50, orderBy: "usage_count desc", filter: `tags:${any(tags)}` })));
    print(
      "list 50 by text, whole",
      await measure(() => templates.listTemplates({ pageSize: 50, filter: `text:"order ${any(["1", "22", "333"])}"`, view: View.FULL })),
    );
    let number = 0;
    const create = () =>
      templates.createWorkflowFromTemplate({
        template: pick(),
        name: `made-${++number}`,
        parameters: { url: "https://api.example.com", times: 2 },
      });
    const createMs = await measure(create);
    const rawCommitMs = await measureRawCommitMs(service.database);
    print("create a workflow", createMs, rawCommitMs);
    writeResults("templates", {
      get_p50_ms: round(getMs, 3),
      list_p50_ms: round(listMs, 3),
      create_workflow_p50_ms: round(createMs, 3),
      raw_commit_ms: round(rawCommitMs, 3),
    });
  } finally {
    await service.stop();
  }
}

/** One template through the service, then copies of its rows under other names, as fast as the database takes them. */
async function store(service: Service, templates: Client<typeof TemplateService>): Promise<string[]> {
  const { template } = await templates.createTemplate({
    template: {
      name: "bench-model",
      category: "sync",
      displayName: "Orders into the ledger",
      parametersSchema: { type: "object", properties: { url: { type: "string" }, times: { type: "integer", default: 1 } }, required: ["url"] },
      definition: {
        steps: [
          { name: "fetch", kind: { case: "httpRequest", value: { url: "{{params.url}}/orders/{{trigger.data.id}}" } } },
          { name: "wait", kind: { case: "delay", value: { wait: { case: "duration", value: { seconds: 1n } } } } },
          { name: "note", kind: { case: "log", value: { message: "{{string(params.times)}} of {{steps.fetch.result.status}}" } } },
          { name: "send", kind: { case: "httpRequest", value: { method: "POST", url: "{{params.url}}/ledger" } } },
        ],
      },
    },
  } as never);
  const names = Array.from({ length: storedCount }, (_, index) => `order-${index}`);
  const uuids = names.map((_, index) => uuidV7(Date.now() - storedCount + index, randomBytes(10)));
  const tagsOf = names.map((_, index) => JSON.stringify([tags[index % tags.length], tags[(index * 3 + 1) % tags.length]]));
  const values = [template?.name, uuids, names, names.map((_, index) => categories[index % categories.length]), tagsOf];
  await service.database.query(
    `insert into workflow_templates (tenant_id, id, name, display_name, description, category, tags, state, latest_version, labels, etag)
     select t.tenant_id, n.id, n.name, t.display_name, 'order ' || n.name, n.category, array(select jsonb_array_elements_text(n.tags::jsonb)), t.state, 1, t.labels, t.etag
     from workflow_templates t, unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) as n (id, name, category, tags) where t.name = $1`,
    values,
  );
  await service.database.query(
    `insert into workflow_template_versions (tenant_id, template_id, version, content, digest)
     select v.tenant_id, n.id, 1, v.content, v.digest
     from workflow_template_versions v join workflow_templates t on t.tenant_id = v.tenant_id and t.id = v.template_id, unnest($2::uuid[]) as n (id) where t.name = $1`,
    values.slice(0, 2),
  );
  await analyze(service.database);
  return names;
}

/** As the server's own vacuum would do a minute later. */
async function analyze(database: pg.Client): Promise<void> {
  await database.query("analyze workflow_templates; analyze workflow_template_versions");
}

/** Median of one call after the other, in milliseconds, after some to warm up. */
async function measure(call: () => Promise<unknown>): Promise<number> {
  for (let n = 0; n < 50; n++) await call();
  const samples: number[] = [];
  for (let n = 0; n < calls; n++) {
    const startedAt = performance.now();
    await call();
    samples.push(performance.now() - startedAt);
  }
  return median(samples);
}

function print(what: string, ms: number, rawCommitMs?: number): void {
  console.log(`${what.padEnd(30)} p50 ${ms.toFixed(2)} ms${rawCommitMs === undefined ? "" : `   (one raw commit ${rawCommitMs.toFixed(3)} ms)`}`);
}
