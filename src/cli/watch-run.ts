/** Follows an execution to its end: a tree that is redrawn on a terminal, a line per event elsewhere, JSON lines for programs. */
import { type ExecutionEvent, ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type Execution, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import type { Call } from "./command.ts";
import { eventLine, failureNote } from "./event-line.ts";
import { exit } from "./exit-codes.ts";
import { follow, type WatchItem } from "./follow.ts";
import { applyEvent, applyExecution, applySnapshot, newRunModel } from "./run-model.ts";
import { runTree } from "./run-tree.ts";
import { plainJson } from "./show.ts";
import { type Outline, outlineOf } from "./step-outline.ts";

const redrawMs = 100;

/** Answers `exit.ok` when it ended COMPLETED, else `exit.failed`. */
export async function watchRun(call: Call, executionId: string, afterSequence: bigint): Promise<number> {
  const { screen, connection, format } = call;
  if (format === "table" && screen.isTerminal) await drawTree(call, executionId);
  else await writeEvents(call, executionId, afterSequence);
  const { execution } = await connection.workflows.getExecution({ executionId, view: View.BASIC }, { signal: call.signal });
  return execution ? tellEnd(call, execution) : exit.failed;
}

/** What is told at the end, for people; and the exit code. */
export function tellEnd({ screen }: Call, execution: Execution): number {
  if (execution.state === ExecutionState.COMPLETED) return exit.ok;
  const what = [ExecutionState[execution.state], execution.failedStep && `at ${execution.failedStep}`, failureNote(execution.failure)]
    .filter(Boolean)
    .join("  ");
  screen.say(what);
  screen.say(`  pawf execution why ${execution.id}`);
  return exit.failed;
}

function watch({ connection, screen, signal }: Call, executionId: string, afterSequence: bigint | undefined): AsyncGenerator<WatchItem> {
  return follow(
    (after, stop) => connection.workflows.watchExecution({ executionId, ...(after === undefined ? {} : { afterSequence: after }) }, { signal: stop }),
    { afterSequence, signal, onBroken: (error) => screen.say(`the connection broke (${error.rawMessage}); going on where it ended`) },
  );
}

async function writeEvents(call: Call, executionId: string, afterSequence: bigint): Promise<void> {
  const { screen, format, connection, signal } = call;
  const write = (event: ExecutionEvent): void => {
    if (format === "table") screen.line(eventLine(event));
    else screen.json(JSON.stringify(plainJson(ExecutionEventSchema, event)));
  };
  let seen = afterSequence;
  for await (const item of watch(call, executionId, afterSequence)) {
    if (item.case === "event") {
      write(item.value);
      if (!item.value.live) seen = item.value.sequence;
    }
    // The service dropped what this reader was too slow for; the ledger still has it.
    if (item.case === "snapshot") {
      while (seen < item.value.sequence) {
        const { events } = await connection.workflows.listExecutionEvents({ executionId, afterSequence: seen, pageSize: 1_000 }, { signal });
        const missed = events.filter(({ sequence }) => sequence <= item.value.sequence);
        for (const event of missed) write(event);
        seen = missed.at(-1)?.sequence ?? item.value.sequence;
      }
    }
  }
}

async function drawTree(call: Call, executionId: string): Promise<void> {
  const { screen, connection, signal } = call;
  const model = newRunModel();
  const { execution } = await connection.workflows.getExecution({ executionId, view: View.BASIC }, { signal });
  if (execution) applyExecution(model, execution);
  const outline = execution ? await readOutline(call, execution) : outlineOf(undefined);
  const draw = (): void => screen.redraw(runTree(model, outline, Date.now()));
  const timer = setInterval(draw, redrawMs);
  try {
    for await (const item of watch(call, executionId, undefined)) {
      if (item.case === "snapshot") applySnapshot(model, item.value);
      if (item.case === "event") applyEvent(model, item.value);
    }
  } finally {
    clearInterval(timer);
    draw();
  }
}

/** Steps that have not begun yet, and types; without the right to read workflows the tree shows what has begun. */
export async function readOutline({ connection, signal }: Call, { workflowId, revision }: Execution): Promise<Outline> {
  if (workflowId === "") return outlineOf(undefined);
  const read = await connection.workflows.getWorkflowRevision({ workflow: workflowId, revision }, { signal }).catch(() => undefined);
  return outlineOf(read?.revision?.definition);
}
