import { describe, expect, it } from "vitest";
import { EndReason, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { CompensationKind } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import type { Saga } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { ended, useServer } from "../service/support/fixture.ts";
import { refusal } from "../service/support/refusal.ts";
import { httpStep, sagaOf } from "./support/steps.ts";

const fixture = useServer();

async function finished(request: ReturnType<typeof sagaOf>): Promise<Saga> {
  const { saga } = await fixture.clients.sagas.startSaga(request);
  await ended(fixture.clients, saga?.id ?? "");
  const read = await fixture.clients.sagas.getSaga({ sagaId: saga?.id ?? "" });
  if (!read.saga) throw new Error("no saga");
  return read.saga;
}

describe("a standalone saga", () => {
  it("calls its participants stage by stage and completes by itself", async () => {
    const { ledger } = fixture;
    const url = `${ledger.url}/a`;
    const saga = await finished(
      sagaOf([httpStep(url, "flight"), httpStep(url, "hotel", { input: { seat: "{{steps.flight.result.status}}" } }), httpStep(url, "car")]),
    );
    expect(saga).toMatchObject({ state: SagaState.COMPLETED, endReason: EndReason.SUCCESS, openSteps: 0 });
    expect(saga.steps.map(({ name, state, kind }) => [name, state, kind])).toEqual(
      ["flight", "hotel", "car"].map((name) => [name, StepState.COMPLETED, CompensationKind.COMPENSATABLE]),
    );
    const calls = ledger.calls.filter(({ path }) => path.startsWith("/a/"));
    expect(calls.map(({ path, status }) => [path, status])).toEqual([
      ["/a/flight", 200],
      ["/a/hotel", 200],
      ["/a/car", 200],
    ]);
    expect(calls[1]?.body).toEqual({ seat: 200 });
    expect(calls[0]?.key).toBe(`"${saga.id}/flight/action"`);
    expect(calls[0]?.headers).toMatchObject({ "saga-id": saga.id, "saga-step": "flight", "saga-op": "action", "saga-attempt": "1" });
  });

  it("undoes 2, then 1, when step 3 fails for good; the failed step is left alone and its reason kept", async () => {
    const { ledger } = fixture;
    ledger.script("/b/car", [422]);
    const saga = await finished(sagaOf(["flight", "hotel", "car"].map((name) => httpStep(`${ledger.url}/b`, name))));
    expect(saga).toMatchObject({ state: SagaState.COMPENSATED, endReason: EndReason.STEP_FAILED });
    expect(saga.failure).toMatchObject({ name: "HTTP.422", stepPath: "car" });
    expect(ledger.calls.filter(({ path }) => path.startsWith("/b/")).map(({ path }) => path)).toEqual([
      "/b/flight",
      "/b/hotel",
      "/b/car",
      "/b/undo-hotel",
      "/b/undo-flight",
    ]);
    expect(saga.steps.map(({ compensationState }) => compensationState)).toEqual([OperationState.SUCCEEDED, OperationState.SUCCEEDED, OperationState.NONE]);
  });

  it("tells in a listing how many steps are open, also while its own row is older than its ledger", async () => {
    const { clients, ledger } = fixture;
    ledger.script("/o/hotel", ["hang"]);
    const { saga } = await clients.sagas.startSaga(sagaOf(["flight", "hotel", "car"].map((name) => httpStep(`${ledger.url}/o`, name))));
    await ledger.called("/o/hotel");
    const open = async () => (await clients.sagas.listSagas({ filter: `id = "${saga?.id}"` })).sagas.map(({ openSteps }) => openSteps);
    expect(await open()).toEqual([2]);
    ledger.release();
    await ended(fixture.clients, saga?.id ?? "");
    expect(await open()).toEqual([0]);
  });

  it("is found by its participant, its correlation id and its state", async () => {
    const { clients, ledger } = fixture;
    const saga = await finished(sagaOf([httpStep(`${ledger.url}/c`, "flight")], { correlation_id: "trip-7" }));
    for (const filter of [`participant = "${ledger.url}" correlation_id = "trip-7"`, 'correlation_id = "trip-7" state = COMPLETED', `id = "${saga.id}"`]) {
      const { sagas, totalSize } = await clients.sagas.listSagas({ filter, includeTotalSize: true });
      expect(
        sagas.map(({ id }) => id),
        filter,
      ).toEqual([saga.id]);
      expect(totalSize).toBe(1n);
    }
    expect((await clients.sagas.listSagas({ filter: "stuck = true" })).sagas).toEqual([]);
    const ids: string[] = [];
    for (let pageToken = ""; ; ) {
      const page = await clients.sagas.listSagas({ orderBy: "end_time", pageSize: 1, pageToken, view: View.FULL });
      ids.push(...page.sagas.map(({ id }) => id));
      if (page.nextPageToken === "") break;
      pageToken = page.nextPageToken;
    }
    expect(ids.at(-1)).toBe(saga.id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("is listed by the end of its time, page by page", async () => {
    const { clients } = fixture;
    const hours = [5, 1, 3];
    const started = await Promise.all(
      hours.map((h) => clients.sagas.startSaga(sagaOf([], { auto_complete: false, ttl: `${h * 3600}s`, labels: { listed: "by-end" } }))),
    );
    const ids = hours.toSorted((a, b) => a - b).map((h) => started[hours.indexOf(h)]?.saga?.id ?? "");
    for (const [orderBy, expected] of [
      ["expire_time", ids],
      ["expire_time desc", ids.toReversed()],
    ] as const) {
      const found: string[] = [];
      for (let pageToken = ""; ; ) {
        const page = await clients.sagas.listSagas({ filter: 'labels.listed = "by-end"', orderBy, pageSize: 1, pageToken });
        found.push(...page.sagas.map(({ id }) => id));
        if (page.nextPageToken === "") break;
        pageToken = page.nextPageToken;
      }
      expect(found, orderBy).toEqual(expected);
    }
    // More time moves it.
    await clients.sagas.extendSaga({ sagaId: ids[0] ?? "", ttl: { seconds: 36_000n, nanos: 0 } });
    const { sagas } = await clients.sagas.listSagas({ filter: 'labels.listed = "by-end"', orderBy: "expire_time" });
    expect(sagas.map(({ id }) => id)).toEqual([...ids.slice(1), ids[0]]);
  });

  it("is refused with the place of what is wrong, and nothing is stored", async () => {
    const { clients, ledger } = fixture;
    const url = `${ledger.url}/d`;
    const pivot = httpStep(url, "pay", { kind: "COMPENSATION_KIND_PIVOT", compensation: null });
    const cases = [
      [[httpStep(url, "a"), httpStep(url, "A")], "STEP_NAME_DUPLICATE", "steps[1].name"],
      [[pivot, httpStep(url, "late")], "PIVOT_ORDER", "steps[1].kind"],
      [[httpStep(url, "a", { action: { http: { url: `${url}/x`, text: "{{" } } })], "EXPRESSION_INVALID", "steps[0].action.http.text"],
      [[httpStep(url, "a", { input: { x: "{{steps.b.result}}" } })], "UNKNOWN_VARIABLE", "steps[0].input.x"],
      [[httpStep(url, "a", { action: { http: { method: "POST", url: "http://169.254.169.254/x" } } })], "EGRESS_BLOCKED", "steps[0].action.http.url"],
      [[httpStep(url, "a", { action: null })], "ENDPOINT_INVALID", "steps[0].action"],
    ] as const;
    const before = (await clients.sagas.listSagas({ includeTotalSize: true })).totalSize;
    for (const [steps, reason, field] of cases) {
      const refused = await refusal(clients.sagas.startSaga(sagaOf(steps)));
      expect(refused.reason, field).toBe(reason);
      expect(refused.fields, reason).toContain(field);
    }
    expect((await clients.sagas.listSagas({ includeTotalSize: true })).totalSize).toBe(before);
  });
});
