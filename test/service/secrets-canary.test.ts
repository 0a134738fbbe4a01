/**
 * Secrets go to the service that they are for and nowhere else. Every scheme is used against a server that repeats all it is
 * told, in answers and in errors; then everything that can be read of the server is searched: rpcs, streams, logs, metrics,
 * exported spans and metrics, and every row of every table.
 */
import { randomBytes } from "node:crypto";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { Mask } from "../../src/base/mask.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect, postJson } from "./support/connect-client.ts";
import { definition, newName, quickRetry } from "./support/definitions.ts";
import { type EchoServer, startEchoServer, startGrpcEcho } from "./support/echo-server.ts";
import { ended, seconds } from "./support/fixture.ts";
import { type Server, startServer } from "./support/server.ts";
import { collect } from "./support/watching.ts";

const word = (what: string): string => `${what}-${randomBytes(6).toString("hex")}+/=&"ö`;
/** Header values are ASCII. */
const header = (what: string): string => word(what).replace("ö", "o");
const canaries = {
  bearer: header("bearer"),
  password: word("password"),
  api: header("api"),
  client: word("client"),
  body: word("body"),
  hook: word("hook"),
  extra: header("extra"),
};
const unused = word("unused");
const token = `token-${randomBytes(12).toString("base64url")}`;
const everySecret = [...Object.values(canaries), unused, token];

let echo: EchoServer;
let grpcEcho: Awaited<ReturnType<typeof startGrpcEcho>>;
let collector: HttpServer;
const exported: Buffer[] = [];
let database: TestDatabase;
let server: Server;
let clients: Clients;
/** Whatever a caller got to see. */
const shown: string[] = [];

beforeAll(async () => {
  echo = await startEchoServer(token);
  grpcEcho = await startGrpcEcho();
  collector = createServer(async (request, response) => {
    for await (const chunk of request) exported.push(chunk as Buffer);
    response.end();
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  database = await createMigratedDatabase();
  const otlp = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const env = { PAWF_LOG_LEVEL: "debug", OTEL_EXPORTER_OTLP_ENDPOINT: otlp, OTEL_EXPORTER_OTLP_COMPRESSION: "none" };
  server = await startServer({ databaseUrl: database.databaseUrl, egressAllow: [echo.address, grpcEcho.address], env });
  clients = connect(server);
  for (const [name, value] of Object.entries(canaries))
    keep(await clients.secrets.setSecret({ name, value, description: `the ${name} secret`, requestId: name }));
  keep(await clients.secrets.setSecret({ name: "unused", value: unused }));
});
afterAll(async () => {
  await server?.stop();
  await echo?.close();
  await grpcEcho?.close();
  collector?.close();
  await database?.drop();
});

function keep<T>(answer: T): T {
  shown.push(JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? String(value) : value)));
  return answer;
}

const ref = (slot: string): JsonObject => ({ slot });
const http = (path: string, more: JsonObject): JsonObject => ({ method: "POST", url: `${echo.url}${path}`, text: "hello", ...more });
const schemes = (path: string): Readonly<Record<string, JsonObject>> => ({
  bearer: { http_request: http(path, { auth: { bearer: ref("bearer") }, secret_headers: { "X-Extra": ref("extra") } }) },
  basic: { http_request: http(path, { auth: { basic: { username: "ann", password: ref("password") } } }) },
  api_header: { http_request: http(path, { auth: { api_key: { header: "X-Api-Key", value: ref("api") } } }) },
  api_query: { http_request: http(path, { auth: { api_key: { query_parameter: "key", value: ref("api") } } }) },
  oauth: { http_request: http(path, { auth: { oauth2: { token_url: `${echo.url}/token`, client_id: "id", client_secret: ref("client") } } }) },
  signed: { http_request: http(path, { auth: { hmac_sha256: ref("body") } }) },
  hook: { notification: { webhook: { url: `${echo.url}${path}`, payload: { a: 1 }, signing_secret: ref("hook") } } },
});
const secret_slots = Object.keys(canaries).map((name) => ({ name }));

/** Runs these steps, each allowed to fail, and reads the execution in every way there is. */
async function runAndRead(steps: JsonValue[]): Promise<void> {
  const name = newName("canary");
  const stored = await clients.workflows.createWorkflow({
    workflow: { name, definition: definition(steps, { secret_slots, default_retry_policy: { ...quickRetry, maximum_attempts: 2 } }) },
  });
  keep(stored);
  const { execution } = keep(await clients.workflows.startExecution({ workflow: name, wait: seconds(50) }));
  const executionId = execution?.id ?? "";
  keep(await ended(clients, executionId));
  keep(await collect(clients.workflows.watchExecution({ executionId, afterSequence: 0n })));
  keep(await clients.workflows.listExecutionEvents({ executionId, pageSize: 1000 }));
  keep(await clients.workflows.listExecutionSteps({ executionId, view: View.FULL, pageSize: 1000 }));
  keep(await clients.workflows.getExecution({ executionId, view: View.FULL }));
  keep(await clients.workflows.listExecutions({ view: View.BASIC }));
  keep(await clients.workflows.explainExecution({ executionId }));
  keep(await clients.workflows.getWorkflow({ workflow: name, view: View.FULL }));
  keep(await clients.workflows.getWorkflowRevision({ workflow: name, revision: 1 }));
}

const named = (steps: Readonly<Record<string, JsonObject>>, more: JsonObject = {}): JsonValue[] =>
  Object.entries(steps).map(([name, step]) => ({ name, ...step, ...more }));
const tell = { name: "tell", log: { message: "{{steps.bearer.result}}", fields: { all: "{{steps.basic.result.body}}" } } };

test("every credential reaches its service", async () => {
  await runAndRead([...named(schemes("/200")), tell]);
  const seen = echo.seen.join("\n");
  for (const value of [canaries.bearer, canaries.api, canaries.extra]) expect(seen).toContain(JSON.stringify(value).slice(1, -1));
  expect(seen).toContain(Buffer.from(`ann:${canaries.password}`).toString("base64"));
  expect(seen).toContain(new URLSearchParams({ key: canaries.api }).toString());
  expect(seen).toContain(`Bearer ${token}`);
  expect(seen).toMatch(/x-signature-256":"sha256=[0-9a-f]{64}"/);
  expect(seen).toMatch(/webhook-signature":"v1,/);
});

test("steps that fail, are repeated, caught and undone", async () => {
  const undo = { compensation: { step: { name: "undo", ...(schemes("/200")["bearer"] as JsonObject) } } };
  const caught = { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } };
  // One alone: more of them would open the breaker of this destination.
  await runAndRead(named({ bearer: schemes("/503")["bearer"] as JsonObject }, caught));
  const grpc = { grpc_call: { target: `dns:///${grpcEcho.address}`, plaintext: true, service: "a.B", method: "C", bearer: ref("bearer") } };
  await runAndRead(named({ ...schemes("/422"), grpc }, caught));
  expect(grpcEcho.seen).toContain(`Bearer ${canaries.bearer}`);
  await runAndRead([{ name: "first", ...schemes("/200")["basic"], ...undo }, ...named({ bearer: schemes("/402")["bearer"] as JsonObject })]);
});

test("refusals and repeated calls", async () => {
  const { bearer } = canaries;
  const bodies: [string, unknown][] = [
    ["SetSecret", { name: "Bad Name", value: bearer }],
    ["SetSecret", { name: "x", value: bearer, nobody: bearer }],
    ["SetSecret", { name: "x", value: { a: bearer } }],
    ["SetSecret", { name: "x", value: [bearer] }],
    ["SetSecret", { name: "x", value: bearer.repeat(2_000) }],
    ["SetSecret", { name: "x", value: bearer, etag: "ö" }],
    ["SetSecret", `{"name":"x","value":"${bearer.replaceAll('"', "")}`],
    ["RotateSecret", { name: "nobody", value: bearer }],
    ["RotateSecret", { name: "bearer", value: bearer, keepPrevious: bearer }],
    ["SetSecret", { name: "bearer", value: "another-value", requestId: "bearer" }],
  ];
  for (const [method, body] of bodies) {
    const answer = await postJson(server, `SecretService/${method}`, body);
    expect(answer.status, JSON.stringify(body).slice(0, 80)).not.toBe(200);
    keep(answer.body);
  }
  const again = await postJson(server, "SecretService/SetSecret", { name: "bearer", value: bearer, description: "the bearer secret", requestId: "bearer" });
  expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([200, "true"]);
  keep(again.body);
  keep(await clients.secrets.rotateSecret({ name: "hook", value: canaries.hook, keepPrevious: seconds(60) }));
  keep(await clients.secrets.listSecrets({}));
  const exported = { name: "exported", category: "test", definition: definition(named({ bearer: schemes("/200")["bearer"] as JsonObject }), { secret_slots }) };
  await clients.templates.createTemplate({ template: exported });
  await clients.templates.createWorkflowFromTemplate({ template: "exported", name: "imported", secretBindings: { bearer: "api" } });
  keep(await clients.templates.exportTemplates({}));
  keep(await clients.secrets.setSecret({ name: "extra", value: canaries.extra, validateOnly: true }));
});

test("nothing of them is found anywhere else", async () => {
  const headers = { authorization: `Bearer ${server.apiKey}` };
  for (const path of ["/metrics", "/health", "/version"]) shown.push(await (await fetch(`${server.url}${path}`, { headers })).text());
  await server.stop();
  const places: Record<string, string> = {
    answers: shown.join("\n"),
    logs: server.logLines.join("\n"),
    exports: Buffer.concat(exported).toString("latin1"),
    database: await dumpOf(database.databaseUrl),
  };
  for (const [place, text] of Object.entries(places)) {
    expect(text.length, place).toBeGreaterThan(500);
    for (const secret of everySecret) {
      const mask = new Mask();
      mask.conceal(secret);
      // Also in parts: eight characters of it are enough to be found.
      const part = secret.slice(2, -4);
      const at = [secret, part, Buffer.from(part).toString("hex"), encodeURIComponent(part)].map((form) => text.indexOf(form)).find((index) => index >= 0);
      expect(at === undefined ? "nothing" : text.slice(Math.max(0, at - 200), at + 200), `${place}: ${secret}`).toBe("nothing");
      if (place !== "exports") expect(mask.text(text) === text, `${place}: ${secret} in another form`).toBe(true);
    }
  }
  // The search itself finds what is there.
  for (const place of ["answers", "database"]) expect(places[place]).toContain("the bearer secret");
  expect(places["answers"]).toContain("***");
});

/** Every row of every table as text; bytes as hex, and as the text they may hold. */
async function dumpOf(databaseUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(
      "select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public'",
    );
    expect(tables.length).toBeGreaterThan(15);
    const texts: string[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<{ row: string }>(`select row_to_json(t)::text as row from ${name} t`);
      for (const { row } of rows) {
        texts.push(row);
        for (const [, hex] of row.matchAll(/"\\\\x([0-9a-f]+)"/g))
          texts.push(Buffer.from(hex as string, "hex").toString("latin1"), Buffer.from(hex as string, "hex").toString("utf8"));
      }
    }
    return texts.join("\n");
  } finally {
    await client.end();
  }
}
