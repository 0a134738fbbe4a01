/** Who may call: keys, what answers without one, what is never given away. */
import { create } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection, ServerReflectionRequestSchema } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflectionRequestSchema as AlphaRequestSchema, ServerReflection as ServerReflectionAlpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { connect, postJson, type Target, withHeaders } from "./support/connect-client.ts";
import { createWorkflow, logStep } from "./support/definitions.ts";
import { useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusal, refusalOfJson } from "./support/refusal.ts";
import { makeApiKey } from "./support/server.ts";

const service = useServer({ env: { PAWF_REFLECTION: "auth" } });
const target = (apiKey: string): Target => ({ url: service.server.url, apiKey });
const list = "WorkflowService/ListWorkflows";

/** What follows the second `_`: the secret is random base64url and may hold, or begin with, one itself. */
const secretOf = (apiKey: string): string => apiKey.split("_").slice(2).join("_");

describe("a call", () => {
  test("without a key is told to bring one", async () => {
    const { workflows, templates, sagas } = connect(target(""));
    const missing = { code: "UNAUTHENTICATED", reason: "KEY_MISSING" };
    expect(await refusal(workflows.listWorkflows({}))).toMatchObject(missing);
    expect(await refusal(workflows.createWorkflow({}))).toMatchObject(missing);
    expect(await refusal(workflows.watchExecution({ executionId: "key:x" }))).toMatchObject(missing);
    expect(await refusal(templates.listTemplates({}))).toMatchObject(missing);
    expect(await refusal(sagas.getSaga({ sagaId: "x" }))).toMatchObject(missing);
    expect((await postJson(target(""), list, {})).status).toBe(401);
  });

  test("with a wrong key is refused, whatever is wrong with it, and the key is not said back", async () => {
    const { apiKey } = service.server;
    const [prefix, id] = apiKey.split("_") as [string, string];
    const secret = secretOf(apiKey);
    const flipped = `${secret.slice(0, -2)}${secret.endsWith("AA") ? "BB" : "AA"}`;
    const wrong = [
      makeApiKey(),
      `${prefix}_${id}_${flipped}`,
      `${prefix}_${id}_`,
      `${prefix}_${id}`,
      id,
      "pawf_x_y",
      "Bearer",
      "x".repeat(10_000),
      `${apiKey}x`,
      ` ${apiKey}x`,
      "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnRfaWQiOiJkZWZhdWx0In0.",
    ];
    for (const key of wrong) {
      const answer = await postJson(target(""), list, {}, { authorization: `Bearer ${key}` }).catch(() => undefined);
      if (answer === undefined) continue; // too long for a header: the connection is closed
      if (answer.status === 431) continue;
      const error = refusalOfJson(answer);
      expect({ code: error.code, reason: error.reason }, key.slice(0, 40)).toEqual({ code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
      expect(JSON.stringify(answer.body)).not.toContain(secret.slice(0, 20));
    }
    for (const authorization of [`Basic ${apiKey}`, apiKey, "Bearer ", ""]) {
      const { status } = await postJson(target(""), list, {}, { authorization });
      expect(status, authorization.slice(0, 8)).toBe(401);
    }
  });

  test("takes x-api-key as well, but not two different keys, and none from the address", async () => {
    const { apiKey, url } = service.server;
    expect((await postJson(target(""), list, {}, { "x-api-key": apiKey })).status).toBe(200);
    expect((await postJson(target(apiKey), list, {}, { "x-api-key": apiKey })).status).toBe(200);
    const two = refusalOfJson(await postJson(target(apiKey), list, {}, { "x-api-key": makeApiKey() }));
    expect(two).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_INVALID" });
    const query = await fetch(`${url}/pyairtable.workflow.v1.${list}?x-api-key=${apiKey}&authorization=Bearer%20${apiKey}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: "{}",
    });
    expect(query.status).toBe(401);
  });

  test("is not another tenant's by saying so", async () => {
    const name = await createWorkflow(service.clients, [logStep("a")]);
    const named = connect(service.server, { "x-tenant-id": "other", baggage: "tenant=other" });
    expect((await named.workflows.getWorkflow({ workflow: name })).workflow?.name).toBe(name);
  });

  test("by GET works for reads only", async () => {
    const { apiKey, url } = service.server;
    const get = (method: string) =>
      fetch(`${url}/pyairtable.workflow.v1.${method}?connect=v1&encoding=json&message=%7B%7D`, { headers: { authorization: `Bearer ${apiKey}` } });
    expect((await get(list)).status).toBe(200);
    expect((await get("WorkflowService/StartExecution")).status).toBe(405);
  });
});

describe("health", () => {
  const health = (apiKey: string): Client<typeof Health> =>
    createClient(Health, createGrpcTransport({ baseUrl: service.server.url, interceptors: [withHeaders(apiKey, {})] }));

  test("answers without a key for the whole, liveness and readiness, and over plain HTTP", async () => {
    for (const name of ["", "liveness", "readiness"])
      expect((await health("").check({ service: name })).status).toBe(HealthCheckResponse_ServingStatus.SERVING);
    for (const path of ["/health", "/livez", "/readyz", "/startupz"]) {
      const response = await fetch(service.server.url + path);
      expect(response.status, path).toBe(200);
      expect(await response.text()).not.toMatch(/postgres:\/\/|127\.0\.0\.1|password/);
    }
  });

  test("gives names, watches and metrics to keys only", async () => {
    const name = "pyairtable.workflow.v1.WorkflowService";
    expect((await refusal(health("").check({ service: name }))).code).toBe("UNAUTHENTICATED");
    expect((await refusal(health("").watch({ service: "" }))).code).toBe("UNAUTHENTICATED");
    expect((await health(service.server.apiKey).check({ service: name })).status).toBe(HealthCheckResponse_ServingStatus.SERVING);
    expect((await refusal(health(service.server.apiKey).check({ service: "nobody" }))).code).toBe("NOT_FOUND");
    expect([401, 404]).toContain((await fetch(`${service.server.url}/metrics`)).status);
  });
});

describe("reflection", () => {
  const listed = async (apiKey: string, url = service.server.url): Promise<string[]> => {
    const transport = createGrpcTransport({ baseUrl: url, interceptors: [withHeaders(apiKey, {})] });
    const names: string[] = [];
    async function* ask() {
      yield create(ServerReflectionRequestSchema, { messageRequest: { case: "listServices", value: "*" } });
    }
    for await (const { messageResponse } of createClient(ServerReflection, transport).serverReflectionInfo(ask())) {
      if (messageResponse.case === "listServicesResponse") names.push(...messageResponse.value.service.map((one) => one.name));
    }
    return names;
  };

  test("lists and describes every service, in both versions, to who has a key", async () => {
    expect(await listed(service.server.apiKey)).toEqual(
      expect.arrayContaining([
        "grpc.health.v1.Health",
        "pyairtable.workflow.v1.SagaCoordinationService",
        "pyairtable.workflow.v1.TemplateService",
        "pyairtable.workflow.v1.WorkflowService",
      ]),
    );
    const transport = createGrpcTransport({ baseUrl: service.server.url, interceptors: [withHeaders(service.server.apiKey, {})] });
    async function* ask() {
      for (const symbol of ["pyairtable.workflow.v1.WorkflowService.StartExecution", "google.rpc.BadRequest", "nobody.at.Home"])
        yield create(AlphaRequestSchema, { messageRequest: { case: "fileContainingSymbol", value: symbol } });
    }
    const answers: (string | undefined)[] = [];
    for await (const { messageResponse } of createClient(ServerReflectionAlpha, transport).serverReflectionInfo(ask())) answers.push(messageResponse.case);
    expect(answers).toEqual(["fileDescriptorResponse", "fileDescriptorResponse", "errorResponse"]);
  });

  test("needs a key with auth, none with public, and is not there with off", async () => {
    await expect(listed("")).rejects.toThrow(/unauthenticated/);
    const [open, off] = await Promise.all(["public", "off"].map((PAWF_REFLECTION) => startAnother(service.server, { env: { PAWF_REFLECTION } })));
    expect((await listed("", open?.url)).length).toBeGreaterThan(3);
    await expect(listed(service.server.apiKey, off?.url)).rejects.toThrow(/unimplemented/);
    await Promise.all([open?.stop(), off?.stop()]);
  });
});

test("no key stands in the log", async () => {
  const secret = secretOf(service.server.apiKey);
  await postJson(service.server, list, { nobody: 1 });
  expect(service.server.logLines.join("\n")).not.toContain(secret);
});
