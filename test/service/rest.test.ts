/** The JSON routes over plain HTTP: the same resources, rules and refusals as over gRPC. */
import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createWorkflow, delayStep, logStep, newName } from "./support/definitions.ts";
import { useServer } from "./support/fixture.ts";

const fixture = useServer();

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: JSON of any rpc
  readonly body: any;
}

async function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const { server } = fixture;
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${server.apiKey}`, ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) };
}

const steps = (message: string) => ({ dsl_version: "v1", steps: [{ name: "say", log: { message } }] });
/** Reason of a Connect error in JSON. */
const reasonOf = ({ body }: Answer): string => body?.details?.find((detail: { type: string }) => detail.type === "google.rpc.ErrorInfo")?.debug?.reason ?? "";

describe("workflows", () => {
  it("are created, read, listed, changed, replaced, executed and deleted, in proto names", async () => {
    const name = newName("rest");
    const created = await call("POST", "/workflows", { name, display_name: "Rest", labels: { rest: "yes" }, definition: steps("1") });
    expect(created).toMatchObject({ status: 200, body: { workflow: { name, active_revision: 1, display_name: "Rest" } } });
    expect(await call("GET", `/workflows/${name}`)).toMatchObject({ status: 200, body: { workflow: { definition: steps("1") } } });
    const listed = await call("GET", `/workflows?page_size=1&filter=${encodeURIComponent('labels.rest = "yes"')}&include_total_size=true&order_by=name`);
    expect(listed.body).toMatchObject({ workflows: [{ name }], total_size: "1" });
    expect(await call("PATCH", `/workflows/${name}?update_mask=display_name`, { display_name: "Calm", description: "left out" })).toMatchObject({
      body: { workflow: { display_name: "Calm" } },
    });
    const replaced = await call("PUT", `/workflows/${name}?revision_note=again`, { name, definition: steps("2") });
    expect(replaced.body.workflow).toMatchObject({ active_revision: 2 });
    expect(replaced.body.workflow.display_name).toBeUndefined();
    const run = await call("POST", `/workflows/${name}/execute`, { input: { a: 1 }, wait: "10s" });
    expect(run.body.execution).toMatchObject({ state: "EXECUTION_STATE_COMPLETED", revision: 2, input: { a: 1 } });
    const id = run.body.execution.id;
    expect((await call("GET", `/executions/${id}`)).body.execution).toMatchObject({ id, end_reason: "END_REASON_SUCCESS" });
    expect((await call("GET", `/executions/${id}/steps?view=FULL`)).body.steps).toMatchObject([{ path: "say", state: "STEP_STATE_COMPLETED" }]);
    expect((await call("GET", `/executions/${id}/events?page_size=2`)).body).toMatchObject({
      events: [{ sequence: "1", type: "execution_created" }, { sequence: "2" }],
    });
    expect((await call("GET", `/executions?filter=${encodeURIComponent(`workflow_name = "${name}"`)}`)).body.executions).toHaveLength(1);
    expect(await call("DELETE", `/workflows/${name}?validate_only=true`)).toMatchObject({ status: 200 });
    expect(await call("DELETE", `/workflows/${name}`)).toMatchObject({ status: 200, body: { workflow: { state: "WORKFLOW_STATE_DELETED" } } });
    expect(await call("GET", `/workflows/${name}`)).toMatchObject({ status: 404 });
  });

  it("are controlled by verbs behind the id, also by execution key", async () => {
    const workflow = await createWorkflow(fixture.clients, [delayStep("rest", "600s")]);
    const key = `k:${randomUUID()}`;
    await call("POST", `/workflows/${workflow}/execute`, { execution_key: key });
    expect((await call("GET", `/executions/key:${key}`)).body.execution).toMatchObject({ execution_key: key });
    expect((await call("POST", `/executions/key:${key}:pause`, { reason: "x" })).body.execution).toMatchObject({ paused: true });
    expect((await call("POST", `/executions/key:${key}:cancel`)).status).toBe(200);
  });

  it("repeat their first answer for the same idempotency key", async () => {
    const body = { name: newName("rest"), definition: steps("1") };
    const headers = { "idempotency-key": randomUUID() };
    const [first, again] = [await call("POST", "/workflows", body, headers), await call("POST", "/workflows", body, headers)];
    expect(again.body).toEqual(first.body);
    expect([first, again].map(({ headers }) => headers.get("idempotent-replayed"))).toEqual([null, "true"]);
  });
});

describe("templates", () => {
  it("take template_config for definition, make workflows, and keep literal paths apart from names", async () => {
    const name = newName("rest-template");
    const created = await call("POST", "/templates", { name, display_name: "T", category: "automation", template_config: steps("hello {{params.who}}") });
    expect(created).toMatchObject({ status: 200, body: { template: { name, latest_version: 1 } } });
    const made = await call("POST", "/templates/create-workflow", { template: name, name: newName("rest"), parameters: { who: "Ada" } });
    expect(made.body.workflow.definition.steps[0].log).toEqual({ message: "hello Ada" });
    expect((await call("GET", "/templates/categories")).body.categories.length).toBeGreaterThan(0);
    expect((await call("GET", `/templates/${name}`)).body.template).toMatchObject({ name });
  });
});

describe("what is wrong", () => {
  it("is refused with the status and the reason of the rpc", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("a")]);
    const missing = await call("GET", "/workflows/nobody");
    expect([missing.status, reasonOf(missing)]).toEqual([404, "WORKFLOW_NOT_FOUND"]);
    const stale = await call("PATCH", `/workflows/${workflow}?etag=old`, { display_name: "x" });
    expect([stale.status, reasonOf(stale)]).toEqual([409, "ETAG_MISMATCH"]);
    for (const [method, path, body] of [
      ["GET", "/workflows?page_sise=1", undefined],
      ["GET", "/workflows?page_size=many", undefined],
      ["GET", "/workflows?page_size=1&page_size=2", undefined],
      ["POST", "/workflows?workflow=x", { name: "x", definition: steps("1") }],
      ["POST", `/workflows/${workflow}/execute?wait=1s`, {}],
      ["POST", "/workflows", { nme: "x" }],
      ["POST", "/workflows", "{"],
      ["POST", "/workflows", "[]"],
      ["POST", "/workflows", '{"name":"x","definition":{"variables":{"n":12345678901234567890}}}'],
    ] as const) {
      const answer = await call(method, path, body);
      expect([answer.status, reasonOf(answer)], `${method} ${path}`).toEqual([400, "VALIDATION_FAILED"]);
    }
    expect((await call("POST", "/workflows", "name: x", { "content-type": "text/yaml" })).status).toBe(400);
    for (const [method, path] of [
      ["GET", "/nothing"],
      ["PATCH", "/executions"],
      ["GET", "/workflows/%zz"],
      ["GET", "/workflows/a/b"],
    ] as const)
      expect((await call(method, path, method === "PATCH" ? {} : undefined)).status, path).toBe(404);
    const { server } = fixture;
    expect((await fetch(`${server.url}/api/v1/workflows`)).status).toBe(401);
    expect((await fetch(`${server.url}/api/v1/executions/exe_1/events`, { headers: { accept: "text/event-stream" } })).status).toBe(401);
  });
});

describe("an execution's events as text/event-stream", () => {
  /** The events of a stream until it ends, as `id event`. */
  async function events(path: string, headers: Record<string, string> = {}): Promise<{ status: number; type: string | null; lines: string[]; text: string }> {
    const { server } = fixture;
    const response = await fetch(`${server.url}/api/v1${path}`, {
      headers: { authorization: `Bearer ${server.apiKey}`, accept: "text/event-stream", ...headers },
    });
    const text = await response.text();
    const lines = text.split("\n\n").flatMap((block) => {
      const event = /^event: (.+)$/m.exec(block)?.[1];
      return event === undefined || event === "heartbeat" ? [] : [`${/^id: (.+)$/m.exec(block)?.[1] ?? "-"} ${event}`];
    });
    return { status: response.status, type: response.headers.get("content-type"), lines, text };
  }

  it("come from the first one or after Last-Event-ID, and end with the execution", async () => {
    const workflow = await createWorkflow(fixture.clients, [delayStep("rest", "0.2s"), logStep("say")]);
    const { body } = await call("POST", `/workflows/${workflow}/execute`, {});
    const id = body.execution.id;
    const all = await events(`/executions/${id}/events?after_sequence=0`);
    expect(all).toMatchObject({ status: 200, type: "text/event-stream" });
    const numbers = all.lines.filter((line) => line.endsWith(" event")).map((line) => Number(line.split(" ")[0]));
    expect(numbers).toEqual(numbers.map((_, index) => index + 1));
    expect(all.text).toContain('"type":"execution_ended"');
    const rest = await events(`/executions/${id}/events`, { "last-event-id": "3" });
    expect(rest.lines.filter((line) => line.endsWith(" event"))).toEqual(numbers.slice(3).map((number) => `${number} event`));
    expect(rest.text).not.toContain('"step_path"'.replace("step_path", "stepPath"));
    expect(await events("/executions/exe_01M84XF5YCEN3SNB41TB8SZ433/events")).toMatchObject({ status: 404 });
  });
});
