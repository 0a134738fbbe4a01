/** A request id makes any mutation repeatable: one effect, equal answers, also for twins at once. */
import { describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { definition, delayStep, logStep, newName } from "./support/definitions.ts";
import { begin, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const service = useServer();

/** Calls and looks at the reply's headers. */
async function headersOf<Answer>(call: (options: { onHeader: (headers: Headers) => void }) => Promise<Answer>): Promise<{ answer: Answer; replayed: boolean }> {
  let headers = new Headers();
  const answer = await call({ onHeader: (received) => (headers = received) });
  return { answer, replayed: headers.get("idempotent-replayed") === "true" };
}

describe("request_id", () => {
  test("a repeat gets the first answer, marked as replayed, and nothing happens again", async () => {
    const { workflows } = service.clients;
    const requestId = crypto.randomUUID();
    const wish = { workflow: { name: newName("rid"), labels: { b: "2", a: "1" }, definition: definition([logStep("a")]) }, requestId };
    const first = await headersOf((options) => workflows.createWorkflow(wish, options));
    const again = await headersOf((options) => workflows.createWorkflow({ ...wish, workflow: { ...wish.workflow, labels: { a: "1", b: "2" } } }, options));
    expect([first.replayed, again.replayed]).toEqual([false, true]);
    expect(again.answer).toEqual(first.answer);
    expect(first.answer.workflow?.id).toMatch(/^wfl_/);
    expect(await refusal(workflows.createWorkflow({ ...wish, workflow: { ...wish.workflow, name: newName("rid") } }))).toMatchObject({
      code: "ALREADY_EXISTS",
      reason: "REQUEST_ID_REUSED",
    });
  });

  test("twins at once make one effect and equal answers", async () => {
    const { workflows } = service.clients;
    for (let round = 0; round < 5; round++) {
      const wish = { workflow: { name: newName("twin"), definition: definition([logStep("a")]) }, requestId: crypto.randomUUID() };
      const twins = await Promise.all(Array.from({ length: 6 }, () => headersOf((options) => workflows.createWorkflow(wish, options))));
      expect(new Set(twins.map(({ answer }) => answer.workflow?.id)).size).toBe(1);
      expect(twins.filter(({ replayed }) => !replayed)).toHaveLength(1);
    }
  });

  test("belongs to one rpc: another one may use the same id", async () => {
    const { workflows } = service.clients;
    const { id } = await begin(service.clients, [delayStep("sleep", "3600s")]);
    const requestId = crypto.randomUUID();
    const pause = await headersOf((options) => workflows.pauseExecution({ executionId: id, requestId }, options));
    const resume = await headersOf((options) => workflows.resumeExecution({ executionId: id, requestId }, options));
    const pauseAgain = await headersOf((options) => workflows.pauseExecution({ executionId: id, requestId }, options));
    expect([pause.replayed, resume.replayed, pauseAgain.replayed]).toEqual([false, false, true]);
    expect(pauseAgain.answer.execution?.paused).toBe(true);
    expect((await workflows.getExecution({ executionId: id })).execution?.paused).toBe(false);
    const terminated = await workflows.terminateExecution({ executionId: id, reason: "done", requestId });
    const again = await workflows.terminateExecution({ executionId: id, reason: "done", requestId });
    expect(again).toEqual(terminated);
    expect(again.execution?.state).toBe(ExecutionState.TERMINATED);
    const deleted = await headersOf((options) => workflows.deleteExecution({ executionId: id, requestId }, options));
    const deletedAgain = await headersOf((options) => workflows.deleteExecution({ executionId: id, requestId }, options));
    expect([deleted.replayed, deletedAgain.replayed]).toEqual([false, true]);
  });

  test("a refusal and validate_only are not kept", async () => {
    const { workflows } = service.clients;
    const requestId = crypto.randomUUID();
    const name = newName("later");
    const wish = { workflow: name, requestId };
    expect(await refusal(workflows.deleteWorkflow(wish))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
    await workflows.createWorkflow({ workflow: { name, definition: definition([logStep("a")]) }, requestId, validateOnly: true });
    expect((await workflows.createWorkflow({ workflow: { name, definition: definition([logStep("a")]) }, requestId })).workflow?.id).toMatch(/^wfl_/);
    expect((await headersOf((options) => workflows.deleteWorkflow(wish, options))).replayed).toBe(false);
    expect((await headersOf((options) => workflows.deleteWorkflow(wish, options))).replayed).toBe(true);
  });

  test("comes in the header idempotency-key, too, quoted or bare", async () => {
    const { workflows } = service.clients;
    const { id } = await begin(service.clients, [delayStep("sleep", "3600s")]);
    const key = crypto.randomUUID();
    const pause = (value: string) =>
      headersOf((options) => workflows.pauseExecution({ executionId: id }, { ...options, headers: { "idempotency-key": value } }));
    expect((await pause(key)).replayed).toBe(false);
    expect((await pause(`"${key}"`)).replayed).toBe(true);
    expect(await refusal(workflows.pauseExecution({ executionId: id }, { headers: { "idempotency-key": "x".repeat(37) } }))).toMatchObject({
      reason: "VALIDATION_FAILED",
      fields: ["idempotency-key"],
    });
    await workflows.terminateExecution({ executionId: id, reason: "done" });
  });
});
