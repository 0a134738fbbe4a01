/** The tasks of one execution while it is driven: those its next commit puts into queues or removes, and those it asks back. */
import { AppError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Command } from "../domain/command.ts";
import { leftWithWorker, reportOutcome } from "../domain/control-report.ts";
import type { NewEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { closedTasks, openTasks } from "../domain/open-tasks.ts";
import type { SettleContext } from "../domain/settle.ts";
import type { NewTask } from "../domain/task.ts";
import { type OperationRef, taskIdOf } from "../domain/task-token.ts";
import type { AppendRequest } from "../store/journal.ts";
import type { Attempt } from "./run-step.ts";
import { taskOf } from "./task-draft.ts";

/** What a run tells and asks of task queues. */
export interface TaskPort {
  /** These tasks stand in their queues now, and those are over. */
  changed(tenantId: string, opened: readonly NewTask[], closed: readonly string[]): void;
  /** Takes the task back if nobody has it: true. Otherwise whoever has it is told to stop. */
  recall(tenantId: string, taskId: string): Promise<boolean>;
}

/** What questions to task queues need of the run's environment. */
export interface AskGround {
  readonly tasks?: TaskPort;
  readonly services: { readonly log: Log };
  /** Resolves after that many milliseconds or when the signal aborts. */
  readonly sleep: (durationMs: number, signal: AbortSignal) => Promise<void>;
}

const againMs = 500;

export class RunTasks {
  readonly #state: ExecutionState;
  #opened: NewTask[] = [];
  #closed: string[] = [];
  readonly #recalled = new Set<string>();
  #recalls: OperationRef[] = [];
  #asking = 0;
  #isOver = false;
  /** Of the pauses between two tries; most runs end without one. */
  #stopping: AbortController | undefined;

  constructor(state: ExecutionState) {
    this.#state = state;
  }

  /** Folds an event with `apply`, and notes which tasks it ended. */
  fold(event: NewEvent, apply: () => void): void {
    const before = openTasks(this.#state, event);
    apply();
    if (before.length > 0) this.#closed.push(...closedTasks(this.#state, event, before));
  }

  open(attempt: Attempt, at: number): void {
    if (attempt.leaf.reportedFrom === "queue") this.#opened.push(taskOf(this.#state, attempt, at));
  }

  /** Part of the next append. */
  get changes(): Pick<AppendRequest, "tasks"> {
    return this.#opened.length > 0 || this.#closed.length > 0 ? { tasks: { opened: this.#opened, closed: this.#closed } } : {};
  }

  /** They are durable. */
  committed(port: TaskPort | undefined): void {
    const [opened, closed] = [this.#opened, this.#closed];
    this.#opened = [];
    this.#closed = [];
    if (opened.length > 0 || closed.length > 0) port?.changed(this.#state.tenantId, opened, closed);
  }

  /** Once per attempt and drive; whoever drives it next asks again, which changes nothing. */
  recall({ path, operation, attempt }: Extract<Command, { kind: "recall" }>): void {
    const ref = { executionId: this.#state.executionId, path, operation, generation: 0, attempt };
    const taskId = taskIdOf(ref);
    if (this.#recalled.has(taskId)) return;
    this.#recalled.add(taskId);
    this.#asking += 1;
    this.#recalls.push(ref);
  }

  /** An answer is awaited: the execution stays in memory for it. */
  get isAsking(): boolean {
    return this.#asking > 0;
  }

  /** Sends what was recalled. Each answer comes through `answer` as events of that moment's state. */
  ask(ground: AskGround, answer: (events: (context: SettleContext) => readonly NewEvent[]) => void): void {
    for (const ref of this.#recalls.splice(0)) void this.#askBack(ground, ref).then(answer);
  }

  /** The run is over: nobody waits for answers any more. */
  stop(): void {
    this.#isOver = true;
    this.#stopping?.abort(new Error("the run is over"));
  }

  /**
   * A question whose answer was lost is asked until it is answered: the task may have been taken back by it, and then no report and
   * no timer will ever end its attempt.
   */
  async #askBack({ tasks, services, sleep }: AskGround, ref: OperationRef): Promise<(context: SettleContext) => readonly NewEvent[]> {
    const { tenantId, executionId } = this.#state;
    let isOurs: boolean | undefined;
    while (!this.#isOver) {
      try {
        isOurs = await tasks?.recall(tenantId, taskIdOf(ref));
        break;
      } catch (error) {
        services.log.warn({ executionId, error: messageOf(error) }, "a task could not be asked back; that is tried again");
        this.#stopping ??= new AbortController();
        await sleep(againMs, this.#stopping.signal);
      }
    }
    return (context) => {
      this.#asking -= 1;
      if (!isOurs) return leftWithWorker(context, ref);
      const answer = reportOutcome(context, { ...ref, outcome: { kind: "recalled" }, random: 0 });
      return answer instanceof AppError ? [] : answer.events;
    };
  }
}
