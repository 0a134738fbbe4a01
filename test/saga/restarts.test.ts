/** PostgreSQL restarts under the coordinator, and a participant dies around its own commit: real processes, and ledgers that balance. */
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { silentLog } from "../../src/base/log.ts";
import { clusterOf } from "../../src/store/embedded/data-folder.ts";
import { type EmbeddedPostgres, startEmbeddedPostgres } from "../../src/store/embedded/embedded-postgres.ts";
import { findPostmaster } from "../../src/store/embedded/postmaster.ts";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { ended } from "../service/support/fixture.ts";
import { type Server, startServer } from "../service/support/server.ts";
import { fastFolder } from "../support/postgres.ts";
import { type LanguageParticipant, programs, startLanguageParticipant } from "./support/language-participants.ts";
import { type Participant, startParticipant } from "./support/participant.ts";
import { sagaOf } from "./support/steps.ts";

let plain: Participant;
let withBarrier: LanguageParticipant;
/** Its own, so that it can be restarted. */
let postgres: EmbeddedPostgres;
let dataDir: string;
let server: Server;
let clients: Clients;
beforeAll(async () => {
  const tool = await programs["typescript"]?.();
  if (!tool || "missing" in tool) throw new Error("no program");
  [plain, withBarrier] = await Promise.all([startParticipant(), startLanguageParticipant("typescript", tool)]);
  dataDir = await mkdtemp(join(await fastFolder(), "pawf-restarts-"));
  postgres = await startEmbeddedPostgres({ dataDir, durable: false, log: silentLog });
  server = await startServer({ databaseUrl: postgres.databaseUrl, egressAllow: [...plain.addresses, withBarrier.address] });
  clients = connect(server);
});
afterAll(async () => {
  await server?.stop();
  await postgres?.stop();
  if (dataDir) await rm(dataDir, { recursive: true, force: true });
  await withBarrier?.stop();
  await plain?.kill();
});

/** As an operator's restart: connections are cut, what was not committed is gone. Whoever uses it starts it again. */
async function restartPostgres(): Promise<void> {
  const cluster = clusterOf(dataDir);
  const { pid } = findPostmaster(cluster) ?? {};
  if (pid === undefined) throw new Error("no PostgreSQL runs");
  process.kill(pid, "SIGINT");
  await expect.poll(() => findPostmaster(cluster)?.pid ?? pid).not.toBe(pid);
}

async function called({ ledger }: Participant, step: string, op: string): Promise<void> {
  await expect.poll(async () => (await ledger()).calls.some((call) => call.step === step && call.op === op)).toBe(true);
}

const brief = { barrier: true, timeouts: { start_to_close: "3s" } };

it("PostgreSQL restarts while an action is out, and again while an undo is: read again, claimed again, nothing twice", async () => {
  const participant = plain;
  const { sagas, workflows } = clients;
  await participant.script({ "b action": ["acted"], "c action": [422, 422], "b compensate": ["acted"] });
  const { saga } = await sagas.startSaga(sagaOf([participant.grpcStep("a", brief), participant.httpStep("b", brief), participant.httpStep("c", brief)]));
  const sagaId = saga?.id ?? "";
  await called(participant, "b", "action");
  await restartPostgres();
  await called(participant, "b", "compensate");
  await restartPostgres();
  await expect.poll(async () => (await sagas.getSaga({ sagaId }).catch(() => undefined))?.saga?.state, { timeout: 60_000 }).toBe(SagaState.COMPENSATED);
  const { calls, standing } = await participant.ledger();
  expect(standing).toEqual([]);
  const undone = calls.filter(({ op }) => op === "compensate").map(({ step }) => step);
  expect(undone.slice(undone.indexOf("b"))).toEqual(["b", "b", "a"]);
  for (const [operation, all] of Map.groupBy(calls, ({ step, op }) => `${step} ${op}`)) expect(new Set(all.map(({ key }) => key)).size, operation).toBe(1);
  const { events } = await workflows.listExecutionEvents({ executionId: sagaId, pageSize: 1000 });
  expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
  expect(events.filter(({ type }) => type === "execution_ended")).toHaveLength(1);
});

it("a participant dies before its effect, after its commit, and after the commit of its undo: unknown, then replayed from its barrier", async () => {
  const participant = withBarrier;
  const { sagas } = clients;
  const faults = { one: ["dies before"], two: ["dies after"], three: ["refuse"] } as const;
  for (const [step, all] of Object.entries(faults)) await participant.fault("dying", step, "action", ...all);
  await participant.fault("dying", "two", "compensate", "dies after");
  const steps = Object.keys(faults).map((name) =>
    participant.step(name, "dying", {
      barrier: true,
      action_retry: { initial_interval: "0.2s", maximum_interval: "0.5s", maximum_attempts: 50, jitter: 0, non_retryable_errors: ["HTTP.422"] },
    }),
  );
  const { saga } = await sagas.startSaga(sagaOf(steps));
  for (let deaths = 0; deaths < 3; deaths++) await participant.comeBack();
  await ended(clients, saga?.id ?? "");
  expect((await sagas.getSaga({ sagaId: saga?.id ?? "" })).saga?.state).toBe(SagaState.COMPENSATED);
  const outcomes = (await participant.calls(saga?.id ?? "")).map(({ step, op, outcome }) => `${step} ${op} ${outcome ?? "–"}`);
  expect(outcomes).toEqual([
    ...["one action –", "one action APPLIED", "two action –", "two action DUPLICATE", "three action REFUSED"],
    ...["two compensate –", "two compensate DUPLICATE", "one compensate APPLIED"],
  ]);
  expect(await participant.ledger(saga?.id ?? "")).toEqual(["one action 5", "two action 5", "two compensate -5", "one compensate -5"]);
});
