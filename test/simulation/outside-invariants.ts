/** What must hold of events, children and tasks when a simulated run has come to rest. */
import type { JsonObject } from "../../src/base/json.ts";
import type { AwaitedEvent, ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import type { StepRun } from "../../src/domain/execution-state.ts";
import type { StoredExecution } from "./database.ts";
import type { SentEvent } from "./outside-clients.ts";
import { epochMs } from "./scheduler.ts";
import type { World } from "./world.ts";

/** One sentence for each thing that is wrong. */
export function outsideFaults(world: World, sent: readonly SentEvent[]): string[] {
  const executions = [...world.database.executions.values()];
  return [
    ...executions.flatMap((stored) => [...eventFaults(world, stored), ...childFaults(world, stored)]),
    ...signalFaults(world, sent),
    ...leftFaults(world),
  ];
}

/** Each event once for each execution, and only one that was sent and is awaited. */
function eventFaults({ database, faults: { happened } }: World, { executionId }: StoredExecution): string[] {
  const faults: string[] = [];
  const troubles = happened.map((what) => epochMs + Number(what.split(" ")[0]));
  const received = new Set<string>();
  const awaited = new Map<string, { readonly events: readonly AwaitedEvent[]; readonly from: number; readonly until: number }>();
  for (const { type, stepPath, payload, at } of database.ledgerOf(executionId)) {
    if (type === "step_waiting") {
      awaited.set(stepPath, { events: payload.events ?? [], from: payload.startedAt ?? at, until: payload.wakeAt ?? 0 });
    }
    if (type !== "event_received") continue;
    const told = `${executionId}/${stepPath}: ${payload.dedupId}`;
    const signal = database.outside.signals.get(payload.signalId ?? "");
    if (!signal) faults.push(`${told} was received and never stored`);
    if (received.has(payload.dedupId ?? "")) faults.push(`${told} was received twice`);
    received.add(payload.dedupId ?? "");
    const isFor = ({ eventType, correlationKey }: AwaitedEvent): boolean =>
      eventType === payload.eventType && (signal?.executionId !== undefined || correlationKey === payload.correlationKey);
    const takes = awaited.get(stepPath)?.events.some(isFor);
    if (!takes) faults.push(`${told} ended a wait for something else`);
    const { from = 0, until = 0 } = awaited.get(stepPath) ?? {};
    const { receivedAt = 0 } = signal ?? {};
    if (receivedAt > until) faults.push(`${told} came when the wait's time was over, and ended it`);
    // It is told at once, not found at the wait's end; when something goes wrong meanwhile, a sweep or a successor tells.
    const sinceAt = Math.max(receivedAt, from);
    const isExcused = troubles.some((trouble) => trouble > sinceAt - frozenMsMax && trouble < at);
    if (at - sinceAt > tellMs && !isExcused) faults.push(`${told} was received ${at - sinceAt} ms after it could be`);
  }
  return faults;
}

/** An event to one execution is taken by that one; what was stored does not pass by a wait whose time was not over, whoever died or froze. */
function signalFaults({ database }: World, sent: readonly SentEvent[]): string[] {
  const faults: string[] = [];
  const signals = [...database.outside.signals.values()];
  for (const { dedupId, acknowledged } of sent) {
    if (acknowledged && !signals.some((signal) => signal.dedupId === dedupId)) faults.push(`${dedupId} was acknowledged and is lost`);
  }
  for (const stored of database.executions.values()) {
    const ledger = database.ledgerOf(stored.executionId);
    const received = new Set(ledger.flatMap((event) => (event.type === "event_received" ? (event.payload.signalId ?? []) : [])));
    for (const signal of signals) {
      const isRead = received.has(signal.signalId);
      if (isRead && signal.executionId !== undefined && signal.executionId !== stored.executionId) faults.push(`${signal.dedupId} came to another execution`);
      if (isRead && signal.executionId !== undefined && !signal.taken) faults.push(`${signal.dedupId} was received and can be taken again`);
      if (isRead) continue;
      const missed = waitsOf(ledger).find(({ events, from, until }) => {
        const isFor = signal.executionId === stored.executionId || (signal.executionId === undefined && signal.correlationKey !== undefined);
        const takes = events.some(
          ({ eventType, correlationKey }) => eventType === signal.eventType && (signal.executionId !== undefined || correlationKey === signal.correlationKey),
        );
        return isFor && takes && signal.receivedAt < until && signal.expiresAt > from;
      });
      if (missed)
        faults.push(`${stored.executionId}/${missed.path}: no event came, although ${signal.dedupId} was there at ${signal.receivedAt - missed.from}`);
    }
  }
  return faults;
}

const tellMs = 2_000;
const frozenMsMax = 12_000;

interface MissedWait {
  readonly path: string;
  readonly events: readonly AwaitedEvent[];
  readonly from: number;
  /** Events that came then or later may be too late. */
  readonly until: number;
}

/** Waits whose time went by without an event. */
function waitsOf(ledger: readonly ExecutionEvent[]): MissedWait[] {
  return ledger.flatMap((event): MissedWait[] => {
    if (event.type !== "step_waiting" || !event.payload.events) return [];
    const { stepPath: path, sequence, at } = event;
    const end = ledger.find(
      (later) => later.sequence > sequence && later.stepPath === path && /^step_(succeeded|failed|skipped|canceled|waiting)$/.test(later.type),
    );
    const isTimeout =
      (end?.type === "step_failed" && end.payload.failure.name === "TIMEOUT.EVENT") || (end?.type === "step_succeeded" && end.payload.result === null);
    const isPaused = ledger.some(({ type, sequence: number }) => type === "execution_paused" && number < (end?.sequence ?? 0));
    const byHand = ledger.some((other) => other.type === "operator_acted" && other.stepPath === path);
    if (!isTimeout || isPaused || byHand) return [];
    return [{ path, events: event.payload.events, from: event.payload.startedAt ?? at, until: event.payload.wakeAt ?? 0 }];
  });
}

function childFaults(world: World, stored: StoredExecution): string[] {
  const { database } = world;
  const { executionId, tenantId } = stored;
  const ledger = database.ledgerOf(executionId);
  const { steps } = foldExecution({ executionId, tenantId }, ledger);
  const definition = world.definitions.get(stored.start.workflowId ?? "") ?? {};
  const byHand = new Set(ledger.flatMap((event) => (event.type === "operator_acted" ? event.stepPath : [])));
  const orderOf = (type: string, path: string): number => stored.order[ledger.findIndex((event) => event.type === type && event.stepPath === path)] ?? -1;
  return [...steps.values()].flatMap((run) => {
    if (run.childId === undefined || byHand.has(run.path)) return [];
    const child = database.executions.get(run.childId);
    const told = `${executionId}/${run.path}: its child ${run.childId}`;
    if (!child) return run.action === "succeeded" || run.undo?.status === "succeeded" ? [`${told} was never started`] : [];
    const step = stepNamed(definition, run.name);
    return [
      ...(step && run.action === "succeeded" && step["detached"] !== true ? endFaults(world, child, orderOf("step_succeeded", run.path)) : []),
      ...undoFaults(world, child, run, orderOf("compensation_succeeded", run.path)),
      ...(step?.["parent_close_policy"] === "PARENT_CLOSE_POLICY_ABANDON" ? leftAloneFaults(world, child, executionId, run) : []),
    ].map((fault) => `${told} ${fault}`);
  });
}

/** Its success was its parent's. */
function endFaults({ database }: World, child: StoredExecution, parentOrder: number): string[] {
  const end = database.ledgerOf(child.executionId).findIndex((event) => event.type === "execution_ended" && event.payload.state === "completed");
  return end < 0 || (child.order[end] ?? 0) > parentOrder ? ["counts as done and had not completed"] : [];
}

/** It was undone in its place: before its parent says so, and wholly. */
function undoFaults({ database, participants, definitions }: World, child: StoredExecution, run: StepRun, parentOrder: number): string[] {
  const { undo } = run;
  if (undo?.status !== "succeeded" && undo?.status !== "nothing_to_undo") return [];
  const ledger = database.ledgerOf(child.executionId);
  const turn = ledger.findLastIndex((event) => event.type === "saga_state_changed" && event.payload.state === "compensating");
  const end = ledger.findIndex(({ type }, index) => index > turn && type === "execution_ended");
  if (undo.status === "succeeded" && (turn < 0 || (child.order[end] ?? Number.POSITIVE_INFINITY) > parentOrder))
    return ["is said to be undone, and was not then"];
  const definition = definitions.get(child.start.workflowId ?? "") ?? {};
  const isKept = child.row.status !== "completed" && definition["on_failure"] === "FAILURE_POLICY_KEEP_EFFECTS";
  if (isKept || ledger.some(({ type }) => type === "operator_acted")) return [];
  const { steps } = foldExecution({ executionId: child.executionId, tenantId: child.tenantId }, ledger);
  return [...steps.values()].flatMap(({ path, name, action }) => {
    const isUndoable = JSON.stringify(definition).includes(`"name":"${name}"`) && hasUndo(definition, name);
    if (!isUndoable || action === "skipped") return [];
    const stands = participants.deed(child.executionId, path, "action").count > 0 && participants.deed(child.executionId, path, "compensate").count === 0;
    return stands ? [`is said to be undone, and ${path} stands`] : [];
  });
}

/** Whoever is to be left alone is not called off when its parent ends; only an undo reaches it. */
function leftAloneFaults({ database }: World, child: StoredExecution, parentId: string, run: StepRun): string[] {
  if (run.undo !== undefined) return [];
  const isAsked = database.ledgerOf(child.executionId).some((event) => event.type === "execution_cancel_requested" && event.payload.actor === parentId);
  return isAsked ? ["was to be left alone and was called off"] : [];
}

/** Nothing is left to tell or to take of what has ended. */
function leftFaults({ database }: World): string[] {
  const { outside } = database;
  return [...outside.tasks.values()].map(({ executionId, path, operation }) => `${executionId}/${path}: a task of its ${operation} outlived it`);
}

function hasUndo(definition: JsonObject, name: string): boolean {
  const step = stepsOf(definition).find((one) => one["name"] === name);
  return JSON.stringify(step?.["compensation"] ?? null).includes('"step"');
}

function stepNamed(definition: JsonObject, name: string): JsonObject | undefined {
  const config = stepsOf(definition).find((step) => step["name"] === name)?.["sub_workflow"];
  return config as JsonObject | undefined;
}

function stepsOf(definition: JsonObject): JsonObject[] {
  const steps: JsonObject[] = [];
  JSON.stringify(definition, (_, member) => {
    if (typeof member?.name === "string") steps.push(member);
    return member;
  });
  return steps;
}
