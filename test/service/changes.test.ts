/**
 * Every rpc that takes a request id, from the services' descriptors: the answer and what was changed stand together or not at
 * all, so whatever dies in between, the repeat gets the answer as the first time and nothing happens twice.
 */
import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AccessService } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { SagaCoordinationService } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { SecretService } from "#gen/pyairtable/workflow/v1/secret_service_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { TemplateService } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { httpStep, sagaOf } from "../saga/support/steps.ts";
import { type ChangeCase, changeCases } from "./support/change-cases.ts";
import { added, census, clientOf } from "./support/change-census.ts";
import { connect } from "./support/connect-client.ts";
import { createWorkflow, logStep } from "./support/definitions.ts";
import { type Fixture, seconds, useServerProcess } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusal } from "./support/refusal.ts";

const service = useServerProcess();
let sql: Client;
beforeAll(async () => {
  sql = new Client({ connectionString: service.database.databaseUrl });
  // The database goes at the end, and with it this connection.
  sql.on("error", () => undefined);
  await sql.connect();
  // `fail`: the disk is full at the moment when the answer is stored. `wait`: nothing goes on at that moment.
  await sql.query(`
    create table test_faults (method text primary key, kind text not null);
    create function test_fault() returns trigger language plpgsql as $$
    declare fault text := (select kind from test_faults where new.method like '%.' || method);
    begin
      if fault = 'fail' then raise exception 'disk full' using errcode = '53100'; end if;
      if fault = 'wait' then perform pg_advisory_xact_lock_shared(4711); end if;
      return new;
    end $$;
    create trigger test_fault before update of response on idempotency_keys for each row when (new.response is not null) execute function test_fault();`);
});
afterAll(() => sql?.end());

const services = [WorkflowService, TemplateService, SagaCoordinationService, SecretService, FileService, AccessService, TaskService];
const methods = services.flatMap((one) => one.methods.map((method) => ({ name: `${one.name}/${method.name}`, method })));
const takesRequestId = ({ method }: { readonly method: DescMethod }): boolean =>
  method.methodKind === "unary" &&
  method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS &&
  method.input.fields.some(({ name }) => name === "request_id");
const repeatable = methods.filter(takesRequestId);

it("every rpc that takes a request id has its case here", () => {
  expect(Object.keys(changeCases).sort()).toEqual(repeatable.map(({ name }) => name).sort());
});

/** What executions are told is on their ledgers before the answer is stored; what they start is found by its own id. */
const toldExecutions =
  /\/(Start|BatchStart|Cancel|Terminate|Pause|Resume|Retry|Rerun)Execution|\/(Skip|Complete|Fail|Enlist|Resolve)Step|Saga$|UpdateVariables|SignalExecution|PublishEvent|ReplaceParticipant/;

/** What is started or sent is its own record; the call that goes to several sagas has a line for each. */
function linesOnce(name: string): number {
  if (/\/(Start|BatchStart|Rerun)Execution|StartSaga|PublishEvent/.test(name)) return 0;
  return name.endsWith("RetrySaga") ? 2 : 1;
}

/** Lines of the audit log that this rpc has left so far. */
async function linesOf(name: string): Promise<number> {
  const { entries } = await service.clients.access.listAuditEntries({ filter: `method = "${name.split("/")[1]}"`, pageSize: 1_000 });
  for (const { actor } of entries) expect(actor).toMatch(/^key_/);
  return entries.length;
}

interface Answer {
  readonly ids: string;
  readonly replayed: boolean;
}

function caller(name: string): (request: object) => Promise<Answer> {
  const [serviceName = "", methodName = ""] = name.split("/");
  const localName = methodName.charAt(0).toLowerCase() + methodName.slice(1);
  return async (request) => {
    let replayed = false;
    const answer = await clientOf(service.clients, serviceName)[localName]?.(request, {
      onHeader: (headers) => (replayed = headers.get("idempotent-replayed") === "true"),
    });
    return { ids: JSON.stringify(idsOf(answer)), replayed };
  };
}

/** Every id, token, version and number of an answer; what goes on by itself (states, times) is left out. */
function idsOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(idsOf);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([name, member]) => typeof member === "object" || /id$|ids$|revision$|version$|count$|decision$|path$/i.test(name));
  return Object.fromEntries(
    kept.filter(([name]) => name !== "steps").map(([name, member]) => [name, typeof member === "bigint" ? String(member) : idsOf(member)]),
  );
}

const addsOf = ({ adds = {} }: ChangeCase): object => adds;

describe("when the answer cannot be stored", () => {
  it.each(repeatable)("$name leaves both or nothing, and its repeats make one effect", async ({ name }) => {
    const example = changeCases[name] as ChangeCase;
    const call = caller(name);
    const request = { ...(await example.request(service)), requestId: crypto.randomUUID() };
    const before = await census(sql);
    const linesBefore = await linesOf(name);
    const changed = async (): Promise<object> => added(before, await census(sql));
    await sql.query("insert into test_faults values ($1, 'fail')", [name]);
    const first = await call(request).catch((error: unknown) => error as Error);
    if (toldExecutions.test(name)) {
      expect(first).not.toBeInstanceOf(Error);
    } else {
      expect(await refusal(Promise.reject(first))).toMatchObject({ code: "UNAVAILABLE", reason: "STORAGE_UNAVAILABLE" });
      expect(await changed()).toEqual({});
    }
    await sql.query("delete from test_faults");
    const twins = await Promise.all([call(request), call(request)]);
    expect(twins[0]?.ids).toBe(twins[1]?.ids);
    // Of a batch each start is known again; its answer is put together anew.
    const wasAnswered = toldExecutions.test(name) && !name.includes("BatchStart");
    if (wasAnswered) expect(twins.map(({ replayed }) => replayed)).toEqual([true, true]);
    else expect(twins.filter(({ replayed }) => replayed)).toHaveLength(1);
    if (!(first instanceof Error)) expect(twins[0]?.ids).toBe(first.ids);
    await expect.poll(changed).toEqual(addsOf(example));
    expect(await call(request)).toEqual({ ids: twins[0]?.ids, replayed: true });
    expect((await linesOf(name)) - linesBefore).toBe(linesOnce(name));
    expect(await refusal(call({ ...request, ...example.other }))).toMatchObject({ code: "ALREADY_EXISTS" });
    expect(await changed()).toEqual(addsOf(example));
  });
});

it("a start that is repeated gets its answer although its workflow, its secret or its source is gone", async () => {
  const { workflows, sagas, secrets } = service.clients;
  const workflow = await createWorkflow(service.clients, [logStep("a")]);
  const start = { workflow, requestId: crypto.randomUUID(), wait: seconds(50) };
  const { execution } = await workflows.startExecution(start);
  const rerun = { executionId: execution?.id ?? "", requestId: crypto.randomUUID() };
  const again = await workflows.rerunExecution(rerun);
  await secrets.setSecret({ name: "short-lived", value: "a-secret-value" });
  const url = service.ledger.url;
  const action = { http: { method: "POST", url, auth: { bearer: { slot: "short-lived" } } } };
  const wish = { ...sagaOf([httpStep(url, "charge", { action })]), requestId: crypto.randomUUID() };
  const { saga } = await sagas.startSaga(wish);
  await workflows.deleteWorkflow({ workflow, force: true });
  await workflows.deleteExecution({ executionId: rerun.executionId });
  await secrets.deleteSecret({ name: "short-lived" });
  expect((await workflows.rerunExecution(rerun)).execution?.id).toBe(again.execution?.id);
  expect(await refusal(workflows.startExecution({ ...start, requestId: crypto.randomUUID() }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
  expect((await sagas.startSaga(wish)).saga?.id).toBe(saga?.id);
  const other = { workflow: await createWorkflow(service.clients, [logStep("a")]), requestId: crypto.randomUUID() };
  const first = await workflows.startExecution(other);
  await workflows.deleteWorkflow({ workflow: other.workflow, force: true });
  expect((await workflows.startExecution(other)).execution?.id).toBe(first.execution?.id);
});

it("a process that is killed between a change and its answer leaves both or nothing, and the repeats make one effect", async () => {
  const names = ["WorkflowService/CreateWorkflow", "TemplateService/PublishTemplate", "WorkflowService/UpdateVariables", "SagaCoordinationService/RetrySaga"];
  const calls: { readonly name: string; readonly request: object }[] = [];
  for (const name of names) calls.push({ name, request: { ...(await changeCases[name]?.request(service)), requestId: crypto.randomUUID() } });
  const before = await census(sql);
  await sql.query("begin; select pg_advisory_xact_lock(4711)");
  for (const name of names) await sql.query("insert into test_faults values ($1, 'wait')", [name]);
  // Seen by the trigger of others although this transaction holds the lock.
  await sql.query("commit; begin; select pg_advisory_xact_lock(4711)");
  const lost = calls.map(({ name, request }) => caller(name)(request).catch((error: unknown) => error));
  const waiting = "select count(*)::int as count from pg_locks where locktype = 'advisory' and objid = 4711 and not granted";
  await expect.poll(async () => (await sql.query<{ count: number }>(waiting)).rows[0]?.count).toBe(names.length);
  await service.server.kill();
  await Promise.all(lost);
  await sql.query("delete from test_faults");
  await sql.query("commit");
  (service as Fixture).server = await startAnother(service.server);
  service.clients = connect(service.server);
  const again = await Promise.all(calls.map(({ name, request }) => caller(name)(request)));
  const repeated = await Promise.all(calls.map(({ name, request }) => caller(name)(request)));
  expect(repeated).toEqual(again.map(({ ids }) => ({ ids, replayed: true })));
  const expected: Record<string, number> = {};
  for (const name of names) for (const [what, count] of Object.entries(changeCases[name]?.adds ?? {})) expected[what] = (expected[what] ?? 0) + count;
  await expect.poll(async () => added(before, await census(sql))).toMatchObject(expected);
});
