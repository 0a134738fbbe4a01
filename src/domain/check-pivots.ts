/**
 * The saga rules about the point of no return that can be checked before any run: at most one on every path, nothing that
 * may be undone after it, nothing that must succeed before it, and none where other steps run beside it.
 */
import type { Step } from "./definition.ts";
import type { Report } from "./report.ts";

export function checkPivots(steps: readonly Step[], report: Report): void {
  const hasPivot = [...all(steps)].some((step) => step.kind === "pivot");
  check(steps, { pivot: undefined, beside: undefined, hasPivot }, report);
}

/** With `require_compensation`, an effect that declares nothing is refused instead of listed as standing. */
export function checkCompensations(steps: readonly Step[], report: Report): void {
  for (const step of all(steps)) {
    if (step.nature !== "effect" || step.kind !== undefined) continue;
    report.violation(
      `${step.at}.compensation`,
      "COMPENSATION_INVALID",
      `${step.name} touches the world and says neither how it is undone nor that it need not be`,
    );
  }
}

interface Place {
  /** The pivot that was passed on the way here. */
  readonly pivot: string | undefined;
  /** The parallel or for_each around this place. */
  readonly beside: string | undefined;
  readonly hasPivot: boolean;
}

/** Answers the pivot that was passed when the sequence is through. */
function check(steps: readonly Step[], place: Place, report: Report): string | undefined {
  let { pivot } = place;
  for (const step of steps) {
    const at = `${step.at}.compensation.kind`;
    if (step.kind === "pivot" && place.beside !== undefined) {
      report.violation(at, "PIVOT_ORDER", `a PIVOT cannot stand in ${place.beside}, where other steps run beside it and may still fail`);
    } else if (step.kind === "pivot" && pivot !== undefined) {
      report.violation(at, "PIVOT_ORDER", `${pivot} is the PIVOT of this path already`);
    } else if (step.kind === "compensatable" && pivot !== undefined) {
      report.violation(at, "PIVOT_ORDER", `${step.name} runs after the PIVOT ${pivot} and would never be undone; move it before, or make it RETRIABLE`);
    } else if (step.kind === "retriable" && pivot === undefined && place.hasPivot) {
      report.violation(at, "PIVOT_ORDER", `${step.name} is RETRIABLE and runs before the PIVOT; move it behind`);
    }
    if (step.kind === "pivot") pivot ??= step.name;
    const inside = step.block && step.block.kind !== "conditional" ? { ...place, pivot, beside: step.name } : { ...place, pivot };
    const passed = [...step.sequences.map((sequence) => sequence.steps), ...step.catches.map((candidate) => candidate.steps)].map((nested) =>
      check(nested, inside, report),
    );
    pivot ??= passed.find((name) => name !== undefined);
  }
  return pivot;
}

function* all(steps: readonly Step[]): Generator<Step> {
  for (const step of steps) {
    yield step;
    for (const sequence of step.sequences) yield* all(sequence.steps);
    for (const candidate of step.catches) yield* all(candidate.steps);
  }
}
