/**
 * Two verbs at once on one execution, through two replicas: one of them is first, the other is told why it came too late (reason and
 * state), and the ledger shows one decision.
 */
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, newName } from "./support/definitions.ts";
import { begin, ended, run, seconds, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusalOf } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";

const service = useServer();
let second: RunningServer;
let other: Clients;
beforeAll(async () => {
  second = await startAnother(service.server);
  other = connect(second);
});
afterAll(() => second?.stop());

type Verb = (clients: Clients, executionId: string) => Promise<unknown>;
const verbs = {
  cancel: (clients, executionId) => clients.workflows.cancelExecution({ executionId, gracePeriod: seconds(0.05) }),
  terminate: (clients, executionId) => clients.workflows.terminateExecution({ executionId, reason: "r" }),
  pause: (clients, executionId) => clients.workflows.pauseExecution({ executionId }),
  resume: (clients, executionId) => clients.workflows.resumeExecution({ executionId }),
  retry: (clients, executionId) => clients.workflows.retryExecution({ executionId }),
  rerun: (clients, executionId) => clients.workflows.rerunExecution({ executionId }),
  remove: (clients, executionId) => clients.workflows.deleteExecution({ executionId }),
  skip: (clients, executionId) => clients.workflows.skipStep({ executionId, path: "first", reason: "r" }),
  complete: (clients, executionId) => clients.workflows.completeStep({ executionId, path: "first", reason: "r" }),
  fail: (clients, executionId) => clients.workflows.failStep({ executionId, path: "first", reason: "r", failure: { name: "USER.no", message: "no" } }),
  setOne: (clients, executionId) => clients.workflows.updateVariables({ executionId, variables: { one: 1 }, reason: "r" }),
  setTwo: (clients, executionId) => clients.workflows.updateVariables({ executionId, variables: { two: 2 }, reason: "r" }),
  signal: (clients, executionId) => clients.workflows.signalExecution({ executionId, eventType: "e", dedupId: "once" }),
} satisfies Record<string, Verb>;
type VerbName = keyof typeof verbs;

type Place = "sleeping" | "driven" | "paused" | "failed" | "awaiting";

/** Executions on which verbs meet; each is made anew. */
const places: Record<Place, () => Promise<string>> = {
  /** Parked: whoever is asked claims it. */
  sleeping: async () => (await begin(service.clients, [delayStep("first", "3600s"), delayStep("next", "3600s")])).id,
  /** Driven by one replica: the other asks it. */
  driven: async () => {
    const path = `/${newName("hang")}`;
    service.ledger.script(path, ["hang"]);
    const { id } = await begin(service.clients, [httpStep("first", service.ledger.url + path), delayStep("next", "3600s")]);
    await service.ledger.called(path);
    return id;
  },
  paused: async () => {
    const id = await places.sleeping();
    await service.clients.workflows.pauseExecution({ executionId: id });
    return id;
  },
  /** Ended; what is tried again hangs. */
  failed: async () => {
    const path = `/${newName("fails")}`;
    service.ledger.script(path, [402, "hang"]);
    return (await run(service.clients, [httpStep("first", service.ledger.url + path)], { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" })).id;
  },
  awaiting: async () => {
    const wait = { name: "first", wait_for_event: { any_of: [{ event_type: "e" }], timeout: "3600s" } };
    const workflow = await createWorkflow(service.clients, [wait, delayStep("next", "3600s")]);
    const { execution } = await service.clients.workflows.startExecution({ workflow });
    return execution?.id ?? "";
  },
};

interface Race {
  readonly place: Place;
  readonly verbs: readonly [VerbName, VerbName];
  /** How many of the two are accepted; one only means that exactly one is. */
  readonly accepted: readonly (1 | 2)[];
  /** Why the later one may be refused. */
  readonly refusals?: readonly string[];
  /** Events of these types, in all. */
  readonly decision?: { readonly types: readonly string[]; readonly counts: readonly number[] };
}

const terminal = ["EXECUTION_TERMINAL"];
const oneEnd = { types: ["execution_ended"], counts: [1] };
const stepDecided = { types: ["step_skipped", "step_succeeded", "step_failed"], counts: [1] };
const race = (place: Race["place"], one: VerbName, two: VerbName, more: Omit<Race, "place" | "verbs">): Race => ({ place, verbs: [one, two], ...more });

const races: readonly Race[] = [
  race("sleeping", "cancel", "terminate", { accepted: [1], refusals: terminal, decision: oneEnd }),
  race("sleeping", "cancel", "cancel", { accepted: [1, 2], refusals: terminal, decision: { types: ["execution_cancel_requested"], counts: [1] } }),
  race("sleeping", "terminate", "terminate", { accepted: [1], refusals: terminal, decision: oneEnd }),
  race("sleeping", "pause", "pause", { accepted: [2], decision: { types: ["execution_paused"], counts: [1] } }),
  race("sleeping", "pause", "resume", { accepted: [2], decision: { types: ["execution_paused"], counts: [1] } }),
  race("sleeping", "pause", "terminate", { accepted: [1, 2], refusals: terminal, decision: oneEnd }),
  race("sleeping", "skip", "complete", { accepted: [1], refusals: ["STEP_STATE_CONFLICT"], decision: stepDecided }),
  race("sleeping", "skip", "fail", { accepted: [1], refusals: ["STEP_STATE_CONFLICT", ...terminal], decision: stepDecided }),
  race("sleeping", "complete", "fail", { accepted: [1], refusals: ["STEP_STATE_CONFLICT", ...terminal], decision: stepDecided }),
  race("sleeping", "complete", "complete", { accepted: [2], decision: stepDecided }),
  race("sleeping", "skip", "cancel", { accepted: [1, 2], refusals: ["STEP_STATE_CONFLICT", ...terminal], decision: oneEnd }),
  race("sleeping", "setOne", "setTwo", { accepted: [2], decision: { types: ["variables_set"], counts: [2] } }),
  race("sleeping", "setOne", "terminate", { accepted: [1, 2], refusals: terminal, decision: oneEnd }),
  race("driven", "cancel", "terminate", { accepted: [1, 2], refusals: terminal, decision: oneEnd }),
  race("driven", "pause", "cancel", { accepted: [1, 2], refusals: terminal, decision: oneEnd }),
  race("driven", "terminate", "terminate", { accepted: [1], refusals: terminal, decision: oneEnd }),
  race("paused", "resume", "resume", { accepted: [2], decision: { types: ["execution_resumed"], counts: [1] } }),
  race("paused", "resume", "terminate", { accepted: [1, 2], refusals: terminal, decision: oneEnd }),
  race("failed", "retry", "retry", { accepted: [1], refusals: ["EXECUTION_NOT_RETRYABLE"], decision: { types: ["execution_reopened"], counts: [1] } }),
  race("failed", "retry", "remove", { accepted: [1], refusals: ["EXECUTION_NOT_TERMINAL", "EXECUTION_NOT_FOUND"] }),
  race("failed", "rerun", "remove", { accepted: [1, 2], refusals: ["EXECUTION_NOT_FOUND"] }),
  race("failed", "rerun", "retry", { accepted: [1, 2], refusals: ["EXECUTION_NOT_TERMINAL"], decision: { types: ["execution_reopened"], counts: [1] } }),
  race("failed", "remove", "remove", { accepted: [1, 2], refusals: ["EXECUTION_NOT_FOUND"] }),
  race("awaiting", "signal", "signal", { accepted: [2], decision: { types: ["step_succeeded"], counts: [1] } }),
  race("awaiting", "signal", "complete", { accepted: [1, 2], refusals: ["STEP_STATE_CONFLICT"], decision: { types: ["step_succeeded"], counts: [1] } }),
  race("awaiting", "signal", "cancel", { accepted: [1, 2], refusals: terminal, decision: oneEnd }),
];

/** Twice each way round: who is asked first has a little lead. */
const rounds = 4;

describe("two verbs at once", () => {
  test.each(races.map((each) => [`${each.verbs.join(" and ")} on one that is ${each.place}`, each] as const))(
    "%s",
    async (_, { place, verbs: pair, ...expected }) => {
      await Promise.all(
        Array.from({ length: rounds }, async (_, round) => {
          const executionId = await places[place]();
          const [one, two] = round % 2 === 0 ? [service.clients, other] : [other, service.clients];
          const answers = await Promise.allSettled([verbs[pair[0]](one, executionId), verbs[pair[1]](two, executionId)]);
          const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [refusalOf(answer.reason)] : []));
          for (const { reason, message, metadata } of refused) {
            expect(expected.refusals ?? [], message).toContain(reason);
            if (reason !== "EXECUTION_NOT_FOUND") expect(metadata, message).toMatchObject({ state: expect.stringMatching(/^[A-Z_]+$/) });
          }
          expect(expected.accepted, JSON.stringify(refused)).toContain(2 - refused.length);
          if (expected.decision) await expectDecision(executionId, expected.decision);
        }),
      );
    },
  );
});

async function expectDecision(executionId: string, { types, counts }: NonNullable<Race["decision"]>): Promise<void> {
  if (types.includes("execution_ended")) await ended(other, executionId);
  // A signal is accepted when it is stored; the decision that follows from it comes a moment later.
  const decided = async (): Promise<void> => {
    const { events } = await other.workflows.listExecutionEvents({ executionId, pageSize: 1_000 });
    expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
    const decisions = events.filter(({ type, stepPath }) => types.includes(type) && (stepPath === "" || stepPath === "first"));
    expect(counts, decisions.map(({ type }) => type).join(" ")).toContain(decisions.length);
  };
  await vi.waitFor(decided, { timeout: 30_000 });
}
