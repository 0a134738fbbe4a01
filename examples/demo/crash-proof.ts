/** What is looked at after the crash: every event ledger of the service, and the ledger of a sibling outside of it. */
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { check, checkEqual } from "./checks.ts";
import type { DemoContext } from "./context.ts";
import { inParallel } from "./in-parallel.ts";
import { count } from "./step-lines.ts";

const readsAtOnce = 16;

export interface Proof {
  readonly lost: number;
  readonly finishedTwice: number;
  readonly effects: number;
  readonly doneTwice: number;
  /** Calls to the sibling that were sent again after the crash and met their own first answer. */
  readonly repeatedCalls: number;
}

/** Throws DemoFailure unless each of `ids` completed once and did each of its effects once. */
export async function prove({ clients, siblings, display }: DemoContext, ids: readonly string[], effectsPerExecution: number): Promise<Proof> {
  const ours = new Set(ids);
  checkEqual(ours.size, ids.length, "every start has an execution of its own");
  let read = 0;
  const ends = await inParallel(ids, readsAtOnce, async (executionId) => {
    const { events } = await clients.workflows.listExecutionEvents({ executionId, pageSize: 1_000 });
    display.progress(`reading the event ledgers: ${count(++read)} of ${count(ids.length)}`);
    check(
      events.every((event, index) => event.sequence === BigInt(index + 1)),
      `the events of ${executionId} are numbered without a gap`,
    );
    return events.flatMap(({ payload }) => (payload.case === "executionEnded" ? [payload.value.state] : []));
  });
  const ledger = await siblings.ledger("orders");
  const effects = ledger.effects.filter((effect) => ours.has(effect.sagaId));
  const times = new Map<string, number>();
  for (const { sagaId, step, operation } of effects) {
    const place = `${sagaId}/${step}/${operation}`;
    times.set(place, (times.get(place) ?? 0) + 1);
  }
  const proof = {
    lost: ends.filter((states) => states[0] !== ExecutionState.COMPLETED).length,
    finishedTwice: ends.filter((states) => states.length > 1).length,
    effects: effects.length,
    doneTwice: [...times.values()].filter((number) => number > 1).length,
    repeatedCalls: ledger.duplicates + ledger.twins,
  };
  checkEqual([proof.lost, proof.finishedTwice, proof.doneTwice], [0, 0, 0], "nothing is lost, finished twice or done twice");
  checkEqual(times.size, ids.length * effectsPerExecution, "every effect of every execution is in the sibling's ledger");
  checkEqual(new Set(effects.map((effect) => effect.key)).size, effects.length, "every effect has an idempotency key of its own");
  return proof;
}
