/** Breakers as a user meets them: over the wire, against an HTTP server that fails. */
import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { begin, ms, run, stepsOf, useServer } from "./support/fixture.ts";

const service = useServer();
const call = (path: string, breaker: JsonObject, more: JsonObject = {}): JsonObject => ({
  name: "call",
  http_request: { method: "POST", url: `${service.ledger.url}${path}`, json: {} },
  circuit_breaker: breaker,
  ...more,
});
const eventsOf = async (executionId: string) => (await service.clients.workflows.listExecutionEvents({ executionId })).events;

describe("an open breaker", () => {
  test("costs no attempt: the step waits for its time, then one call goes out", async () => {
    service.ledger.script("/recovers", [503, 503, 200]);
    const step = call(
      "/recovers",
      { failure_threshold: 2, open_interval: "0.4s", key: "recovers" },
      { retry_policy: { initial_interval: "0.01s", maximum_attempts: 3 } },
    );
    const execution = await run(service.clients, [step]);
    const calls = service.ledger.callsTo("/recovers");
    expect(calls.map(({ status }) => status)).toEqual([503, 503, 200]);
    expect(new Set(calls.map(({ key }) => key)).size).toBe(1);
    expect((await stepsOf(service.clients, execution.id)).get("call")).toMatchObject({ attempt: 3 });
    const retries = (await eventsOf(execution.id)).flatMap(({ payload, attempt }) =>
      payload.case === "stepRetryScheduled" ? [{ ...payload.value, attempt }] : [],
    );
    expect(retries.map(({ failure, putBack, attempt }) => [failure?.name, putBack === true, attempt])).toEqual([
      ["HTTP.503", false, 1],
      ["HTTP.503", false, 2],
      ["BREAKER_OPEN", true, 3],
    ]);
  });

  test("is shown by ExplainExecution and counted by /metrics", async () => {
    service.ledger.script("/down", [503]);
    const step = call(
      "/down",
      { failure_threshold: 1, open_interval: "3600s", key: "{{'shop of ' + tenant_id}}" },
      { retry_policy: { initial_interval: "0.01s" } },
    );
    const { id } = await begin(service.clients, [step]);
    await service.ledger.called("/down");
    const explained = await expect
      .poll(async () => (await service.clients.workflows.explainExecution({ executionId: id })).blockers[0])
      .toMatchObject({ stepPath: "call", cause: { case: "breaker", value: { key: "shop of default" } } })
      .then(() => service.clients.workflows.explainExecution({ executionId: id }));
    expect(explained.summary).toContain("waits for the circuit breaker of shop of default, which is open until");
    expect(ms(explained.blockers[0]?.untilTime)).toBeGreaterThan(ms((await eventsOf(id))[0]?.time) + 3_000_000);
    const metrics = await (await fetch(`${service.server.url}/metrics`, { headers: { authorization: `Bearer ${service.server.apiKey}` } })).text();
    expect(metrics).toMatch(/^pyairtable_workflow_breakers\{state="open"\} 1$/m);
    expect(metrics).toMatch(/^pyairtable_workflow_attempts_postponed_total\{reason="breaker_open"\} [1-9]/m);
    await service.clients.workflows.terminateExecution({ executionId: id, reason: "test" });
  });

  test("watches every step of the tenant that shares its key, unless the step declines", async () => {
    service.ledger.script("/away", [503]);
    const once = { retry_policy: { maximum_attempts: 1 } };
    await run(service.clients, [call("/away", { failure_threshold: 1, open_interval: "3600s", key: "shared" }, once)]);
    const impatient = { retry_policy: { non_retryable_errors: ["BREAKER_OPEN"] } };
    const refused = await run(service.clients, [call("/else", { key: "shared" }, impatient)]);
    expect(refused.failure?.name).toBe("BREAKER_OPEN");
    expect(service.ledger.callsTo("/else")).toEqual([]);
    await run(service.clients, [call("/else", { disabled: true })]);
    expect(service.ledger.callsTo("/else")).toHaveLength(1);
  });

  test("ends a step whose own budget is over sooner", async () => {
    service.ledger.script("/gone", [503]);
    const step = call(
      "/gone",
      { failure_threshold: 1, open_interval: "3600s", key: "gone" },
      { timeouts: { schedule_to_close: "5s" }, retry_policy: { initial_interval: "0.01s" } },
    );
    expect((await run(service.clients, [step])).failure?.name).toBe("BREAKER_OPEN");
  });
});
