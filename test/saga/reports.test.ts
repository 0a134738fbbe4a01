/**
 * Reports that are late, repeated, contradictory, forged or another tenant's: each has its documented answer, by ReportStep for a step that
 * its caller carries out, and by CompleteTasks for one that a worker took. One row a test, over the wire.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { ended, type Fixture, seconds, useServerProcess } from "../service/support/fixture.ts";
import { startAnother } from "../service/support/hosted-server.ts";
import { refusal } from "../service/support/refusal.ts";
import { complete, failed, Outcome, type ResultInit, StepDecision, success, take } from "../service/support/tasks.ts";
import { addTenant } from "../service/support/tenants.ts";
import { httpStep, sagaOf, sagaStep } from "./support/steps.ts";

const fixture = useServerProcess();
let count = 0;

interface Held {
  readonly sagaId: string;
  readonly name: string;
  readonly task: { readonly id: string; readonly token: string };
}

interface Way {
  /** A step named `name` that somebody has begun, in a saga of its own or in that one. */
  begin(name: string, more?: JsonObject): Promise<Held>;
  /** The decision, or the reason of the refusal. */
  say(held: Held, result: ResultInit, clients?: Clients): Promise<string>;
}

/** Undone by a call of `/name/undo-name`; the ledger counts those. */
const undoable = (name: string, more: JsonObject): JsonObject =>
  httpStep(`${fixture.ledger.url}/${name}`, name, { action_retry: { maximum_attempts: 1 }, ...more });
const undos = (name: string): readonly { readonly key: string | undefined }[] => fixture.ledger.callsTo(`/${name}/undo-${name}`);

const ways: Readonly<Record<string, Way>> = {
  ReportStep: {
    async begin(name, more = {}) {
      const { sagas } = fixture.clients;
      const { saga } = await sagas.startSaga(sagaOf([], { auto_complete: false }));
      const sagaId = saga?.id ?? "";
      const { task } = await sagas.enlistStep({ sagaId, step: sagaStep(undoable(name, { ...more, action: null, action_retry: null })), selfDriven: true });
      return { sagaId, name, task: { id: task?.id ?? "", token: task?.token ?? "" } };
    },
    async say({ sagaId, name, task }, result, clients = fixture.clients) {
      const report = clients.sagas.reportStep({ sagaId, step: name, token: task.token, result });
      return await report.then(
        ({ decision }) => StepDecision[decision] ?? "",
        async () => (await refusal(report)).reason ?? "",
      );
    },
  },
  CompleteTasks: {
    async begin(name, more = {}) {
      const queue = `queue-${++count}`;
      const step = undoable(name, { action: { pull: { task_type: name, task_queue: queue } }, ...more });
      const { saga } = await fixture.clients.sagas.startSaga(sagaOf([step]));
      const [task] = await take(fixture.clients, queue);
      return { sagaId: saga?.id ?? "", name, task: { id: task?.id ?? "", token: task?.token ?? "" } };
    },
    say: ({ task }, result, clients = fixture.clients) => complete(clients, task, result),
  },
};

const stateOf = async ({ sagaId }: Held): Promise<SagaState | undefined> => (await fixture.clients.sagas.getSaga({ sagaId })).saga?.state;
async function anomalies({ sagaId }: Held): Promise<unknown[]> {
  const { events } = await fixture.clients.workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["anomaly"] });
  return events.map(({ payload }) => (payload.value as { kind?: string } | undefined)?.kind);
}
const abort = async ({ sagaId }: Held): Promise<void> => void (await fixture.clients.sagas.abortSaga({ sagaId, reason: "no" }));
const over = async ({ sagaId }: Held): Promise<SagaState | undefined> => (await ended(fixture.clients, sagaId)).sagaState;
const declined = failed("card_declined");
const alive: ResultInit = { outcome: Outcome.IN_PROGRESS };

describe.each(Object.entries(ways))("%s", (way, { begin, say }) => {
  const named = (name: string): string => `${name}${way.slice(0, 1).toLowerCase()}`;

  it("the same success again: ALREADY, and nothing changes", async () => {
    const held = await begin(named("a"));
    expect([await say(held, success()), await say(held, success()), await say(held, alive)]).toEqual(["CONTINUE", "ALREADY", "ALREADY"]);
    expect(await anomalies(held)).toEqual([]);
  });

  it("the same final failure again: ALREADY", async () => {
    const held = await begin(named("b"));
    expect([await say(held, declined), await say(held, declined)]).toEqual(["CONTINUE", "ALREADY"]);
    expect(await over(held)).toBe(SagaState.COMPENSATED);
    expect(undos(named("b"))).toEqual([]);
  });

  it("a failure after the success: the first word stands, the second is on record once", async () => {
    const held = await begin(named("c"));
    expect([await say(held, success()), await say(held, declined), await say(held, declined)]).toEqual(["CONTINUE", "ALREADY", "ALREADY"]);
    // A saga that has ended is not written to any more.
    expect(await anomalies(held)).toEqual(way === "ReportStep" ? ["contradictory_report"] : []);
    expect(undos(named("c"))).toEqual([]);
  });

  it("a success after the final failure: evidence of an effect, which is undone once", async () => {
    const held = await begin(named("d"));
    expect([await say(held, declined), await say(held, success())]).toEqual(["CONTINUE", "WILL_COMPENSATE"]);
    expect(await over(held)).toBe(SagaState.COMPENSATED);
    expect(await anomalies(held)).toEqual(["late_success"]);
    expect(undos(named("d"))).toHaveLength(1);
    expect(await say(held, success())).toBe("ALREADY");
  });

  it("a success after the turn: WILL_COMPENSATE, and it is undone; a sign of life before it is told to STOP", async () => {
    const held = await begin(named("e"));
    await abort(held);
    expect([await say(held, alive), await say(held, success()), await say(held, success())]).toEqual(["STOP", "WILL_COMPENSATE", "ALREADY"]);
    expect(await over(held)).toBe(SagaState.COMPENSATED);
    expect(undos(named("e"))).toHaveLength(1);
  });

  it("a failure after the turn: STOP, and there is nothing to undo", async () => {
    const held = await begin(named("f"));
    await abort(held);
    expect(await say(held, declined)).toBe("STOP");
    expect(await over(held)).toBe(SagaState.COMPENSATED);
    expect(undos(named("f"))).toEqual([]);
  });

  it("a success after the end: the saga goes on, and its effect is undone under a key of its own; again: ALREADY", async () => {
    const held = await begin(named("g"), { barrier: true });
    await abort(held);
    expect(await over(held)).toBe(SagaState.COMPENSATED);
    expect([await say(held, declined), await say(held, success()), await say(held, success())]).toEqual(["STALE_TOKEN", "WILL_COMPENSATE", "ALREADY"]);
    expect((await fixture.ledger.called(`/${named("g")}/undo-${named("g")}`, 2)).map(({ key }) => key)).toEqual([
      `"${held.sagaId}/${named("g")}/compensate"`,
      `"${held.sagaId}/${named("g")}/compensate#1"`,
    ]);
    await expect.poll(() => stateOf(held)).toBe(SagaState.COMPENSATED);
    expect(await anomalies(held)).toEqual(["late_success"]);
  });

  it("another tenant's token is as unknown as none, forged ones and those of another step are invalid, and none of them changes anything", async () => {
    const held = await begin(named("h"));
    const beside = await begin(named("i"));
    const rival = await addTenant(fixture, `rival-${way.toLowerCase()}`, ["sagas:read", "sagas:write", "tasks:work"]);
    const { token } = held.task;
    const flipped = `${token.slice(0, 10)}${token[10] === "A" ? "B" : "A"}${token.slice(11)}`;
    const withToken = (forged: string): Held => ({ ...held, task: { ...held.task, token: forged } });
    expect(await say(held, success(), rival)).toBe(way === "ReportStep" ? "SAGA_NOT_FOUND" : "TASK_NOT_FOUND");
    for (const forged of [flipped, "nonsense", `${token}A`, beside.task.token]) {
      expect(await say(withToken(forged), success()), forged).toBe("TOKEN_INVALID");
    }
    expect(await stateOf(held)).toBe(SagaState.RUNNING);
    expect([await say(held, success()), await say(beside, success())]).toEqual(["CONTINUE", "CONTINUE"]);
  });
});

it("ReportStep with the token of another operation is refused, and so is a step that never joined", async () => {
  const { sagas } = fixture.clients;
  const { sagaId, task } = await (ways["ReportStep"] as Way).begin("k");
  const report = { sagaId, token: task.token, result: success() };
  expect((await refusal(sagas.reportStep({ ...report, step: "k", operation: Operation.COMPENSATE }))).reason).toBe("TOKEN_INVALID");
  expect((await refusal(sagas.reportStep({ ...report, step: "nobody" }))).reason).toBe("STEP_NOT_FOUND");
});

describe("CompleteTasks of an attempt that is not the newest", () => {
  const { begin, say } = ways["CompleteTasks"] as Way;
  const again: JsonObject = { action_retry: { initial_interval: "0.02s", maximum_attempts: 5, jitter: 0 } };
  /** The next attempt of a step whose first one was taken from this queue. */
  const nextOf = async (held: Held): Promise<Held> => {
    const [task] = await take(fixture.clients, `queue-${count}`);
    return { ...held, task: { id: task?.id ?? "", token: task?.token ?? "" } };
  };

  it("whose failure was reported: ALREADY; its success while the newer one is out is taken, and that one is ALREADY", async () => {
    const first = await begin("l", again);
    expect(await say(first, declined)).toBe("CONTINUE");
    const second = await nextOf(first);
    expect(await say(first, declined)).toBe("ALREADY");
    expect(await say(first, success("one"))).toBe("CONTINUE");
    expect(await say(second, success("two"))).toBe("ALREADY");
    expect(await over(first)).toBe(SagaState.COMPLETED);
  });

  it("that fell silent: its failure and its sign of life are STALE_TOKEN, its success is taken", async () => {
    const first = await begin("m", { ...again, timeouts: { heartbeat: "0.5s" } });
    const second = await nextOf(first);
    expect([await say(first, declined), await say(first, alive)]).toEqual(["STALE_TOKEN", "STALE_TOKEN"]);
    const { heartbeats: [beat] = [] } = {
      heartbeats: (await fixture.clients.tasks.heartbeatTasks({ heartbeats: [{ taskId: first.task.id, token: first.task.token }] })).statuses,
    };
    expect(beat?.cancel).toBe(true);
    expect([await say(first, success()), await say(second, success())]).toEqual(["CONTINUE", "ALREADY"]);
    expect(await over(first)).toBe(SagaState.COMPLETED);
  });
});

it("tokens from before a restart of the coordinator, under an epoch that is gone, are as good as ever: attempts count, not epochs", async () => {
  const held = await Promise.all(Object.entries(ways).map(async ([name, { begin, say }]) => ({ say, at: await begin(`z${name.slice(0, 1).toLowerCase()}`) })));
  await fixture.server.kill();
  (fixture as Fixture).server = await startAnother(fixture.server);
  fixture.clients = connect(fixture.server);
  for (const { say, at } of held) expect([await say(at, success()), await say(at, success())]).toEqual(["CONTINUE", "ALREADY"]);
  await fixture.clients.workflows.waitExecution({ executionId: held[1]?.at.sagaId ?? "", timeout: seconds(10) });
});
