/** How steps are written: one line each. */
import type { RunView, StepStatus, StepView } from "./run-view.ts";

const symbols: Readonly<Record<StepStatus, string>> = {
  pending: "•",
  running: "▶",
  waiting: "⧖",
  retrying: "↻",
  completed: "✓",
  failed: "✗",
  skipped: "–",
  undoing: "↩",
  undone: "↩",
};
const colours: Readonly<Record<StepStatus, number>> = {
  pending: 90,
  running: 36,
  waiting: 36,
  retrying: 33,
  completed: 32,
  failed: 31,
  skipped: 90,
  undoing: 33,
  undone: 33,
};
const nameWidth = 15;
const typeWidth = 15;
const durationWidth = 9;

/** `now` measures what is still running; undefined leaves it out. */
export function stepLine(step: StepView, options: { readonly now?: number; readonly colour: boolean }): string {
  const symbol = options.colour ? `\u001b[${colours[step.status]}m${symbols[step.status]}\u001b[0m` : symbols[step.status];
  const name = `${"  ".repeat(step.depth)}${step.name}`.padEnd(nameWidth);
  const duration = durationOf(step, options.now).padStart(durationWidth);
  return `  ${symbol} ${name} ${step.type.padEnd(typeWidth)} ${duration}   ${noteOf(step)}`.trimEnd();
}

export function runLine(view: RunView): string {
  const took = view.startedAt !== undefined && view.endedAt !== undefined ? `  in ${describeMs(view.endedAt - view.startedAt)}` : "";
  return `  = ${view.state ?? "RUNNING"}${took}`;
}

/** `412 ms`, `2.41 s`, `3 min 5 s`. */
export function describeMs(ms: number): string {
  if (ms < 1000) return ms < 1 ? "<1 ms" : `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

export function count(amount: number): string {
  return amount.toLocaleString("en-US");
}

function durationOf(step: StepView, now: number | undefined): string {
  const isUndo = step.status === "undoing" || step.status === "undone";
  const from = isUndo ? step.undoStartedAt : step.startedAt;
  const to = (isUndo ? step.undoEndedAt : step.endedAt) ?? now;
  return step.status === "pending" || from === undefined || to === undefined ? "" : describeMs(Math.max(0, to - from));
}

function noteOf(step: StepView): string {
  const last = step.causes.at(-1);
  switch (step.status) {
    case "undoing":
      return "being undone";
    case "undone":
      return "undone";
    case "failed":
      return [last, step.reason, step.attempt > 1 ? `after ${step.attempt} attempts` : ""].filter(Boolean).join(" ");
    case "retrying":
      return `attempt ${step.attempt} failed with ${last}, another follows`;
    case "completed":
      return step.causes.length > 0 ? `attempt ${step.attempt} after ${step.causes.join(", ")}` : "";
    default:
      return "";
  }
}
