/**
 * A command of a caller leaves in the first of the events that it makes who asked for it. A repeatable command leaves its key, too. The ledger then knows it, so a command that is
 * given again (its caller repeats the call, or a replica died between carrying it out and saying so) changes nothing and
 * is answered as the first time.
 */

import { limits } from "../base/limits.ts";
import { Answered } from "./answered.ts";
import type { ChangeStamp, NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";

/** The answer of the command that had this key, if one was carried out. It says `replayed: true` itself. */
export function earlierAnswer(state: ExecutionState, key: string): Answered | undefined {
  const stamp = state.changes.get(key);
  return stamp && new Answered([], { ...stamp.answer, replayed: true });
}

/** A command that changes nothing leaves nothing behind: given again, it is decided again. */
export function stamped(made: readonly NewEvent[] | Answered, mark: Omit<ChangeStamp, "answer">): readonly NewEvent[] | Answered {
  const { events, answer } = made instanceof Answered ? made : { events: made, answer: undefined };
  const [first, ...rest] = events;
  if (!first) return made;
  const change: ChangeStamp = { ...mark, ...(answer === undefined || mark.key === undefined ? {} : { answer }) };
  const marked = [{ ...first, payload: { ...first.payload, change } } as NewEvent, ...rest];
  return made instanceof Answered ? new Answered(marked, made.answer) : marked;
}

/** The newest ones are kept: a key is known for as long as an execution can take this many commands. */
export function noteChange(state: ExecutionState, stamp: ChangeStamp | undefined): void {
  if (stamp?.key === undefined) return;
  state.changes.set(stamp.key, stamp);
  if (state.changes.size > limits.changeKeysPerExecutionMax) state.changes.delete(state.changes.keys().next().value as string);
}
