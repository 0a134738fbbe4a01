/**
 * Where the demo's words go. On a terminal a run is a tree that is redrawn in place; elsewhere it is one line per event;
 * with `--json` every fact is a JSON line and nothing else is written.
 */

import { stripVTControlCharacters } from "node:util";
import { toJson } from "@bufbuild/protobuf";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type RunView, visibleSteps } from "./run-view.ts";
import { runLine, stepLine } from "./step-lines.ts";

export interface Display {
  readonly mode: "tree" | "lines" | "json";
  /** A line for people. */
  say(text?: string): void;
  /** A fact for programs. */
  fact(type: string, fields: Readonly<Record<string, unknown>>): void;
  /** What is going on; replaced by whatever comes next. */
  progress(text: string): void;
  /** Shows a run while it is watched. */
  follow(view: RunView): RunDisplay;
}

export interface RunDisplay {
  event(event: ExecutionEvent): void;
  /** Leaves the final tree on the screen. */
  end(): void;
}

const redrawMs = 80;
const progressLineMs = 2_000;

export function createDisplay(json: boolean, out: NodeJS.WriteStream = process.stdout): Display {
  const mode = json ? "json" : out.isTTY ? "tree" : "lines";
  let transient = 0;
  let saidAt = performance.now();
  /** Takes away what was written last, so many lines of it. */
  const erase = (): void => {
    if (transient > 0) out.write(`\u001b[${transient}A\u001b[0J`);
    transient = 0;
  };
  const draw = (lines: readonly string[]): void => {
    erase();
    const width = out.columns ?? 120;
    out.write(lines.map((line) => `${clip(line, width)}\n`).join(""));
    transient = lines.length;
  };
  const say = (text = ""): void => {
    if (mode === "json") return;
    erase();
    out.write(`${text}\n`);
  };
  return {
    mode,
    say,
    fact: (type, fields) => {
      if (mode === "json") out.write(`${JSON.stringify({ type, ...fields })}\n`);
    },
    progress(text) {
      if (mode === "tree") return draw([`  ${text}`]);
      if (mode === "json" || performance.now() - saidAt < progressLineMs) return;
      saidAt = performance.now();
      out.write(`  ${text}\n`);
    },
    follow(view) {
      if (mode === "json")
        return { event: (event) => void out.write(`${JSON.stringify({ type: "event", event: toJson(ExecutionEventSchema, event) })}\n`), end: () => undefined };
      if (mode === "lines") return followInLines(view, say);
      const tree = (): string[] => [...visibleSteps(view).map((step) => stepLine(step, { now: Date.now(), colour: true })), runLine(view)];
      const timer = setInterval(() => draw(tree()), redrawMs);
      return {
        event: () => undefined,
        end() {
          clearInterval(timer);
          draw(tree());
          transient = 0;
        },
      };
    },
  };
}

/** Events after which a step's line says something new. */
const told: ReadonlySet<string> = new Set(["step_waiting", "step_retry_scheduled", "step_succeeded", "step_failed", "step_skipped", "compensation_succeeded"]);

function followInLines(view: RunView, say: (text: string) => void): RunDisplay {
  return {
    event(event) {
      const step = view.steps.get(event.stepPath);
      if (step && told.has(event.type)) say(stepLine(step, { colour: false }));
    },
    end: () => say(runLine(view)),
  };
}

/** Longer lines would wrap and a redraw would leave their rests behind. */
function clip(line: string, width: number): string {
  const visible = stripVTControlCharacters(line);
  return visible.length < width ? line : `${visible.slice(0, width - 2)}…`;
}
