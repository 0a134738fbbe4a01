/** Answers from outside for simulated runs: events for what waits, ends for children that were started or are being undone. */
import { childOutcome, openChildren } from "../../src/domain/children.ts";
import { Answered } from "../../src/domain/control-command.ts";
import { reportOutcome } from "../../src/domain/control-report.ts";
import { receiveSignal, type Signal } from "../../src/domain/waits.ts";
import { type Order, simulationStartAt } from "./simulate.ts";

/** Sends an event of this type and key as soon as the step at `path` waits. */
export function eventFor(path: string, eventType: string, correlationKey: string): Order {
  const at = simulationStartAt;
  const signal: Signal = { signalId: `sig_${path}`, eventType, correlationKey, data: path, dedupId: undefined, receivedAt: at, expiresAt: at + 1e9 };
  return { when: (state) => state.waits.has(path), command: (state, revision, now) => receiveSignal({ state, revision, now }, signal) };
}

/** Ends the child of the step at `path` as soon as that operation is open. `fails`: it ended FAILED and had undone itself. */
export function childEnd(path: string, operation: "action" | "compensate", fails = false): Order {
  const facts = fails
    ? ({ status: "compensated", saga: "compensated", output: null, failure: { name: "HTTP.422", message: "no" } } as const)
    : ({ status: "completed", saga: "completed", output: `${path} done`, failure: undefined } as const);
  return {
    when: (state) => openChildren(state).some((child) => child.path === path && child.operation === operation),
    command: (state, revision, now) => {
      const child = openChildren(state).find((open) => open.path === path);
      if (!child) return [];
      const outcome = operation === "action" ? childOutcome(child.childId, facts, false) : { kind: "succeeded" as const, result: null };
      const answer = reportOutcome({ state, revision, now }, { ...child, outcome, random: 0 });
      return answer instanceof Answered ? [...answer.events] : answer;
    },
  };
}
