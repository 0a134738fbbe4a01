/**
 * RerunExecution from a step: what the ended execution found out before that step is copied into the new ledger. A copied
 * result is evidence, not an effect of the new run: expressions see it, but the new run neither does the step nor undoes it.
 * Hence nothing that was undone meanwhile can be copied.
 */
import { AppError } from "../base/errors.ts";
import { rootNameOf } from "./control-paths.ts";
import type { Definition } from "./definition.ts";
import type { ExecutionEvent, NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";

export interface RerunSource {
  /** The ended execution as it stands at its end, and its ledger. */
  readonly state: ExecutionState;
  readonly events: readonly ExecutionEvent[];
  readonly definition: Definition;
}

export interface RerunWish {
  /** Name of a top-level step of the definition that the new execution runs; empty begins with the first. */
  readonly fromStep: string;
  readonly actor: string;
  readonly reason: string;
  readonly now: number;
}

type Outcome = Extract<ExecutionEvent, { type: "step_succeeded" | "step_failed" | "step_skipped" | "step_canceled" }>;

/** Events that follow the start of the new execution: a note of what was done, then the outcomes in their old order. */
export function copyResults(definition: Definition, source: RerunSource, wish: RerunWish): NewEvent[] | AppError {
  const position = wish.fromStep === "" ? 0 : definition.steps.findIndex(({ name }) => name === wish.fromStep);
  if (position < 0) {
    return new AppError("STEP_NOT_FOUND", `the definition has no top-level step ${wish.fromStep}`, { metadata: { path: wish.fromStep } });
  }
  const before = new Set(definition.steps.slice(0, position).map(({ name }) => name));
  const refused = [...before].map((name) => whyNotCopied(definition, source, name)).find((why) => why !== undefined);
  if (refused) return refused;
  const last = new Map<string, Outcome>();
  for (const event of source.events) if (isOutcome(event) && isShared(source.definition, event.stepPath, before)) last.set(event.stepPath, event);
  const note: NewEvent = {
    type: "operator_acted",
    at: wish.now,
    stepPath: "",
    attempt: 0,
    payload: {
      actor: wish.actor,
      action: "rerun",
      ...(wish.reason === "" ? {} : { reason: wish.reason }),
      ...(wish.fromStep === "" ? {} : { stepPath: wish.fromStep }),
      result: { rerun_of: source.state.executionId, copied: last.size },
    },
  };
  const copies = [...last.values()].sort((a, b) => a.sequence - b.sequence).map((event) => copyOf(event, source.state.executionId, wish.now));
  return [note, ...copies];
}

function isOutcome(event: ExecutionEvent): event is Outcome {
  return event.type === "step_succeeded" || event.type === "step_failed" || event.type === "step_skipped" || event.type === "step_canceled";
}

/** Items of loops are seen by nobody but their own loop, whose result is copied as a whole. */
function isShared(definition: Definition, path: string, before: ReadonlySet<string>): boolean {
  return !path.includes("/") && before.has(rootNameOf(definition, path));
}

function whyNotCopied(definition: Definition, source: RerunSource, name: string): AppError | undefined {
  const run = source.state.steps.get(name);
  const [type, oldType] = [definition.stepsByName.get(name)?.type, source.definition.stepsByName.get(name)?.type];
  const metadata = { executionId: source.state.executionId, path: name, stepState: (run?.status ?? "pending").toUpperCase() };
  if (type !== oldType) {
    return new AppError("REVISION_INCOMPATIBLE", `step ${name} stands before the one to begin with and was not the same in the old execution`, { metadata });
  }
  if (run?.undo !== undefined)
    return new AppError("STEP_STATE_CONFLICT", `step ${name} was undone, so its result is void; begin with it or before it`, { metadata });
  const isThrough = run?.status === "completed" || run?.status === "skipped" || (run?.status === "failed" && run.handled);
  return isThrough ? undefined : new AppError("STEP_STATE_CONFLICT", `step ${name} has no result to copy; begin with it or before it`, { metadata });
}

function copyOf(event: Outcome, copiedFrom: string, now: number): NewEvent {
  const { stepPath, attempt } = event;
  const shared = { at: now, stepPath, attempt };
  switch (event.type) {
    case "step_succeeded": {
      const { startedAt: _, ...payload } = event.payload;
      return { ...shared, type: event.type, payload: { ...payload, copiedFrom } };
    }
    case "step_failed": {
      const { startedAt: _, ...payload } = event.payload;
      return { ...shared, type: event.type, payload: { ...payload, copiedFrom } };
    }
    case "step_skipped":
      return { ...shared, type: event.type, payload: event.payload };
    case "step_canceled":
      return { ...shared, type: event.type, payload: { reason: event.payload.reason } };
    default:
      return event satisfies never;
  }
}
