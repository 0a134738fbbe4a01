/** Any order of reports, repeats, silences, cancels and restarts leads to one decision per operation, and nothing stands unseen. */

import { expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import { Answered, applyCommand, type ControlCommand } from "../../src/domain/control-command.ts";
import { decide } from "../../src/domain/decide.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import type { ExecutionEvent, NewEvent } from "../../src/domain/events.ts";
import { applyEvent, foldExecution } from "../../src/domain/execution.ts";
import { type ExecutionState, emptyExecution } from "../../src/domain/execution-state.ts";
import { failure } from "../../src/domain/failure.ts";
import { closedTasks, openTasks } from "../../src/domain/open-tasks.ts";
import type { ReportedOutcome } from "../../src/domain/reported-outcome.ts";
import { isTerminal } from "../../src/domain/states.ts";
import { endEvents, expiryEvents, startEvents, stepEvents, type TurnEnvironment, undoEvents } from "../../src/engine/turn.ts";
import { memoryFiles } from "../steps/memory-files.ts";
import { fc } from "../support/property.ts";
import { compile, identity, simulationStartAt } from "./simulate.ts";
import { handlers } from "./simulated-steps.ts";

const retry = { retry_policy: { initial_interval: "1s", maximum_attempts: 3, jitter: 0 } };
const step = (name: string, kind: "ask" | "pull", undo: "ask" | "pull" | undefined, more: JsonObject = {}): JsonObject => ({
  name,
  [kind]: { body: null },
  timeouts: { start_to_close: "20s", ...(kind === "ask" ? { heartbeat: "8s" } : {}) },
  ...retry,
  ...(undo ? { compensation: { step: { [undo]: { body: null } } } } : {}),
  ...more,
});
const revision: CompiledRevision = compile({
  steps: [
    step("book", "pull", "pull"),
    {
      name: "both",
      parallel: {
        branches: [
          { name: "x", steps: [step("pay", "ask", "ask")] },
          { name: "y", steps: [step("pack", "pull", "ask", { compensation: { step: { ask: { body: null } }, barrier: true } })] },
        ],
      },
    },
    step("mail", "ask", undefined),
  ],
});
const paths = ["book", "pay", "pack", "mail"] as const;

type Move =
  | { readonly kind: "report"; readonly path: (typeof paths)[number]; readonly undo: boolean; readonly back: number; readonly outcome: number }
  | { readonly kind: "cancel" | "restart" | "recall" | "terminate" }
  | { readonly kind: "sleep"; readonly ms: number };
const moves: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("report" as const), path: fc.constantFrom(...paths), undo: fc.boolean(), back: fc.nat(2), outcome: fc.nat(5) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("sleep" as const), ms: fc.constantFrom(1_000, 7_000, 9_000, 21_000, 60_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("cancel" as const, "restart" as const, "recall" as const, "terminate" as const) }) },
);
const outcomes: readonly ReportedOutcome[] = [
  { kind: "succeeded", result: "done" },
  { kind: "succeeded", result: null, nothingToUndo: true },
  { kind: "failed", failure: failure("WORKER.no", "no"), outcome: "failed" },
  { kind: "failed", failure: failure("WORKER.perhaps", "perhaps"), outcome: "unknown" },
  { kind: "in_progress", percent: 50 },
  { kind: "expired", name: "TIMEOUT.START_TO_CLOSE", deadlineAt: simulationStartAt, closeMs: 20_000 },
];

class Drive {
  state: ExecutionState = emptyExecution(identity);
  readonly ledger: ExecutionEvent[] = [];
  /** Tasks that stand in queues, as the journal would have them. */
  readonly tasks = new Set<string>();
  now = simulationStartAt;
  readonly #environment: TurnEnvironment;

  constructor() {
    const clock = { now: () => this.now, monotonic: () => 0, sleep: () => Promise.resolve() };
    const dark = { request: () => Promise.reject(new Error("no network here")) };
    const services = { http: dark, grpc: dark, tokens: dark, clock, log: silentLog, files: memoryFiles() } as unknown as TurnEnvironment["services"];
    this.#environment = { handlers, services, now: () => this.now, monotonic: () => 0, random: () => 0 };
    const shared = { workflowId: "wfl_1", workflowName: "orders", revision: 1, input: {}, correlationId: "c", triggerType: "api" };
    this.fold([{ type: "execution_created", at: this.now, stepPath: "", attempt: 0, payload: shared }]);
    this.settle();
  }

  fold(events: readonly NewEvent[]): void {
    for (const event of events) {
      this.#watch(event);
      const before = openTasks(this.state, event);
      const numbered = { ...event, sequence: this.state.sequence + 1 };
      applyEvent(this.state, numbered);
      this.ledger.push(numbered);
      for (const id of closedTasks(this.state, event, before)) this.tasks.delete(id);
      if (this.state.endedAt === undefined) for (const id of openTasks(this.state, { type: event.type, stepPath: event.stepPath })) this.tasks.add(id);
    }
  }

  /** Decides until nothing is due. */
  settle(): void {
    for (let round = 0; round < 1_000; round++) {
      const before = this.state.sequence;
      for (const command of decide(revision, this.state, new Map(), this.now)) {
        const { kind } = command;
        if (kind === "record") this.fold([command.event]);
        else if (kind === "start") this.fold(startEvents(this.#environment, this.state, revision));
        else if (kind === "complete") this.fold(endEvents(this.#environment, this.state, revision));
        else if (kind === "expire") this.fold(expiryEvents(this.#environment, this.state, revision, command));
        else if (kind === "act") this.fold(stepEvents(this.#environment, this.state, revision, command).events);
        else if (kind === "undo") this.fold(undoEvents(this.#environment, this.state, revision, command).events);
      }
      if (this.state.sequence === before) return;
    }
    throw new Error("decide never comes to rest");
  }

  command(command: ControlCommand): Answered | AppError | readonly NewEvent[] {
    const made = applyCommand({ state: this.state, revision, now: this.now }, command);
    if (!(made instanceof AppError)) this.fold(made instanceof Answered ? made.events : made);
    return made;
  }

  /** No undo may begin while its action is out, or may still be having its effect. */
  #watch({ type, stepPath, at }: NewEvent): void {
    const run = this.state.steps.get(stepPath);
    if (type !== "compensation_started" || run?.undo) return;
    expect(run?.report, `the action of ${stepPath} is out`).toBeUndefined();
    const isFenced = revision.definition.stepsByName.get(run?.name ?? "")?.compensation?.barrier === true;
    if (!isFenced && run?.action !== "succeeded") expect(at, `${stepPath} may still run`).toBeGreaterThanOrEqual(run?.mayRunUntil ?? 0);
  }
}

it("reports in any order decide each operation once, and what is known to have happened is undone or stands", () => {
  fc.assert(
    fc.property(fc.array(moves, { maxLength: 40 }), (script) => {
      const drive = new Drive();
      for (const move of script) {
        if (move.kind === "sleep") drive.now += move.ms;
        else if (move.kind === "cancel") drive.command({ kind: "cancel", actor: "key_1", reason: "no" });
        else if (move.kind === "terminate") drive.command({ kind: "terminate", actor: "key_1", reason: "enough" });
        else if (move.kind === "restart") drive.state = foldExecution(identity, drive.ledger);
        else if (move.kind === "report") tell(drive, move);
        else recall(drive);
        drive.settle();
        check(drive);
      }
    }),
    { numRuns: 400 },
  );
});

function recall(drive: Drive): void {
  const asked = decide(revision, drive.state, new Map(), drive.now).find(({ kind }) => kind === "recall");
  if (asked?.kind !== "recall") return;
  drive.command({
    kind: "report",
    path: asked.path,
    operation: asked.operation,
    generation: 0,
    attempt: asked.attempt,
    outcome: { kind: "recalled" },
    random: 0,
  });
}

function tell(drive: Drive, move: Extract<Move, { kind: "report" }>): void {
  const { path, undo: isUndo, back } = move;
  const before = drive.state.steps.get(path);
  const newest = (isUndo ? before?.undo?.attempt : before?.attempt) ?? 0;
  const attempt = newest - back;
  if (attempt < 1) return;
  const outcome = outcomes[move.outcome] as ReportedOutcome;
  const generation = isUndo ? (before?.undo?.generation ?? 0) : 0;
  const report = { kind: "report" as const, path, operation: isUndo ? ("compensate" as const) : ("action" as const), generation, attempt, outcome, random: 0 };
  const wasOpen = !isTerminal(drive.state.status) && (before?.report !== undefined || before?.status === "retrying");
  const answer = drive.command(report);
  if (!isUndo && wasOpen && outcome.kind === "succeeded") {
    expect(drive.state.steps.get(path), "success of any attempt is taken while the operation is open").toMatchObject({
      action: "succeeded",
      status: "completed",
    });
  }
  // The same word again changes nothing that was decided.
  if (outcome.kind === "in_progress" || answer instanceof AppError) return;
  const length = drive.ledger.length;
  drive.command(report);
  expect(
    drive.ledger.slice(length).map(({ type }) => type),
    "a repeat",
  ).toEqual([]);
}

function check({ state, ledger, tasks }: Drive): void {
  const folded = foldExecution(identity, ledger);
  expect(folded).toEqual(state);
  const openings = 1 + ledger.filter(({ type }) => type === "execution_reopened").length;
  expect(ledger.filter(({ type }) => type === "execution_ended").length).toBeLessThanOrEqual(openings);
  for (const path of paths) {
    const decided = ledger.filter((event) => event.stepPath === path && event.type === "step_succeeded" && event.payload.late !== true);
    expect(decided.length).toBeLessThanOrEqual(1);
  }
  const open = [...state.steps.values()]
    .filter(() => !isTerminal(state.status))
    .flatMap((run) => [run.report, run.undo?.report].filter((wait) => wait?.from === "queue"));
  expect(tasks.size, "a task stands as long as its attempt is open").toBe(open.length);
  if (!isTerminal(state.status) || state.saga !== "compensated") return;
  for (const run of state.steps.values()) {
    const undoes = revision.definition.stepsByName.get(run.name)?.compensation?.step !== undefined;
    if (undoes && run.action === "succeeded") expect(["succeeded", "nothing_to_undo"], run.path).toContain(run.undo?.status);
  }
}
