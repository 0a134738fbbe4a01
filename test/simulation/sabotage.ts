/**
 * Ways to break what keeps executions whole, each done to a part of the harness around the engine and never by a switch in it.
 * The simulation is worth something only while it finds every one of them.
 */
import type { JsonObject } from "../../src/base/json.ts";
import type { EngineStore } from "../../src/store/engine-store.ts";
import type { AppendOutcome, Journal } from "../../src/store/journal.ts";
import type { Guards } from "./database.ts";

export const sabotages = [
  /** Writes of a replica whose lease was taken over count. */
  "no_fence",
  /** Two writers may use the same number. */
  "no_sequence_guard",
  /** An execution that another replica drives can be claimed. */
  "no_owner",
  /** Every attempt has a key of its own. */
  "no_idempotency_key",
  /** The journal says "committed" and writes afterwards. */
  "ack_before_commit",
  /** A resumed execution does not see the last event of its ledger. */
  "resume_off_by_one",
  /** A commit whose answer was lost counts as written, whatever the ledger says. */
  "lost_ack_is_success",
  /** A start is new although its request id is known. */
  "no_request_id",
  /** An undo does not wait for an action that may still run. */
  "impatient_undo",
  /** Undos do not wait for each other. */
  "undo_all_at_once",
] as const;

/** Of what comes from outside: found in worlds with events, children, tasks and sagas. */
export const outsideSabotages = [
  /** An event that is sent again is another event. */
  "no_dedup",
  /** A wait is not registered with the event that begins it. */
  "wait_not_registered",
  /** A command for another execution is not stored, and its message gets lost. */
  "outbox_not_stored",
  /** An event to one execution stays to be taken. */
  "signal_not_taken",
  /** A wait ends with its time without another look at what is stored. */
  "no_last_look",
  /** A child that has ended looks as if it had undone itself. */
  "child_undone_unseen",
  /** A parent's end reaches children that were to be left alone. */
  "abandon_ignored",
  /** A task that a worker has counts as taken back. */
  "recall_from_worker",
  /** What a worker reports after the time of its attempt is thanked for and thrown away. */
  "late_report_dropped",
] as const;
export type Sabotage = (typeof sabotages)[number] | (typeof outsideSabotages)[number];

export function guardsOf(sabotage: Sabotage | undefined): Guards {
  return {
    fence: sabotage !== "no_fence",
    sequence: sabotage !== "no_sequence_guard",
    owner: sabotage !== "no_owner",
    requestId: sabotage !== "no_request_id",
    dedup: sabotage !== "no_dedup",
    waitsWritten: sabotage !== "wait_not_registered",
    outboxWritten: sabotage !== "outbox_not_stored",
    lookedAtEnd: sabotage !== "no_last_look",
    takenMarked: sabotage !== "signal_not_taken",
  };
}

/** Says "committed" before it is. */
export function hastyJournal(journal: Journal): Journal {
  return {
    get backlogRows() {
      return journal.backlogRows;
    },
    append(request): Promise<AppendOutcome> {
      journal.append(request).catch(() => undefined);
      return Promise.resolve({ kind: "committed" });
    },
    stop: () => journal.stop(),
  };
}

/** Loses the last event of every ledger it reads. */
export function forgetfulStore(store: EngineStore): EngineStore {
  return {
    ...store,
    async loadLedgers(tenantId, executionIds) {
      const ledgers = await store.loadLedgers(tenantId, executionIds);
      return new Map([...ledgers].map(([executionId, events]) => [executionId, events.length > 1 ? events.slice(0, -1) : events]));
    },
  };
}

/** The definition as the broken engine reads it. */
export function misread(definition: JsonObject, sabotage: Sabotage | undefined): JsonObject {
  if (sabotage === "undo_all_at_once") return { ...definition, compensation_policy: { undo_order: "UNDO_ORDER_PARALLEL" } };
  if (sabotage === "abandon_ignored") {
    return JSON.parse(JSON.stringify(definition), (key, member) => (key === "parent_close_policy" ? "PARENT_CLOSE_POLICY_CANCEL" : member)) as JsonObject;
  }
  if (sabotage !== "impatient_undo") return definition;
  return JSON.parse(JSON.stringify(definition), (key, member) => (key === "compensation" && member.step ? { ...member, barrier: true } : member)) as JsonObject;
}
