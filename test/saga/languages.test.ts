/**
 * One saga over participants in TypeScript, Python and Go: three processes, three databases, the barrier of each language. Whatever is
 * lost, repeated or late between them, a completed saga has each effect once, and the ledger of a compensated one adds up to nothing.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, it, type TestContext } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { ended } from "../service/support/fixture.ts";
import { startHostedServer } from "../service/support/hosted-server.ts";
import type { RunningServer } from "../service/support/server.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Fault, type LanguageParticipant, programs, startLanguageParticipant } from "./support/language-participants.ts";
import { sagaOf } from "./support/steps.ts";

const languages = Object.keys(programs);
const participants = new Map<string, LanguageParticipant>();
let database: TestDatabase | undefined;
let server: RunningServer | undefined;
let clients: Clients;
let missing = "";

beforeAll(async () => {
  for (const [language, program] of Object.entries(programs)) {
    const tool = await program();
    if ("missing" in tool) missing = tool.missing;
    else if (!missing) participants.set(language, await startLanguageParticipant(language, tool));
  }
  if (missing) return;
  database = await createMigratedDatabase();
  const addresses = [...participants.values()].map(({ address }) => address);
  server = await startHostedServer({ databaseUrl: database.databaseUrl, egressAllow: addresses, env: { PAWF_SIBLINGS: addresses.join(",") } });
  clients = connect(server);
}, 300_000);
afterAll(async () => {
  await server?.stop();
  for (const participant of participants.values()) await participant.stop();
  await database?.drop();
});

const at = (language: string): LanguageParticipant => participants.get(language) as LanguageParticipant;
const stepOf = (language: string): string => `book_${language}`;
const fault = (order: string, language: string, op: "action" | "compensate", ...faults: Fault[]): Promise<void> =>
  at(language).fault(order, stepOf(language), op, ...faults);

interface Ending {
  readonly id: string;
  readonly state: SagaState | undefined;
}

/** Books with one participant after the other. */
async function runSaga(order: string, sequence: readonly string[], more: Readonly<Record<string, JsonObject>> = {}): Promise<Ending> {
  const steps = sequence.map((language) => at(language).step(stepOf(language), order, more[language]));
  const { saga } = await clients.sagas.startSaga(sagaOf(steps));
  const id = saga?.id ?? "";
  await ended(clients, id);
  return { id, state: (await clients.sagas.getSaga({ sagaId: id })).saga?.state };
}

const outcomesOf = async (language: string, { id }: Ending): Promise<string[]> =>
  (await at(language).calls(id)).map(({ op, outcome }) => `${op} ${outcome ?? "–"}`);
const booked = (language: string): string[] => [`${stepOf(language)} action 5`];
const undone = (language: string): string[] => [`${stepOf(language)} action 5`, `${stepOf(language)} compensate -5`];

/** Each language stands once at each place of the saga. */
const sequences = languages.map((_, index) => [...languages.slice(index), ...languages.slice(0, index)]);
const whenAllAreThere =
  (run: (sequence: string[]) => Promise<void>) =>
  async (sequence: string[], context: TestContext): Promise<void> => {
    if (missing) return context.skip(missing);
    await run(sequence);
  };

it.for(sequences)(
  "completes over %s, %s and %s: each effect once",
  whenAllAreThere(async (sequence) => {
    const saga = await runSaga(`fine-${sequence[0]}`, sequence);
    expect(saga.state).toBe(SagaState.COMPLETED);
    for (const language of languages) expect(await at(language).ledger(saga.id), language).toEqual(booked(language));
  }),
);

it.for(sequences)(
  "over %s, %s and %s the last one's refusal undoes the others, the later one first",
  whenAllAreThere(async (sequence) => {
    const [first = "", second = "", last = ""] = sequence;
    await fault(`refused-${first}`, last, "action", "refuse");
    const saga = await runSaga(`refused-${first}`, sequence);
    expect(saga.state).toBe(SagaState.COMPENSATED);
    for (const language of [first, second]) expect(await at(language).ledger(saga.id), language).toEqual(undone(language));
    expect(await at(last).ledger(saga.id)).toEqual([]);
    expect(await outcomesOf(last, saga)).toEqual(["action REFUSED"]);
    const { events } = await clients.workflows.listExecutionEvents({ executionId: saga.id, eventTypes: ["compensation_succeeded"] });
    expect(events.map(({ stepPath }) => stepPath)).toEqual([second, first].map(stepOf));
  }),
);

it.for(sequences)(
  "over %s, %s and %s lost answers and repeated calls change nothing twice",
  whenAllAreThere(async (sequence) => {
    const [first = "", second = "", last = ""] = sequence;
    const order = `lost-${first}`;
    await fault(order, first, "action", "lost", "lost");
    await fault(order, second, "action", "unavailable", "lost");
    await fault(order, last, "action", "refuse");
    await fault(order, second, "compensate", "lost", "unavailable");
    await fault(order, first, "compensate", "unavailable", "lost", "lost");
    const saga = await runSaga(order, sequence);
    expect(saga.state).toBe(SagaState.COMPENSATED);
    for (const language of [first, second]) expect(await at(language).ledger(saga.id), language).toEqual(undone(language));
    expect(await at(last).ledger(saga.id)).toEqual([]);
    expect(await outcomesOf(first, saga)).toEqual([
      ...["action APPLIED", "action DUPLICATE", "action DUPLICATE"],
      ...["compensate –", "compensate APPLIED", "compensate DUPLICATE", "compensate DUPLICATE"],
    ]);
    expect(await outcomesOf(second, saga)).toEqual([
      ...["action –", "action APPLIED", "action DUPLICATE"],
      ...["compensate APPLIED", "compensate –", "compensate DUPLICATE"],
    ]);
    for (const language of [first, second]) expect(new Set((await at(language).calls(saga.id)).map(({ key }) => key)).size, language).toBe(2);
  }),
);

it.for(sequences)(
  "over %s, %s and %s an undo that overtakes its action keeps the action out",
  whenAllAreThere(async (sequence) => {
    const [first = "", second = ""] = sequence;
    const order = `late-${first}`;
    await fault(order, second, "action", "late");
    const hasty = { barrier: true, timeouts: { start_to_close: "1s" }, action_retry: { maximum_attempts: 1 } };
    const saga = await runSaga(order, sequence, { [second]: hasty });
    expect(saga.state).toBe(SagaState.COMPENSATED);
    // The action is at its participant still; it ends by itself, after the saga. The undo's time is short, too: a slow machine asks again.
    await expect.poll(async () => [...new Set(await outcomesOf(second, saga))]).toEqual(["action SUSPENDED", "compensate NULL_COMPENSATED"]);
    expect(await at(second).ledger(saga.id)).toEqual([]);
    expect(await at(first).ledger(saga.id)).toEqual(undone(first));
  }),
);
